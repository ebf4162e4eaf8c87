//! What the kinds of metadata share.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::canonical::{
    Extra, INTEGER_LIMIT, ObjectWriter, ReadError, Reader, Wire, is_canonical, write_str, write_u64,
};
use crate::envelope::{Envelope, ParseError};
use crate::key::PublicKey;
use crate::names::{KeyId, NameError, TopRole};
use crate::time::UtcTime;

use super::Hashes;

/// The version of the specification written into new metadata.
pub const SPEC_VERSION: &str = "1.0.31";

/// A `spec_version` this project understands: `1.x` or `1.x.y`. The default is [`SPEC_VERSION`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecVersion(Cow<'static, str>);

impl Default for SpecVersion {
    fn default() -> Self {
        Self(Cow::Borrowed(SPEC_VERSION))
    }
}

impl SpecVersion {
    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn parse(text: &str) -> Result<Self, ReadError> {
        if text == SPEC_VERSION {
            return Ok(Self::default());
        }
        let parts: Vec<&str> = text.split('.').collect();
        let numeric =
            parts.iter().all(|part| !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit()));
        if !numeric || !(2..=3).contains(&parts.len()) {
            return Err(ReadError::new("is not a version of the form 1.x.y"));
        }
        if parts[0] != "1" {
            return Err(ReadError::new(format!("version {text} of the specification is not supported, only 1.x.y")));
        }
        Ok(Self(Cow::Owned(text.to_owned())))
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One kind of signed metadata. Implemented by the four types of this module, and only by them.
pub trait Metadata: Wire {
    /// The `_type` member.
    const TYPE: TopRole;

    /// The version, at least 1.
    fn version(&self) -> u64;

    /// When the metadata expires: at this very second it is expired.
    fn expires(&self) -> UtcTime;

    /// Reads the signed part of an envelope. Signatures are not looked at: see [`crate::verify`].
    ///
    /// # Errors
    /// [`ParseError::Shape`] naming the member that is missing or wrong.
    fn from_envelope(envelope: &Envelope) -> Result<Self, ParseError> {
        // An envelope holds canonical bytes by construction.
        Ok(read_all(envelope.signed_text())?)
    }

    /// Reads canonical bytes, after checking that they are.
    ///
    /// # Errors
    /// [`ParseError::NotCanonical`], or [`ParseError::Shape`] naming the member that is missing or wrong.
    fn from_canonical(signed: &[u8]) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(signed).ok().filter(|text| is_canonical(text.as_bytes()));
        Ok(read_all(text.ok_or(ParseError::NotCanonical)?)?)
    }

    /// The canonical bytes to sign. What was read from canonical bytes gives the same bytes again.
    fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// Whether the metadata is expired at `now` (specification §5.3.10 and its like).
    fn is_expired(&self, now: UtcTime) -> bool {
        self.expires() <= now
    }
}

fn read_all<M: Metadata>(text: &str) -> Result<M, ReadError> {
    let mut reader = Reader::new(text);
    let metadata = M::read(&mut reader).map_err(|error| error.at(M::TYPE.as_str()))?;
    reader.finish()?;
    Ok(metadata)
}

/// The members every kind of metadata has.
#[derive(Debug, Default)]
pub(super) struct Header {
    kind: bool,
    spec_version: Option<SpecVersion>,
    version: Option<u64>,
    expires: Option<UtcTime>,
}

