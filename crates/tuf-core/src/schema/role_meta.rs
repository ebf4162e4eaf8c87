//! The entry of a metadata file in a snapshot or timestamp.

use super::hashes::Hashes;
use super::members::read_version;
use crate::canonical::{Extra, ObjectWriter, ReadError, Reader, Wire, write_u64};

/// The entry of a metadata file in a snapshot or timestamp (METAFILES).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleMeta {
    /// Version, at least 1.
    pub version: u64,
    /// Length of the file in bytes.
    pub length: Option<u64>,
    /// Hashes of the file.
    pub hashes: Option<Hashes>,
    /// Members that this project does not know.
    pub extra: Extra,
}

impl RoleMeta {
    /// A version alone.
    #[must_use]
    pub fn new(version: u64) -> Self {
        Self { version, length: None, hashes: None, extra: Extra::new() }
    }
}

impl Wire for RoleMeta {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let (mut version, mut length, mut hashes, mut extra) = (None, None, None, Extra::new());
        reader.object(|key, reader| {
            match key {
                "version" => version = Some(read_version(reader)?),
                "length" => length = Some(reader.u64()?),
                "hashes" => hashes = Some(Hashes::read(reader)?),
                _ => reader.keep(key, &mut extra)?,
            }
            Ok(())
        })?;
        Ok(Self { version: version.ok_or(ReadError::missing("version"))?, length, hashes, extra })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out, &self.extra);
        if let Some(hashes) = &self.hashes {
            hashes.write(object.field("hashes"));
        }
        if let Some(length) = self.length {
            write_u64(object.field("length"), length);
        }
        write_u64(object.field("version"), self.version);
        object.finish();
    }
}
