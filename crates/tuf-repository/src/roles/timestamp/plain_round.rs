//! One round of comparing plain names: how far it is, and which names are known to be right.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

use tuf_core::document::Document;
use tuf_core::names::RoleName;
use tuf_core::store::{CopyFile, FileStat, Store, StoreError};
use tuf_core::time::UtcTime;

use crate::roles::limits::MAX_TARGETS;
use crate::roles::snapshot_entry::listed_version;

/// The most names that one call looks at.
const NAMES_PER_CALL: usize = 20_000;
/// The bytes that one call hashes; the last file may exceed it.
const HASHED_BYTES_PER_CALL: u64 = 64 << 20;
/// The bytes that one call copies; the last file may exceed it.
const COPIED_BYTES_PER_CALL: u64 = 256 << 20;
/// With more names than [`NAMES_PER_CALL`] a round begins once an hour, otherwise with every call.
const LARGE_ROUND_SECONDS: i64 = 3_600;
/// How long the bytes of a name count as right while its length and modification time stay.
const BYTES_VALID_SECONDS: i64 = 86_400;
/// The most names whose state is in memory, 16 bytes each.
const REMEMBERED_NAMES: usize = 4_000_000;
/// How far the role has compared the plain names.
#[derive(Debug, Default)]
pub(super) struct PlainRound {
    /// Version of the snapshot of this round.
    snapshot: u64,
    /// Start of the round.
    started: Option<UtcTime>,
    /// The remaining roles of the round, the present one last, with the versions that the snapshot lists.
    pub(super) pending: Vec<(RoleName, u64)>,
    /// The last target compared in the present role.
    pub(super) after: Option<Vec<u8>>,
    /// Names compared in this round.
    seen: usize,
    /// Names that cannot be copied again, found in this round, with the first reason.
    pub(super) broken: usize,
    pub(super) reason: Option<String>,
    /// Modification time per name whose bytes were right, by the hash of the name and of what it must hold.
    right: HashMap<u64, i64>,
    hasher: RandomState,
    /// Since when `right` is filled.
    since: Option<UtcTime>,
}

/// The work that a call may still do.
pub(super) struct CallBudget {
    pub(super) names: usize,
    pub(super) hashed: u64,
    pub(super) copied: u64,
}

impl CallBudget {
    /// The work of one call.
    pub(super) fn of_a_call() -> Self {
        Self { names: NAMES_PER_CALL, hashed: HASHED_BYTES_PER_CALL, copied: COPIED_BYTES_PER_CALL }
    }

    /// Whether names may still be compared, and copied if need be.
    pub(super) fn is_left(&self) -> bool {
        self.names > 0 && self.copied > 0
    }
}

impl PlainRound {
    fn key(&self, name: &str, content: &impl Hash) -> u64 {
        self.hasher.hash_one((name, content))
    }

    /// Begins a round if one is due. False when there is nothing to do.
    pub(super) fn begin(&mut self, snapshot: &Document, now: UtcTime) -> bool {
        if self.snapshot != snapshot.version() {
            // The swap has compared what it changed. Everything else is compared again from the start.
            self.pending.clear();
            self.started = None;
        }
        if !self.pending.is_empty() {
            return true;
        }
        let large = self.seen > NAMES_PER_CALL;
        if large && self.started.is_some_and(|started| now.seconds_since(started) < LARGE_ROUND_SECONDS) {
            return false;
        }
        if self.since.is_none_or(|since| now.seconds_since(since) >= BYTES_VALID_SECONDS) {
            self.right.clear();
            self.since = Some(now);
        }
        (self.snapshot, self.started, self.after, self.seen) = (snapshot.version(), Some(now), None, 0);
        (self.broken, self.reason) = (0, None);
        self.pending = vec![(RoleName::snapshot(), snapshot.version())];
        for (key, entry) in snapshot.iter() {
            let name = std::str::from_utf8(&key).ok().and_then(|key| key.strip_suffix(".json"));
            if let (Some(Ok(role)), Some(version)) = (name.map(RoleName::new), listed_version(entry)) {
                self.pending.push((role, version));
            }
        }
        true
    }

    /// Whether the plain name of `copy` holds what it must, as far as this call may find out.
    pub(super) fn is_right(
        &mut self,
        store: &dyn Store,
        copy: &CopyFile,
        content: &impl Hash,
        length: u64,
        budget: &mut CallBudget,
    ) -> Result<bool, StoreError> {
        budget.names = budget.names.saturating_sub(1);
        self.seen += 1;
        let Some(FileStat { len, mtime }) = store.stat(&copy.to)? else { return Ok(false) };
        if len != length {
            return Ok(false);
        }
        let key = self.key(copy.to.as_str(), content);
        if self.right.get(&key) == Some(&mtime) || budget.hashed == 0 {
            return Ok(true);
        }
        budget.hashed = budget.hashed.saturating_sub(len);
        let present = match store.digest(&copy.to, len) {
            Err(error) if error.is_of_the_file() => return Ok(false),
            other => other?,
        };
        let wanted = match copy.expected {
            Some(expected) => Some(expected),
            None => store.digest(&copy.from, MAX_TARGETS)?,
        };
        let right = present.is_some() && present == wanted;
        if right && self.right.len() < REMEMBERED_NAMES {
            self.right.insert(key, mtime);
        }
        Ok(right)
    }

    pub(super) fn cannot_copy(&mut self, copy: &CopyFile, error: &StoreError) {
        self.broken += 1;
        self.reason.get_or_insert_with(|| format!("{}: {error}", copy.to));
    }
}
