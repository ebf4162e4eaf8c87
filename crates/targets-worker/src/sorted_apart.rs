//! Pairs of targets that tough sorts differently in one role.

use std::collections::BTreeSet;
use std::ops::Bound;

use tuf_core::names::TargetPath;
use tuf_core::time::UtcTime;
use tuf_repository::roles::Layout;

use crate::error::TargetsError;
use crate::fault::TargetFault;
use crate::role::TargetsWorker;

impl TargetsWorker {
    /// The first of `paths` that tough would sort differently beside another of them, one of `earlier`, or a signed target of
    /// the same role. Signed targets are read for paths with a space or a `!` alone, so that a shorter path that is released
    /// after the longer one is not found.
    ///
    /// # Errors
    /// The signed metadata cannot be read.
    pub(crate) fn sorted_apart(
        &mut self,
        paths: &[&TargetPath],
        earlier: &BTreeSet<TargetPath>,
        now: UtcTime,
    ) -> Result<Option<TargetFault>, TargetsError> {
        let fault = |path: &TargetPath, other: &TargetPath| TargetFault::SortedApart {
            path: path.clone(),
            other: other.clone(),
        };
        let layout = self.role.layout();
        let in_one_role = |one: &TargetPath, other: &TargetPath| match layout {
            Layout::Flat => true,
            Layout::Bins(bins) => bins.index_of(one) == bins.index_of(other),
        };
        let own: BTreeSet<&str> = paths.iter().map(|path| path.as_str()).collect();
        let mut shorter_paths: Vec<(TargetPath, &TargetPath)> = Vec::new();
        for path in paths {
            let shorter = path.sorted_apart_from().filter_map(|shorter| TargetPath::new(shorter).ok());
            for shorter in shorter.filter(|shorter| in_one_role(path, shorter)) {
                if own.contains(shorter.as_str()) || earlier.contains(&shorter) {
                    return Ok(Some(fault(path, &shorter)));
                }
                shorter_paths.push((shorter, path));
            }
            // Nothing that begins with this path comes before these.
            let longer = earlier.range::<str, _>((Bound::Excluded(path.as_str()), Bound::Unbounded)).next();
            if let Some(longer) = longer
                && longer.sorted_apart_from().any(|shorter| shorter == path.as_str())
                && in_one_role(path, longer)
            {
                return Ok(Some(fault(path, longer)));
            }
        }
        if shorter_paths.is_empty() {
            return Ok(None);
        }
        let signed = self.role.entries_of(shorter_paths.iter().map(|(shorter, _)| shorter), now)?;
        let found = shorter_paths.iter().find(|(shorter, _)| signed.contains_key(shorter));
        Ok(found.map(|(shorter, path)| fault(path, shorter)))
    }
}
