//! The members of root metadata.

use serde_json::{Value, json};

use super::super::quote::quote;
use super::super::rules;
use super::check::{Object, ShapeCheck};
use crate::names::{RoleName, TopRole};

impl ShapeCheck {
    pub(super) fn root(&mut self, signed: &mut Object) {
        match signed.get("consistent_snapshot") {
            Some(Value::Bool(_)) => {}
            found => {
                if found.is_none() {
                    let message = "`consistent_snapshot` is missing, which means false: the specification permits it, but \
                                   tough and tuf-js refuse the root; write true or false";
                    self.error(rules::R5, message);
                } else {
                    self.error(rules::C7, "`consistent_snapshot` is neither true nor false; the audit assumes false");
                }
                signed.insert("consistent_snapshot".into(), false.into());
            }
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
