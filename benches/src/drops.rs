//! Drops as a pipeline makes them, and a client that waits for them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use durable_fs::{Fs, RealFs};
use fleet::Config;
use testkit::scratch::FsFetch;
use tuf_core::client::{Client, ClientLimits};
use tuf_core::names::TargetPath;

use crate::Result;
use crate::repository::now;

const POLL: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(120);

/// Makes and fills `tuf_tmp_NAME` with one file; renaming it is left. Returns both directories and the target's path.
///
/// # Errors
/// Whatever the file system said.
pub fn prepare(config: &Config, name: &str) -> Result<(PathBuf, PathBuf, TargetPath)> {
    let [made, ready] = ["tmp", "ready"].map(|word| config.post_to_tuf_path.join(format!("tuf_{word}_{name}")));
    let path = format!("packages/{name}.tar.gz");
    std::fs::create_dir_all(made.join("packages"))?;
    std::fs::write(made.join(&path), name.repeat(100))?;
    Ok((made, ready, path.parse()?))
}

/// A client that has the repository's files at hand and keeps looking.
pub struct Watcher {
    client: Client<FsFetch, FsFetch>,
}

impl Watcher {
    /// Starts from `1.root.json`.
    ///
    /// # Errors
    /// When that is no root.
    pub fn new(config: &Config) -> Result<Self> {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let fetch = |dir: &Path| FsFetch::new(Arc::clone(&fs), dir);
        let root = std::fs::read(config.metadata_path().join("1.root.json"))?;
        let (metadata, targets) = (fetch(&config.metadata_path()), fetch(&config.targets_path()));
        Ok(Self { client: Client::new(&root, metadata, targets, ClientLimits::default())? })
    }

    /// Looks until metadata that verifies lists all of `paths`; returns when it did. Then downloads them, which must work.
    ///
    /// # Errors
    /// What the client refused, or that it took too long.
    pub fn wait_for(&mut self, mut paths: Vec<TargetPath>) -> Result<Instant> {
        let until = Instant::now() + PATIENCE;
        let all = paths.clone();
        let mut refused = String::new();
        loop {
            match self.client.refresh(now()) {
                Ok(()) => {
                    let mut missing = Vec::new();
                    for path in paths {
                        if self.client.find_target(&path)?.is_none() {
                            missing.push(path);
                        }
                    }
                    paths = missing;
                }
                // Nothing is published before the workers have started.
                Err(error) => refused = error.to_string(),
            }
            let seen = Instant::now();
            if paths.is_empty() {
                for path in &all {
                    self.client.download(path)?;
                }
                return Ok(seen);
            }
            if seen > until {
                return Err(format!("{} drops are not visible in time {refused}", paths.len()).into());
            }
            std::thread::sleep(POLL);
        }
    }
}
