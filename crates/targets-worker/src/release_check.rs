//! Whether files may be released: by `policy.*`, and beside the other targets.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use fleet::config::TargetNames;
use tuf_core::names::TargetPath;
use tuf_core::store::FileName;
use tuf_core::time::UtcTime;
use tuf_repository::roles::TargetEntry;

use crate::error::TargetsError;
use crate::fault::TargetFault;
use crate::ingest::IngestedFile;
use crate::kept_names::ancestors;
use crate::role::TargetsWorker;

/// The targets of earlier drops of the same batch.
#[derive(Debug, Default)]
pub(crate) struct EarlierDrops {
    /// Targets that may not be replaced.
    fixed: BTreeMap<TargetPath, TargetEntry>,
    /// The paths of all targets.
    paths: BTreeSet<TargetPath>,
}

impl EarlierDrops {
    /// A path of these files that would be the directory of an earlier target, or have one as its directory.
    fn clash(&self, files: &[IngestedFile]) -> Option<TargetFault> {
        let fault = |path: &TargetPath, other: &TargetPath| TargetFault::ClashInBatch {
            path: path.clone(),
            other: other.clone(),
        };
        files.iter().map(|file| &file.path).find_map(|path| {
            if let Some(above) = ancestors(path.as_str()).find_map(|above| self.paths.get(above)) {
                return Some(fault(path, above));
            }
            let inside = format!("{path}/");
            let below = self.paths.range::<str, _>((Bound::Excluded(inside.as_str()), Bound::Unbounded)).next();
            below.filter(|below| below.as_str().starts_with(&inside)).map(|below| fault(path, below))
        })
    }
}

impl TargetsWorker {
    /// Why these files may not be released; `None`: they may, and join `earlier`. Another targets-worker that adds one of them
    /// at the same instant is not seen. Pairs that tough sorts differently are left to the commit, which has the roles in memory.
    ///
    /// # Errors
    /// The targets directory or the signed metadata cannot be read.
    pub(crate) fn check_release(
        &mut self,
        files: &[IngestedFile],
        earlier: &mut EarlierDrops,
        now: UtcTime,
    ) -> Result<Option<TargetFault>, TargetsError> {
        let mut refused = files.iter().filter(|file| !self.policy.allowed.matches(&file.path));
        if let Some(file) = refused.next() {
            return Ok(Some(TargetFault::NotAllowed { path: file.path.clone(), more: refused.count() }));
        }
        for path in files.iter().map(|file| &file.path) {
            let Err(source) = path.check_portable(self.policy.legacy) else { continue };
            match self.policy.names {
                TargetNames::Portable => {
                    let refused = files.iter().filter(|file| file.path.check_portable(self.policy.legacy).is_err());
                    let more = refused.count().saturating_sub(1);
                    return Ok(Some(TargetFault::Unportable { path: path.clone(), source, more }));
                }
                TargetNames::Any => {
                    tracing::warn!(target.path = %path, obstacle = %source, "target released that some clients cannot fetch");
                }
            }
        }
        if self.policy.legacy
            && let Some(file) = files.iter().find(|file| file.entry.length == 0)
        {
            return Ok(Some(TargetFault::Empty { path: file.path.clone() }));
        }
        if let Some(fault) = earlier.clash(files) {
            return Ok(Some(fault));
        }
        if let Some(fault) = self.clash_in_store(files)? {
            return Ok(Some(fault));
        }
        earlier.paths.extend(files.iter().map(|file| file.path.clone()));
        // Reading the signed entries costs as much as signing: only done where a target may not be replaced.
        if self.policy.overwrite.is_everything() {
            return Ok(None);
        }
        let fixed = || files.iter().filter(|file| !self.policy.overwrite.matches(&file.path));
        let paths: Vec<TargetPath> = fixed().map(|file| file.path.clone()).collect();
        let fixed: Vec<(TargetPath, TargetEntry)> = fixed().map(|file| (file.path.clone(), file.entry)).collect();
        let signed = self.role.entries_of(paths.iter(), now)?;
        for (path, entry) in &fixed {
            let known = earlier.fixed.get(path).or_else(|| signed.get(path));
            if known.is_some_and(|known| known != entry) {
                return Ok(Some(TargetFault::NotReplaceable { path: path.clone() }));
            }
        }
        earlier.fixed.extend(fixed);
        Ok(None)
    }

    /// Without consistent snapshots target files have their plain names as well, and a file cannot be a directory.
    fn clash_in_store(&self, files: &[IngestedFile]) -> Result<Option<TargetFault>, TargetsError> {
        let Some(store) = self.plain_names() else { return Ok(None) };
        for file in files {
            let path = &file.path;
            for above in ancestors(path.as_str()) {
                // A name that no file can have is no file of an earlier release either.
                let Ok(name) = FileName::new(above) else { continue };
                if store.stat(&name)?.is_some() {
                    return Ok(Some(TargetFault::PathBelowFile { path: path.clone(), above: name }));
                }
            }
            let (dir, name) = (path.parent().unwrap_or_default(), path.file_name());
            if store.list_dirs(dir)?.iter().any(|found| found == name) {
                return Ok(Some(TargetFault::PathIsDirectory { path: path.clone() }));
            }
        }
        Ok(None)
    }
}
