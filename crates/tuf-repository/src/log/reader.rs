//! The log, read up to its head.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use tuf_core::envelope::Envelope;
use tuf_core::names::RoleName;
use tuf_core::sha256::Sha256;
use tuf_core::store::{FileName, Store, StoreError};
use tuf_core::time::UtcTime;

use super::base::{Base, OUTCOME_RETENTION_SECONDS, base_name};
use super::error::LogError;
use super::record::{LOG_FORMAT, MAX_LOG_FILE_BYTES, Record, RecordedOutcome, RoleRef, record_name};
use super::signed::Verify;
use crate::far_names::FarNames;
use crate::named_file::NamedFile;
use crate::notices::Notices;
use crate::numbered::{MAX_NUMBER, MAX_SQUATTED_NAMES, number_of};
use crate::skipped_names::SkippedNames;

/// The file of one number.
enum RecordLookup {
    /// The file does not exist.
    Missing,
    /// The file is no record that continues the log.
    Skipped,
    /// The next record, with the roles that it changes.
    Record(Vec<RoleName>),
}

/// The log, read up to its head.
#[derive(Debug)]
pub struct Log {
    pub(super) store: Arc<dyn Store>,
    loaded: bool,
    pub(super) head: u64,
    /// The last number in use: the head, or the last number that the head skips.
    pub(super) position: u64,
    pub(super) head_digest: Option<Sha256>,
    /// The next number to read. Above `head + 1` where files that are no records hold the names in between.
    pub(super) next: u64,
    /// The names in between.
    pub(super) skipped: SkippedNames,
    far: FarNames,
    pub(super) notices: Notices,
    pub(super) base: u64,
    pub(super) roles: BTreeMap<RoleName, RoleRef>,
    pub(super) results: BTreeMap<String, RecordedOutcome>,
}

