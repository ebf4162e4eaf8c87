//! A document and the index of its entries.

use std::borrow::Cow;
use std::ops::Range;

use super::document_type::DocumentType;
use super::error::DocumentError;
use super::scanner::{DocumentScanner, text, unescape};
use crate::time::UtcTime;

/// One entry of the large member: `"key":value`.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntrySpan {
    /// Offset of the key's opening quote.
    pub(super) start: u32,
    /// Offset of the value.
    pub(super) value: u32,
    /// Offset behind the value.
    pub(super) end: u32,
}

/// A canonical `signed` part with an index of the entries of its large member; see [`crate::document`].
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) kind: DocumentType,
    pub(super) signed: Vec<u8>,
    /// Top-level members in order: name, span of the value.
    pub(super) members: Vec<(String, Range<usize>)>,
    pub(super) entries: Vec<EntrySpan>,
    pub(super) version: u64,
    pub(super) expires: UtcTime,
}

impl Document {
    /// Indexes canonical `signed` bytes.
    ///
    /// # Errors
    /// [`DocumentError`] when the bytes are not a document of this type; entries out of order are malformed.
    pub fn parse(kind: DocumentType, signed: Vec<u8>) -> Result<Self, DocumentError> {
        if u32::try_from(signed.len()).is_err() {
            return Err(DocumentError::TooLarge);
        }
        let mut scan = DocumentScanner::new(&signed);
        let mut members = Vec::new();
        let mut entries = Vec::new();
        scan.object(|scan, key, _| {
            let name = String::from_utf8(key.into_owned()).map_err(|_| scan.malformed("a name in UTF-8"))?;
            let start = scan.at;
            if name == kind.member() {
                // Keys must ascend, so each is compared with the one before.
                let mut previous: Option<Range<usize>> = None;
                scan.object(|scan, key, key_span| {
                    if let Some(previous) = previous.replace(key_span.clone())
                        && unescape(&scan.bytes[previous.start + 1..previous.end - 1]) >= key
                    {
                        return Err(scan.malformed("entries in ascending order"));
                    }
                    let value = scan.at;
                    scan.skip_value()?;
                    entries.push(EntrySpan { start: key_span.start as u32, value: value as u32, end: scan.at as u32 });
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

    /// The canonical bytes, which are signed and written.
    #[must_use]
    pub fn signed(&self) -> &[u8] {
        &self.signed
    }

    /// Returns the canonical bytes without a copy.
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

    /// The number of entries of the large member.
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

    /// The keys before and after `key` in ascending order. The document need not hold `key` itself.
    #[must_use]
    pub fn neighbours(&self, key: &str) -> [Option<Cow<'_, [u8]>>; 2] {
        let (before, after) = match self.position(key.as_bytes()) {
            Ok(at) => (at, at + 1),
            Err(at) => (at, at),
        };
        let key_at = |index: usize| (index < self.entries.len()).then(|| self.key(index));
        [before.checked_sub(1).and_then(key_at), key_at(after)]
    }

    /// Entries in ascending order of their keys: key, canonical JSON of the value.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, [u8]>, &[u8])> + '_ {
        (0..self.entries.len()).map(|index| (self.key(index), self.value(index)))
    }

    /// The entries that differ in `newer` or are missing there: key, value here, value there. Both documents are sorted
    /// and mostly alike, so this costs little more than comparing memory.
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

    fn key(&self, index: usize) -> Cow<'_, [u8]> {
        let entry = self.entries[index];
        unescape(&self.signed[entry.start as usize + 1..entry.value as usize - 2])
    }

    /// Key and value as written.
    fn raw(&self, index: usize) -> &[u8] {
        let entry = self.entries[index];
        &self.signed[entry.start as usize..entry.end as usize]
    }

    fn value(&self, index: usize) -> &[u8] {
        let entry = self.entries[index];
        &self.signed[entry.value as usize..entry.end as usize]
    }

    pub(super) fn position(&self, key: &[u8]) -> Result<usize, usize> {
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
