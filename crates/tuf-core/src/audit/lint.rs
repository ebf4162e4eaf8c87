//! The shape of each kind of metadata, member by member. What is wrong is reported and repaired, so that the types of
//! [`crate::schema`] can hold the rest.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::quote;
use super::report::Severity;
use super::rules::{self, Rule};
use crate::canonical::INTEGER_LIMIT;
use crate::names::{KeyId, RoleName, TargetPath};
use crate::schema::{HashPrefix, PathPattern, SpecVersion};
use crate::time::UtcTime;

type Object = Map<String, Value>;

/// Findings about one file.
#[derive(Default)]
pub(super) struct Lint {
    pub(super) findings: Vec<(&'static Rule, Severity, String)>,
}

impl Lint {
    pub(super) fn error(&mut self, rule: &'static Rule, message: impl Into<String>) {
        self.findings.push((rule, Severity::Error, message.into()));
    }

    /// Looks at the signed part of a file of this kind.
    pub(super) fn metadata(&mut self, kind: &str, value: &mut Value) {
        let Value::Object(signed) = value else {
            self.error(rules::C7, "`signed` is not an object");
            return;
        };
        self.header(kind, signed);
        match kind {
            "root" => self.root(signed),
            "timestamp" => self.timestamp(signed),
            "snapshot" => self.snapshot(signed),
            _ => self.targets(signed),
        }
    }

    fn header(&mut self, kind: &str, signed: &mut Object) {
        match signed.get("_type") {
            Some(Value::String(found)) if found == kind => {}
            found => {
                let found = found.map_or_else(|| "missing".to_owned(), |value| quote(&value.to_string()));
                self.error(rules::C1, format!("`_type` is {found}, it must be `{kind}`"));
                signed.insert("_type".into(), kind.into());
            }
        }
        match signed.get("spec_version").and_then(Value::as_str).map(SpecVersion::parse) {
            Some(Ok(_)) => {}
            other => {
                let why = match other {
                    Some(Err(error)) => error.to_string(),
                    _ => "is missing or not a string".to_owned(),
                };
                self.error(rules::C2, format!("`spec_version`: {why}; write 1.0.31, or the version that is followed"));
                signed.insert("spec_version".into(), crate::schema::SPEC_VERSION.into());
            }
        }
        self.version(signed, "`version`");
        let expires = signed.get("expires").and_then(Value::as_str);
        if expires.is_none_or(|text| UtcTime::parse(text).is_err()) {
            let found = expires.map_or_else(|| "missing or not a string".to_owned(), quote);
            let message = format!("`expires` is {found}; write YYYY-MM-DDTHH:MM:SSZ without a fraction or an offset");
            // Whether it is expired can still be said of most of them.
            let meant = expires.and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(|time| time.as_second());
            let meant = UtcTime::from_unix(meant.unwrap_or(i64::MAX));
            self.error(rules::C5, message);
            signed.insert("expires".into(), meant.to_string().into());
        }
    }

    fn version(&mut self, object: &mut Object, what: &str) {
        let found = object.get("version");
        if found.and_then(Value::as_u64).is_some_and(|version| (1..INTEGER_LIMIT).contains(&version)) {
            return;
        }
        let found = found.map_or_else(|| "missing".to_owned(), |value| quote(&value.to_string()));
        self.error(rules::C3, format!("{what} is {found}; versions are integers from 1 to 2^53 - 1"));
        object.insert("version".into(), 1.into());
    }

