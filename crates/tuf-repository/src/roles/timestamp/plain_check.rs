//! Plain names that someone changed or removed are found, and copied again.
//!
//! Without consistent snapshots clients fetch plain names, and nothing writes a plain name again that did not change in the
//! metadata. So the role compares all plain names of the served snapshot with the metadata, in rounds, a bounded part per
//! call: each by its length and modification time, and by its bytes when either is new, or a day has passed.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

use tuf_core::document::Document;
use tuf_core::names::RoleName;
use tuf_core::sha256::FileDigest;
use tuf_core::store::{CopyFile, FileStat, Store, StoreError};
use tuf_core::time::UtcTime;

use super::role::TimestampRole;
use crate::roles::error::RoleError;
use crate::roles::limits::MAX_TARGETS;
use crate::roles::plain_names::{plain_copy, target_copy};
use crate::roles::role_reader::ExpectedBytes;
use crate::roles::snapshot_entry::{listed_version, version_of};

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
/// Copies made together.
const COPIES_PER_BATCH: usize = 256;
/// The subject of the notice.
const SUBJECT: &str = "plain names";

/// How far the role has compared the plain names.
#[derive(Debug, Default)]
pub(super) struct PlainCheck {
    /// Version of the snapshot of this round.
    snapshot: u64,
    /// Start of the round.
    started: Option<UtcTime>,
    /// The remaining roles of the round, the present one last, with the versions that the snapshot lists.
    pending: Vec<(RoleName, u64)>,
    /// The last target compared in the present role.
    after: Option<Vec<u8>>,
    /// Names compared in this round.
    seen: usize,
    /// Names that cannot be copied again, found in this round, with the first reason.
    broken: usize,
    reason: Option<String>,
    /// Modification time per name whose bytes were right, by the hash of the name and of what it must hold.
    right: HashMap<u64, i64>,
    hasher: RandomState,
    /// Since when `right` is filled.
    since: Option<UtcTime>,
}

/// The work that a call may still do.
struct CallBudget {
    names: usize,
    hashed: u64,
    copied: u64,
}

impl PlainCheck {
    fn key(&self, name: &str, content: &impl Hash) -> u64 {
        self.hasher.hash_one((name, content))
    }

    /// Begins a round if one is due. False when there is nothing to do.
    fn begin(&mut self, snapshot: &Document, now: UtcTime) -> bool {
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
    fn is_right(
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

    fn cannot_copy(&mut self, copy: &CopyFile, error: &StoreError) {
        self.broken += 1;
        self.reason.get_or_insert_with(|| format!("{}: {error}", copy.to));
    }
}

impl TimestampRole {
    /// Compares the next part of the plain names with the metadata that clients see, and copies again what differs. What
    /// cannot be copied becomes a notice: no other work depends on it.
    pub(super) fn check_plain(&mut self, now: UtcTime) -> Result<(), RoleError> {
        if self.trust.root().consistent_snapshot || !self.policy.store_targets {
            return Ok(());
        }
        let Some(served) = self.served.clone() else { return Ok(()) };
        let Some(snapshot) = self.snapshot_of(&served)? else { return Ok(()) };
        let mut check = std::mem::take(&mut self.plain_check);
        if let Err(error) = self.check_part(&mut check, &snapshot.document, served.timestamp.version, now) {
            self.notices.set(SUBJECT, format!("cannot compare the plain files with the metadata: {error}"));
        }
        self.plain_check = check;
        Ok(())
    }

    fn check_part(
        &mut self,
        check: &mut PlainCheck,
        snapshot: &Document,
        served: u64,
        now: UtcTime,
    ) -> Result<(), RoleError> {
        if !check.begin(snapshot, now) {
            return Ok(());
        }
        let mut budget =
            CallBudget { names: NAMES_PER_CALL, hashed: HASHED_BYTES_PER_CALL, copied: COPIED_BYTES_PER_CALL };
        while budget.names > 0
            && budget.copied > 0
            && let Some((role, version)) = check.pending.pop()
        {
            if self.check_role(check, snapshot, (&role, version), served, &mut budget)? {
                check.after = None;
            } else {
                check.pending.push((role, version));
            }
        }
        if check.broken > 0 {
            let reason = check.reason.as_deref().unwrap_or_default();
            let text = format!(
                "{} plain files are missing or changed, and cannot be copied again ({reason}): post these files again",
                check.broken
            );
            self.notices.set(SUBJECT, text);
        } else if check.pending.is_empty() {
            self.notices.clear(SUBJECT);
        }
        Ok(())
    }

    /// Compares the plain name of a role and the targets that it lists, from the last one compared on. True when all are
    /// compared.
    fn check_role(
        &mut self,
        check: &mut PlainCheck,
        snapshot: &Document,
        (role, version): (&RoleName, u64),
        served: u64,
        budget: &mut CallBudget,
    ) -> Result<bool, RoleError> {
        let (metadata, targets) = (self.repository.metadata.clone(), self.repository.targets.clone());
        if check.after.is_none() {
            let copy = plain_copy(role, version)?;
            // The check of the versioned file is the work of others.
            let Some(stat) = metadata.stat(&copy.from)? else { return Ok(true) };
            if !check.is_right(metadata.as_ref(), &copy, &version, stat.len, budget)? {
                self.copy_again(check, metadata.as_ref(), vec![copy], served)?;
            }
        }
        if *role == RoleName::snapshot() {
            return Ok(true);
        }
        let listed = |role: &RoleName| version_of(snapshot, role).map(|version| (version, ExpectedBytes::Version));
        self.reader.prepare(&self.trust, role, &listed)?;
        let (document, _) = self.reader.read(&self.trust, role, version, ExpectedBytes::Version)?;
        let mut copies = Vec::new();
        let mut whole = true;
        for (key, entry) in document.iter() {
            if check.after.as_deref().is_some_and(|after| *key <= *after) {
                continue;
            }
            if budget.names == 0 || budget.copied == 0 {
                whole = false;
                break;
            }
            let path = std::str::from_utf8(&key).unwrap_or_default();
            if let Some(copy) = target_copy(path, entry)? {
                let FileDigest { length, sha256 } =
                    copy.expected.unwrap_or(FileDigest { length: 0, sha256: [0; 32].into() });
                if !check.is_right(targets.as_ref(), &copy, &sha256.as_bytes(), length, budget)? {
                    budget.copied = budget.copied.saturating_sub(length);
                    copies.push(copy);
                }
            }
            check.after = Some(key.into_owned());
        }
        for batch in copies.chunks(COPIES_PER_BATCH) {
            self.copy_again(check, targets.as_ref(), batch.to_vec(), served)?;
        }
        Ok(whole)
    }

    /// Makes copies, unless clients have got another timestamp than `served` since they were found to be needed.
    fn copy_again(
        &mut self,
        check: &mut PlainCheck,
        store: &dyn Store,
        copies: Vec<CopyFile>,
        served: u64,
    ) -> Result<(), RoleError> {
        let _lock = self.lock_served()?;
        self.read_served()?;
        if self.version() != served || self.is_overtaken(served)? {
            check.pending.clear();
            return Ok(());
        }
        if store.copy_all(&copies).is_err() {
            // One by one: one source that is gone must not keep the others.
            for copy in &copies {
                if let Err(error) = store.copy_all(std::slice::from_ref(copy)) {
                    check.cannot_copy(copy, &error);
                }
            }
        }
        tracing::warn!(files = copies.len(), first = %copies[0].to, "plain files had been changed or removed; copied again");
        Ok(())
    }
}
