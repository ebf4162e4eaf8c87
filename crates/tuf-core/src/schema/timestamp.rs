//! Timestamp metadata (specification §4.6).

use super::header::Header;
use super::metadata::Metadata;
use super::role_meta::RoleMeta;
use super::spec_version::SpecVersion;
use crate::canonical::{Extra, ObjectWriter, ReadError, Reader, Wire, write_str, write_u64};
use crate::names::TopRole;
use crate::time::UtcTime;

/// Timestamp metadata: the current snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    /// The version of the specification that it follows.
    pub spec_version: SpecVersion,
    /// The version, at least 1.
    pub version: u64,
    /// The expiry.
    pub expires: UtcTime,
    /// The current snapshot, the one member of `meta`.
    pub snapshot: RoleMeta,
    /// Members that this project does not know.
    pub extra: Extra,
}

impl Timestamp {
    /// New metadata in the current format, without unknown members.
    #[must_use]
    pub fn new(version: u64, expires: UtcTime, snapshot: RoleMeta) -> Self {
        Self { spec_version: SpecVersion::default(), version, expires, snapshot, extra: Extra::new() }
    }
}

impl Metadata for Timestamp {
    const TYPE: TopRole = TopRole::Timestamp;

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> UtcTime {
        self.expires
    }
}

impl Wire for Timestamp {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let (mut header, mut snapshot, mut extra) = (Header::default(), None, Extra::new());
        reader.object(|key, reader| {
            if header.member(Self::TYPE, key, reader)? {
                return Ok(());
            }
            match key {
                "meta" => reader.object(|file, reader| {
                    if file != "snapshot.json" {
                        return Err(ReadError::new("a timestamp lists snapshot.json alone"));
                    }
                    snapshot = Some(RoleMeta::read(reader)?);
                    Ok(())
                }),
                _ => reader.keep(key, &mut extra),
            }
        })?;
        let (spec_version, version, expires) = header.finish()?;
        let snapshot = snapshot.ok_or(ReadError::missing("snapshot.json").at("meta"))?;
        Ok(Self { spec_version, version, expires, snapshot, extra })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out, &self.extra);
        write_str(object.field("_type"), Self::TYPE.as_str());
        write_str(object.field("expires"), &self.expires.to_string());
        let meta = object.field("meta");
        meta.extend_from_slice(b"{\"snapshot.json\":");
        self.snapshot.write(meta);
        meta.push(b'}');
        write_str(object.field("spec_version"), self.spec_version.as_str());
        write_u64(object.field("version"), self.version);
        object.finish();
    }
}
