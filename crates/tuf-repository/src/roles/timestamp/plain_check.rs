//! Plain names that someone changed or removed are found, and copied again.
//!
//! Without consistent snapshots clients fetch plain names, and nothing writes a plain name again that did not change in the
//! metadata. So the role compares all plain names of the served snapshot with the metadata, in rounds, a bounded part per
//! call: each by its length and modification time, and by its bytes when either is new, or a day has passed.

use tuf_core::document::Document;
use tuf_core::names::RoleName;
use tuf_core::sha256::FileDigest;
use tuf_core::store::{CopyFile, Store};
use tuf_core::time::UtcTime;

use super::plain_round::{CallBudget, PlainRound};
use super::role::TimestampRole;
use crate::roles::error::RoleError;
use crate::roles::plain_names::{plain_copy, target_copy};
use crate::roles::role_reader::ExpectedBytes;
use crate::roles::snapshot_entry::version_of;

/// Copies made together.
const COPIES_PER_BATCH: usize = 256;
/// The subject of the notice.
const SUBJECT: &str = "plain names";

impl TimestampRole {
    /// Compares the next part of the plain names with the metadata that clients see, and copies again what differs. What
    /// cannot be copied becomes a notice: no other work depends on it.
    pub(super) fn check_plain(&mut self, now: UtcTime) -> Result<(), RoleError> {
        if self.trust.root().consistent_snapshot || !self.policy.store_targets {
            return Ok(());
        }
        let Some(served) = self.served.clone() else { return Ok(()) };
        let Some(snapshot) = self.snapshot_of(&served)? else { return Ok(()) };
        let mut check = std::mem::take(&mut self.plain_round);
        if let Err(error) = self.check_part(&mut check, &snapshot.document, served.timestamp.version, now) {
            self.notices.set(SUBJECT, format!("cannot compare the plain files with the metadata: {error}"));
        }
        self.plain_round = check;
        Ok(())
    }

    fn check_part(
        &mut self,
        check: &mut PlainRound,
        snapshot: &Document,
        served: u64,
        now: UtcTime,
    ) -> Result<(), RoleError> {
        if !check.begin(snapshot, now) {
            return Ok(());
        }
        let mut budget = CallBudget::of_a_call();
        while budget.is_left()
            && let Some((role, version)) = check.pending.pop()
        {
            match self.check_role(check, snapshot, (&role, version), served, &mut budget) {
                Ok(true) => check.after = None,
                Ok(false) => check.pending.push((role, version)),
                Err(error) => {
                    // The next call goes on with the next role.
                    check.after = None;
                    return Err(error);
                }
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
        check: &mut PlainRound,
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
            if !budget.is_left() {
                whole = false;
                break;
            }
            let path = std::str::from_utf8(&key).unwrap_or_default();
            let copy = target_copy(path, entry)?;
            if let Some((copy, FileDigest { length, sha256 })) =
                copy.and_then(|copy| copy.expected.map(|of| (copy, of)))
                && !check.is_right(targets.as_ref(), &copy, &sha256, length, budget)?
            {
                budget.copied = budget.copied.saturating_sub(length);
                copies.push(copy);
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
        check: &mut PlainRound,
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
        let mut copied = copies.len();
        if store.copy_all(&copies).is_err() {
            // One by one: one source that is gone must not keep the others.
            for copy in &copies {
                if let Err(error) = store.copy_all(std::slice::from_ref(copy)) {
                    check.cannot_copy(copy, &error);
                    copied -= 1;
                }
            }
        }
        if copied == 0 {
            return Ok(());
        }
        let first = copies.first().map_or("", |copy| copy.to.as_str());
        tracing::warn!(files = copied, first, "plain files had been changed or removed; copied again");
        Ok(())
    }
}
