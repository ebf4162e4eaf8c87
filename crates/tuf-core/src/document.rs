//! Signed documents that are edited without being serialised again.
//!
//! `targets.json` may hold a million targets and `snapshot.json` sixteen thousand roles, of which one changes. A
//! [`Document`] is the canonical `signed` part as it stands on disk plus an index of the entries of its one large
//! member (`targets` or `meta`). An edit copies the untouched stretches and writes only what changed, so its cost is
//! that of copying memory, and what was not touched keeps its bytes: unknown fields included.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use thiserror::Error;

use crate::canonical;
use crate::envelope::roomy;
use crate::time::UtcTime;

/// Why bytes are not a document.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DocumentError {
    /// Not canonical JSON of the expected shape.
    #[error("malformed document at byte {offset}: {reason}")]
    Malformed {
        /// Where.
        offset: usize,
        /// What was expected.
        reason: &'static str,
    },
    /// A member that every document has is missing.
    #[error("document has no `{0}`")]
    Missing(&'static str),
    /// The document is of another role type.
    #[error("document is of type `{found}`, not `{wanted}`")]
    WrongType {
        /// `_type` of the document.
        found: String,
        /// The type asked for.
        wanted: &'static str,
    },
    /// Larger than offsets can address (4 GiB).
    #[error("document is larger than 4 GiB")]
    TooLarge,
}

/// Which role type a document is, and so which member is its large one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentType {
    /// `targets` and every delegated role; the large member is `targets`.
    Targets,
    /// `snapshot`; the large member is `meta`.
    Snapshot,
}

impl DocumentType {
    /// The value of `_type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
        }
    }

    /// The member that is indexed.
    #[must_use]
    pub const fn member(self) -> &'static str {
        match self {
            Self::Targets => "targets",
            Self::Snapshot => "meta",
        }
    }
}

/// One entry of the large member: `"key":value`.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Offset of the key's opening quote.
    start: u32,
    /// Offset of the value.
    value: u32,
    /// Offset behind the value.
    end: u32,
}

/// A canonical `signed` part with its entries indexed. See the module's text.
#[derive(Clone, Debug)]
pub struct Document {
    kind: DocumentType,
    signed: Vec<u8>,
    /// Top-level members in order: name, span of the value.
    members: Vec<(String, Range<usize>)>,
    entries: Vec<Entry>,
    version: u64,
    expires: UtcTime,
}

impl Document {
    /// A first version with no entries. `extra` are further top-level members (such as `delegations`) as canonical JSON.
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

