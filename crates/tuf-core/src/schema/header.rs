//! The members that all kinds of metadata have.

use super::members::read_version;
use super::spec_version::SpecVersion;
use crate::canonical::{ReadError, Reader};
use crate::names::TopRole;
use crate::time::UtcTime;

/// The members that all kinds of metadata have.
#[derive(Debug, Default)]
pub(super) struct Header {
    kind: bool,
    spec_version: Option<SpecVersion>,
    version: Option<u64>,
    expires: Option<UtcTime>,
}

impl Header {
    /// Reads the member if it is one of these; `false` if it is another one.
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
                self.expires = Some(UtcTime::parse(&reader.string()?).map_err(ReadError::refused)?);
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
