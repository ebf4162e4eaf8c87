//! Walks through `targets/`, one part per call, and deletes the files that no version in use lists.

use super::live_versions::LiveVersions;
use super::remove::remove_stale;
use crate::retention::{CandidateFile, Retention, is_hashed_dir};
use crate::roles::error::RoleError;
use tuf_core::store::{FileName, Store};
use tuf_core::time::UtcTime;

/// The most names that one call reads. The last directory is finished in any case.
const MAX_NAMES_PER_SWEEP: usize = 20_000;
/// The most candidates in memory.
const CANDIDATES_PER_CHUNK: usize = 10_000;
/// With more names than this a round begins once a day, otherwise with every call.
const LARGE_TREE_NAMES: usize = 100_000;
const LARGE_TREE_INTERVAL_SECONDS: i64 = 86_400;

/// The result of one call.
#[derive(Debug, Default)]
pub(super) struct SweepOutcome {
    /// Names removed.
    pub(super) removed: Vec<FileName>,
    /// Number of target files deleted.
    pub(super) targets: u64,
    /// Number of temporary files deleted.
    pub(super) temporary: u64,
    /// Whether a limit was reached.
    pub(super) more: bool,
}

/// Continues the present round, or begins one. `candidate` returns the targets that a file (directory, name) may be a copy
/// of.
pub(super) fn sweep(
    store: &dyn Store,
    kept: &mut LiveVersions<'_>,
    retention: &mut Retention,
    now: UtcTime,
    candidate: impl Fn(&str, &str) -> Option<CandidateFile>,
) -> Result<SweepOutcome, RoleError> {
    let (before, deletions) = (retention.before(now), retention.deletions());
    let round = &mut retention.sweep;
    let mut swept = SweepOutcome::default();
    if round.pending.is_empty() {
        if round.seen > LARGE_TREE_NAMES
            && round.started.is_some_and(|started| now.seconds_since(started) < LARGE_TREE_INTERVAL_SECONDS)
        {
            return Ok(swept);
        }
        round.first = round.started.is_none();
        (round.started, round.seen) = (Some(now), 0);
        round.pending.push(String::new());
    }
    let first_round = round.first;
    let until = round.seen + MAX_NAMES_PER_SWEEP;
    while let Some(dir) = round.pending.pop() {
        swept.temporary += remove_stale(store, &dir, before);
        let at = |name: &str| if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
        let names = store.list(&dir)?;
        for chunk in names.chunks(CANDIDATES_PER_CHUNK) {
            let candidates: Vec<CandidateFile> = chunk.iter().filter_map(|name| candidate(&dir, name)).collect();
            let unlisted = kept.unlisted(candidates, round, |candidate| {
                let Some(name) = candidate.names.last() else { return Ok(false) };
                Ok(store.stat(name)?.is_some_and(|stat| stat.mtime < before))
            })?;
            let mut files: Vec<FileName> = unlisted.into_iter().flat_map(|candidate| candidate.names).collect();
            // A file has at most two names. When only one is removed, the other one finds the pair again in the next round.
            let limited = swept.removed.len() + files.len() > deletions;
            files.truncate(deletions.saturating_sub(swept.removed.len()));
            match store.remove_older(&files, before) {
                Ok(removed) => {
                    swept.targets += removed;
                    swept.removed.extend(files);
                    swept.more |= limited;
                }
                Err(error) => tracing::warn!(%error, "retention could not remove target files"),
            }
            if swept.more {
                round.pending.push(dir);
                return Ok(swept);
            }
        }
        round.seen += names.len() + 1;
        // After the files: empty directories are gone by now.
        for below in store.list_dirs(&dir)? {
            // There may be one such directory per file, so only the first round of a process reads them, for second names
            // whose first name is gone after a crash.
            let second_names = dir.is_empty() && is_hashed_dir(&below);
            if !below.starts_with('.') && (!second_names || first_round) {
                round.pending.push(at(&below));
            }
        }
        if round.seen >= until && !round.pending.is_empty() {
            break;
        }
    }
    Ok(swept)
}