impl Header {
    /// Reads the member if it is one of these; whether it was.
    pub(super) fn member(&mut self, kind: TopRole, key: &str, reader: &mut Reader<'_>) -> Result<bool, ReadError> {
        match key {
            "_type" => {
                let found = reader.string()?;
                if found != kind.as_str() {
                    let found: String = found.chars().take(40).flat_map(char::escape_debug).collect();
                    return Err(ReadError::new(format!("expected `{kind}`, found `{found}`")));
                }
                self.kind = true;
            }
            "spec_version" => self.spec_version = Some(SpecVersion::parse(&reader.string()?)?),
            "version" => self.version = Some(read_version(reader)?),
            "expires" => {
                self.expires =
                    Some(UtcTime::parse(&reader.string()?).map_err(|error| ReadError::new(error.to_string()))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn finish(self) -> Result<(SpecVersion, u64, UtcTime), ReadError> {
        if !self.kind {
            return Err(ReadError::missing("_type"));
        }
        Ok((
            self.spec_version.ok_or(ReadError::missing("spec_version"))?,
            self.version.ok_or(ReadError::missing("version"))?,
            self.expires.ok_or(ReadError::missing("expires"))?,
        ))
    }
}

pub(super) fn read_version(reader: &mut Reader<'_>) -> Result<u64, ReadError> {
    match reader.u64()? {
        0 => Err(ReadError::new("versions begin at 1")),
        version if version >= INTEGER_LIMIT => Err(ReadError::new("is too large")),
        version => Ok(version),
    }
}

pub(super) fn read_threshold(reader: &mut Reader<'_>) -> Result<u32, ReadError> {
    match u32::try_from(reader.u64()?) {
        Ok(0) => Err(ReadError::new("a threshold is at least 1")),
        Ok(threshold) => Ok(threshold),
        Err(_) => Err(ReadError::new("is too large")),
    }
}

pub(super) fn read_keyids(reader: &mut Reader<'_>) -> Result<Vec<KeyId>, ReadError> {
    let mut keyids = Vec::new();
    let mut seen = BTreeSet::new();
    reader.array(|reader| {
        let keyid = KeyId::new(&reader.string()?)?;
        if !seen.insert(keyid.clone()) {
            return Err(ReadError::new(format!("key id {keyid} is listed twice")));
        }
        keyids.push(keyid);
        Ok(())
    })?;
    Ok(keyids)
}

pub(super) fn write_keyids(out: &mut Vec<u8>, keyids: &[KeyId]) {
    out.push(b'[');
    for (index, keyid) in keyids.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_str(out, keyid.as_str());
    }
    out.push(b']');
}

pub(super) fn read_keys(reader: &mut Reader<'_>) -> Result<BTreeMap<KeyId, PublicKey>, ReadError> {
    let mut keys = BTreeMap::new();
    reader.object(|keyid, reader| {
        keys.insert(KeyId::new(keyid)?, PublicKey::read(reader)?);
        Ok(())
    })?;
    Ok(keys)
}

pub(super) fn write_keys(out: &mut Vec<u8>, keys: &BTreeMap<KeyId, PublicKey>) {
    write_map(out, keys.iter().map(|(keyid, key)| (keyid.as_str(), key)));
}

/// Writes an object whose keys already come in sorted order.
pub(super) fn write_map<'a, V: Wire + 'a>(out: &mut Vec<u8>, entries: impl Iterator<Item = (&'a str, &'a V)>) {
    out.push(b'{');
    for (index, (key, value)) in entries.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_str(out, key);
        out.push(b':');
        value.write(out);
    }
    out.push(b'}');
}

impl From<NameError> for ReadError {
    fn from(error: NameError) -> Self {
        ReadError::new(error.to_string())
    }
}

/// The keys of a role and how many of them must sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeys {
    /// Key ids, unique, in written order.
    pub keyids: Vec<KeyId>,
    /// Number of distinct keys that must sign, at least 1.
    pub threshold: u32,
    /// Members this project does not know.
    pub extra: Extra,
}

impl RoleKeys {
    /// A role without unknown members.
    #[must_use]
    pub fn new(keyids: Vec<KeyId>, threshold: u32) -> Self {
        Self { keyids, threshold, extra: Extra::new() }
    }
}

impl Wire for RoleKeys {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let (mut keyids, mut threshold, mut extra) = (None, None, Extra::new());
        reader.object(|key, reader| {
            match key {
                "keyids" => keyids = Some(read_keyids(reader)?),
                "threshold" => threshold = Some(read_threshold(reader)?),
                _ => reader.keep(key, &mut extra)?,
            }
            Ok(())
        })?;
        Ok(Self {
            keyids: keyids.ok_or(ReadError::missing("keyids"))?,
            threshold: threshold.ok_or(ReadError::missing("threshold"))?,
            extra,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out, &self.extra);
        write_keyids(object.field("keyids"), &self.keyids);
        write_u64(object.field("threshold"), self.threshold.into());
        object.finish();
    }
}

/// What a snapshot or timestamp says of another metadata file (METAFILES entry).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleMeta {
    /// Version, at least 1.
    pub version: u64,
    /// Length of the file in bytes.
    pub length: Option<u64>,
    /// Hashes of the file.
    pub hashes: Option<Hashes>,
    /// Members this project does not know.
    pub extra: Extra,
}

impl RoleMeta {
    /// A version alone.
    #[must_use]
    pub fn new(version: u64) -> Self {
        Self { version, length: None, hashes: None, extra: Extra::new() }
    }
}

impl Wire for RoleMeta {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let (mut version, mut length, mut hashes, mut extra) = (None, None, None, Extra::new());
        reader.object(|key, reader| {
            match key {
                "version" => version = Some(read_version(reader)?),
                "length" => length = Some(reader.u64()?),
                "hashes" => hashes = Some(Hashes::read(reader)?),
                _ => reader.keep(key, &mut extra)?,
            }
            Ok(())
        })?;
        Ok(Self { version: version.ok_or(ReadError::missing("version"))?, length, hashes, extra })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out, &self.extra);
        if let Some(hashes) = &self.hashes {
            hashes.write(object.field("hashes"));
        }
        if let Some(length) = self.length {
            write_u64(object.field("length"), length);
        }
        write_u64(object.field("version"), self.version);
        object.finish();
    }
}
