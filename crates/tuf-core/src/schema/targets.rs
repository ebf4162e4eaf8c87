//! Targets metadata (specification §4.5).

use std::collections::BTreeMap;

use super::delegations::Delegations;
use super::hashes::Hashes;
use super::header::Header;
use super::members::write_map;
use super::metadata::Metadata;
use super::spec_version::SpecVersion;
use crate::canonical::{Extra, Json, ObjectWriter, ReadError, Reader, Wire, write_str, write_u64};
use crate::envelope::{Envelope, ParseError};
use crate::names::{NameError, TargetPath, TopRole};
use crate::time::UtcTime;

/// Targets metadata, of the top-level role or a delegated one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// The version of the specification that it follows.
    pub spec_version: SpecVersion,
    /// The version, at least 1.
    pub version: u64,
    /// The expiry.
    pub expires: UtcTime,
    /// The entry of each target.
    pub targets: BTreeMap<TargetPath, TargetMeta>,
    /// The roles this one delegates to.
    pub delegations: Option<Delegations>,
    /// Members that this project does not know.
    pub extra: Extra,
}

impl Targets {
    /// New metadata in the current format, without unknown members.
    #[must_use]
    pub fn new(version: u64, expires: UtcTime, targets: BTreeMap<TargetPath, TargetMeta>) -> Self {
        Self { spec_version: SpecVersion::default(), version, expires, targets, delegations: None, extra: Extra::new() }
    }
}

impl Metadata for Targets {
    const TYPE: TopRole = TopRole::Targets;

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> UtcTime {
        self.expires
    }
}

/// Targets metadata of another publisher, read for use and not to be written again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignTargets {
    /// The metadata without the targets in `unusable`.
    pub metadata: Targets,
    /// Targets whose path no client should use as one (`../x`, control characters, and so on), with the reason.
    pub unusable: BTreeMap<String, NameError>,
}

impl ForeignTargets {
    /// Reads the signed part of an envelope as [`Metadata::from_envelope`], except that a target with an invalid path is set
    /// aside instead of being an error.
    ///
    /// # Errors
    /// [`ParseError::Shape`] naming the member that is missing or wrong.
    pub fn from_envelope(envelope: &Envelope) -> Result<Self, ParseError> {
        let mut unusable = BTreeMap::new();
        let mut reader = Reader::new(envelope.signed_text());
        let read = Targets::read_members(&mut reader, &mut |path, error| {
            unusable.insert(path.to_owned(), error);
            Ok(())
        });
        let metadata = read.map_err(|error| error.at(Targets::TYPE.as_str()))?;
        reader.finish()?;
        Ok(Self { metadata, unusable })
    }
}

impl Targets {
    /// `odd` decides about a target with an invalid path: an error, or to leave it out.
    fn read_members(
        reader: &mut Reader<'_>,
        odd: &mut dyn FnMut(&str, NameError) -> Result<(), ReadError>,
    ) -> Result<Self, ReadError> {
        let (mut header, mut extra) = (Header::default(), Extra::new());
        let (mut targets, mut delegations) = (None, None);
        reader.object(|key, reader| {
            if header.member(Self::TYPE, key, reader)? {
                return Ok(());
            }
            match key {
                "targets" => {
                    // Canonical keys come sorted, and a tree built from a sorted list is built in one go.
                    let mut list = Vec::new();
                    reader.object(|path, reader| {
                        match TargetPath::new(path) {
                            Ok(path) => list.push((path, TargetMeta::read(reader)?)),
                            Err(error) => {
                                odd(path, error)?;
                                TargetMeta::read(reader)?;
                            }
                        }
                        Ok(())
                    })?;
                    targets = Some(BTreeMap::from_iter(list));
                }
                "delegations" => delegations = Some(Delegations::read(reader)?),
                _ => reader.keep(key, &mut extra)?,
            }
            Ok(())
        })?;
        let (spec_version, version, expires) = header.finish()?;
        let targets = targets.ok_or(ReadError::missing("targets"))?;
        Ok(Self { spec_version, version, expires, targets, delegations, extra })
    }
}

impl Wire for Targets {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        Self::read_members(reader, &mut |_, error| Err(error.into()))
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out, &self.extra);
        write_str(object.field("_type"), Self::TYPE.as_str());
        if let Some(delegations) = &self.delegations {
            delegations.write(object.field("delegations"));
        }
        write_str(object.field("expires"), &self.expires.to_string());
        write_str(object.field("spec_version"), self.spec_version.as_str());
        write_map(object.field("targets"), self.targets.iter().map(|(path, meta)| (path.as_str(), meta)));
        write_u64(object.field("version"), self.version);
        object.finish();
    }
}

/// The entry of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetMeta {
    /// Length in bytes.
    pub length: u64,
    /// Hashes of the content.
    pub hashes: Hashes,
    /// The `custom` member, with any content; an empty object is kept too.
    pub custom: Option<Json>,
    /// Members that this project does not know.
    pub extra: Extra,
}

impl TargetMeta {
    /// Length and hashes alone.
    #[must_use]
    pub fn new(length: u64, hashes: Hashes) -> Self {
        Self { length, hashes, custom: None, extra: Extra::new() }
    }

    /// Reads one entry of a `targets` object from its canonical text, as [`TargetMeta::to_canonical`] writes it.
    ///
    /// # Errors
    /// [`ParseError`] if the bytes are not canonical or not such an entry.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| crate::canonical::is_canonical(text.as_bytes()));
        let mut reader = Reader::new(text.ok_or(ParseError::NotCanonical)?);
        let meta = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(meta)
    }

    /// The canonical text of the entry, without its path.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        self.write(&mut out);
        out
    }
}

impl Wire for TargetMeta {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let (mut length, mut hashes, mut custom, mut extra) = (None, None, None, Extra::new());
        reader.object(|key, reader| {
            match key {
                "length" => length = Some(reader.u64()?),
                "hashes" => hashes = Some(Hashes::read(reader)?),
                "custom" => custom = Some(reader.json()?),
                _ => reader.keep(key, &mut extra)?,
            }
            Ok(())
        })?;
        Ok(Self {
            length: length.ok_or(ReadError::missing("length"))?,
            hashes: hashes.ok_or(ReadError::missing("hashes"))?,
            custom,
            extra,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out, &self.extra);
        if let Some(custom) = &self.custom {
            object.field("custom").extend_from_slice(custom.as_canonical().as_bytes());
        }
        self.hashes.write(object.field("hashes"));
        write_u64(object.field("length"), self.length);
        object.finish();
    }
}
