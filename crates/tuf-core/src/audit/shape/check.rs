//! The findings of one file, and the shape that every kind of metadata has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::super::odd_name::{key_alias, role_alias};
use super::super::quote::quote;
use super::super::report::Severity;
use super::super::rules::{self, Rule};
use crate::names::{KeyId, RoleName, TopRole};

pub(super) type Object = Map<String, Value>;

/// Findings about one file.
#[derive(Default)]
pub(in super::super) struct ShapeCheck {
    pub(in super::super) findings: Vec<(&'static Rule, Severity, String)>,
    /// Ids of further rules whose members were repaired.
    pub(in super::super) repaired: BTreeSet<&'static str>,
    /// Role names that cannot be file names, by the name that takes their place.
    pub(in super::super) odd_names: BTreeMap<RoleName, String>,
    /// Listed files with a version of 2^53 or more.
    pub(in super::super) large_versions: BTreeSet<String>,
    /// Number of targets that are listed and left out.
    pub(in super::super) unchecked_targets: u64,
}

impl ShapeCheck {
    pub(in super::super) fn error(&mut self, rule: &'static Rule, message: impl Into<String>) {
        self.findings.push((rule, Severity::Error, message.into()));
    }

    pub(in super::super) fn warn(&mut self, rule: &'static Rule, message: impl Into<String>) {
        self.findings.push((rule, Severity::Warning, message.into()));
    }

    /// The role of this name; under another name if ours cannot hold it. `None` for a name that no client can use.
    pub(super) fn role_name(&mut self, name: &str) -> Option<RoleName> {
        if let Ok(name) = RoleName::new(name) {
            return Some(name);
        }
        let alias = role_alias(name).filter(|_| !name.is_empty())?;
        self.odd_names.insert(alias.clone(), name.to_owned());
        Some(alias)
    }

    /// The key of this id; under another id if ours cannot hold it, which is reported once for a file.
    pub(in super::super) fn key_id(&mut self, keyid: &str) -> Option<KeyId> {
        if let Ok(keyid) = KeyId::new(keyid) {
            return Some(keyid);
        }
        if self.repaired.insert(rules::K4.id) {
            let message = format!("key id {} is not hexadecimal: tough and php-tuf refuse the file", quote(keyid));
            self.warn(rules::K4, message);
        }
        key_alias(keyid)
    }

    /// Checks the signed part of a file of this kind.
    pub(in super::super) fn metadata(&mut self, kind: TopRole, value: &mut Value) {
        let Value::Object(signed) = value else {
            self.error(rules::C7, "`signed` is not an object");
            return;
        };
        self.header(kind, signed);
        match kind {
            TopRole::Root => self.root(signed),
            TopRole::Timestamp => self.timestamp(signed),
            TopRole::Snapshot => self.snapshot(signed),
            TopRole::Targets => self.targets(signed),
        }
    }
}
