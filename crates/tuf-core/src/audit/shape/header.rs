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
            // Most clients read times in other forms of ISO 8601, and so they can be checked for expiry.
            let meant = expires.and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(|time| time.as_second());
            if meant.is_some() {
                self.warn(rules::C5, format!("{message}: python-tuf refuses the file"));
            } else {
                self.error(rules::C5, message);
            }
            let meant = UtcTime::from_unix(meant.unwrap_or(i64::MAX));
            signed.insert("expires".into(), meant.to_string().into());
        }
    }

    /// Checks a version; `false` if it is one that only this project's readers refuse.
    pub(super) fn version(&mut self, object: &mut Object, subject: &str) -> bool {
        let found = object.get("version");
        if found.and_then(Value::as_u64).is_some_and(|version| (1..INTEGER_LIMIT).contains(&version)) {
            return true;
        }
        // Large integers were reported with the text of the file. The repaired version is not compared with any other.
        #[allow(clippy::cast_precision_loss, reason = "2^53 is exact")]
        let large = found.and_then(Value::as_f64).is_some_and(|version| version >= INTEGER_LIMIT as f64);
        if large {
            self.repaired.insert(rules::C3.id);
        } else {
            let found = found.map_or_else(|| "missing".to_owned(), |value| quote(&value.to_string()));
            self.error(rules::C3, format!("{subject} is {found}; a version is an integer of at least 1"));
        }
        object.insert("version".into(), 1.into());
        !large
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
