//! Timestamps that are signed and durable, and not shown yet.

use tuf_core::canonical::Extra;
use tuf_core::names::RoleName;
use tuf_core::schema::{Hashes, Metadata, RoleMeta, SpecVersion, Timestamp};
use tuf_core::store::Created;
use tuf_core::time::UtcTime;

use super::names::{hidden, hidden_version};
use super::role::TimestampRole;
use super::signed::SignedTimestamp;
use crate::roles::error::RoleError;
use crate::roles::invalid_metadata::InvalidMetadata;
use crate::roles::limits::MAX_TIMESTAMP;
use crate::roles::snapshot_reader::VerifiedSnapshot;

impl TimestampRole {
    /// The highest hidden timestamp above the served one.
    pub(super) fn newest_hidden(&mut self) -> Result<Option<SignedTimestamp>, RoleError> {
        let served = self.current().map_or(0, |(version, _)| version);
        let metadata = self.repository.metadata.as_ref();
        let mut versions = Vec::new();
        if self.next == 0 {
            // The store lists dot names too, except its own temporary files.
            versions.extend(metadata.list("")?.iter().filter_map(|name| hidden_version(name)));
            self.next = versions.iter().max().map_or(1, |highest| highest + 1);
        } else {
            while metadata.stat(&hidden(self.next)?)?.is_some() {
                versions.push(self.next);
                self.next += 1;
            }
        }
        versions.retain(|version| *version > served);
        versions.sort_unstable_by(|a, b| b.cmp(a));
        self.next = self.next.max(served + 1);
        for version in versions {
            let Some(file) = metadata.read(&hidden(version)?, MAX_TIMESTAMP)? else { continue };
            if let Some(signed) = self.fits(version, file)? {
                return Ok(Some(signed));
            }
        }
        Ok(None)
    }

    /// Signs and creates the next hidden timestamp. `None` when the name is taken: refresh and try again.
    pub(super) fn sign(
        &mut self,
        newest: &VerifiedSnapshot,
        now: UtcTime,
    ) -> Result<Option<SignedTimestamp>, RoleError> {
        let version = self.next.max(self.skip_to + 1);
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
        if self.repository.metadata.create(&hidden(version)?, &file)? == Created::Conflict {
            return Ok(None);
        }
        self.next = version + 1;
        Ok(Some(SignedTimestamp { timestamp, file }))
    }

    /// Whether a valid hidden timestamp of a higher version exists.
    pub(super) fn is_overtaken(&self, version: u64) -> Result<bool, RoleError> {
        let mut higher = version + 1;
        while let Some(file) = self.repository.metadata.read(&hidden(higher)?, MAX_TIMESTAMP)? {
            if self.fits(higher, file)?.is_some() {
                return Ok(true);
            }
            higher += 1;
        }
        Ok(false)
    }

    /// The timestamp of a hidden file, if it may be shown: it verifies, it has the version in its name, and its snapshot
    /// exists (in a restored backup it may be missing).
    fn fits(&self, version: u64, file: Vec<u8>) -> Result<Option<SignedTimestamp>, RoleError> {
        let reason = match self.parse(file) {
            Ok(signed) if signed.timestamp.version != version => {
                InvalidMetadata::Version { found: signed.timestamp.version }
            }
            Ok(signed) if self.snapshot_of(&signed)?.is_none() => {
                InvalidMetadata::SnapshotMissing { version: signed.timestamp.snapshot.version }
            }
            Ok(signed) => return Ok(Some(signed)),
            Err(reason) => reason,
        };
        tracing::error!(timestamp.version = version, %reason, "hidden timestamp skipped");
        Ok(None)
    }
}