    /// The object called `name`, made empty if it is none.
    fn object<'v>(&mut self, parent: &'v mut Object, name: &str, whose: &str) -> Option<&'v mut Object> {
        if !parent.get(name).is_some_and(Value::is_object) {
            self.error(rules::C7, format!("`{name}`{whose} is missing or not an object"));
            parent.insert(name.to_owned(), json!({}));
        }
        parent.get_mut(name).and_then(Value::as_object_mut)
    }

    fn root(&mut self, signed: &mut Object) {
        if !signed.get("consistent_snapshot").is_some_and(Value::is_boolean) {
            self.error(rules::C7, "`consistent_snapshot` is missing or neither true nor false; it was taken as true");
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
        for name in ["root", "snapshot", "targets", "timestamp"] {
            if !roles.contains_key(name) {
                self.error(rules::R3, format!("`roles` lacks {name}: name its keys and threshold in a new root"));
                roles.insert(name.into(), json!({"keyids": [], "threshold": 1}));
            }
        }
    }

    fn keys(&mut self, parent: &mut Object, whose: &str) {
        let Some(keys) = self.object(parent, "keys", whose) else { return };
        keys.retain(|keyid, key| {
            if let Err(error) = KeyId::new(keyid) {
                self.error(rules::C7, format!("in `keys`{whose}: {error}"));
                return false;
            }
            let text = |member: &str| key.get(member).is_some_and(Value::is_string);
            let public = key.get("keyval").and_then(|keyval| keyval.get("public")).is_some_and(Value::is_string);
            let whole = text("keytype") && text("scheme") && public;
            if !whole {
                let message = format!("key {keyid} lacks `keytype`, `scheme` or `keyval.public`, or one is no string");
                self.error(rules::K6, message);
            }
            whole
        });
    }

    /// `keyids` and `threshold` of a role.
    fn role_keys(&mut self, role: &mut Object, whose: &str) {
        match role.get_mut("keyids").and_then(Value::as_array_mut) {
            Some(keyids) => {
                let mut seen = BTreeSet::new();
                keyids.retain(|keyid| {
                    let Some(Ok(keyid)) = keyid.as_str().map(KeyId::new) else {
                        self.error(rules::C7, format!("{whose} lists {} as a key id", quote(&keyid.to_string())));
                        return false;
                    };
                    if !seen.insert(keyid.clone()) {
                        let message = format!("{whose} lists key {keyid} twice; careless clients count it twice");
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

    fn timestamp(&mut self, signed: &mut Object) {
        let Some(meta) = self.object(signed, "meta", "") else { return };
        meta.retain(|file, _| {
            if file != "snapshot.json" {
                let message = format!("`meta` lists {}; clients refuse anything but snapshot.json", quote(file));
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

    /// An entry of `meta`; whether it is one.
    fn meta_file(&mut self, entry: &mut Value, file: &str) -> bool {
        let Value::Object(entry) = entry else {
            self.error(rules::C7, format!("what `meta` says of {} is not an object", quote(file)));
            return false;
        };
        self.version(entry, &format!("the version of {} in `meta`", quote(file)));
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

    /// Hashes that can be read; whether any is left.
    fn hashes(&mut self, hashes: &mut Value, whose: &str, rule: &'static Rule) -> bool {
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

    fn snapshot(&mut self, signed: &mut Object) {
        let Some(meta) = self.object(signed, "meta", "") else { return };
        meta.retain(|file, entry| {
            let Some(name) = file.strip_suffix(".json") else {
                self.error(rules::C7, format!("`meta` lists {}, which does not end in .json", quote(file)));
                return false;
            };
            if let Err(error) = RoleName::new(name) {
                self.error(rules::D9, format!("`meta`: {error}; it was left out here"));
                return false;
            }
            self.meta_file(entry, file)
        });
    }

    fn targets(&mut self, signed: &mut Object) {
        if let Some(targets) = self.object(signed, "targets", "") {
            targets.retain(|path, target| self.target(path, target));
        }
        match signed.get_mut("delegations") {
            None => {}
            Some(Value::Object(delegations)) => self.delegations(delegations),
            Some(_) => {
                self.error(rules::C7, "`delegations` is not an object");
                signed.remove("delegations");
            }
        }
    }

    fn target(&mut self, path: &str, target: &mut Value) -> bool {
        let shown = quote(path);
        if let Err(error) = TargetPath::new(path) {
            let rule = if unicode_normalization::is_nfc(path) { rules::P1 } else { rules::J2 };
            self.error(rule, format!("target path {shown} {}; clients may write it elsewhere", error.reason()));
            return false;
        }
        let Value::Object(target) = target else {
            self.error(rules::P5, format!("what is said of target {shown} is not an object"));
            return false;
        };
        let mut good = true;
        if !target.get("length").is_some_and(Value::is_u64) {
            self.error(rules::P5, format!("target {shown} has no length that is a whole number"));
            good = false;
        }
        match target.get_mut("hashes") {
            Some(hashes) => good &= self.hashes(hashes, &format!("target {shown}"), rules::P5),
            None => {
                self.error(rules::P5, format!("target {shown} has no hashes; list sha256"));
                good = false;
            }
        }
        good
    }

    fn delegations(&mut self, delegations: &mut Object) {
        self.keys(delegations, " of the delegations");
        match (delegations.contains_key("roles"), delegations.contains_key("succinct_roles")) {
            (true, true) => {
                self.error(
                    rules::D7,
                    "there are both `roles` and `succinct_roles`; `succinct_roles` was left out here",
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

    fn delegated_role(&mut self, role: &mut Value, seen: &mut BTreeSet<String>) -> bool {
        let Value::Object(role) = role else {
            self.error(rules::C7, "a delegated role is not an object");
            return false;
        };
        let Some(name) = role.get("name").and_then(Value::as_str).map(str::to_owned) else {
            self.error(rules::C7, "a delegated role has no name");
            return false;
        };
        let shown = quote(&name);
        match RoleName::new(&name) {
            Err(error) => {
                self.error(rules::D9, format!("delegated {error}; it was left out here"));
                return false;
            }
            Ok(name) if name.is_top_level() => {
                self.error(rules::D3, format!("the top-level role {name} is delegated to; give the role another name"));
                return false;
            }
            Ok(_) => {}
        }
        if !seen.insert(name) {
            self.error(rules::D3, format!("role {shown} is delegated to twice; the second one was left out here"));
            return false;
        }
        self.role_keys(role, &format!("delegated role {shown}"));
        if !role.get("terminating").is_some_and(Value::is_boolean) {
            let message = format!("delegated role {shown} does not say whether it is terminating; write true or false");
            self.error(rules::D5, message);
            role.insert("terminating".into(), false.into());
        }
        self.texts(role, "paths", &shown, |text| PathPattern::new(text).err());
        self.texts(role, "path_hash_prefixes", &shown, |text| HashPrefix::new(text).err());
        match (role.contains_key("paths"), role.contains_key("path_hash_prefixes")) {
            (true, true) => {
                let message = format!(
                    "delegated role {shown} has both `paths` and `path_hash_prefixes`; clients disagree about it"
                );
                self.error(rules::D7, message);
                role.remove("path_hash_prefixes");
            }
            (false, false) => {
                let message = format!(
                    "delegated role {shown} has neither `paths` nor `path_hash_prefixes`, so it is trusted with nothing"
                );
                self.error(rules::D7, message);
                role.insert("paths".into(), json!([]));
            }
            _ => {}
        }
        true
    }

    /// A list of texts, without those that are refused.
    fn texts(&mut self, role: &mut Object, member: &str, shown: &str, refuse: fn(&str) -> Option<&'static str>) {
        let Some(list) = role.get_mut(member) else { return };
        let Value::Array(list) = list else {
            self.error(rules::D6, format!("`{member}` of delegated role {shown} is not a list"));
            role.insert(member.to_owned(), json!([]));
            return;
        };
        list.retain(|text| {
            let refused = text.as_str().map_or(Some("it is no string"), refuse);
            if let Some(why) = refused {
                let message = format!("`{member}` of delegated role {shown} lists {}: {why}", quote(&text.to_string()));
                self.error(rules::D6, message);
            }
            refused.is_none()
        });
    }
}
