//! The served timestamp: reading it, checking it, showing it again.

use tuf_core::envelope::Envelope;
use tuf_core::names::RoleName;
use tuf_core::schema::{Hashes, Metadata, Timestamp};
use tuf_core::store::FileName;

use super::names::{SERVED, hidden};
use super::role::TimestampRole;
use super::signed::SignedTimestamp;
use crate::named_file::NamedFile;
use crate::numbered::MAX_NUMBER;
use crate::roles::error::RoleError;
use crate::roles::invalid_metadata::InvalidMetadata;
use crate::roles::limits::MAX_TIMESTAMP;
use crate::roles::snapshot_reader::VerifiedSnapshot;

impl TimestampRole {
    /// Reads `timestamp.json`. One that does not verify is an alarm; it is replaced and never used.
    pub(super) fn read_served(&mut self) -> Result<(), RoleError> {
        let file = NamedFile::read(self.repository.metadata.as_ref(), &FileName::new(SERVED)?, MAX_TIMESTAMP)?;
        self.served = match file {
            NamedFile::Missing => None,
            NamedFile::Unusable(reason) => {
                tracing::error!(%reason, "served timestamp ignored");
                None
            }
            NamedFile::Bytes(file) if self.served.as_ref().is_some_and(|served| served.file == file) => return Ok(()),
            NamedFile::Bytes(file) => match self.parse(file) {
                Ok(signed) => Some(signed),
                Err(reason) => {
                    tracing::error!(%reason, "served timestamp ignored");
                    None
                }
            },
        };
        Ok(())
    }

    /// Shows version `before` again where the served timestamp is older or does not verify, and the hidden file still exists.
    /// This signs nothing. A repository that was restored as a whole lacks the hidden file.
    pub(super) fn show_again(&mut self, before: u64) -> Result<(), RoleError> {
        let version = self.current().map_or(0, |(version, _)| version);
        if version >= before {
            return Ok(());
        }
        let file = NamedFile::read(self.repository.metadata.as_ref(), &hidden(before)?, MAX_TIMESTAMP)?;
        let Some(file) = file.bytes() else { return Ok(()) };
        match self.parse(file) {
            Ok(signed) if signed.timestamp.version == before && self.snapshot_of(&signed)?.is_some() => {
                tracing::error!(
                    timestamp.version = before,
                    timestamp.found = version,
                    "served timestamp went back or was damaged; restoring the newest version"
                );
                self.swap(signed)
            }
            _ => Ok(()),
        }
    }

    /// Checks a timestamp file.
    pub(super) fn parse(&self, file: Vec<u8>) -> Result<SignedTimestamp, InvalidMetadata> {
        let envelope = Envelope::parse(file.as_slice())?;
        self.trust.verify(&RoleName::timestamp(), &envelope)?;
        let timestamp = Timestamp::from_envelope(&envelope)?;
        if timestamp.version > MAX_NUMBER {
            return Err(InvalidMetadata::VersionTooHigh { version: timestamp.version });
        }
        Ok(SignedTimestamp { timestamp, file })
    }

    /// The snapshot that a timestamp names, if its bytes are on disk.
    pub(super) fn snapshot_of(&self, signed: &SignedTimestamp) -> Result<Option<VerifiedSnapshot>, RoleError> {
        let version = signed.timestamp.snapshot.version;
        let snapshot = self.snapshots.of_version(&self.trust, version)?;
        Ok(snapshot.filter(|snapshot| {
            let hashes = signed.timestamp.snapshot.hashes.as_ref();
            hashes.and_then(Hashes::sha256).is_none_or(|sha256| sha256 == snapshot.sha256)
        }))
    }
}
