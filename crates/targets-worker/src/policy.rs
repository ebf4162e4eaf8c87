//! Which targets a release may add, and which it may replace.

use std::collections::BTreeMap;

use fleet::policy::PathPatterns;
use fleet::signing::RoleError;
use tuf_core::names::TargetPath;
use tuf_core::roles::TargetEntry;
use tuf_core::time::UtcTime;

use crate::ingest::Taken;
use crate::role::Targets;

/// `policy.*` of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) allowed: PathPatterns,
    pub(crate) overwrite: PathPatterns,
}

/// What earlier drops of the same batch will have signed.
pub(crate) type Ahead = BTreeMap<TargetPath, TargetEntry>;

impl Targets {
    /// Why these files may not be released, if they may not; if they may, they join `ahead`. Another targets-worker that
    /// adds one of them at the same instant is not seen.
    pub(crate) fn forbidden(
        &mut self,
        files: &[Taken],
        ahead: &mut Ahead,
        now: UtcTime,
    ) -> Result<Option<String>, RoleError> {
        if let Some(taken) = files.iter().find(|taken| !self.policy.allowed.matches(&taken.path)) {
            return Ok(Some(format!("{} is not among policy.allowed_targets", taken.path)));
        }
        // Reading what is signed costs as much as signing: only where something may not be replaced.
        if self.policy.overwrite.is_everything() {
            return Ok(None);
        }
        let fixed = || files.iter().filter(|taken| !self.policy.overwrite.matches(&taken.path));
        let paths: Vec<TargetPath> = fixed().map(|taken| taken.path.clone()).collect();
        let fixed: Vec<(TargetPath, TargetEntry)> = fixed().map(|taken| (taken.path.clone(), taken.entry)).collect();
        let signed = self.role.entries_of(paths.iter(), now)?;
        for (path, entry) in &fixed {
            let known = ahead.get(path).or_else(|| signed.get(path));
            if known.is_some_and(|known| known != entry) {
                return Ok(Some(format!(
                    "{path} is there already with other content, and policy.overwrite does not let it be replaced"
                )));
            }
        }
        ahead.extend(fixed);
        Ok(None)
    }
}
