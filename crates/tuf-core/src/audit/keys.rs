//! Keys, thresholds and signatures.

use std::collections::{BTreeMap, BTreeSet};

use super::lenient::LenientMetadata;
use super::quote::quote;
use super::report::Severity;
use super::rules::{self, Rule};
use super::running::RunningAudit;
use crate::key::{KeyIdFormat, PublicKey, SignatureError};
use crate::names::KeyId;
use crate::schema::RoleKeys;
use crate::verify;

impl RunningAudit<'_> {
    /// Checks the keys that a root or a delegating role defines. Each key is reported once in an audit.
    pub(super) fn check_keys(&mut self, subject: &str, keys: &BTreeMap<KeyId, PublicKey>) {
        for (keyid, key) in keys {
            for (rule, severity, problem) in problems_of_key(keyid, key) {
                // A key id can stand for different keys in different files.
                let key = format!("{keyid} {}", key.public());
                if self.reported_keys.insert((rule.id, key)) {
                    self.report.add(rule, severity, subject, format!("key {keyid}: {problem}"));
                }
            }
        }
    }

    /// Checks the keys and the threshold of one role. `whose` names it in messages.
    pub(super) fn check_role_keys(
        &mut self,
        subject: &str,
        whose: &str,
        keys: &BTreeMap<KeyId, PublicKey>,
        role: &RoleKeys,
    ) {
        let mut distinct: Vec<(&KeyId, &PublicKey)> = Vec::new();
        for keyid in &role.keyids {
            let Some(key) = keys.get(keyid) else {
                let message =
                    format!("{whose} lists key {keyid}, which is not defined; define the key or remove the key id");
                self.error(rules::K1, subject, message);
                continue;
            };
            match distinct.iter().find(|(_, known)| known.is_same_key(key)) {
                Some((other, _)) => {
                    let message = format!(
                        "{whose} lists one key under two ids, {other} and {keyid}: clients that count ids count its \
                         signature twice; remove one of the ids"
                    );
                    self.error(rules::S6, subject, message);
                }
                None => distinct.push((keyid, key)),
            }
        }
        if !role.keyids.is_empty() && (distinct.len() as u64) < u64::from(role.threshold) {
            let message = format!(
                "{whose} needs {} signatures but has {} distinct keys, so nothing can be signed for it; add keys or \
                 lower the threshold",
                role.threshold,
                distinct.len()
            );
            self.error(rules::S5, subject, message);
        }
    }

    /// Reports defined keys that no role uses.
    pub(super) fn unused_keys<'r>(
        &mut self,
        subject: &str,
        keys: &BTreeMap<KeyId, PublicKey>,
        roles: impl Iterator<Item = &'r [KeyId]>,
    ) {
        let used: BTreeSet<&KeyId> = roles.flatten().collect();
        for keyid in keys.keys().filter(|keyid| !used.contains(keyid)) {
            self.note(rules::K2, subject, format!("key {keyid} is defined but no role uses it; it can be removed"));
        }
    }

    /// Checks that the role's keys signed the file. `whose` names the keys in messages.
    pub(super) fn check_signatures<M>(
        &mut self,
        rule: &'static Rule,
        subject: &str,
        whose: &str,
        doc: &LenientMetadata<M>,
        keys: &BTreeMap<KeyId, PublicKey>,
        role: &RoleKeys,
    ) {
        let Some(signed) = &doc.signed else { return };
        if role.keyids.is_empty() {
            // A role without keys is reported with the file that should list them.
            return;
        }
        self.report.checked.signatures += doc.signatures.len() as u64;
        if let Err(error) = verify::threshold(signed, &doc.signatures, keys, role) {
            let message = format!("signatures by {whose}: {error}; sign it again as a new version");
            self.error(rule, subject, message);
            return;
        }
        let of_role = || doc.signatures.iter().filter(|signature| role.keyids.contains(&signature.keyid));
        if of_role().count() as u64 <= u64::from(role.threshold) {
            // All were needed, so all are valid.
            return;
        }
        for signature in of_role() {
            let Some(key) = keys.get(&signature.keyid) else { continue };
            if let Err(error) = key.verify(signed, &signature.sig) {
                let message =
                    format!("the threshold is met, but one signature is not valid: key {}: {error}", signature.keyid);
                self.warn(rules::S7, subject, message);
            }
        }
    }
}

fn problems_of_key(keyid: &KeyId, key: &PublicKey) -> Vec<(&'static Rule, Severity, String)> {
    let mut problems = Vec::new();
    if *keyid != key.key_id(KeyIdFormat::Spec) {
        if *keyid == key.key_id(KeyIdFormat::Legacy) {
            let problem = "the key id is in the form of Rugged and php-tuf (computed with keyid_hash_algorithms): \
                           php-tuf requires this form, tough refuses it";
            problems.push((rules::K4, Severity::Warning, problem.to_owned()));
        } else {
            let problem = format!(
                "the key id is not the sha256 of the key ({}); tough and php-tuf refuse the file",
                key.key_id(KeyIdFormat::Spec)
            );
            problems.push((rules::K4, Severity::Error, problem));
        }
    }
    match key.usable() {
        Ok(()) => {}
        Err(SignatureError::Unsupported { keytype, scheme }) => {
            let problem = format!(
                "key type {} with scheme {} is not in the specification: clients cannot use the key",
                quote(&keytype),
                quote(&scheme)
            );
            problems.push((rules::K3, Severity::Warning, problem));
        }
        Err(error) => problems.push((rules::K6, Severity::Error, error.to_string())),
    }
    if key.scheme() == "ecdsa-sha2-nistp384" {
        problems.push((
            rules::K3,
            Severity::Warning,
            "scheme ecdsa-sha2-nistp384 is not supported by every client".into(),
        ));
    }
    if let Some(bits) = key.rsa_bits()
        && bits < 2048
    {
        let problem =
            format!("the RSA key has {bits} bits; clients refuse keys of fewer than 2048 bits; rotate to a new key");
        problems.push((rules::K5, Severity::Error, problem));
    }
    problems
}
