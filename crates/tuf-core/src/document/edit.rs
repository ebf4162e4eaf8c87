//! New versions of a document, written from the bytes of the one before.

use std::collections::BTreeMap;
use std::ops::Range;

use super::document_type::DocumentType;
use super::indexed::{Document, EntrySpan};
use crate::canonical;
use crate::envelope::roomy;
use crate::time::UtcTime;

impl Document {
    /// A document without entries. `extra` holds further top-level members (such as `delegations`) as canonical JSON.
    #[must_use]
    pub fn empty(kind: DocumentType, version: u64, expires: UtcTime, extra: BTreeMap<String, Vec<u8>>) -> Self {
        let mut members = extra;
        members.insert("_type".into(), quoted(kind.name()));
        members.insert("spec_version".into(), quoted(crate::SPEC_VERSION));
        members.insert(kind.member().into(), b"{}".to_vec());
        members.insert("expires".into(), quoted(&expires.to_string()));
        members.insert("version".into(), version.to_string().into_bytes());
        let mut signed = Vec::new();
        let mut spans = Vec::with_capacity(members.len());
        signed.push(b'{');
        for (index, (name, value)) in members.into_iter().enumerate() {
            if index > 0 {
                signed.push(b',');
            }
            canonical::write_str(&mut signed, &name);
            signed.push(b':');
            let start = signed.len();
            signed.extend_from_slice(&value);
            spans.push((name, start..signed.len()));
        }
        signed.push(b'}');
        Self { kind, signed, members: spans, entries: Vec::new(), version, expires }
    }

    /// A new version: `changes` replace entries or (with `None`) remove them. All other bytes except `version` and
    /// `expires` stay.
    #[must_use]
    pub fn edit(&self, changes: &BTreeMap<String, Option<Vec<u8>>>, version: u64, expires: UtcTime) -> Self {
        let added: usize = changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len) + 8).sum();
        let mut signed = Vec::with_capacity(roomy(self.signed.len() + added + 32));
        let mut members = Vec::with_capacity(self.members.len());
        let mut entries = Vec::with_capacity(self.entries.len() + changes.len());
        signed.push(b'{');
        for (index, (name, span)) in self.members.iter().enumerate() {
            if index > 0 {
                signed.push(b',');
            }
            canonical::write_str(&mut signed, name);
            signed.push(b':');
            let start = signed.len();
            match name.as_str() {
                "version" => signed.extend_from_slice(version.to_string().as_bytes()),
                "expires" => canonical::write_str(&mut signed, &expires.to_string()),
                name if name == self.kind.member() => self.edit_entries(changes, &mut signed, &mut entries),
                _ => signed.extend_from_slice(&self.signed[span.clone()]),
            }
            members.push((name.clone(), start..signed.len()));
        }
        signed.push(b'}');
        Self { kind: self.kind, signed, members, entries, version, expires }
    }

    fn edit_entries(
        &self,
        changes: &BTreeMap<String, Option<Vec<u8>>>,
        out: &mut Vec<u8>,
        entries: &mut Vec<EntrySpan>,
    ) {
        out.push(b'{');
        let mut next = 0;
        for (key, value) in changes {
            let (at, present) = match self.position(key.as_bytes()) {
                Ok(at) => (at, true),
                Err(at) => (at, false),
            };
            self.copy_entries(next..at, out, entries);
            next = at + usize::from(present);
            if let Some(value) = value {
                separate(out);
                let start = out.len() as u32;
                canonical::write_str(out, key);
                out.push(b':');
                let value_start = out.len() as u32;
                out.extend_from_slice(value);
                entries.push(EntrySpan { start, value: value_start, end: out.len() as u32 });
            }
        }
        self.copy_entries(next..self.entries.len(), out, entries);
        out.push(b'}');
    }

    /// Copies a stretch of entries in one piece; their offsets move by one distance.
    fn copy_entries(&self, range: Range<usize>, out: &mut Vec<u8>, entries: &mut Vec<EntrySpan>) {
        let Some(first) = self.entries.get(range.start).filter(|_| !range.is_empty()) else { return };
        let last = self.entries[range.end - 1];
        separate(out);
        let base = out.len() as u32;
        out.extend_from_slice(&self.signed[first.start as usize..last.end as usize]);
        entries.extend(self.entries[range].iter().map(|entry| EntrySpan {
            start: entry.start - first.start + base,
            value: entry.value - first.start + base,
            end: entry.end - first.start + base,
        }));
    }
}

fn separate(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    canonical::write_str(&mut out, text);
    out
}
