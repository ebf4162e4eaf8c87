//! Timestamps that are signed and durable, and not shown yet.

use std::sync::Arc;

use tuf_core::canonical::Extra;
use tuf_core::names::RoleName;
use tuf_core::schema::{Hashes, Metadata, RoleMeta, SpecVersion, Timestamp};
use tuf_core::store::Created;
use tuf_core::time::UtcTime;

use super::names::{hidden, hidden_version};
use super::role::TimestampRole;
use super::signed::SignedTimestamp;
use crate::far_names::FarNames;
use crate::named_file::NamedFile;
use crate::numbered::{MAX_NUMBER, MAX_SQUATTED_NAMES};
use crate::roles::error::RoleError;
use crate::roles::invalid_metadata::InvalidMetadata;
use crate::roles::limits::{MAX_TIMESTAMP, MAX_TIMESTAMP_WRITTEN};
use crate::roles::snapshot_reader::VerifiedSnapshot;

impl TimestampRole {
    /// The highest hidden timestamp above the served one that may be shown.
    pub(super) fn newest_hidden(&mut self) -> Result<Option<SignedTimestamp>, RoleError> {
        let metadata = Arc::clone(&self.repository.metadata);
        let served = self.version();
        if self.next == 0 || self.far.changed(metadata.as_ref())? {
            return self.list_hidden(served);
        }
        self.next = self.next.max(served + 1);
        let mut newest = None;
        // No writer steps over more names.
        while self.next <= served.max(self.skip_to).saturating_add(MAX_SQUATTED_NAMES) {
            match NamedFile::read(metadata.as_ref(), &hidden(self.next)?, MAX_TIMESTAMP)? {
                NamedFile::Missing => break,
                file => newest = self.fits(self.next, file)?.or(newest),
            }
            self.next += 1;
        }
        Ok(newest)
    }

    /// As [`TimestampRole::newest_hidden`], from the whole directory.
    fn list_hidden(&mut self, served: u64) -> Result<Option<SignedTimestamp>, RoleError> {
        let metadata = Arc::clone(&self.repository.metadata);
        // The store lists dot names too, except its own temporary files.
        let mut versions: Vec<u64> = metadata.list("")?.iter().filter_map(|name| hidden_version(name)).collect();
        versions.retain(|version| *version > served);
        versions.sort_unstable_by(|a, b| b.cmp(a));
        let mut newest = None;
        let mut others = Vec::new();
        for version in versions {
            let name = hidden(version)?;
            let file = NamedFile::read(metadata.as_ref(), &name, MAX_TIMESTAMP)?;
            newest = self.fits(version, file)?;
            if newest.is_some() {
                break;
            }
            others.push((version, name));
        }
        // A name far away does not move the next version: that comes from a timestamp that verifies.
        let verified = newest.as_ref().map_or(served, |signed| signed.timestamp.version);
        others.retain(|(version, _)| FarNames::is_far(*version, verified));
        self.far.found("timestamp", others, &mut self.notices);
        self.next = verified + 1;
        Ok(newest)
    }

    /// Signs and creates the next hidden timestamp. `None` when the name is taken: refresh and try again.
    pub(super) fn sign(
        &mut self,
        newest: &VerifiedSnapshot,
        now: UtcTime,
    ) -> Result<Option<SignedTimestamp>, RoleError> {
        let version = self.next_version()?;
        let timestamp = Timestamp {
            version,
            expires: self.policy.lifetime.expiry(now),
            // Always with length and hash: php-tuf refuses a timestamp without them.
            snapshot: RoleMeta {
                version: newest.document.version(),
                length: Some(newest.length),
                hashes: Some(Hashes::from_sha256(newest.sha256)),
                extra: Extra::new(),
            },
            spec_version: SpecVersion::default(),
            extra: Extra::new(),
        };
        let file = self.trust.sign(&RoleName::timestamp(), &timestamp.to_canonical())?;
        let length = file.len() as u64;
        if length > MAX_TIMESTAMP_WRITTEN {
            return Err(RoleError::TimestampTooLong { length, max: MAX_TIMESTAMP_WRITTEN });
        }
        if self.repository.metadata.create(&hidden(version)?, &file)? == Created::Conflict {
            return Ok(None);
        }
        self.next = version + 1;
        Ok(Some(SignedTimestamp { timestamp, file }))
    }

    /// The version to sign next: the verified one plus one, or above it where other files hold names.
    fn next_version(&mut self) -> Result<u64, RoleError> {
        let role = RoleName::timestamp;
        if self.skip_to > 0 {
            // An operator lets the role resume: among the skipped versions any name may be taken.
            self.next = self.next.max(self.skip_to.saturating_add(1));
            while NamedFile::exists(self.repository.metadata.as_ref(), &hidden(self.next)?)? {
                self.next += 1;
            }
        } else if self.next > self.version().saturating_add(MAX_SQUATTED_NAMES) {
            let file = hidden(self.next - 1)?;
            // Listed again each time: an operator removes files.
            self.next = 0;
            return Err(RoleError::NamesTaken { role: role(), count: MAX_SQUATTED_NAMES, file });
        }
        if self.next > MAX_NUMBER {
            return Err(RoleError::NumbersUsedUp { role: role() });
        }
        Ok(self.next)
    }

    /// Whether a valid hidden timestamp of a higher version exists.
    pub(super) fn is_overtaken(&self, version: u64) -> Result<bool, RoleError> {
        for higher in version + 1..=version.saturating_add(MAX_SQUATTED_NAMES) {
            let file = NamedFile::read(self.repository.metadata.as_ref(), &hidden(higher)?, MAX_TIMESTAMP)?;
            if matches!(file, NamedFile::Missing) {
                break;
            }
            if self.fits(higher, file)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The timestamp of a hidden file, if it may be shown: it verifies, it has the version in its name, its snapshot
    /// exists (in a restored backup it may be missing), and clients have not seen a newer snapshot.
    fn fits(&self, version: u64, file: NamedFile) -> Result<Option<SignedTimestamp>, RoleError> {
        let bytes = match file {
            NamedFile::Bytes(bytes) => bytes,
            NamedFile::Missing => return Ok(None),
            NamedFile::Unusable(reason) => {
                tracing::error!(timestamp.version = version, %reason, "hidden timestamp skipped");
                return Ok(None);
            }
        };
        let reason = match self.parse(bytes) {
            Ok(signed) if signed.timestamp.version != version => {
                InvalidMetadata::Version { found: signed.timestamp.version }
            }
            Ok(signed) if self.snapshot_of(&signed)?.is_none() => {
                InvalidMetadata::SnapshotMissing { version: signed.timestamp.snapshot.version }
            }
            Ok(signed) => match self.newer_served_snapshot(&signed) {
                Some(served) => {
                    InvalidMetadata::SnapshotBehindServed { version: signed.timestamp.snapshot.version, served }
                }
                None => return Ok(Some(signed)),
            },
            Err(reason) => reason,
        };
        tracing::error!(timestamp.version = version, %reason, "hidden timestamp skipped");
        Ok(None)
    }
}
