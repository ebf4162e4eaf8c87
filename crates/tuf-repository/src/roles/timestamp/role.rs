//! The timestamp role and its one operation: show the newest snapshot, or renew the timestamp.

use std::sync::Arc;

use tuf_core::names::{RoleName, TopRole};
use tuf_core::schema::Hashes;
use tuf_core::time::UtcTime;

use super::plain_round::PlainRound;
use super::policy::TimestampPolicy;
use super::signed::SignedTimestamp;
use crate::far_names::FarNames;
use crate::floor::FloorFile;
use crate::notices::Notices;
use crate::numbered::is_reachable;
use crate::roles::error::{Contested, RoleError};
use crate::roles::floor_checks::{check_clock, snapshot_below_floor, timestamp_below_floor};
use crate::roles::foreign;
use crate::roles::recover;
use crate::roles::repository_stores::RepositoryStores;
use crate::roles::role_reader::RoleReader;
use crate::roles::snapshot_reader::SnapshotReader;
use crate::roles::trust::Trust;
use crate::roles::update::RoleUpdate;

/// How often an update starts again because another writer was first.
const TIMESTAMP_ATTEMPTS: usize = 64;

/// The timestamp role of one repository.
#[derive(Debug)]
pub struct TimestampRole {
    pub(in crate::roles) repository: RepositoryStores,
    pub(in crate::roles) trust: Trust,
    pub(in crate::roles) policy: TimestampPolicy,
    floor: FloorFile,
    pub(in crate::roles) snapshots: SnapshotReader,
    pub(in crate::roles) reader: RoleReader,
    pub(in crate::roles) served: Option<SignedTimestamp>,
    /// The next hidden version to read; 0 before the directory has been listed.
    pub(super) next: u64,
    pub(super) far: FarNames,
    pub(super) notices: Notices,
    pub(super) plain_round: PlainRound,
    /// The next timestamp resumes above the floor and skips all versions up to this one; 0 otherwise.
    pub(super) skip_to: u64,
}

impl TimestampRole {
    /// Opens the role. Only the floor has been read.
    #[must_use]
    pub fn new(repository: RepositoryStores, trust: Trust, policy: TimestampPolicy, floor: FloorFile) -> Self {
        Self {
            snapshots: SnapshotReader::new(Arc::clone(&repository.metadata)),
            reader: RoleReader::new(Arc::clone(&repository.metadata)),
            repository,
            trust,
            policy,
            floor,
            served: None,
            next: 0,
            far: FarNames::default(),
            notices: Notices::default(),
            plain_round: PlainRound::default(),
            skip_to: 0,
        }
    }

    /// The trust of the role.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The floor.
    #[must_use]
    pub fn floor(&self) -> &FloorFile {
        &self.floor
    }

    /// Version and expiry of the served timestamp, as last read.
    #[must_use]
    pub fn current(&self) -> Option<(u64, UtcTime)> {
        self.served.as_ref().map(|served| (served.timestamp.version, served.timestamp.expires))
    }

    /// Version of the served timestamp, as last read; 0 without one.
    pub(super) fn version(&self) -> u64 {
        self.served.as_ref().map_or(0, |served| served.timestamp.version)
    }

    /// Conditions that an operator must look at, although the role goes on.
    pub fn notices(&self) -> impl Iterator<Item = &str> {
        self.trust.notices().chain(self.snapshots.notices()).chain(self.notices.texts())
    }

    /// Time of the next renewal, as last read.
    #[must_use]
    pub fn next_renewal(&self) -> Option<UtcTime> {
        self.current().map(|(_, expires)| self.policy.lifetime.renewal(expires))
    }

    /// Shows the newest snapshot to clients, or renews the timestamp when it is near its expiry (or with `force`).
    ///
    /// # Errors
    /// [`RoleError`].
    pub fn update(&mut self, now: UtcTime, force: bool) -> Result<RoleUpdate, RoleError> {
        for _ in 0..TIMESTAMP_ATTEMPTS {
            self.refresh(now)?;
            // A timestamp that an interrupted run signed is shown first.
            let pending = self.newest_hidden()?;
            if let Some(pending) = pending {
                self.swap(pending)?;
                continue;
            }
            let Some(newest) = self.snapshots.newest().cloned() else {
                return Err(RoleError::NoSnapshotYet);
            };
            if newest.document.expires() <= now {
                let (version, expires) = (newest.document.version(), newest.document.expires());
                return Err(RoleError::SnapshotExpired { version, expires });
            }
            let served = self.served.as_ref().map(|served| &served.timestamp);
            // Clients compare the hash too: a timestamp that names other bytes shows them nothing.
            let current = served.is_some_and(|served| {
                let hash = served.snapshot.hashes.as_ref().and_then(Hashes::sha256);
                served.snapshot.version == newest.document.version() && hash.is_none_or(|hash| hash == newest.sha256)
            });
            let renew =
                served.is_none_or(|served| force || self.skip_to > 0 || self.policy.lifetime.due(served.expires, now));
            if current && !renew {
                self.raise(None)?;
                self.check_plain(now)?;
                return Ok(self.shown(false));
            }
            if served.is_none() && self.skip_to == 0 && self.refuse_foreign()? {
                continue;
            }
            self.check_progress(&newest)?;
            if let Some(signed) = self.sign(&newest, now)? {
                let version = signed.timestamp.version;
                self.swap(signed)?;
                // Not shown when another process signed a higher version in between: try again.
                if self.current().is_some_and(|(shown, _)| shown >= version) {
                    self.raise(Some(now))?;
                    return Ok(self.shown(true));
                }
            }
        }
        Err(RoleError::LostRace { contested: Contested::Timestamp, attempts: TIMESTAMP_ATTEMPTS })
    }

