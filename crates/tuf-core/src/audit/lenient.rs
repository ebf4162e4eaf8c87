//! Reading metadata that the strict reader refuses.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::rules;
use super::running::RunningAudit;
use super::shape::ShapeCheck;
use crate::canonical::{CanonicalError, MAX_FOREIGN_NESTING, MAX_NESTING, canonicalize_foreign, value_to_canonical};
use crate::envelope::{Envelope, MAX_SIGNATURES, ParseError, Signature};
use crate::schema::Metadata;

/// Metadata as far as it could be read, with repairs.
pub(super) struct LenientMetadata<M> {
    /// The metadata; wrong members are repaired.
    pub(super) metadata: M,
    /// The canonical bytes as they were signed; `None` without a canonical form.
    pub(super) signed: Option<Vec<u8>>,
    /// Signatures with unique key ids.
    pub(super) signatures: Vec<Signature>,
    /// Ids of the rules that the file violates. Repaired members must not be compared with anything.
    pub(super) flaws: BTreeSet<&'static str>,
}

#[derive(Deserialize)]
struct RawEnvelope<'a> {
    signatures: Value,
    #[serde(borrow)]
    signed: &'a RawValue,
}

impl RunningAudit<'_> {
    /// Reads a file, and reports every fault for which a strict reader would refuse it. `None` if it cannot be read at
    /// all, which is reported too.
    pub(super) fn read<M: Metadata>(&mut self, subject: &str, file: &[u8]) -> Option<LenientMetadata<M>> {
        if let Ok(envelope) = Envelope::parse(file)
            && let Ok(metadata) = M::from_envelope(&envelope)
        {
            let signatures = envelope.signatures().to_vec();
            if !unicode_normalization::is_nfc(envelope.signed_text()) {
                self.not_nfc(subject);
            }
            let signed = Some(envelope.into_signed());
            return Some(LenientMetadata { metadata, signed, signatures, flaws: BTreeSet::new() });
        }
        self.repair(subject, file)
    }

    fn not_nfc(&mut self, subject: &str) {
        let message = "holds text that is not in Unicode normalization form C: tough and php-tuf compute different \
                       canonical bytes and refuse the signatures; normalize names and custom data before signing";
        self.warn(rules::J2, subject, message);
    }

    fn repair<M: Metadata>(&mut self, subject: &str, file: &[u8]) -> Option<LenientMetadata<M>> {
        let outer: RawEnvelope<'_> = match serde_json::from_slice(file) {
            Ok(outer) => outer,
            Err(error) => {
                self.error(
                    rules::J1,
                    subject,
                    format!("is not an object with `signatures` and `signed`: {error}; publish it again"),
                );
                return None;
            }
        };
        let mut shape = ShapeCheck::default();
        let signed = match canonicalize_foreign(outer.signed.get().as_bytes()) {
            Ok((signed, beyond)) => {
                if beyond.large_integer {
                    let message = "holds an integer of 2^53 or more: the specification permits it, but tuf-js rounds it, \
                                   computes other canonical bytes and refuses the signatures; write it as a string";
                    shape.warn(rules::J3, message);
                }
                if beyond.deep {
                    let message = format!(
                        "is nested deeper than {MAX_NESTING} levels: clients differ in how deep they read, and tough \
                         refuses more than 127 levels; use fewer levels"
                    );
                    shape.warn(rules::J4, message);
                }
                Some(signed)
            }
            Err(CanonicalError::TooDeep) => {
                let message = format!(
                    "is nested deeper than {MAX_FOREIGN_NESTING} levels: clients differ in how deep they read, and the \
                     audit does not check the signatures; use fewer levels"
                );
                shape.warn(rules::J4, message);
                if self.below_trusted.is_none() {
                    self.unread(subject, format!("the signed part is nested deeper than {MAX_FOREIGN_NESTING} levels"));
                }
                None
            }
            Err(error) => {
                shape.error(rules::J1, format!("has no canonical form, so no signature can be checked: {error}"));
                None
            }
        };
        if let Some(text) = signed.as_deref().and_then(|signed| std::str::from_utf8(signed).ok())
            && !unicode_normalization::is_nfc(text)
        {
            self.not_nfc(subject);
        }
        let signatures = signatures(&outer.signatures, &mut shape);
        let mut value: Value = match serde_json::from_str(&prune(outer.signed.get(), MAX_NESTING)) {
            Ok(value) => value,
            Err(error) => {
                self.error(rules::J1, subject, format!("the signed part cannot be read: {error}"));
                return None;
            }
        };
        shape.metadata(M::TYPE, &mut value);
        strip_fractions(&mut value);
        let read = value_to_canonical(&value).map_err(ParseError::from).and_then(|bytes| M::from_canonical(&bytes));
        let mut flaws: BTreeSet<&'static str> = shape.findings.iter().map(|(rule, _, _)| rule.id).collect();
        flaws.append(&mut shape.repaired);
        for (rule, severity, message) in shape.findings {
            // Every file signed by a key with an odd id would report it.
            if *rule == *rules::K4 && !self.reported_keys.insert((rule.id, String::new())) {
                continue;
            }
            self.add(rule, severity, subject, message);
        }
        self.odd_names.append(&mut shape.odd_names);
        self.large_versions.append(&mut shape.large_versions);
        self.report.checked.unchecked_targets += shape.unchecked_targets;
        match read {
            Ok(metadata) => {
                if flaws.is_empty()
                    && let Err(error) = Envelope::parse(file).map(|envelope| M::from_envelope(&envelope).err())
                {
                    // The checks above do not explain why the strict reader refused it, so its own error is reported.
                    self.error(rules::C7, subject, error.to_string());
                }
                Some(LenientMetadata { metadata, signed, signatures, flaws })
            }
            Err(error) => {
                self.error(rules::C7, subject, format!("{error}; files that depend on it were not checked"));
                None
            }
        }
    }
}

