//! Target files under the names clients ask for.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use durable_fs::Fs;
use tuf_core::names::TargetPath;
use tuf_core::schema::TargetMeta;

use super::directory::Directory;

const BUFFER_BYTES: usize = 256 << 10;

/// What is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFinding {
    /// The name under which it was looked for, below the targets directory.
    pub file: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for FileFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.problem)
    }
}

/// Checks one target under every name a client asks for. With `consistent_snapshot` that is `dir/HASH.name`
/// (specification §6.2.3) and `HASH.dir/name`, which is tough's. A second name of the same file is not read again.
///
/// # Errors
/// When the file system fails; what is wrong with a file is a finding.
pub fn check_file(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    path: &TargetPath,
    meta: &TargetMeta,
    consistent_snapshot: bool,
) -> io::Result<Vec<FileFinding>> {
    let names = if consistent_snapshot {
        let Some(sha256) = meta.hashes.sha256() else {
            let problem = "no sha256 is listed, which is what clients look it up by".to_owned();
            return Ok(vec![FileFinding { file: path.to_string(), problem }]);
        };
        let hash = hex::encode(sha256);
        let mut names = vec![path.hash_prefixed(&hash)];
        if path.parent().is_some() {
            names.push(format!("{hash}.{path}"));
        }
        names
    } else {
        vec![path.to_string()]
    };
    let directory = Directory::new(Arc::clone(fs), dir.to_owned());
    let mut findings = Vec::new();
    let mut good = Vec::new();
    for file in names {
        let problem = match directory.open(&file)? {
            None => Some("is missing".to_owned()),
            Some(mut opened) => {
                let stat = opened.stat()?;
                if stat.len != meta.length {
                    Some(format!("has {} bytes, listed are {}", stat.len, meta.length))
                } else if good.contains(&stat.id) {
                    None
                } else {
                    let problem = differs(opened.as_mut(), meta)?;
                    if problem.is_none() {
                        good.push(stat.id);
                    }
                    problem
                }
            }
        };
        findings.extend(problem.map(|problem| FileFinding { file, problem }));
    }
    Ok(findings)
}

fn differs(file: &mut dyn durable_fs::ReadFile, meta: &TargetMeta) -> io::Result<Option<String>> {
    let mut checker = meta.hashes.checker();
    let mut buffer = vec![0_u8; BUFFER_BYTES];
    let mut left = meta.length;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                let Some(rest) = left.checked_sub(read as u64) else {
                    return Ok(Some(format!("has more than the {} bytes listed", meta.length)));
                };
                left = rest;
                checker.update(&buffer[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if left > 0 {
        return Ok(Some(format!("has fewer than the {} bytes listed", meta.length)));
    }
    Ok(checker.finish().err().map(|error| error.to_string()))
}
