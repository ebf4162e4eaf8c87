//! The members that every kind of metadata has.

use serde_json::{Value, json};

use super::super::quote::quote;
use super::super::rules;
use super::check::{Object, ShapeCheck};
use crate::canonical::INTEGER_LIMIT;
use crate::names::TopRole;
use crate::schema::{SPEC_VERSION, SpecVersion};
use crate::time::UtcTime;

impl ShapeCheck {
    pub(super) fn header(&mut self, kind: TopRole, signed: &mut Object) {
        match signed.get("_type") {
            Some(Value::String(found)) if found == kind.as_str() => {}
            found => {
                let found = found.map_or_else(|| "missing".to_owned(), |value| quote(&value.to_string()));
                self.error(rules::C1, format!("`_type` is {found}, it must be `{kind}`"));
                signed.insert("_type".into(), kind.as_str().into());
            }
        }
        match signed.get("spec_version").and_then(Value::as_str).map(SpecVersion::parse) {
            Some(Ok(_)) => {}
            other => {
                let why = match other {
                    Some(Err(error)) => error.to_string(),
                    _ => "is missing or not a string".to_owned(),
                };
                self.error(
                    rules::C2,
                    format!("`spec_version`: {why}; write 1.0.31, or the version that the metadata follows"),
                );
                signed.insert("spec_version".into(), SPEC_VERSION.into());
            }
        }
        self.version(signed, "`version`");
        let expires = signed.get("expires").and_then(Value::as_str);
        if expires.is_none_or(|text| UtcTime::parse(text).is_err()) {
            let found = expires.map_or_else(|| "missing or not a string".to_owned(), quote);
            let message = format!("`expires` is {found}; write YYYY-MM-DDTHH:MM:SSZ without a fraction or an offset");
            // Most times in other forms can still be checked for expiry.
            let meant = expires.and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(|time| time.as_second());
            let meant = UtcTime::from_unix(meant.unwrap_or(i64::MAX));
            self.error(rules::C5, message);
            signed.insert("expires".into(), meant.to_string().into());
        }
    }

    pub(super) fn version(&mut self, object: &mut Object, subject: &str) {
        let found = object.get("version");
        if found.and_then(Value::as_u64).is_some_and(|version| (1..INTEGER_LIMIT).contains(&version)) {
            return;
        }
        let found = found.map_or_else(|| "missing".to_owned(), |value| quote(&value.to_string()));
        self.error(rules::C3, format!("{subject} is {found}; versions are integers from 1 to 2^53 - 1"));
        object.insert("version".into(), 1.into());
    }

    /// The object called `name`; an empty one takes its place if it is missing or not an object.
    pub(super) fn object<'v>(&mut self, parent: &'v mut Object, name: &str, whose: &str) -> Option<&'v mut Object> {
        if !parent.get(name).is_some_and(Value::is_object) {
            self.error(rules::C7, format!("`{name}`{whose} is missing or not an object"));
            parent.insert(name.to_owned(), json!({}));
        }
        parent.get_mut(name).and_then(Value::as_object_mut)
    }
}
