//! Hashed bins described by a rule (TAP 15).

use super::members::{read_keyids, read_threshold, write_keyids};
use crate::canonical::{Extra, ObjectWriter, ReadError, Reader, Wire, write_str, write_u64};
use crate::names::{KeyId, RoleName, TargetPath};
use crate::sha256::Sha256;

/// Hashed bins described by a rule (TAP 15): 2^`bit_length` roles called `PREFIX-HEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuccinctRoles {
    /// Key ids of every bin, unique.
    pub keyids: Vec<KeyId>,
    /// Number of distinct keys that must sign a bin, at least 1.
    pub threshold: u32,
    /// The number of leading bits of the sha256 of a path that choose its bin.
    bit_length: u32,
    name_prefix: RoleName,
    /// Members that this project does not know.
    pub extra: Extra,
}

/// Numbers or names that no succinct delegation can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("succinct roles take a bit length of 1 to 32 and a name prefix short enough for a role name")]
pub struct SuccinctError(());

impl SuccinctRoles {
    /// 2^`bit_length` bins (1 to 32 bits) whose names begin with `name_prefix` and `-`.
    ///
    /// # Errors
    /// [`SuccinctError`] for other bit lengths, or if bin names would be too long.
    pub fn new(
        keyids: Vec<KeyId>,
        threshold: u32,
        bit_length: u32,
        name_prefix: RoleName,
    ) -> Result<Self, SuccinctError> {
        if !(1..=32).contains(&bit_length) || RoleName::new(&format!("{name_prefix}-00000000")).is_err() {
            return Err(SuccinctError(()));
        }
        Ok(Self { keyids, threshold, bit_length, name_prefix, extra: Extra::new() })
    }

    /// How many leading bits of the sha256 of a path choose its bin: 1 to 32.
    #[must_use]
    pub fn bit_length(&self) -> u32 {
        self.bit_length
    }

    /// The beginning of bin names, without the `-`.
    #[must_use]
    pub fn name_prefix(&self) -> &RoleName {
        &self.name_prefix
    }

    /// Number of bins.
    #[must_use]
    pub fn bins(&self) -> u64 {
        1 << self.bit_length
    }

    /// Name of the bin with this number, counted from 0.
    #[must_use]
    pub fn bin(&self, number: u64) -> RoleName {
        let width = self.digits();
        // The constructor checks that bin names are short enough for a role name.
        RoleName::from_valid(&format!("{}-{number:0width$x}", self.name_prefix))
    }

    fn digits(&self) -> usize {
        self.bit_length.div_ceil(4) as usize
    }

    /// The bin of `path`.
    #[must_use]
    pub fn bin_for(&self, path: &TargetPath) -> RoleName {
        let [a, b, c, d, ..] = *Sha256::of(path.as_str().as_bytes()).as_bytes();
        self.bin(u64::from(u32::from_be_bytes([a, b, c, d])) >> (32 - self.bit_length))
    }

    /// Whether `name` is the name of a bin.
    #[must_use]
    pub fn is_bin(&self, name: &RoleName) -> bool {
        let suffix = name.as_str().strip_prefix(self.name_prefix.as_str()).and_then(|rest| rest.strip_prefix('-'));
        suffix.is_some_and(|suffix| {
            suffix.len() == self.digits()
                && suffix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                && u64::from_str_radix(suffix, 16).is_ok_and(|number| number < self.bins())
        })
    }
}

impl Wire for SuccinctRoles {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let (mut keyids, mut threshold, mut bit_length, mut prefix) = (None, None, None, None);
        let mut extra = Extra::new();
        reader.object(|key, reader| {
            match key {
                "keyids" => keyids = Some(read_keyids(reader)?),
                "threshold" => threshold = Some(read_threshold(reader)?),
                "bit_length" => bit_length = Some(u32::try_from(reader.u64()?).unwrap_or(u32::MAX)),
                "name_prefix" => prefix = Some(RoleName::new(&reader.string()?)?),
                _ => reader.keep(key, &mut extra)?,
            }
            Ok(())
        })?;
        let mut roles = Self::new(
            keyids.ok_or(ReadError::missing("keyids"))?,
            threshold.ok_or(ReadError::missing("threshold"))?,
            bit_length.ok_or(ReadError::missing("bit_length"))?,
            prefix.ok_or(ReadError::missing("name_prefix"))?,
        )
        .map_err(ReadError::refused)?;
        roles.extra = extra;
        Ok(roles)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out, &self.extra);
        write_u64(object.field("bit_length"), self.bit_length.into());
        write_keyids(object.field("keyids"), &self.keyids);
        write_str(object.field("name_prefix"), self.name_prefix.as_str());
        write_u64(object.field("threshold"), self.threshold.into());
        object.finish();
    }
}
