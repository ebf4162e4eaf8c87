//! The drops in the drop directory, if this machine can read it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use durable_fs::{FileKind, Fs, durable};
use fleet::Config;
use fleet::contract::WaitingDrop;
use monitor_worker::drop_dir::{self, DropDir, REJECTED};
use serde::Serialize;
use tuf_core::time::UtcTime;

/// The most drops shown of each stage: the count says how many there are.
const MAX_SHOWN: usize = 20;
/// The longest `REASON.json` that is read, in bytes.
const MAX_REASON_BYTES: u64 = 1 << 20;

/// A drop that is not published, as `--json` prints it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct DropReport {
    /// Its name.
    pub name: String,
    /// `ready`, `processing` or `rejected`.
    pub stage: &'static str,
    /// Time of the last change of its directory, which the kernel sets, `YYYY-MM-DDTHH:MM:SSZ`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why it is held back or was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The number of drops by stage, and the first of each; empty when the directory cannot be read. `held` is what the
/// monitor-worker says of those that it holds back.
pub fn on_disk(fs: &dyn Fs, config: &Config, held: &[WaitingDrop]) -> (BTreeMap<String, u64>, Vec<DropReport>) {
    let post = config.post_to_tuf_path.as_path();
    let Ok(listing) = drop_dir::list(fs, post, config.prefix_case_insensitive, MAX_SHOWN) else {
        return (BTreeMap::new(), Vec::new());
    };
    let rejected = rejected(fs, post);
    let counts =
        [("ready", listing.ready_total), ("processing", listing.processing_total), ("rejected", listing.rejected)];
    let mut drops = Vec::new();
    for (stage, dirs) in [("ready", &listing.ready), ("processing", &listing.processing)] {
        let report = |dir: &DropDir| DropReport {
            name: dir.name.to_string(),
            stage,
            since: since(fs, &post.join(&dir.dir)),
            reason: held.iter().find(|held| held.name == dir.name.as_str()).and_then(|held| held.reason.clone()),
        };
        drops.extend(dirs.iter().map(report));
    }
    let report = |name: &String| {
        let dir = post.join(format!("{REJECTED}{name}"));
        DropReport { name: name.clone(), stage: "rejected", since: since(fs, &dir), reason: reason(fs, &dir) }
    };
    drops.extend(rejected.iter().map(report));
    (counts.map(|(stage, number)| (stage.to_owned(), number)).into(), drops)
}

/// The names of rejected directories: the first ones when sorted. The directory may hold any number of them.
fn rejected(fs: &dyn Fs, post: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let Ok(entries) = fs.open_dir(post).and_then(|dir| dir.iter_entries()) else { return names };
    for entry in entries.flatten().filter(|entry| entry.kind == FileKind::Dir) {
        if let Some(name) = entry.name.to_string_lossy().strip_prefix(REJECTED) {
            names.insert(name.to_owned());
        }
        if names.len() > MAX_SHOWN {
            names.pop_last();
        }
    }
    names
}

fn since(fs: &dyn Fs, dir: &Path) -> Option<String> {
    fs.stat(dir).ok().map(|stat| UtcTime::from_unix(stat.ctime).to_string())
}

/// The reason in the `REASON.json` of a rejected directory.
fn reason(fs: &dyn Fs, dir: &Path) -> Option<String> {
    let bytes = durable::read_bounded(fs, &dir.join("REASON.json"), MAX_REASON_BYTES).ok()?;
    let document: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    document.get("reason")?.as_str().map(str::to_owned)
}
