//! Root metadata (specification §4.3).

use std::collections::BTreeMap;

use super::header::Header;
use super::members::{read_keys, write_keys, write_map};
use super::metadata::Metadata;
use super::role_keys::RoleKeys;
use super::spec_version::SpecVersion;
use crate::canonical::{Extra, ObjectWriter, ReadError, Reader, Wire, write_bool, write_str, write_u64};
use crate::key::PublicKey;
use crate::names::{KeyId, RoleName, TopRole};
use crate::time::UtcTime;

/// Root metadata: the keys of each role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The version of the specification that it follows.
    pub spec_version: SpecVersion,
    /// Whether files carry version and hash in their names.
    pub consistent_snapshot: bool,
    /// The version, at least 1; also the number in the file's name.
    pub version: u64,
    /// The expiry.
    pub expires: UtcTime,
    /// Keys by id.
    pub keys: BTreeMap<KeyId, PublicKey>,
    /// Keys and threshold by role: the four top-level roles, and any others that the file lists.
    pub roles: BTreeMap<RoleName, RoleKeys>,
    /// Members that this project does not know.
    pub extra: Extra,
}

impl Metadata for Root {
    const TYPE: TopRole = TopRole::Root;

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> UtcTime {
        self.expires
    }
}

impl Wire for Root {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let (mut header, mut extra) = (Header::default(), Extra::new());
        let (mut consistent_snapshot, mut keys, mut roles) = (None, None, None);
        reader.object(|key, reader| {
            if header.member(Self::TYPE, key, reader)? {
                return Ok(());
            }
            match key {
                "consistent_snapshot" => consistent_snapshot = Some(reader.bool()?),
                "keys" => keys = Some(read_keys(reader)?),
                "roles" => {
                    let mut map = BTreeMap::new();
                    reader.object(|name, reader| {
                        map.insert(RoleName::new(name)?, RoleKeys::read(reader)?);
                        Ok(())
                    })?;
                    roles = Some(map);
                }
                _ => reader.keep(key, &mut extra)?,
            }
            Ok(())
        })?;
        let (spec_version, version, expires) = header.finish()?;
        let roles = roles.ok_or(ReadError::missing("roles"))?;
        for role in TopRole::ALL {
            if !roles.contains_key(role.as_str()) {
                return Err(ReadError::missing(role.as_str()).at("roles"));
            }
        }
        let consistent_snapshot = consistent_snapshot.ok_or(ReadError::missing("consistent_snapshot"))?;
        let keys = keys.ok_or(ReadError::missing("keys"))?;
        Ok(Self { spec_version, consistent_snapshot, version, expires, keys, roles, extra })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out, &self.extra);
        write_str(object.field("_type"), Self::TYPE.as_str());
        write_bool(object.field("consistent_snapshot"), self.consistent_snapshot);
        write_str(object.field("expires"), &self.expires.to_string());
        write_keys(object.field("keys"), &self.keys);
        write_map(object.field("roles"), self.roles.iter().map(|(name, role)| (name.as_str(), role)));
        write_str(object.field("spec_version"), self.spec_version.as_str());
        write_u64(object.field("version"), self.version);
        object.finish();
    }
}