    /// The answer for the served timestamp, as last read from its served name.
    fn shown(&self, changed: bool) -> RoleUpdate {
        let served = self.served.as_ref().map(|served| &served.timestamp);
        let version = served.map_or(0, |served| served.version);
        RoleUpdate { version, changed, record: None, snapshot: served.map(|served| served.snapshot.version) }
    }

    pub(in crate::roles) fn refresh(&mut self, now: UtcTime) -> Result<(), RoleError> {
        let floor = self.floor.get().unwrap_or_default();
        self.trust.refresh(floor.root, now)?;
        self.trust.signers_of(&RoleName::timestamp())?;
        // The served timestamp before the snapshots: the snapshot that it names is then never ahead of those read after it.
        self.read_served()?;
        self.snapshots.look_beyond_gaps(now)?;
        self.snapshots.refresh(&self.trust)?;
        self.show_again(floor.timestamp)?;
        let version = self.version();
        // A timestamp that is signed and not shown yet is not in the floor: the floor is raised after the swap.
        self.skip_to = 0;
        let snapshot = snapshot_below_floor(&self.snapshots, &floor)?;
        // A number that no release has reached holds for the snapshots too; otherwise the snapshot role must resume first.
        let moved = snapshot.is_some() && !is_reachable(floor.snapshot) && self.floor.recovery_granted()?;
        let (moved, snapshot) = if moved { (snapshot, None) } else { (None, snapshot) };
        if let Some(below) = timestamp_below_floor(version, &floor).or(moved) {
            // Listed again each time: the timestamp that resumes above the floor skips numbers.
            self.next = 0;
            if !self.floor.recovery_granted()? {
                return Err(below);
            }
            self.skip_to = recover::used_up_to(floor.timestamp, version);
            tracing::warn!(reason = %below, "resuming above the floor");
        }
        if let Some(below) = snapshot {
            self.snapshots.forget();
            return Err(below);
        }
        if self.skip_to == 0 {
            check_clock(&mut self.floor, now)?;
        }
        Ok(())
    }

    /// Refuses to begin with version 1 where timestamps exist that do not verify. True when one appeared that does.
    fn refuse_foreign(&mut self) -> Result<bool, RoleError> {
        let Some(file) = foreign::find(self.repository.metadata.as_ref(), Some(TopRole::Timestamp))? else {
            return Ok(false);
        };
        // Another process may have signed the first timestamp in the meantime.
        self.read_served()?;
        self.next = 0;
        if self.served.is_none() && self.newest_hidden()?.is_none() {
            return Err(RoleError::ForeignMetadata { file });
        }
        self.next = 0;
        Ok(true)
    }

    /// Raises the floor. `signed` is the time of the signature when this run signed the served timestamp.
    fn raise(&mut self, signed: Option<UtcTime>) -> Result<(), RoleError> {
        let root = self.trust.version();
        let Some(served) = self.served.as_ref().map(|served| &served.timestamp) else { return Ok(()) };
        // The floor of the snapshot comes from the snapshots that verify, and not from the timestamp that names one.
        let newest = self.snapshots.version();
        let (timestamp, snapshot) = (served.version, served.snapshot.version.min(newest));
        self.floor.raise(|floor| {
            floor.root = root;
            floor.snapshot = snapshot;
            floor.timestamp = timestamp;
            if let Some(now) = signed {
                floor.signed = now.unix();
            }
        })?;
        if let Some(now) = signed
            && std::mem::take(&mut self.skip_to) > 0
        {
            self.floor.recovered(now, |floor| (floor.snapshot, floor.timestamp) = (snapshot, timestamp))?;
        }
        Ok(())
    }
}