    /// Indexes canonical `signed` bytes.
    ///
    /// # Errors
    /// [`DocumentError`] when the bytes are not a document of this type; entries out of order are malformed.
    pub fn parse(kind: DocumentType, signed: Vec<u8>) -> Result<Self, DocumentError> {
        if u32::try_from(signed.len()).is_err() {
            return Err(DocumentError::TooLarge);
        }
        let mut scan = Scanner { bytes: &signed, at: 0 };
        let mut members = Vec::new();
        let mut entries = Vec::new();
        scan.object(|scan, key, _| {
            let name = String::from_utf8(key.into_owned()).map_err(|_| scan.malformed("a name in UTF-8"))?;
            let start = scan.at;
            if name == kind.member() {
                // Roughly the smallest entry; avoids growing the index of a large document a dozen times.
                let mut previous: Option<Range<usize>> = None;
                scan.object(|scan, key, key_span| {
                    if let Some(previous) = previous.replace(key_span.clone())
                        && unescape(&scan.bytes[previous.start + 1..previous.end - 1]) >= key
                    {
                        return Err(scan.malformed("entries in ascending order"));
                    }
                    let value = scan.at;
                    scan.skip_value()?;
                    entries.push(Entry { start: key_span.start as u32, value: value as u32, end: scan.at as u32 });
                    Ok(())
                })?;
            } else {
                scan.skip_value()?;
            }
            members.push((name, start..scan.at));
            Ok(())
        })?;
        if scan.at != signed.len() {
            return Err(scan.malformed("the end"));
        }
        entries.shrink_to_fit();
        let member = |name: &'static str| {
            members
                .iter()
                .find(|(member, _)| member == name)
                .map(|(_, span)| &signed[span.clone()])
                .ok_or(DocumentError::Missing(name))
        };
        let found = text(member("_type")?).ok_or(DocumentError::Missing("_type"))?;
        if found != kind.name() {
            return Err(DocumentError::WrongType { found: found.into_owned(), wanted: kind.name() });
        }
        member(kind.member())?;
        let version = std::str::from_utf8(member("version")?)
            .ok()
            .and_then(|version| version.parse::<u64>().ok())
            .filter(|version| *version >= 1)
            .ok_or(DocumentError::Missing("version"))?;
        let expires = text(member("expires")?)
            .and_then(|expires| expires.parse::<UtcTime>().ok())
            .ok_or(DocumentError::Missing("expires"))?;
        Ok(Self { kind, members, entries, version, expires, signed })
    }

    /// The canonical bytes: what is signed and what is written.
    #[must_use]
    pub fn signed(&self) -> &[u8] {
        &self.signed
    }

    /// Gives the canonical bytes up.
    #[must_use]
    pub fn into_signed(self) -> Vec<u8> {
        self.signed
    }

    /// `version`.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// `expires`.
    #[must_use]
    pub fn expires(&self) -> UtcTime {
        self.expires
    }

    /// How many entries the large member has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the large member has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The canonical JSON of a top-level member.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&[u8]> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, span)| &self.signed[span.clone()])
    }

    /// The canonical JSON of an entry's value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.position(key.as_bytes()).ok().map(|index| self.value(index))
    }

    /// Entries in ascending order of their keys: key, canonical JSON of the value.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, [u8]>, &[u8])> + '_ {
        (0..self.entries.len()).map(|index| (self.key(index), self.value(index)))
    }

    /// The entries that `newer` has otherwise or not at all: key, value here, value there. Both are sorted and mostly
    /// alike, which takes little more than comparing memory.
    pub fn differing<'a>(
        &'a self,
        newer: &'a Self,
    ) -> impl Iterator<Item = (Cow<'a, [u8]>, &'a [u8], Option<&'a [u8]>)> {
        let mut next = 0;
        (0..self.entries.len()).filter_map(move |index| {
            if next < newer.entries.len() && self.raw(index) == newer.raw(next) {
                next += 1;
                return None;
            }
            let key = self.key(index);
            let found = newer.position(&key).ok();
            if let Some(found) = found {
                next = found + 1;
            }
            let there = found.map(|found| newer.value(found));
            let here = self.value(index);
            (there != Some(here)).then_some((key, here, there))
        })
    }

    /// A new version: `changes` replace or (with `None`) take out entries; every other byte but `version` and
    /// `expires` stays.
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

    fn edit_entries(&self, changes: &BTreeMap<String, Option<Vec<u8>>>, out: &mut Vec<u8>, entries: &mut Vec<Entry>) {
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
                entries.push(Entry { start, value: value_start, end: out.len() as u32 });
            }
        }
        self.copy_entries(next..self.entries.len(), out, entries);
        out.push(b'}');
    }

    /// Copies a stretch of entries in one piece; their offsets move by one distance.
    fn copy_entries(&self, range: Range<usize>, out: &mut Vec<u8>, entries: &mut Vec<Entry>) {
        let Some(first) = self.entries.get(range.start).filter(|_| !range.is_empty()) else { return };
        let last = self.entries[range.end - 1];
        separate(out);
        let base = out.len() as u32;
        out.extend_from_slice(&self.signed[first.start as usize..last.end as usize]);
        entries.extend(self.entries[range].iter().map(|entry| Entry {
            start: entry.start - first.start + base,
            value: entry.value - first.start + base,
            end: entry.end - first.start + base,
        }));
    }

    fn key(&self, index: usize) -> Cow<'_, [u8]> {
        let entry = self.entries[index];
        unescape(&self.signed[entry.start as usize + 1..entry.value as usize - 2])
    }

    /// Key and value as they stand.
    fn raw(&self, index: usize) -> &[u8] {
        let entry = self.entries[index];
        &self.signed[entry.start as usize..entry.end as usize]
    }

    fn value(&self, index: usize) -> &[u8] {
        let entry = self.entries[index];
        &self.signed[entry.value as usize..entry.end as usize]
    }

    fn position(&self, key: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(middle).as_ref().cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
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

/// The text of a canonical JSON string.
fn text(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    match unescape(inner) {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// Canonical JSON escapes only `"` and `\`, each by a `\` before it.
fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        out.push(if byte == b'\\' { bytes.next().copied().unwrap_or(b'\\') } else { byte });
    }
    Cow::Owned(out)
}

/// Walks canonical JSON (compact: no white space) without building anything.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn malformed(&self, reason: &'static str) -> DocumentError {
        DocumentError::Malformed { offset: self.at, reason }
    }

    fn take(&mut self, byte: u8, reason: &'static str) -> Result<(), DocumentError> {
        if self.bytes.get(self.at) == Some(&byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.malformed(reason))
        }
    }

    /// Reads a string; its span includes the quotes.
    fn string(&mut self) -> Result<Range<usize>, DocumentError> {
        let start = self.at;
        self.take(b'"', "a string")?;
        loop {
            match memchr::memchr2(b'"', b'\\', &self.bytes[self.at..]) {
                Some(skip) if self.bytes[self.at + skip] == b'"' => {
                    self.at += skip + 1;
                    return Ok(start..self.at);
                }
                Some(skip) if self.at + skip + 2 <= self.bytes.len() => self.at += skip + 2,
                _ => return Err(self.malformed("the end of a string")),
            }
        }
    }

    /// Walks an object; `member` is called behind each `"key":` and must walk the value.
    fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, [u8]>, Range<usize>) -> Result<(), DocumentError>,
    ) -> Result<(), DocumentError> {
        self.take(b'{', "an object")?;
        if self.bytes.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let span = self.string()?;
            self.take(b':', "a colon")?;
            let bytes = self.bytes;
            member(self, unescape(&bytes[span.start + 1..span.end - 1]), span)?;
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.malformed("a comma or the end of an object")),
            }
        }
    }

    fn skip_value(&mut self) -> Result<(), DocumentError> {
        let mut depth = 0usize;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                Some(b'}' | b']') if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(b',' | b':') if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                Some(b'-' | b'0'..=b'9' | b'a'..=b'z') => {
                    while matches!(self.bytes.get(self.at), Some(b'-' | b'0'..=b'9' | b'a'..=b'z')) {
                        self.at += 1;
                    }
                }
                _ => return Err(self.malformed("a value")),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> UtcTime {
        text.parse().unwrap()
    }

    fn entry(number: u64) -> Option<Vec<u8>> {
        Some(format!("{{\"length\":{number}}}").into_bytes())
    }

    fn small() -> Document {
        let empty = Document::empty(DocumentType::Targets, 1, time("2030-01-01T00:00:00Z"), BTreeMap::new());
        let changes = [("b", 2), ("a", 1), ("d", 4)].map(|(key, number)| (key.to_owned(), entry(number)));
        empty.edit(&changes.into(), 2, time("2030-01-02T00:00:00Z"))
    }

    #[test]
    fn an_edit_keeps_entries_sorted_and_every_other_byte() {
        let document = small();
        assert_eq!(
            std::str::from_utf8(document.signed()).unwrap(),
            r#"{"_type":"targets","expires":"2030-01-02T00:00:00Z","spec_version":"1.0.31","targets":{"a":{"length":1},"b":{"length":2},"d":{"length":4}},"version":2}"#
        );
        let changes = [("a".to_owned(), None), ("c".to_owned(), entry(3)), ("d".to_owned(), entry(5))];
        let edited = document.edit(&changes.into(), 3, time("2030-01-03T00:00:00Z"));
        assert_eq!(edited.get("a"), None);
        assert_eq!(edited.get("d"), entry(5).as_deref());
        assert_eq!(edited.len(), 3);
        let parsed = Document::parse(DocumentType::Targets, edited.signed().to_vec()).unwrap();
        assert_eq!(parsed.version(), 3);
        assert_eq!(parsed.expires(), time("2030-01-03T00:00:00Z"));
        assert_eq!(
            parsed.iter().map(|(key, value)| (key.into_owned(), value.to_vec())).collect::<Vec<_>>(),
            edited.iter().map(|(key, value)| (key.into_owned(), value.to_vec())).collect::<Vec<_>>()
        );
    }

    #[test]
    fn names_with_quotes_sort_by_their_unescaped_form() {
        let empty = Document::empty(DocumentType::Targets, 1, time("2030-01-01T00:00:00Z"), BTreeMap::new());
        let changes = ["a\"b", "a#b", "a!b"].map(|key| (key.to_owned(), entry(1)));
        let document = empty.edit(&changes.into(), 2, time("2030-01-01T00:00:00Z"));
        let parsed = Document::parse(DocumentType::Targets, document.into_signed()).unwrap();
        assert!(parsed.get("a\"b").is_some() && parsed.get("a!b").is_some() && parsed.get("a#b").is_some());
    }

    #[test]
    fn unknown_members_and_entries_survive() {
        let signed = br#"{"_type":"targets","expires":"2030-01-02T00:00:00Z","spec_version":"1.0.31","targets":{"a":{"custom":{"x":[1,{"y":null}]},"length":1}},"version":2,"x-other":[true,"\""]}"#;
        let parsed = Document::parse(DocumentType::Targets, signed.to_vec()).unwrap();
        let same = parsed.edit(&BTreeMap::new(), 2, parsed.expires());
        assert_eq!(same.signed(), signed);
    }

    #[test]
    fn what_is_not_a_canonical_document_is_refused() {
        let good = small().into_signed();
        for cut in 0..good.len() {
            assert!(Document::parse(DocumentType::Targets, good[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        let text = String::from_utf8(good).unwrap();
        for (from, to) in [
            ("\"version\":2", "\"version\":0"),
            ("\"version\":2", "\"version\":\"2\""),
            ("targets\",\"expires", "snapshot\",\"expires"),
            ("2030-01-02T00:00:00Z", "2030-01-02"),
            ("\"a\":", "\"c\":"),
            ("{\"length\":1}", "{\"length\": 1}"),
        ] {
            let bad = text.replacen(from, to, 1);
            assert_ne!(bad, text);
            assert!(Document::parse(DocumentType::Targets, bad.clone().into_bytes()).is_err(), "{bad}");
        }
    }
}
