//! Delegations of targets metadata (specification §4.5 DELEGATIONS).

use std::collections::{BTreeMap, BTreeSet};

use super::delegated_role::DelegatedRole;
use super::members::{read_keys, write_keys, write_list};
use super::role_keys::RoleKeys;
use super::succinct_roles::SuccinctRoles;
use crate::canonical::{Extra, ObjectWriter, ReadError, Reader, Wire, is_canonical};
use crate::envelope::ParseError;
use crate::key::PublicKey;
use crate::names::{KeyId, RoleName};

/// The roles that a targets role delegates to, and their keys. Exactly one of `roles` and `succinct_roles` is present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegations {
    /// Keys by id.
    pub keys: BTreeMap<KeyId, PublicKey>,
    /// Delegated roles in order of precedence, with unique names. Not written if there are succinct roles.
    pub roles: Vec<DelegatedRole>,
    /// Hashed bins described by a rule instead of a list.
    pub succinct_roles: Option<SuccinctRoles>,
    /// Members that this project does not know.
    pub extra: Extra,
}

impl Delegations {
    /// Delegation to listed roles.
    #[must_use]
    pub fn new(keys: BTreeMap<KeyId, PublicKey>, roles: Vec<DelegatedRole>) -> Self {
        Self { keys, roles, succinct_roles: None, extra: Extra::new() }
    }

    /// Keys and threshold of a role delegated here, or `None` if there is no such role.
    #[must_use]
    pub fn keys_for(&self, name: &RoleName) -> Option<RoleKeys> {
        if let Some(succinct) = &self.succinct_roles {
            return succinct.is_bin(name).then(|| RoleKeys::new(succinct.keyids.clone(), succinct.threshold));
        }
        let role = self.roles.iter().find(|role| role.name == *name)?;
        Some(role.role_keys())
    }

    /// Reads the `delegations` member of targets metadata from its canonical text.
    ///
    /// # Errors
    /// [`ParseError`] if the bytes are not canonical or not delegations.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| is_canonical(text.as_bytes()));
        let mut reader = Reader::new(text.ok_or(ParseError::NotCanonical)?);
        let delegations = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(delegations)
    }

    /// The canonical text of the `delegations` member.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

impl Wire for Delegations {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let (mut keys, mut roles, mut succinct_roles, mut extra) = (None, None, None, Extra::new());
        reader.object(|key, reader| {
            match key {
                "keys" => keys = Some(read_keys(reader)?),
                "roles" => {
                    let mut list: Vec<DelegatedRole> = Vec::new();
                    let mut names = BTreeSet::new();
                    reader.array(|reader| {
                        let role = DelegatedRole::read(reader)?;
                        if !names.insert(role.name.clone()) {
                            return Err(ReadError::new(format!("role {} is listed twice", role.name)));
                        }
                        list.push(role);
                        Ok(())
                    })?;
                    roles = Some(list);
                }
                "succinct_roles" => succinct_roles = Some(SuccinctRoles::read(reader)?),
                _ => reader.keep(key, &mut extra)?,
            }
            Ok(())
        })?;
        if roles.is_some() == succinct_roles.is_some() {
            return Err(ReadError::new("exactly one of `roles` and `succinct_roles` is needed"));
        }
        Ok(Self {
            keys: keys.ok_or(ReadError::missing("keys"))?,
            roles: roles.unwrap_or_default(),
            succinct_roles,
            extra,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out, &self.extra);
        write_keys(object.field("keys"), &self.keys);
        match &self.succinct_roles {
            Some(succinct) => succinct.write(object.field("succinct_roles")),
            None => write_list(object.field("roles"), self.roles.iter(), |out, role| role.write(out)),
        }
        object.finish();
    }
}
