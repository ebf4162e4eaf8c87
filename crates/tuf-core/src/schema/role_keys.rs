//! Keys and threshold of a role.

use super::members::{read_keyids, read_threshold, write_keyids};
use crate::canonical::{Extra, ObjectWriter, ReadError, Reader, Wire, write_u64};
use crate::names::KeyId;

/// The keys of a role and the number that must sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeys {
    /// Key ids, unique, in written order.
    pub keyids: Vec<KeyId>,
    /// Number of distinct keys that must sign, at least 1.
    pub threshold: u32,
    /// Members that this project does not know.
    pub extra: Extra,
}

impl RoleKeys {
    /// A role without unknown members.
    #[must_use]
    pub fn new(keyids: Vec<KeyId>, threshold: u32) -> Self {
        Self { keyids, threshold, extra: Extra::new() }
    }
}

impl Wire for RoleKeys {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let (mut keyids, mut threshold, mut extra) = (None, None, Extra::new());
        reader.object(|key, reader| {
            match key {
                "keyids" => keyids = Some(read_keyids(reader)?),
                "threshold" => threshold = Some(read_threshold(reader)?),
                _ => reader.keep(key, &mut extra)?,
            }
            Ok(())
        })?;
        Ok(Self {
            keyids: keyids.ok_or(ReadError::missing("keyids"))?,
            threshold: threshold.ok_or(ReadError::missing("threshold"))?,
            extra,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out, &self.extra);
        write_keyids(object.field("keyids"), &self.keyids);
        write_u64(object.field("threshold"), self.threshold.into());
        object.finish();
    }
}
