//! Looks through `targets/`, a stretch at a time, for files that nothing lists any more.

use super::super::RoleError;
use super::kept::Kept;
use super::remove_stale;
use crate::retention::{Candidate, Retention, is_hashed_dir};
use tuf_core::store::{FileName, Store};
use tuf_core::time::UtcTime;

/// Names looked at by one call; the directory begun last is looked through whole.
const LOOK: usize = 20_000;
/// Candidates in memory at once.
const CHUNK: usize = 10_000;
/// With more names than this a round is begun once a day, else by every call.
const LARGE: usize = 100_000;
const DAY: i64 = 86_400;

/// What a stretch of the sweep did.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// Names removed.
    pub(super) removed: Vec<FileName>,
    /// How many of them were still there.
    pub(super) targets: u64,
    pub(super) temporary: u64,
    pub(super) more: bool,
}

/// Goes on with the round that was begun, or begins one. `candidate` says of a file (directory, name) whose copy it is.
pub(super) fn sweep(
    store: &dyn Store,
    kept: &mut Kept<'_>,
    retention: &mut Retention,
    now: UtcTime,
    candidate: impl Fn(&str, &str) -> Option<Candidate>,
) -> Result<Swept, RoleError> {
    let (before, deletions) = (retention.before(now), retention.deletions());
    let round = &mut retention.sweep;
    let mut swept = Swept::default();
    if round.pending.is_empty() {
        if round.looked > LARGE && round.started.is_some_and(|started| now.seconds_since(started) < DAY) {
            return Ok(swept);
        }
        round.first = round.started.is_none();
        (round.started, round.looked) = (Some(now), 0);
        round.pending.push(String::new());
    }
    let first_round = round.first;
    let until = round.looked + LOOK;
    while let Some(dir) = round.pending.pop() {
        swept.temporary += remove_stale(store, &dir, before);
        let at = |name: &str| if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
        let names = store.list(&dir)?;
        for chunk in names.chunks(CHUNK) {
            let candidates: Vec<Candidate> = chunk.iter().filter_map(|name| candidate(&dir, name)).collect();
            let unlisted = kept.unlisted(candidates, round, |candidate| {
                let Some(name) = candidate.names.last() else { return Ok(false) };
                Ok(store.stat(name)?.is_some_and(|stat| stat.mtime < before))
            })?;
            let mut files: Vec<FileName> = unlisted.into_iter().flat_map(|candidate| candidate.names).collect();
            // Two names at most belong together; both go, or the first that is left finds the other again.
            let limited = swept.removed.len() + files.len() > deletions;
            files.truncate(deletions.saturating_sub(swept.removed.len()));
            match store.remove_older(&files, before) {
                Ok(removed) => {
                    swept.targets += removed;
                    swept.removed.extend(files);
                    swept.more |= limited;
                }
                Err(error) => tracing::warn!("retention left target files behind: {error}"),
            }
            if swept.more {
                round.pending.push(dir);
                return Ok(swept);
            }
        }
        round.looked += names.len() + 1;
        // After its files: directories that were left empty are gone.
        for below in store.list_dirs(&dir)? {
            // There may be a directory for every file, so these are looked into by the first round of a process alone:
            // for what a crash left of a file whose first name is gone.
            let second = dir.is_empty() && is_hashed_dir(&below);
            if !below.starts_with('.') && (!second || first_round) {
                round.pending.push(at(&below));
            }
        }
        if round.looked >= until && !round.pending.is_empty() {
            break;
        }
    }
    Ok(swept)
}
