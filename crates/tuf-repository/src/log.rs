//! The commit log: the state of the targets role, one record a batch.
//!
//! Record `N` names every role that its batch changed, and the outcome of every request the batch applied; it is signed
//! with the targets key, and it names the digest of the record before it. Creating `N.record.json` exclusively is the
//! compare-and-swap that makes a batch visible whole or not at all: whoever loses starts again from the newer record.
//! Metadata files no record lists are not state.
//!
//! Every [`BASE_INTERVAL`] records a base `N.base.json` holds the whole table of roles and the outcomes of the last
//! [`RESULT_RETENTION_SECONDS`]; the state is the newest valid base and the records behind it. A file that exists under
//! such a name and does not verify is skipped with an alarm and its number never used: it is not state and no reason to
//! stop.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::passed_over::PassedOver;
use tuf_core::canonical;
use tuf_core::envelope::Envelope;
use tuf_core::names::RoleName;
use tuf_core::sha256::Sha256;
use tuf_core::store::{Created, FileName, InvalidFileName, Store, StoreError};
use tuf_core::time::UtcTime;

/// Records between two bases.
pub const BASE_INTERVAL: u64 = 256;
/// How long outcomes are remembered: 7 days.
pub const RESULT_RETENTION_SECONDS: i64 = 7 * 24 * 3600;
/// Version of the format of records and bases. A newer one is refused, never guessed at.
pub const FORMAT: u32 = 2;
/// What everything is written as that a version before 2 understands too.
const PLAIN_FORMAT: u32 = 1;

const MAX_FILE: u64 = 256 << 20;

/// One version of one role, as a record names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRef {
    /// When it expires.
    pub expires: UtcTime,
    /// Length of the file in bytes.
    pub length: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256,
    /// Its version.
    pub version: u64,
}

/// What a request (a drop, a removal) did. Stored, so that a second delivery is answered and not repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Targets added or replaced.
    pub added: u64,
    /// Targets to be removed that were not there.
    pub not_found: u64,
    /// Targets removed.
    pub removed: u64,
}

/// A stored outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOutcome {
    /// What it did.
    pub outcome: Outcome,
    /// The record that holds it.
    pub record: u64,
    /// When.
    pub time: UtcTime,
}

/// One commit record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    #[serde(rename = "_type")]
    kind: String,
    format: u32,
    /// Its number.
    pub number: u64,
    /// Digest of the record before it; absent in the first.
    pub previous: Option<Sha256>,
    /// Outcome per request id.
    pub results: BTreeMap<String, Outcome>,
    /// The number of the record behind it, where that is not the next one: numbers in between were given to records that
    /// a restored backup has lost. Format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_at: Option<u64>,
    /// Every role the batch changed.
    pub roles: BTreeMap<RoleName, RoleRef>,
    /// When it was made.
    pub time: UtcTime,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    #[serde(rename = "_type")]
    kind: String,
    digest: Sha256,
    format: u32,
    number: u64,
    results: BTreeMap<String, StoredOutcome>,
    roles: BTreeMap<RoleName, RoleRef>,
    time: UtcTime,
}

/// What can go wrong with the log.
#[derive(Debug, Error)]
pub enum LogError {
    /// The store failed; nothing is known about the log's state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A number does not make a file name.
    #[error(transparent)]
    Name(#[from] InvalidFileName),
    /// Written by a newer version of this software.
    #[error("{file} has format {found}, this version reads up to {FORMAT}: upgrade this worker")]
    NewerFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u64,
    },
    /// A record or base could not be put into bytes or signed.
    #[error("cannot write {file}: {reason}")]
    Write {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// Too many names in a row are taken by files that do not verify.
    #[error("{0} names in a row are taken by files that are no records")]
    Squatted(u64),
}

/// Checks that an envelope is signed by a threshold of the targets keys.
pub type Verify<'a> = &'a dyn Fn(&Envelope) -> bool;
/// Signs canonical bytes with the targets keys; gives the bytes of the whole file.
pub type Sign<'a> = &'a dyn Fn(&[u8]) -> Result<Vec<u8>, String>;

/// What became of an attempt to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The record is durable and is now the head.
    Committed(u64),
    /// Another writer was first; refresh and start again.
    Lost,
}

/// What the file of one number is.
enum Taken {
    /// There is none.
    Nothing,
    /// No record behind the head.
    PassedOver,
    /// The record behind the head; the roles it changes.
    Record(Vec<RoleName>),
}

