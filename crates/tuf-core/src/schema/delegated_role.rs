//! One delegated role and the targets that are delegated to it.

use std::fmt;

use super::members::{read_keyids, read_threshold, write_keyids, write_list};
use super::pattern::{HashPrefix, PathPattern};
use super::role_keys::RoleKeys;
use crate::canonical::{Extra, ObjectWriter, ReadError, Reader, Wire, write_bool, write_str, write_u64};
use crate::names::{KeyId, RoleName, TargetPath};
use crate::sha256::Sha256;

/// A delegated role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegatedRole {
    /// The name, not that of a top-level role.
    pub name: RoleName,
    /// Key ids, unique.
    pub keyids: Vec<KeyId>,
    /// Number of distinct keys that must sign, at least 1.
    pub threshold: u32,
    /// Whether the search for a path delegated to this role ends here, found or not.
    pub terminating: bool,
    /// The targets that are delegated to the role.
    pub paths: DelegatedPaths,
    /// Members that this project does not know.
    pub extra: Extra,
}

impl DelegatedRole {
    /// Keys and threshold, as roles of root metadata have them.
    #[must_use]
    pub fn role_keys(&self) -> RoleKeys {
        RoleKeys::new(self.keyids.clone(), self.threshold)
    }

    /// Whether `path` is delegated to the role. `hash` is [`path_hash`] of it.
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
                        list.push(PathPattern::new(&reader.string()?).map_err(ReadError::refused)?);
                        Ok(())
                    })?;
                    patterns = Some(list);
                }
                "path_hash_prefixes" => {
                    let mut list = Vec::new();
                    reader.array(|reader| {
                        list.push(HashPrefix::new(&reader.string()?).map_err(ReadError::refused)?);
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

/// The targets that are delegated to a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DelegatedPaths {
    /// `paths`: shell-style patterns.
    Patterns(Vec<PathPattern>),
    /// `path_hash_prefixes`: beginnings of the hexadecimal sha256 of the path.
    HashPrefixes(Vec<HashPrefix>),
}

/// The hexadecimal sha256 of a path; its first digits choose the bin.
#[must_use]
pub fn path_hash(path: &TargetPath) -> String {
    Sha256::of(path.as_str().as_bytes()).to_string()
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
