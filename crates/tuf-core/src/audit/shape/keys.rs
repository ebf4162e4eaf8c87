//! Keys, key ids and thresholds.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::quote::quote;
use super::super::rules;
use super::check::{Object, ShapeCheck};

impl ShapeCheck {
    pub(super) fn keys(&mut self, parent: &mut Object, whose: &str) {
        let Some(keys) = self.object(parent, "keys", whose) else { return };
        let known = std::mem::take(keys);
        keys.extend(known.into_iter().filter_map(|(keyid, key)| Some((self.key_id(&keyid)?.to_string(), key))));
        keys.retain(|keyid, key| {
            let text = |member: &str| key.get(member).is_some_and(Value::is_string);
            let public = key.get("keyval").and_then(|keyval| keyval.get("public")).is_some_and(Value::is_string);
            let whole = text("keytype") && text("scheme") && public;
            if !whole {
                let message =
                    format!("key {keyid} lacks `keytype`, `scheme` or `keyval.public`, or one of them is not a string");
                self.error(rules::K6, message);
            }
            whole
        });
    }

    /// Checks `keyids` and `threshold` of a role.
    pub(super) fn role_keys(&mut self, role: &mut Object, whose: &str) {
        match role.get_mut("keyids").and_then(Value::as_array_mut) {
            Some(keyids) => {
                let mut seen = BTreeSet::new();
                keyids.retain_mut(|listed| {
                    let Some(keyid) = listed.as_str().and_then(|keyid| self.key_id(keyid)) else {
                        self.error(rules::C7, format!("{whose} lists {} as a key id", quote(&listed.to_string())));
                        return false;
                    };
                    *listed = keyid.as_str().into();
                    if !seen.insert(keyid.clone()) {
                        let message = format!("{whose} lists key {keyid} twice; some clients count it twice");
                        self.error(rules::S6, message);
                        return false;
                    }
                    true
                });
            }
            None => {
                self.error(rules::C7, format!("{whose} has no list `keyids`"));
                role.insert("keyids".into(), json!([]));
            }
        }
        let found = role.get("threshold");
        if !found.and_then(Value::as_u64).is_some_and(|n| (1..=u64::from(u32::MAX)).contains(&n)) {
            let found = found.map_or_else(|| "missing".to_owned(), |value| quote(&value.to_string()));
            let message =
                format!("the threshold of {whose} is {found}; it must be at least 1, or unsigned metadata is accepted");
            self.error(rules::S5, message);
            role.insert("threshold".into(), 1.into());
        }
    }
}
