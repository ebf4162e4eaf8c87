//! Keys, thresholds and signatures.

use std::collections::{BTreeMap, BTreeSet};

use super::lenient::LenientMetadata;
use super::quote::quote;
use super::report::Severity;
use super::rules::{self, Rule};
use super::running::RunningAudit;
use crate::envelope::Signature;
use crate::key::{PublicKey, SignatureError};
use crate::names::KeyId;
use crate::schema::RoleKeys;
use crate::verify::{self, VerifyError};

/// The smallest RSA key that the specification permits (§4.2).
const MIN_RSA_BITS: usize = 2048;

impl RunningAudit<'_> {
    /// Checks the keys that a root or a delegating role defines. Each key is reported once in an audit.
    pub(super) fn check_keys(&mut self, subject: &str, keys: &BTreeMap<KeyId, PublicKey>) {
        if self.below_trusted.is_none() {
            self.concerns.keys(subject, keys);
        }
        for (keyid, key) in keys {
            for (rule, severity, problem) in problems_of_key(key) {
                // A key id can stand for different keys in different files. A note about an old root hides no error in a new
                // one.
                let key = format!("{} {keyid} {} {}", self.below_trusted.is_some(), key.scheme(), key.public());
                if self.reported_keys.insert((rule.id, key)) {
                    self.add(rule, severity, subject, format!("key {keyid}: {problem}"));
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
                let message = format!(
                    "{whose} lists key {keyid}, which is not defined: no signature by it counts, and php-tuf \
                             refuses a file with one; define the key or remove the key id"
                );
                self.warn(rules::K1, subject, message);
                continue;
            };
            match distinct.iter().find(|(_, known)| known.is_same_key(key)) {
                Some((other, _)) => {
                    let message = format!(
                        "{whose} lists one key under two ids, {other} and {keyid}: clients that count ids count its \
                         signature twice; remove one of the ids"
                    );
                    self.warn(rules::S6, subject, message);
                }
                None => distinct.push((keyid, key)),
            }
        }
        if (distinct.len() as u64) < u64::from(role.threshold) {
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
            // The file that should list them is reported.
            return;
        }
        self.report.checked.signatures += doc.signatures.len() as u64;
        if let Err(error) = verify::threshold(signed, &doc.signatures, keys, role) {
            if self.undecided(subject, whose, &doc.signatures, keys, role, &error) {
                return;
            }
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
                let keyid = &signature.keyid;
                if signature.sig.is_empty() {
                    let message =
                        format!("the threshold is met, and a place is reserved for a signature by key {keyid}");
                    self.add_once(rules::S7, Severity::Note, subject, message);
                } else if can_verify(key) {
                    let message = format!(
                        "the threshold is met, but one signature is not valid: key {keyid}: {error}; old versions of \
                         go-tuf refuse the file"
                    );
                    self.add_once(rules::S7, Severity::Warning, subject, message);
                }
            }
        }
    }

    /// Whether the threshold may be met by signatures that the audit cannot verify, because it does not know the scheme: the
    /// specification permits any scheme. Then the file counts as not fully checked.
    pub(super) fn undecided(
        &mut self,
        subject: &str,
        whose: &str,
        signatures: &[Signature],
        keys: &BTreeMap<KeyId, PublicKey>,
        role: &RoleKeys,
        error: &VerifyError,
    ) -> bool {
        let unknown = |signature: &&Signature| {
            role.keyids.contains(&signature.keyid) && keys.get(&signature.keyid).is_some_and(|key| !can_verify(key))
        };
        let unknown = signatures.iter().filter(unknown).count() as u64;
        let undecided = unknown > 0 && u64::from(error.valid) + unknown >= u64::from(error.threshold);
        if undecided && self.below_trusted.is_none() {
            let counted = if unknown == 1 { "a signature".to_owned() } else { format!("{unknown} signatures") };
            let reason = format!("the audit cannot verify the scheme of {counted} by {whose}");
            self.unread(subject, reason);
        }
        undecided
    }
}

/// Whether the audit can tell a good signature by this key from a bad one.
fn can_verify(key: &PublicKey) -> bool {
    !matches!(key.usable(), Err(SignatureError::Unsupported { .. }))
        && key.rsa_bits().is_none_or(|bits| bits >= MIN_RSA_BITS)
}

fn problems_of_key(key: &PublicKey) -> Vec<(&'static Rule, Severity, String)> {
    let mut problems = Vec::new();
    match key.usable() {
        Ok(()) => {}
        Err(SignatureError::Unsupported { keytype, scheme }) => {
            let problem = format!(
                "key type {} with scheme {} is not in the specification: tough refuses the file, and other clients cannot use \
                 the key",
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
        && bits < MIN_RSA_BITS
    {
        let problem =
            format!("the RSA key has {bits} bits; clients refuse keys of fewer than 2048 bits; rotate to a new key");
        problems.push((rules::K5, Severity::Error, problem));
    }
    problems
}
