//! Metadata of a repository that this role has no record of.
//!
//! What exists is never started over: where a role finds none of its own state, but metadata that someone has signed, that
//! is somebody's repository, or this one after a loss. Bytes that no one has signed are no repository.

use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

use tuf_core::names::TopRole;
use tuf_core::store::{FileName, Store};

use super::error::RoleError;
use super::limits::MAX_TARGETS;
use crate::named_file::NamedFile;

/// The members that show which metadata a file is. Foreign metadata may lack a canonical form, so nothing else is asked of it.
#[derive(Deserialize)]
struct Outline {
    signatures: Vec<IgnoredAny>,
    signed: SignedOutline,
}

#[derive(Deserialize)]
struct SignedOutline {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(default)]
    targets: BTreeMap<IgnoredKey, IgnoredAny>,
}

/// The keys of a map, of which only one is kept.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct IgnoredKey;

impl<'de> Deserialize<'de> for IgnoredKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// Signed metadata in `store` that only a repository in use has: a snapshot, a timestamp, or a role that lists targets. With
/// `only`, metadata of that role. Roots and empty roles are none: an interrupted start leaves them.
///
/// # Errors
/// A fault of the store.
pub(super) fn find(store: &dyn Store, only: Option<TopRole>) -> Result<Option<FileName>, RoleError> {
    for name in store.list("")? {
        let Some(role) = role_of(&name) else { continue };
        if role == TopRole::Root.as_str() || only.is_some_and(|only| only.as_str() != role) {
            continue;
        }
        let name = FileName::new(name.as_str())?;
        let Some(bytes) = NamedFile::read(store, &name, MAX_TARGETS)?.bytes() else { continue };
        let Ok(Outline { signatures, signed }) = serde_json::from_slice::<Outline>(&bytes) else { continue };
        let in_use = match signed.kind.as_str() {
            "snapshot" | "timestamp" => true,
            "targets" => !signed.targets.is_empty(),
            _ => false,
        };
        if in_use && !signatures.is_empty() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The role in a name: `N.ROLE.json`, `.N.ROLE.json` or `ROLE.json`.
fn role_of(name: &str) -> Option<&str> {
    let stem = name.strip_prefix('.').unwrap_or(name).strip_suffix(".json")?;
    match stem.split_once('.') {
        Some((number, role)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => Some(role),
        _ => Some(stem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_found_in_every_form_of_a_name() {
        for (name, role) in [
            ("1.targets.json", Some("targets")),
            (".12.timestamp.json", Some("timestamp")),
            ("snapshot.json", Some("snapshot")),
            ("3.a.b.json", Some("a.b")),
            ("a.b.json", Some("a.b")),
            (".timestamp.lock", None),
        ] {
            assert_eq!(role_of(name), role, "{name}");
        }
    }
}