fn signatures(value: &Value, shape: &mut ShapeCheck) -> Vec<Signature> {
    let Some(list) = value.as_array() else {
        shape.error(rules::S2, "`signatures` is not a list");
        return Vec::new();
    };
    let mut signatures: Vec<Signature> = Vec::new();
    if list.len() > MAX_SIGNATURES {
        shape.warn(rules::S2, format!("lists {} signatures; only the first {MAX_SIGNATURES} were read", list.len()));
    }
    let mut seen = BTreeSet::new();
    for (index, entry) in list.iter().take(MAX_SIGNATURES).enumerate() {
        let text = |member: &str| entry.get(member).and_then(Value::as_str);
        let (Some(keyid), Some(sig)) = (text("keyid"), text("sig")) else {
            shape.error(rules::S2, format!("signature {index} lacks `keyid` or `sig`"));
            continue;
        };
        let Some(keyid) = shape.key_id(keyid) else { continue };
        let Ok(sig) = hex::decode(sig) else {
            shape.error(rules::S2, format!("the signature by key {keyid} is not hexadecimal"));
            continue;
        };
        if !seen.insert(keyid.clone()) {
            shape.error(
                rules::S1,
                format!(
                    "`signatures` lists key {keyid} twice: clients refuse the file or count one signature; keep one \
                     of them"
                ),
            );
            continue;
        }
        signatures.push(Signature { keyid, sig });
    }
    signatures
}

/// The JSON with `null` in place of every object and array below this level, so that the rest can be read.
fn prune(json: &str, levels: usize) -> Cow<'_, str> {
    let mut pruned = String::new();
    let (mut depth, mut in_string, mut escaped, mut copied) = (0usize, false, false, 0);
    for (at, byte) in json.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth == levels + 1 {
                    pruned.push_str(&json[copied..at]);
                    pruned.push_str("null");
                }
            }
            b'}' | b']' => {
                if depth == levels + 1 {
                    copied = at + 1;
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
    }
    if pruned.is_empty() || depth > levels {
        return Cow::Borrowed(json);
    }
    pruned.push_str(&json[copied..]);
    Cow::Owned(pruned)
}

/// Numbers without a canonical form were reported; they are replaced so that the rest can be read.
fn strip_fractions(value: &mut Value) {
    match value {
        Value::Number(number) if number.as_u64().is_none_or(|n| n >= crate::canonical::INTEGER_LIMIT) => {
            let small = number.as_i64().is_some_and(|n| n.unsigned_abs() < crate::canonical::INTEGER_LIMIT);
            if !small {
                *value = Value::from(0);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(strip_fractions),
        Value::Object(map) => map.values_mut().for_each(strip_fractions),
        _ => {}
    }
}
