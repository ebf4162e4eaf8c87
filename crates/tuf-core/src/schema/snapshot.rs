//! Snapshot metadata (specification §4.4).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::header::Header;
use super::metadata::Metadata;
use super::role_meta::RoleMeta;
use super::spec_version::SpecVersion;
use crate::canonical::{Extra, ObjectWriter, ReadError, Reader, Wire, write_str, write_u64};
use crate::names::{RoleName, TopRole};
use crate::time::UtcTime;

/// Snapshot metadata: the version of every targets role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The version of the specification that it follows.
    pub spec_version: SpecVersion,
    /// The version, at least 1.
    pub version: u64,
    /// The expiry.
    pub expires: UtcTime,
    /// The entry of each role; on the wire a role is called `NAME.json`.
    pub meta: BTreeMap<RoleName, RoleMeta>,
    /// Members that this project does not know.
    pub extra: Extra,
}

impl Snapshot {
    /// New metadata in the current format, without unknown members.
    #[must_use]
    pub fn new(version: u64, expires: UtcTime, meta: BTreeMap<RoleName, RoleMeta>) -> Self {
        Self { spec_version: SpecVersion::default(), version, expires, meta, extra: Extra::new() }
    }
}

impl Metadata for Snapshot {
    const TYPE: TopRole = TopRole::Snapshot;

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> UtcTime {
        self.expires
    }
}

/// The order of `NAME.json`, which is not that of `NAME`: `a-b.json` comes before `a.json`.
fn cmp_file_names(a: &RoleName, b: &RoleName) -> Ordering {
    a.as_str().bytes().chain(".json".bytes()).cmp(b.as_str().bytes().chain(".json".bytes()))
}

impl Wire for Snapshot {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let (mut header, mut meta, mut extra) = (Header::default(), None, Extra::new());
        reader.object(|key, reader| {
            if header.member(Self::TYPE, key, reader)? {
                return Ok(());
            }
            match key {
                "meta" => {
                    let mut list = Vec::new();
                    reader.object(|file, reader| {
                        let Some(name) = file.strip_suffix(".json") else {
                            return Err(ReadError::new("the name of a metadata file ends in .json"));
                        };
                        list.push((RoleName::new(name)?, RoleMeta::read(reader)?));
                        Ok(())
                    })?;
                    meta = Some(BTreeMap::from_iter(list));
                }
                _ => reader.keep(key, &mut extra)?,
            }
            Ok(())
        })?;
        let (spec_version, version, expires) = header.finish()?;
        let meta = meta.ok_or(ReadError::missing("meta"))?;
        Ok(Self { spec_version, version, expires, meta, extra })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out, &self.extra);
        write_str(object.field("_type"), Self::TYPE.as_str());
        write_str(object.field("expires"), &self.expires.to_string());
        let out = object.field("meta");
        let mut entries: Vec<_> = self.meta.iter().collect();
        entries.sort_by(|(a, _), (b, _)| cmp_file_names(a, b));
        out.push(b'{');
        for (index, (name, meta)) in entries.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_str(out, name.as_str());
            // Inside the closing quote.
            out.pop();
            out.extend_from_slice(b".json\":");
            meta.write(out);
        }
        out.push(b'}');
        write_str(object.field("spec_version"), self.spec_version.as_str());
        write_u64(object.field("version"), self.version);
        object.finish();
    }
}