/// The log, read up to its head.
#[derive(Debug)]
pub struct Log {
    store: Arc<dyn Store>,
    loaded: bool,
    head: u64,
    /// The last number that is taken: the head's, or the last one it says is skipped.
    position: u64,
    head_digest: Option<Sha256>,
    /// The next name to look at; above `head + 1` where names are taken by files that are no records.
    next: u64,
    /// Those of the taken names that are no records.
    passed_over: PassedOver,
    base: u64,
    roles: BTreeMap<RoleName, RoleRef>,
    results: BTreeMap<String, StoredOutcome>,
    alarms: u64,
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
            passed_over: PassedOver::default(),
            base: 0,
            roles: BTreeMap::new(),
            results: BTreeMap::new(),
            alarms: 0,
        }
    }

    /// Number of the newest record; 0 when there is none.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// How far numbers are used up: the number of the newest record, or above it where that one skips lost numbers.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Digest of the newest record.
    #[must_use]
    pub fn head_digest(&self) -> Option<Sha256> {
        self.head_digest
    }

    /// The table of roles at the head.
    #[must_use]
    pub fn roles(&self) -> &BTreeMap<RoleName, RoleRef> {
        &self.roles
    }

    /// The stored outcome of a request.
    #[must_use]
    pub fn outcome(&self, request: &str) -> Option<&StoredOutcome> {
        self.results.get(request)
    }

    /// How many files were skipped because they do not verify.
    #[must_use]
    pub fn alarms(&self) -> u64 {
        self.alarms
    }

    /// Forgets everything read, so that the next [`Log::refresh`] reads from the newest base.
    pub fn forget(&mut self) {
        *self = Self::new(Arc::clone(&self.store));
    }

    /// Reads what is new. Returns the roles changed since the last call, or `None` when the log was read from its base
    /// (so that every role may have changed).
    ///
    /// # Errors
    /// [`LogError::Store`] leaves what was read so far as it was; [`LogError::NewerFormat`].
    pub fn refresh(&mut self, verify: Verify<'_>) -> Result<Option<Vec<RoleName>>, LogError> {
        if !self.loaded {
            self.load(verify)?;
            self.loaded = true;
            return Ok(None);
        }
        let mut changed = Vec::new();
        loop {
            match self.take(self.next, verify)? {
                Taken::Record(roles) => changed.extend(roles),
                Taken::PassedOver => {}
                Taken::Nothing => break,
            }
        }
        let behind = changed.is_empty() && !self.head_is_there()?;
        if behind || self.passed_over.changed(self.store.as_ref())? {
            // Collected: this process stood still for so long that the records it has not read are gone too. Or a name
            // that was passed over holds something else now, which may be the record behind the head.
            self.forget();
            self.load(verify)?;
            self.loaded = true;
            return Ok(None);
        }
        Ok(Some(changed))
    }

    /// Whether the record at the head still exists. The newest record always does.
    fn head_is_there(&self) -> Result<bool, LogError> {
        if self.head == 0 {
            // Nothing was collected before the first base.
            return Ok(!self.store.list("")?.iter().any(|name| number_of(name, ".base.json").is_some()));
        }
        Ok(self.store.stat(&record_name(self.head)?)?.is_some())
    }

    /// Records and bases that no reader needs any more, oldest first: those before the newest valid base that was made
    /// before `before`. That base and its record stay, so that no number is ever free again.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn collectable(&mut self, before: UtcTime, verify: Verify<'_>) -> Result<Vec<FileName>, LogError> {
        let mut files = Vec::new();
        for name in self.store.list("")? {
            if let Some(number) = number_of(&name, ".record.json") {
                files.push((number, record_name(number)?, false));
            } else if let Some(number) = number_of(&name, ".base.json") {
                files.push((number, base_name(number)?, true));
            }
        }
        files.sort_unstable();
        let mut first = None;
        let head = self.head;
        for (number, file, _) in files.iter().rev().filter(|(number, _, is_base)| *is_base && *number <= head) {
            let Some(bytes) = self.store.read(file, MAX_FILE)? else { continue };
            let base = self.parse::<Base>(file, &bytes, verify, |base| (&base.kind, base.number), "base", *number)?;
            if base.is_some_and(|base| base.time <= before) && self.store.stat(&record_name(*number)?)?.is_some() {
                first = Some(*number);
                break;
            }
        }
        let Some(first) = first else { return Ok(Vec::new()) };
        Ok(files.into_iter().filter(|(number, ..)| *number < first).map(|(_, file, _)| file).collect())
    }

    fn load(&mut self, verify: Verify<'_>) -> Result<(), LogError> {
        let (mut records, mut bases) = (Vec::new(), Vec::new());
        for name in self.store.list("")? {
            if let Some(number) = number_of(&name, ".record.json") {
                records.push(number);
            } else if let Some(number) = number_of(&name, ".base.json") {
                bases.push(number);
            }
        }
        bases.sort_unstable_by(|a, b| b.cmp(a));
        for number in bases {
            if self.load_base(number, verify)? {
                break;
            }
        }
        records.sort_unstable();
        for number in records {
            if number < self.next {
                continue;
            }
            if let Taken::Nothing = self.take(number, verify)? {
                // Gone since it was listed; higher numbers may be read all the same.
                self.passed_over.note(number, record_name(number)?, None);
            }
        }
        self.next = self.next.max(self.head + 1);
        Ok(())
    }

    /// Reads the file of one number and goes on behind it.
    fn take(&mut self, number: u64, verify: Verify<'_>) -> Result<Taken, LogError> {
        let name = record_name(number)?;
        let stat = self.store.stat(&name)?;
        let Some(bytes) = self.store.read(&name, MAX_FILE)? else { return Ok(Taken::Nothing) };
        let taken = match self.accept(number, &bytes, verify)? {
            Some(record) => {
                let roles = record.roles.keys().cloned().collect();
                self.apply(record, Sha256::of(&bytes));
                Taken::Record(roles)
            }
            None => {
                self.passed_over.note(number, name, stat);
                Taken::PassedOver
            }
        };
        self.next = self.next.max(number + 1);
        Ok(taken)
    }

    fn load_base(&mut self, number: u64, verify: Verify<'_>) -> Result<bool, LogError> {
        let file = base_name(number)?;
        let Some(bytes) = self.store.read(&file, MAX_FILE)? else { return Ok(false) };
        let Some(base) = self.parse::<Base>(&file, &bytes, verify, |base| (&base.kind, base.number), "base", number)?
        else {
            return Ok(false);
        };
        self.head = base.number;
        self.position = base.number;
        self.head_digest = Some(base.digest);
        self.base = base.number;
        self.next = base.number + 1;
        self.roles = base.roles;
        self.results = base.results;
        Ok(true)
    }

    /// A record that verifies and continues the chain; anything else is an alarm and `None`.
    fn accept(&mut self, number: u64, bytes: &[u8], verify: Verify<'_>) -> Result<Option<Record>, LogError> {
        let file = record_name(number)?;
        let parsed =
            self.parse::<Record>(&file, bytes, verify, |record| (&record.kind, record.number), "record", number)?;
        Ok(match parsed {
            Some(record) if record.previous == self.head_digest => Some(record),
            Some(_) => {
                self.alarm(&file, "it does not continue the record before it");
                None
            }
            None => None,
        })
    }

    fn parse<T: serde::de::DeserializeOwned>(
        &mut self,
        file: &FileName,
        bytes: &[u8],
        verify: Verify<'_>,
        identity: impl Fn(&T) -> (&String, u64),
        kind: &str,
        number: u64,
    ) -> Result<Option<T>, LogError> {
        let Ok(envelope) = Envelope::parse(bytes) else {
            self.alarm(file, "it is not signed metadata");
            return Ok(None);
        };
        if !verify(&envelope) {
            self.alarm(file, "its signatures do not meet the threshold of the targets keys");
            return Ok(None);
        }
        #[derive(Deserialize)]
        struct Format {
            format: u64,
        }
        // Signed by us: a format this version does not know is a newer version's, and guessing would lose its meaning.
        match serde_json::from_slice::<Format>(envelope.signed()) {
            Ok(Format { format }) if format > u64::from(FORMAT) => {
                return Err(LogError::NewerFormat { file: file.to_string(), found: format });
            }
            _ => {}
        }
        match serde_json::from_slice::<T>(envelope.signed()) {
            Ok(parsed) if identity(&parsed).0 == kind && identity(&parsed).1 == number => Ok(Some(parsed)),
            Ok(_) => {
                self.alarm(file, "it is of another kind or number than its name says");
                Ok(None)
            }
            Err(error) => {
                self.alarm(file, &format!("it cannot be read: {error}"));
                Ok(None)
            }
        }
    }

    fn alarm(&mut self, file: &FileName, reason: &str) {
        self.alarms += 1;
        tracing::error!(log.file = %file, "{file} in the commit log is skipped: {reason}");
    }

    fn apply(&mut self, record: Record, digest: Sha256) {
        self.head = record.number;
        self.head_digest = Some(digest);
        let resume_at = record.resume_at.unwrap_or(0).max(record.number + 1);
        self.position = resume_at - 1;
        self.next = self.next.max(resume_at);
        self.passed_over.settle(self.position);
        self.roles.extend(record.roles);
        let (number, time) = (record.number, record.time);
        self.results.extend(
            record
                .results
                .into_iter()
                .map(|(request, outcome)| (request, StoredOutcome { outcome, record: number, time })),
        );
    }

    /// Appends a record behind the head. `now` is written into it. With `skip_to` all numbers up to that one count as
    /// used: the next record has a higher one.
    ///
    /// # Errors
    /// [`LogError`]; the record may exist all the same after a store failure, which the next refresh finds out.
    pub fn append(
        &mut self,
        roles: BTreeMap<RoleName, RoleRef>,
        results: BTreeMap<String, Outcome>,
        now: UtcTime,
        skip_to: Option<u64>,
        verify: Verify<'_>,
        sign: Sign<'_>,
    ) -> Result<Appended, LogError> {
        // A few squatted names are stepped over; a directory full of them is somebody's attack, and an alarm.
        for number in self.next..self.next + 64 {
            let record = Record {
                kind: "record".into(),
                format: if skip_to.is_some() { FORMAT } else { PLAIN_FORMAT },
                number,
                previous: self.head_digest,
                results: results.clone(),
                resume_at: skip_to.map(|used| used.max(number) + 1),
                roles: roles.clone(),
                time: now,
            };
            let file = record_name(number)?;
            let bytes = signed_file(&file, &record, sign)?;
            let digest = Sha256::of(&bytes);
            if self.store.create(&file, &bytes)? != Created::Conflict {
                if !self.head_is_there()? || self.passed_over.changed(self.store.as_ref())? {
                    // This process stood still until the records behind its head were collected: the number was not
                    // free but forgotten, and no reader looks at it. Or a number below it was free again, and may be
                    // another writer's. Start again from what is there now.
                    self.forget();
                    return Ok(Appended::Lost);
                }
                self.apply(record, digest);
                self.prune(now);
                return Ok(Appended::Committed(number));
            }
            let stat = self.store.stat(&file)?;
            let taken = self.store.read(&file, MAX_FILE)?;
            if let Some(taken) = taken
                && self.accept(number, &taken, verify)?.is_some()
            {
                return Ok(Appended::Lost);
            }
            self.passed_over.note(number, file, stat);
            self.next = number + 1;
        }
        Err(LogError::Squatted(64))
    }

    /// Whether [`Log::write_base`] has something to do.
    #[must_use]
    pub fn base_due(&self) -> bool {
        // A base knows no skipped numbers: it waits for the record behind them.
        self.head >= self.base + BASE_INTERVAL && self.position == self.head
    }

    /// Writes the base of the head. Not part of any commit: a crash before it costs reading more records.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn write_base(&mut self, now: UtcTime, sign: Sign<'_>) -> Result<(), LogError> {
        let Some(digest) = self.head_digest else { return Ok(()) };
        self.prune(now);
        let base = Base {
            kind: "base".into(),
            digest,
            format: PLAIN_FORMAT,
            number: self.head,
            results: self.results.clone(),
            roles: self.roles.clone(),
            time: now,
        };
        let file = base_name(self.head)?;
        let bytes = signed_file(&file, &base, sign)?;
        // An existing base of this number says the same with other signatures or another time: as good as ours.
        self.store.create(&file, &bytes)?;
        self.base = self.head;
        Ok(())
    }

    fn prune(&mut self, now: UtcTime) {
        self.results.retain(|_, stored| now.seconds_since(stored.time) <= RESULT_RETENTION_SECONDS);
    }
}

fn signed_file(file: &FileName, body: &impl Serialize, sign: Sign<'_>) -> Result<Vec<u8>, LogError> {
    let failed = |reason: String| LogError::Write { file: file.to_string(), reason };
    let value = serde_json::to_value(body).map_err(|error| failed(error.to_string()))?;
    let signed = canonical::value_to_canonical(&value).map_err(|error| failed(error.to_string()))?;
    sign(&signed).map_err(failed)
}

fn record_name(number: u64) -> Result<FileName, InvalidFileName> {
    FileName::new(format!("{number}.record.json"))
}

fn base_name(number: u64) -> Result<FileName, InvalidFileName> {
    FileName::new(format!("{number}.base.json"))
}

/// The number of `N` + `suffix`, in its one spelling.
pub(crate) fn number_of(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let number = digits.parse::<u64>().ok()?;
    (number >= 1 && number.to_string() == digits).then_some(number)
}
