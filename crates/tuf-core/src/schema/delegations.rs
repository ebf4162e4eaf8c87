//! Delegations of targets metadata (specification §4.5 DELEGATIONS; TAP 15 for succinct roles).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::canonical::{Extra, ObjectWriter, ReadError, Reader, Wire, is_canonical, write_bool, write_str, write_u64};
use crate::envelope::ParseError;
use crate::key::PublicKey;
use crate::names::{KeyId, RoleName, TargetPath};
use crate::sha256::Sha256;

use super::common::{read_keyids, read_keys, read_threshold, write_keyids, write_keys};
use super::{HashPrefix, PathPattern, RoleKeys};

/// The roles a targets role delegates to, and their keys. Exactly one of `roles` and `succinct_roles` is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegations {
    /// Keys by id.
    pub keys: BTreeMap<KeyId, PublicKey>,
    /// Delegated roles in order of precedence, with unique names. Not written if there are succinct roles.
    pub roles: Vec<DelegatedRole>,
    /// Hashed bins described by a rule instead of a list.
    pub succinct_roles: Option<SuccinctRoles>,
    /// Members this project does not know.
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

fn write_list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// A delegated role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegatedRole {
    /// The name, not that of a top-level role.
    pub name: RoleName,
    /// Key ids, unique.
    pub keyids: Vec<KeyId>,
    /// Number of distinct keys that must sign, at least 1.
    pub threshold: u32,
    /// Whether the search for a path this role is trusted with ends here, found or not.
    pub terminating: bool,
    /// Which targets the role is trusted with.
    pub paths: DelegatedPaths,
    /// Members this project does not know.
    pub extra: Extra,
}

impl DelegatedRole {
    /// Keys and threshold, as roles of root metadata have them.
    #[must_use]
    pub fn role_keys(&self) -> RoleKeys {
        RoleKeys::new(self.keyids.clone(), self.threshold)
    }

    /// Whether the role is trusted with `path`. `hash` is [`path_hash`] of it.
    #[must_use]
    pub fn covers(&self, path: &TargetPath, hash: &str) -> bool {
        match &self.paths {
            DelegatedPaths::Patterns(patterns) => patterns.iter().any(|pattern| pattern.matches(path)),
            DelegatedPaths::HashPrefixes(prefixes) => prefixes.iter().any(|prefix| hash.starts_with(prefix.as_str())),
        }
    }
}

impl Wire for DelegatedRole {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let (mut name, mut keyids, mut threshold, mut terminating) = (None, None, None, None);
        let (mut patterns, mut prefixes, mut extra) = (None, None, Extra::new());
        reader.object(|key, reader| {
            match key {
                "name" => name = Some(RoleName::new(&reader.string()?)?),
                "keyids" => keyids = Some(read_keyids(reader)?),
                "threshold" => threshold = Some(read_threshold(reader)?),
                "terminating" => terminating = Some(reader.bool()?),
                "paths" => {
                    let mut list = Vec::new();
                    reader.array(|reader| {
                        list.push(PathPattern::new(&reader.string()?).map_err(ReadError::new)?);
                        Ok(())
                    })?;
                    patterns = Some(list);
                }
                "path_hash_prefixes" => {
                    let mut list = Vec::new();
                    reader.array(|reader| {
                        list.push(HashPrefix::new(&reader.string()?).map_err(ReadError::new)?);
                        Ok(())
                    })?;
                    prefixes = Some(list);
                }
                _ => reader.keep(key, &mut extra)?,
            }
            Ok(())
        })?;
        let paths = match (patterns, prefixes) {
            (Some(patterns), None) => DelegatedPaths::Patterns(patterns),
            (None, Some(prefixes)) => DelegatedPaths::HashPrefixes(prefixes),
            _ => {
                return Err(ReadError::new("exactly one of `paths` and `path_hash_prefixes` is needed"));
            }
        };
        let name = name.ok_or(ReadError::missing("name"))?;
        if name.is_top_level() {
            return Err(ReadError::new(format!("the top-level role {name} cannot be delegated to")));
        }
        Ok(Self {
            name,
            keyids: keyids.ok_or(ReadError::missing("keyids"))?,
            threshold: threshold.ok_or(ReadError::missing("threshold"))?,
            terminating: terminating.ok_or(ReadError::missing("terminating"))?,
            paths,
            extra,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out, &self.extra);
        write_keyids(object.field("keyids"), &self.keyids);
        write_str(object.field("name"), self.name.as_str());
        match &self.paths {
            DelegatedPaths::HashPrefixes(prefixes) => {
                let texts = prefixes.iter().map(HashPrefix::as_str);
                write_list(object.field("path_hash_prefixes"), texts, write_str);
            }
            DelegatedPaths::Patterns(patterns) => {
                write_list(object.field("paths"), patterns.iter().map(PathPattern::as_str), write_str);
            }
        }
        write_bool(object.field("terminating"), self.terminating);
        write_u64(object.field("threshold"), self.threshold.into());
        object.finish();
    }
}

/// Which targets a delegated role is trusted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DelegatedPaths {
    /// `paths`: shell-style patterns.
    Patterns(Vec<PathPattern>),
    /// `path_hash_prefixes`: beginnings of the hexadecimal sha256 of the path.
    HashPrefixes(Vec<HashPrefix>),
}

/// The hexadecimal sha256 of a path, whose beginning chooses the bin.
#[must_use]
pub fn path_hash(path: &TargetPath) -> String {
    Sha256::of(path.as_str().as_bytes()).to_string()
}

/// Hashed bins described by a rule (TAP 15): 2^`bit_length` roles called `PREFIX-HEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuccinctRoles {
    /// Key ids of every bin, unique.
    pub keyids: Vec<KeyId>,
    /// Number of distinct keys that must sign a bin, at least 1.
    pub threshold: u32,
    /// How many leading bits of the sha256 of a path choose its bin.
    bit_length: u32,
    name_prefix: RoleName,
    /// Members this project does not know.
    pub extra: Extra,
}

/// Numbers or names no succinct delegation can have.
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

    /// What bin names begin with, without the `-`.
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
        let name = format!("{}-{number:0width$x}", self.name_prefix);
        // The constructor made sure that any bin name is a role name.
        RoleName::new(&name).unwrap_or_else(|_| self.name_prefix.clone())
    }

    fn digits(&self) -> usize {
        self.bit_length.div_ceil(4) as usize
    }

    /// The bin trusted with `path`.
    #[must_use]
    pub fn bin_for(&self, path: &TargetPath) -> RoleName {
        let [a, b, c, d, ..] = *Sha256::of(path.as_str().as_bytes()).as_bytes();
        self.bin(u64::from(u32::from_be_bytes([a, b, c, d])) >> (32 - self.bit_length))
    }

    /// Whether `name` is that of a bin.
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
        .map_err(|error| ReadError::new(error.to_string()))?;
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

impl fmt::Display for DelegatedPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = match self {
            Self::Patterns(patterns) => patterns.iter().map(PathPattern::as_str).collect(),
            Self::HashPrefixes(prefixes) => prefixes.iter().map(HashPrefix::as_str).collect(),
        };
        f.write_str(&texts.join(", "))
    }
}
