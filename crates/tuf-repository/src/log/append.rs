//! How records and bases are written.

use std::collections::BTreeMap;

use tuf_core::names::RoleName;
use tuf_core::sha256::Sha256;
use tuf_core::store::Created;
use tuf_core::time::UtcTime;

use super::base::{BASE_INTERVAL, Base, base_name};
use super::error::LogError;
use super::reader::Log;
use super::record::{LOG_FORMAT, MAX_LOG_FILE_BYTES, PLAIN_LOG_FORMAT, Record, RequestOutcome, RoleRef, record_name};
use super::signed::{Sign, Verify, signed_file};
use crate::named_file::NamedFile;
use crate::numbered::{MAX_NUMBER, MAX_SQUATTED_NAMES};

/// The result of an attempt to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The record of this number is durable and is now the head.
    Committed(u64),
    /// Another writer was first. Refresh and try again.
    Lost,
}

impl Log {
    /// Appends a record behind the head, with the time `now`. With `skip_to` all numbers up to that one count as used: the
    /// next record gets a higher number.
    ///
    /// # Errors
    /// [`LogError`]. After a failure of the store the record may exist; the next refresh finds it.
    pub fn append(
        &mut self,
        roles: BTreeMap<RoleName, RoleRef>,
        results: BTreeMap<String, RequestOutcome>,
        now: UtcTime,
        skip_to: Option<u64>,
        verify: Verify<'_>,
        sign: Sign<'_>,
    ) -> Result<Appended, LogError> {
        // A few squatted names are stepped over. A directory full of them is an attack, and an alarm.
        for number in self.next..=self.position.saturating_add(MAX_SQUATTED_NAMES) {
            let resume_at = skip_to.map(|used| used.max(number).saturating_add(1));
            if number.max(resume_at.unwrap_or(0)) > MAX_NUMBER {
                return Err(LogError::Exhausted);
            }
            let record = Record {
                kind: "record".into(),
                format: if skip_to.is_some() { LOG_FORMAT } else { PLAIN_LOG_FORMAT },
                number,
                previous: self.head_digest,
                results: results.clone(),
                resume_at,
                roles: roles.clone(),
                time: now,
            };
            let file = record_name(number)?;
            let bytes = signed_file(&file, &record, sign)?;
            let digest = Sha256::of(&bytes);
            if self.store.create(&file, &bytes)? != Created::Conflict {
                if !self.head_exists(verify)? || self.skipped.changed(self.store.as_ref())? {
                    // Retention has deleted the records behind the head while this process stood still: the number was
                    // used before, and no reader looks at it. Or a skipped number below became free, and another
                    // writer may have used it. Start again from the present state.
                    self.forget();
                    return Ok(Appended::Lost);
                }
                self.apply(record, digest);
                self.prune(now);
                return Ok(Appended::Committed(number));
            }
            let stat = self.store.stat(&file)?;
            match NamedFile::read(self.store.as_ref(), &file, MAX_LOG_FILE_BYTES)? {
                NamedFile::Bytes(existing) if self.accept(number, &existing, verify)?.is_some() => {
                    return Ok(Appended::Lost);
                }
                NamedFile::Unusable(error) => self.skipped.insert_unusable(number, file, stat, &error),
                NamedFile::Bytes(_) | NamedFile::Missing => self.skipped.insert(number, file, stat),
            }
            self.next = number + 1;
        }
        Err(LogError::Squatted(MAX_SQUATTED_NAMES))
    }

    /// Whether [`Log::write_base`] is due.
    #[must_use]
    pub fn base_due(&self) -> bool {
        // A base cannot express skipped numbers: it waits for the record behind them.
        self.head >= self.base + BASE_INTERVAL && self.position == self.head
    }

    /// Writes the base of the head. It is not part of a commit: after a crash before it, readers read more records.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn write_base(&mut self, now: UtcTime, sign: Sign<'_>) -> Result<(), LogError> {
        let Some(digest) = self.head_digest else { return Ok(()) };
        self.prune(now);
        let base = Base {
            kind: "base".into(),
            digest,
            format: PLAIN_LOG_FORMAT,
            number: self.head,
            results: self.results.clone(),
            roles: self.roles.clone(),
            time: now,
        };
        let file = base_name(self.head)?;
        let bytes = signed_file(&file, &base, sign)?;
        // An existing base of this number holds the same state, with other signatures or another time.
        self.store.create(&file, &bytes)?;
        self.base = self.head;
        Ok(())
    }
}