impl Log {
    /// A log that has not been read yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            loaded: false,
            head: 0,
            position: 0,
            head_digest: None,
            next: 1,
            skipped: SkippedNames::default(),
            far: FarNames::default(),
            notices: Notices::default(),
            base: 0,
            roles: BTreeMap::new(),
            results: BTreeMap::new(),
        }
    }

    /// Number of the newest record; 0 for an empty log.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The highest number in use: the number of the newest record, or above it where that record skips lost numbers.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Digest of the newest record.
    #[must_use]
    pub fn head_digest(&self) -> Option<Sha256> {
        self.head_digest
    }

    /// The lowest file behind the head, up to `number`, that exists and cannot be read, with the reason. It may be the next
    /// record.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn unreadable_up_to(&self, number: u64) -> Result<Option<(FileName, StoreError)>, LogError> {
        let next = (self.next, record_name(self.next)?);
        Ok(self.skipped.unreadable_up_to(self.store.as_ref(), next, number)?)
    }

    /// The table of roles at the head.
    #[must_use]
    pub fn roles(&self) -> &BTreeMap<RoleName, RoleRef> {
        &self.roles
    }

    /// The outcome of a request, while the log remembers it.
    #[must_use]
    pub fn outcome(&self, request: &str) -> Option<&RecordedOutcome> {
        self.results.get(request)
    }

    /// Forgets everything read, so that the next [`Log::refresh`] reads from the newest base.
    pub fn forget(&mut self) {
        let notices = std::mem::take(&mut self.notices);
        *self = Self { notices, ..Self::new(Arc::clone(&self.store)) };
    }

    /// Conditions that an operator must look at, although the log can be used.
    pub fn notices(&self) -> impl Iterator<Item = &str> {
        self.notices.texts()
    }

    /// Reads the new records. Returns the roles changed since the last call, or `None` when the log was read from its base
    /// (so that every role may have changed).
    ///
    /// # Errors
    /// [`LogError::Store`], which keeps the state read so far; [`LogError::NewerFormat`].
    pub fn refresh(&mut self, verify: Verify<'_>) -> Result<Option<Vec<RoleName>>, LogError> {
        if !self.loaded {
            self.load(verify)?;
            self.loaded = true;
            return Ok(None);
        }
        let mut changed = Vec::new();
        // No writer steps over more names.
        while self.next <= self.position.saturating_add(MAX_SQUATTED_NAMES) {
            match self.read_record(self.next, verify)? {
                RecordLookup::Record(roles) => changed.extend(roles),
                RecordLookup::Skipped => {}
                RecordLookup::Missing => break,
            }
        }
        let behind = changed.is_empty() && !self.head_exists(verify)?;
        let store = self.store.as_ref();
        if behind || self.skipped.changed(store)? || self.far.changed(store)? {
            // Either retention has deleted the head and the records behind it while this process stood still, or a skipped
            // name holds another file now, which may be the next record.
            self.forget();
            self.load(verify)?;
            self.loaded = true;
            return Ok(None);
        }
        Ok(Some(changed))
    }

    /// Whether the record at the head still exists. Retention never deletes the newest record.
    pub(super) fn head_exists(&mut self, verify: Verify<'_>) -> Result<bool, LogError> {
        if self.head == 0 {
            // Retention deletes no record before the first base.
            for number in self.listed_bases()? {
                if self.read_base(number, verify)?.is_some() {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        Ok(self.store.stat(&record_name(self.head)?)?.is_some())
    }

    fn load(&mut self, verify: Verify<'_>) -> Result<(), LogError> {
        let names = self.store.list("")?;
        let mut records: Vec<u64> = names.iter().filter_map(|name| number_of(name, ".record.json")).collect();
        for number in bases_in(&names) {
            if self.load_base(number, verify)? {
                break;
            }
        }
        records.sort_unstable();
        for number in records {
            if number < self.next {
                continue;
            }
            if let RecordLookup::Missing = self.read_record(number, verify)? {
                // Deleted since the listing; higher numbers can still be read.
                self.skipped.insert(number, record_name(number)?, None);
            }
        }
        // A name far away does not move the next number, and is not waited for.
        let far = self.skipped.take_above(self.position.saturating_add(MAX_SQUATTED_NAMES));
        self.far.found("record", far, &mut self.notices);
        self.next = self.skipped.next_free(self.position + 1);
        Ok(())
    }

    /// The numbers of the bases on disk, newest first.
    fn listed_bases(&self) -> Result<Vec<u64>, LogError> {
        Ok(bases_in(&self.store.list("")?))
    }

    /// Reads the file of one number and moves to the next number.
    fn read_record(&mut self, number: u64, verify: Verify<'_>) -> Result<RecordLookup, LogError> {
        let name = record_name(number)?;
        let stat = self.store.stat(&name)?;
        let bytes = match NamedFile::read(self.store.as_ref(), &name, MAX_LOG_FILE_BYTES)? {
            NamedFile::Bytes(bytes) => bytes,
            NamedFile::Missing => return Ok(RecordLookup::Missing),
            NamedFile::Unusable(error) => {
                self.alarm(&name, &error.to_string());
                self.skipped.insert_unusable(number, name, stat, &error);
                self.next = self.skipped.next_free(self.position + 1);
                return Ok(RecordLookup::Skipped);
            }
        };
        if let Some(record) = self.accept(number, &bytes, verify)? {
            let roles = record.roles.keys().cloned().collect();
            self.apply(record, Sha256::of(&bytes));
            return Ok(RecordLookup::Record(roles));
        }
        self.skipped.insert(number, name, stat);
        self.next = self.skipped.next_free(self.position + 1);
        Ok(RecordLookup::Skipped)
    }

    /// The base of a number, if it verifies.
    pub(super) fn read_base(&mut self, number: u64, verify: Verify<'_>) -> Result<Option<Base>, LogError> {
        let file = base_name(number)?;
        match NamedFile::read(self.store.as_ref(), &file, MAX_LOG_FILE_BYTES)? {
            NamedFile::Bytes(bytes) => {
                self.parse::<Base>(&file, &bytes, verify, |base| (&base.kind, base.number), "base", number)
            }
            NamedFile::Missing => Ok(None),
            NamedFile::Unusable(error) => {
                self.alarm(&file, &error.to_string());
                Ok(None)
            }
        }
    }

    fn load_base(&mut self, number: u64, verify: Verify<'_>) -> Result<bool, LogError> {
        let Some(base) = self.read_base(number, verify)? else { return Ok(false) };
        self.head = base.number;
        self.position = base.number;
        self.head_digest = Some(base.digest);
        self.base = base.number;
        self.next = base.number + 1;
        self.roles = base.roles;
        self.results = base.results;
        Ok(true)
    }

    /// The record, if it verifies and continues the chain; otherwise an alarm and `None`.
    pub(super) fn accept(&mut self, number: u64, bytes: &[u8], verify: Verify<'_>) -> Result<Option<Record>, LogError> {
        let file = record_name(number)?;
        if number > MAX_NUMBER {
            self.alarm(&file, "its number is higher than any that is ever used");
            return Ok(None);
        }
        let parsed =
            self.parse::<Record>(&file, bytes, verify, |record| (&record.kind, record.number), "record", number)?;
        Ok(match parsed {
            Some(record) if record.previous == self.head_digest => Some(record),
            Some(_) => {
                self.alarm(&file, "does not continue the record before it");
                None
            }
            None => None,
        })
    }

    pub(super) fn parse<T: serde::de::DeserializeOwned>(
        &mut self,
        file: &FileName,
        bytes: &[u8],
        verify: Verify<'_>,
        identity: impl Fn(&T) -> (&String, u64),
        kind: &str,
        number: u64,
    ) -> Result<Option<T>, LogError> {
        let Ok(envelope) = Envelope::parse(bytes) else {
            self.alarm(file, "not signed metadata");
            return Ok(None);
        };
        if !verify(&envelope) {
            self.alarm(file, "fewer signatures than the threshold of the targets keys");
            return Ok(None);
        }
        #[derive(Deserialize)]
        struct Format {
            format: u64,
        }
        // The signature is good, so a newer version of this software wrote the format; a guess would lose its meaning.
        match serde_json::from_slice::<Format>(envelope.signed()) {
            Ok(Format { format }) if format > u64::from(LOG_FORMAT) => {
                return Err(LogError::NewerFormat { file: file.clone(), found: format });
            }
            _ => {}
        }
        match serde_json::from_slice::<T>(envelope.signed()) {
            Ok(parsed) if identity(&parsed).0 == kind && identity(&parsed).1 == number => Ok(Some(parsed)),
            Ok(_) => {
                self.alarm(file, "another kind or number than the file name says");
                Ok(None)
            }
            Err(error) => {
                self.alarm(file, &format!("unreadable: {error}"));
                Ok(None)
            }
        }
    }

    fn alarm(&self, file: &FileName, reason: &str) {
        tracing::error!(log.file = %file, reason, "commit log file skipped");
    }

    pub(super) fn apply(&mut self, record: Record, digest: Sha256) {
        self.head = record.number;
        self.head_digest = Some(digest);
        let resume_at = record.resume_at.unwrap_or(0).max(record.number + 1);
        self.position = resume_at - 1;
        self.skipped.settle(self.position);
        // Skipped names are read again: a record that did not continue the old head may continue this one. A listing over NFS
        // may have left out the one in between.
        self.next = resume_at;
        self.roles.extend(record.roles);
        let (number, time) = (record.number, record.time);
        self.results.extend(
            record
                .results
                .into_iter()
                .map(|(request, outcome)| (request, RecordedOutcome { outcome, record: number, time })),
        );
    }

    pub(super) fn prune(&mut self, now: UtcTime) {
        self.results.retain(|_, stored| now.seconds_since(stored.time) <= OUTCOME_RETENTION_SECONDS);
    }
}

/// The numbers of bases among names, newest first.
fn bases_in(names: &[String]) -> Vec<u64> {
    let numbers = names.iter().filter_map(|name| number_of(name, ".base.json"));
    let mut bases: Vec<u64> = numbers.filter(|number| *number <= MAX_NUMBER).collect();
    bases.sort_unstable_by(|a, b| b.cmp(a));
    bases
}
