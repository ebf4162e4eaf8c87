//! The members of root metadata.

use serde_json::{Value, json};

use super::super::quote::quote;
use super::super::rules;
use super::check::{Object, ShapeCheck};
use crate::names::{RoleName, TopRole};

impl ShapeCheck {
    pub(super) fn root(&mut self, signed: &mut Object) {
        if !signed.get("consistent_snapshot").is_some_and(Value::is_boolean) {
            self.error(rules::C7, "`consistent_snapshot` is missing or neither true nor false; the audit assumes true");
            signed.insert("consistent_snapshot".into(), true.into());
        }
        self.keys(signed, "");
        let Some(roles) = self.object(signed, "roles", "") else { return };
        roles.retain(|name, role| {
            if let Err(error) = RoleName::new(name) {
                self.error(rules::C7, format!("in `roles`: {error}"));
                return false;
            }
            match role.as_object_mut() {
                Some(role) => self.role_keys(role, &format!("role {}", quote(name))),
                None => self.error(rules::C7, format!("role {} is not an object", quote(name))),
            }
            role.is_object()
        });
        for name in TopRole::ALL.map(TopRole::as_str) {
            if !roles.contains_key(name) {
                self.error(rules::R3, format!("`roles` lacks {name}: list its keys and threshold in a new root"));
                roles.insert(name.into(), json!({"keyids": [], "threshold": 1}));
            }
        }
    }
}
