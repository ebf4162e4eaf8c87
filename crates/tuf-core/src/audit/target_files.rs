//! Target files (specification §5.7 and §6.2).

use std::io::{ErrorKind, Read};

use super::progress::AuditStage;
use super::quote::quote;
use super::report::Unread;
use super::rules;
use super::running::RunningAudit;
use super::search::FoundTargets;
use crate::client::Fetch;
use crate::names::TargetPath;
use crate::schema::TargetMeta;

const BUFFER_BYTES: usize = 256 << 10;

/// The outcome of checking one target file.
enum TargetFileState {
    Good,
    Missing,
    Wrong(String),
    Unread,
}

impl RunningAudit<'_> {
    pub(super) fn target_files(&mut self, files: &dyn Fetch, offered: &FoundTargets<'_>, consistent: bool) {
        let total = offered.len() as u64;
        let mut buffer = vec![0; BUFFER_BYTES];
        for (done, (path, meta)) in offered.iter().enumerate() {
            self.progress(AuditStage::TargetFiles, done as u64, total);
            if consistent {
                self.hashed_names(files, path, meta, &mut buffer);
            } else {
                self.plain_name(files, path, meta, &mut buffer);
            }
        }
        self.progress(AuditStage::TargetFiles, total, total);
    }

    fn plain_name(&mut self, files: &dyn Fetch, path: &TargetPath, meta: &TargetMeta, buffer: &mut [u8]) {
        match self.look(files, path.as_str(), meta, buffer) {
            TargetFileState::Missing => self.missing(path.as_str(), path),
            TargetFileState::Wrong(problem) => self.wrong(path.as_str(), &problem),
            TargetFileState::Good => {}
            TargetFileState::Unread => self.report.checked.unchecked_targets += 1,
        }
    }

    fn hashed_names(&mut self, files: &dyn Fetch, path: &TargetPath, meta: &TargetMeta, buffer: &mut [u8]) {
        let mut checked = false;
        for (algorithm, hash) in meta.hashes.iter() {
            // The hash of an unknown algorithm is not validated, and must not become part of a path.
            if hash.is_empty() || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let message = format!("target {}: the {} is not hexadecimal", quote(path.as_str()), quote(algorithm));
                self.error(rules::P5, path.as_str(), message);
                continue;
            }
            let name = path.hash_prefixed(&hash);
            let tough = path.parent().map(|_| format!("{hash}.{path}"));
            let looked = self.look(files, &name, meta, buffer);
            let missing = matches!(looked, TargetFileState::Missing);
            checked |= !matches!(looked, TargetFileState::Unread);
            let toughs = match &tough {
                Some(tough) if missing || self.options.tough_names => Some(self.look(files, tough, meta, buffer)),
                _ => None,
            };
            match looked {
                TargetFileState::Missing if matches!(toughs, Some(TargetFileState::Good)) => {
                    let message = format!(
                        "is missing, but {} exists: only tough looks for that name; link the file to both names",
                        quote(tough.as_deref().unwrap_or_default())
                    );
                    self.warn(rules::P8, &name, message);
                }
                TargetFileState::Missing => self.missing(&name, path),
                TargetFileState::Wrong(problem) => self.wrong(&name, &problem),
                TargetFileState::Good | TargetFileState::Unread => {}
            }
            if let (Some(tough), Some(TargetFileState::Wrong(problem))) = (&tough, toughs) {
                self.wrong(tough, &problem);
            }
        }
        if !checked {
            self.report.checked.unchecked_targets += 1;
        }
    }

    fn missing(&mut self, name: &str, path: &TargetPath) {
        let message = format!("is missing: target {} cannot be downloaded; restore the file", quote(path.as_str()));
        self.error(rules::P6, name, message);
    }

    fn wrong(&mut self, name: &str, problem: &str) {
        self.error(rules::P7, name, format!("{problem}; restore the file that was signed"));
    }

    fn look(&mut self, files: &dyn Fetch, name: &str, meta: &TargetMeta, buffer: &mut [u8]) -> TargetFileState {
        let read = match files.fetch(name, meta.length) {
            Ok(None) => return TargetFileState::Missing,
            Ok(Some(file)) => {
                self.report.checked.target_files += 1;
                compare(file, meta, buffer, &mut self.report.checked.target_bytes).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(None) => TargetFileState::Good,
            Ok(Some(problem)) => TargetFileState::Wrong(problem),
            Err(reason) => {
                self.report.unread.push(Unread { subject: name.to_owned(), reason });
                TargetFileState::Unread
            }
        }
    }
}

/// Compares a file with its listed length and hashes; the text says how they differ.
fn compare(
    mut file: Box<dyn Read + '_>,
    meta: &TargetMeta,
    buffer: &mut [u8],
    bytes: &mut u64,
) -> std::io::Result<Option<String>> {
    let mut checker = meta.hashes.checker();
    let mut length = 0u64;
    loop {
        let count = match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        length += count as u64;
        *bytes += count as u64;
        if length > meta.length {
            return Ok(Some(format!("has more than the {} bytes listed", meta.length)));
        }
        checker.update(&buffer[..count]);
    }
    if length < meta.length {
        return Ok(Some(format!("has {length} bytes, but {} are listed", meta.length)));
    }
    Ok(checker.finish().err().map(|error| error.to_string()))
}
