//! The files that timestamp and snapshot list.

use serde_json::Value;

use super::super::quote::quote;
use super::super::rules::{self, Rule};
use super::check::{Object, ShapeCheck};

impl ShapeCheck {
    pub(super) fn timestamp(&mut self, signed: &mut Object) {
        let Some(meta) = self.object(signed, "meta", "") else { return };
        meta.retain(|file, _| {
            if file != "snapshot.json" {
                let message = format!("`meta` lists {}; tough refuses entries other than snapshot.json", quote(file));
                self.error(rules::T1, message);
            }
            file == "snapshot.json"
        });
        match meta.get_mut("snapshot.json") {
            Some(entry) => {
                self.meta_file(entry, "snapshot.json");
            }
            None => self.error(rules::T1, "`meta` does not list snapshot.json"),
        }
    }

    /// Checks an entry of `meta`; `false` if it is not an object.
    pub(super) fn meta_file(&mut self, entry: &mut Value, file: &str) -> bool {
        let Value::Object(entry) = entry else {
            self.error(rules::C7, format!("the entry of {} in `meta` is not an object", quote(file)));
            return false;
        };
        if !self.version(entry, &format!("the version of {} in `meta`", quote(file))) {
            self.large_versions.insert(file.to_owned());
        }
        if entry.get("length").is_some_and(|length| length.as_u64().is_none()) {
            self.error(rules::C7, format!("the length of {} in `meta` is not a whole number", quote(file)));
            entry.remove("length");
        }
        if let Some(hashes) = entry.get_mut("hashes")
            && !self.hashes(hashes, &format!("{} in `meta`", quote(file)), rules::C7)
        {
            entry.remove("hashes");
        }
        true
    }

    /// Removes hashes that cannot be read; `false` if none remains.
    pub(super) fn hashes(&mut self, hashes: &mut Value, whose: &str, rule: &'static Rule) -> bool {
        let Value::Object(hashes) = hashes else {
            self.error(rule, format!("`hashes` of {whose} is not an object"));
            return false;
        };
        if hashes.is_empty() {
            self.error(rule, format!("`hashes` of {whose} is empty; list sha256"));
        }
        hashes.retain(|name, hash| {
            let digits = match name.as_str() {
                "sha256" => Some(64),
                "sha512" => Some(128),
                _ => None,
            };
            let good = hash.as_str().is_some_and(|hash| {
                digits.is_none_or(|digits| {
                    hash.len() == digits && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                })
            });
            if !good {
                let message = format!("the {} of {whose} is not lower-case hexadecimal of its length", quote(name));
                self.error(rule, message);
            }
            good
        });
        !hashes.is_empty()
    }

    pub(super) fn snapshot(&mut self, signed: &mut Object) {
        let Some(meta) = self.object(signed, "meta", "") else { return };
        for (file, mut entry) in std::mem::take(meta) {
            // An entry that is no file of a role is one that clients ignore.
            let name = file.strip_suffix(".json").and_then(|name| self.role_name(name));
            let Some(name) = name else {
                self.warn(
                    rules::N7,
                    format!("`meta` lists {}, which is not NAME.json; clients ignore it", quote(&file)),
                );
                continue;
            };
            let file = format!("{name}.json");
            if self.meta_file(&mut entry, &file) {
                meta.insert(file, entry);
            }
        }
    }
}
