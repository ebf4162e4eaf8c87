//! Which targets a release may add, and which it may replace.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use fleet::policy::PathPatterns;
use fleet::signing::SigningError;
use tuf_core::names::TargetPath;
use tuf_core::store::{FileName, StoreError};
use tuf_core::time::UtcTime;
use tuf_repository::roles::TargetEntry;

use crate::ingest::{Taken, ancestors};
use crate::role::Targets;

/// `policy.*` of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) allowed: PathPatterns,
    pub(crate) overwrite: PathPatterns,
    /// Whether clients are served that refuse a target without a byte (`keyid_format: legacy`).
    pub(crate) legacy: bool,
}

/// What earlier drops of the same batch will have signed.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// What may not be replaced any more.
    fixed: BTreeMap<TargetPath, TargetEntry>,
    /// All of it.
    paths: BTreeSet<TargetPath>,
}

impl Ahead {
    /// A path of these files that would be a directory of others, or lie in one of them as if that were a directory.
    fn clash(&self, files: &[Taken]) -> Option<String> {
        let said = |path: &TargetPath, other: &TargetPath| {
            format!(
                "{path} cannot be released together with {other}, which the same batch holds: one of them would be a \
                     file and the other's directory at once"
            )
        };
        files.iter().map(|taken| &taken.path).find_map(|path| {
            if let Some(above) = ancestors(path.as_str()).find_map(|above| self.paths.get(above)) {
                return Some(said(path, above));
            }
            let inside = format!("{path}/");
            let below = self.paths.range::<str, _>((Bound::Excluded(inside.as_str()), Bound::Unbounded)).next();
            below.filter(|below| below.as_str().starts_with(&inside)).map(|below| said(path, below))
        })
    }
}

impl Targets {
    /// Why these files may not be released, if they may not; if they may, they join `ahead`. Another targets-worker that
    /// adds one of them at the same instant is not seen.
    pub(crate) fn forbidden(
        &mut self,
        files: &[Taken],
        ahead: &mut Ahead,
        now: UtcTime,
    ) -> Result<Option<String>, SigningError> {
        if let Some(taken) = files.iter().find(|taken| !self.policy.allowed.matches(&taken.path)) {
            return Ok(Some(format!("{} is not among policy.allowed_targets", taken.path)));
        }
        if self.policy.legacy
            && let Some(taken) = files.iter().find(|taken| taken.entry.length == 0)
        {
            return Ok(Some(format!(
                "{} has no bytes, and the clients that keyid_format: legacy is for cannot download an empty file",
                taken.path
            )));
        }
        if let Some(reason) = ahead.clash(files) {
            return Ok(Some(reason));
        }
        if let Some(reason) = self.clash_in_store(files)? {
            return Ok(Some(reason));
        }
        ahead.paths.extend(files.iter().map(|taken| taken.path.clone()));
        // Reading what is signed costs as much as signing: only where something may not be replaced.
        if self.policy.overwrite.is_everything() {
            return Ok(None);
        }
        let fixed = || files.iter().filter(|taken| !self.policy.overwrite.matches(&taken.path));
        let paths: Vec<TargetPath> = fixed().map(|taken| taken.path.clone()).collect();
        let fixed: Vec<(TargetPath, TargetEntry)> = fixed().map(|taken| (taken.path.clone(), taken.entry)).collect();
        let signed = self.role.entries_of(paths.iter(), now)?;
        for (path, entry) in &fixed {
            let known = ahead.fixed.get(path).or_else(|| signed.get(path));
            if known.is_some_and(|known| known != entry) {
                return Ok(Some(format!(
                    "{path} is there already with other content, and policy.overwrite does not let it be replaced"
                )));
            }
        }
        ahead.fixed.extend(fixed);
        Ok(None)
    }

    /// Without consistent snapshots target files have their own names as well, and a file can not be a directory.
    fn clash_in_store(&self, files: &[Taken]) -> Result<Option<String>, SigningError> {
        let Some(store) = self.plain_names() else { return Ok(None) };
        let failed = |error: StoreError| SigningError::infrastructure(error);
        for taken in files {
            let path = &taken.path;
            for above in ancestors(path.as_str()) {
                let name = FileName::new(above).map_err(|error| SigningError::refused(error.to_string()))?;
                if store.stat(&name).map_err(failed)?.is_some() {
                    return Ok(Some(format!("{path} cannot be released: {above} is a file in the targets directory")));
                }
            }
            let (dir, name) = (path.parent().unwrap_or_default(), path.file_name());
            if store.list_dirs(dir).map_err(failed)?.iter().any(|found| found == name) {
                return Ok(Some(format!("{path} cannot be released: it is a directory in the targets directory")));
            }
        }
        Ok(None)
    }
}
