//! The members of delegations.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::quote::quote;
use super::super::report::Severity;
use super::super::rules;
use super::check::{Object, ShapeCheck};
use crate::schema::{HashPrefix, PathPattern};

impl ShapeCheck {
    pub(super) fn delegations(&mut self, delegations: &mut Object) {
        self.keys(delegations, " of the delegations");
        match (delegations.contains_key("roles"), delegations.contains_key("succinct_roles")) {
            (true, true) => {
                self.error(
                    rules::D7,
                    "`delegations` has both `roles` and `succinct_roles`; the audit skips `succinct_roles`",
                );
                delegations.remove("succinct_roles");
            }
            (false, false) => {
                self.error(rules::C7, "`delegations` has no `roles`");
                delegations.insert("roles".into(), json!([]));
            }
            _ => {}
        }
        if let Some(succinct) = delegations.get_mut("succinct_roles") {
            if let Some(role) = succinct.as_object_mut() {
                self.role_keys(role, "`succinct_roles`");
            }
            return;
        }
        let mut seen = BTreeSet::new();
        match delegations.get_mut("roles") {
            Some(Value::Array(roles)) => roles.retain_mut(|role| self.delegated_role(role, &mut seen)),
            _ => {
                self.error(rules::C7, "`roles` of the delegations is not a list");
                delegations.insert("roles".into(), json!([]));
            }
        }
    }

    pub(super) fn delegated_role(&mut self, role: &mut Value, seen: &mut BTreeSet<String>) -> bool {
        let Value::Object(role) = role else {
            self.error(rules::C7, "a delegated role is not an object");
            return false;
        };
        let Some(name) = role.get("name").and_then(Value::as_str).map(str::to_owned) else {
            self.error(rules::C7, "a delegated role has no name");
            return false;
        };
        let shown = quote(&name);
        let Some(known) = self.role_name(&name) else {
            self.error(rules::D9, "a delegated role has an empty name; the audit skips it");
            return false;
        };
        if known.is_top_level() {
            self.error(rules::D3, format!("the top-level role {name} is delegated to; give the role another name"));
            return false;
        }
        role.insert("name".into(), known.as_str().into());
        if !seen.insert(name) {
            self.error(rules::D3, format!("role {shown} is delegated to twice; the audit skips the second delegation"));
            return false;
        }
        self.role_keys(role, &format!("delegated role {shown}"));
        if !role.get("terminating").is_some_and(Value::is_boolean) {
            let message = format!("delegated role {shown} does not say whether it is terminating; write true or false");
            self.error(rules::D5, message);
            role.insert("terminating".into(), false.into());
        }
        // The specification bounds no pattern, so one that ours do not hold is only left out.
        self.texts(role, "paths", &shown, Severity::Warning, |text| {
            PathPattern::new(text).err().map(|error| error.to_string())
        });
        self.texts(role, "path_hash_prefixes", &shown, Severity::Error, |text| {
            HashPrefix::new(text).err().map(|error| error.to_string())
        });
        match (role.contains_key("paths"), role.contains_key("path_hash_prefixes")) {
            (true, true) => {
                let message = format!(
                    "delegated role {shown} has both `paths` and `path_hash_prefixes`; clients disagree on which one \
                     counts"
                );
                self.error(rules::D7, message);
                role.remove("path_hash_prefixes");
            }
            (false, false) => {
                let message = format!(
                    "delegated role {shown} has neither `paths` nor `path_hash_prefixes`, so no target is delegated \
                     to it"
                );
                self.error(rules::D7, message);
                role.insert("paths".into(), json!([]));
            }
            _ => {}
        }
        true
    }

    /// Removes texts that are refused from a list.
    fn texts(
        &mut self,
        role: &mut Object,
        member: &str,
        shown: &str,
        severity: Severity,
        refusal: fn(&str) -> Option<String>,
    ) {
        let Some(list) = role.get_mut(member) else { return };
        let Value::Array(list) = list else {
            self.error(rules::D6, format!("`{member}` of delegated role {shown} is not a list"));
            role.insert(member.to_owned(), json!([]));
            return;
        };
        list.retain(|text| {
            let (severity, refused) = match text.as_str() {
                Some(text) => (severity, refusal(text)),
                None => (Severity::Error, Some("it is not a string".to_owned())),
            };
            if let Some(why) = &refused {
                let message = format!("`{member}` of delegated role {shown} lists {}: {why}", quote(&text.to_string()));
                self.findings.push((rules::D6, severity, message));
            }
            refused.is_none()
        });
    }
}
