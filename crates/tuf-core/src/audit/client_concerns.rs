//! The properties of a repository that keep whole clients from reading it.

use std::collections::{BTreeMap, BTreeSet};

use super::odd_name::is_key_alias;
use super::quote::{example as sentence, quote};
use super::rules::{self, Rule};
use crate::key::{KeyIdFormat, PublicKey};
use crate::names::KeyId;
use crate::schema::SpecVersion;

/// Targets roles from which tuf-js and tough are slow.
const MANY_ROLES: u64 = 4096;

/// Something that occurs in many places: how often, and the first place.
#[derive(Default)]
struct Occurrences {
    count: u64,
    first: Option<(String, String)>,
}

impl Occurrences {
    fn add(&mut self, subject: &str, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some((subject.to_owned(), example()));
        }
    }
}

/// The obstacles for whole clients. Each is reported once, not once for each role.
#[derive(Default)]
pub(super) struct ClientConcerns {
    /// A key occurs in many files, and its id is right or wrong depending on all its members there.
    keys_seen: BTreeSet<(KeyId, Vec<u8>)>,
    legacy_key_ids: Occurrences,
    foreign_key_ids: Occurrences,
    not_legacy_key_ids: Occurrences,
    not_ed25519: Occurrences,
    hash_prefixes: Occurrences,
    spec_versions: Occurrences,
}

impl ClientConcerns {
    /// Takes the keys that a root or a delegating role defines.
    pub(super) fn keys(&mut self, subject: &str, keys: &BTreeMap<KeyId, PublicKey>) {
        for (keyid, key) in keys {
            // An id that our type cannot hold was reported with its file.
            if is_key_alias(keyid) || !self.keys_seen.insert((keyid.clone(), key.to_canonical())) {
                continue;
            }
            let is = |format| *keyid == key.key_id(format);
            let (spec, legacy) = (is(KeyIdFormat::Spec), is(KeyIdFormat::Legacy));
            let example = || keyid.to_string();
            match (spec, legacy) {
                (true, _) => {}
                (false, true) => self.legacy_key_ids.add(subject, example),
                (false, false) => self.foreign_key_ids.add(subject, example),
            }
            if !legacy {
                self.not_legacy_key_ids.add(subject, example);
            }
            if key.scheme() != "ed25519" {
                self.not_ed25519.add(subject, || key.scheme().to_owned());
            }
        }
    }

    /// Takes the version of the specification of one file.
    pub(super) fn spec_version(&mut self, subject: &str, version: &SpecVersion) {
        if !matches!(version.as_str(), "1.0" | "1.0.0") {
            self.spec_versions.add(subject, || version.to_string());
        }
    }

    /// Takes a role that delegates by `path_hash_prefixes`.
    pub(super) fn hash_prefixes(&mut self, subject: &str) {
        self.hash_prefixes.add(subject, String::new);
    }

    /// The findings: one for each group of clients and cause.
    pub(super) fn findings(&self, roles: u64) -> Vec<(&'static Rule, String, String)> {
        let mut found: Vec<(&'static Rule, String, String)> = Vec::new();
        let mut say = |rule, of: &Occurrences, message: &dyn Fn(u64, &str) -> String| {
            if let Some((subject, example)) = &of.first {
                found.push((rule, subject.clone(), message(of.count, example)));
            }
        };
        say(rules::K4, &self.legacy_key_ids, &|count, example| {
            format!(
                "{} in the form of Rugged and php-tuf (computed with keyid_hash_algorithms): php-tuf requires this form, \
                 tough refuses it",
                sentence(count, "key id", example, ("is", "are"))
            )
        });
        say(rules::K4, &self.foreign_key_ids, &|count, example| {
            format!(
                "{}: tough and php-tuf refuse the files; python-tuf, go-tuf and tuf-js read them",
                sentence(
                    count,
                    "key id",
                    &quote(example),
                    ("is not the sha256 of its key", "are not the sha256 of their keys")
                )
            )
        });
        say(rules::O1, &self.hash_prefixes, &|_, _| {
            "delegates by path_hash_prefixes (hashed bins): go-tuf up to August 2026 finds no target behind them; \
             update go-tuf, or sign one flat role"
                .to_owned()
        });
        let mut excluded = |rule, client: &str, remedy: &str, causes: &[(&Occurrences, String)]| {
            let (subjects, texts): (Vec<&str>, Vec<&str>) =
                causes.iter().filter_map(|(of, text)| Some((of.first.as_ref()?.0.as_str(), text.as_str()))).unzip();
            if let Some(subject) = subjects.first() {
                let message = format!("{client} cannot read the repository: {}{remedy}", texts.join(", "));
                found.push((rule, (*subject).to_owned(), message));
            }
        };
        let not_legacy = match self.not_legacy_key_ids.count {
            1 => "1 key id is not legacy".to_owned(),
            count => format!("{count} key ids are not legacy"),
        };
        let example = |of: &Occurrences| of.first.as_ref().map_or_else(String::new, |(_, example)| quote(example));
        let schemes = format!("a key has scheme {}", example(&self.not_ed25519));
        excluded(
            rules::O2,
            "php-tuf",
            "; it needs legacy key ids and Ed25519",
            &[(&self.not_legacy_key_ids, not_legacy), (&self.not_ed25519, schemes.clone())],
        );
        excluded(
            rules::O3,
            "rust-tuf",
            "; it needs spec_version 1.0.0, Ed25519 and delegations by paths",
            &[
                (&self.spec_versions, format!("spec_version is {}", example(&self.spec_versions))),
                (&self.not_ed25519, schemes),
                (&self.hash_prefixes, "there are path_hash_prefixes".to_owned()),
            ],
        );
        if roles >= MANY_ROLES {
            let message = format!(
                "there are {roles} targets roles: tough reads every one before the first target, and tuf-js is slow; \
                 fewer bins suit them better"
            );
            found.push((rules::O4, "the repository".to_owned(), message));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_roles_name_tough_and_tuf_js() {
        let rules =
            |roles| ClientConcerns::default().findings(roles).into_iter().map(|(rule, ..)| rule.id).collect::<Vec<_>>();
        assert_eq!(rules(4095), Vec::<&str>::new());
        assert_eq!(rules(16_386), ["O4"]);
    }
}
