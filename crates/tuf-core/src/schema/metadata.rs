//! The trait of the four kinds of metadata.

use crate::canonical::{ReadError, Reader, Wire, is_canonical};
use crate::envelope::{Envelope, ParseError};
use crate::names::TopRole;
use crate::time::UtcTime;

/// One kind of signed metadata. Implemented by the four types of this module, and only by them.
pub trait Metadata: Wire {
    /// The `_type` member.
    const TYPE: TopRole;

    /// The version, at least 1.
    fn version(&self) -> u64;

    /// The expiry: from this second on the metadata is expired.
    fn expires(&self) -> UtcTime;

    /// Reads the signed part of an envelope. Signatures are not verified: see [`crate::verify`].
    ///
    /// # Errors
    /// [`ParseError::Shape`] naming the member that is missing or wrong.
    fn from_envelope(envelope: &Envelope) -> Result<Self, ParseError> {
        // An envelope holds canonical bytes by construction.
        Ok(read_all(envelope.signed_text())?)
    }

    /// Reads canonical bytes, and checks that they are canonical.
    ///
    /// # Errors
    /// [`ParseError::NotCanonical`], or [`ParseError::Shape`] naming the member that is missing or wrong.
    fn from_canonical(signed: &[u8]) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(signed).ok().filter(|text| is_canonical(text.as_bytes()));
        Ok(read_all(text.ok_or(ParseError::NotCanonical)?)?)
    }

    /// The canonical bytes to sign. Metadata read from canonical bytes gives the same bytes again.
    fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// Whether the metadata is expired at `now` (specification §5.3.10, §5.4.4, §5.5.6 and §5.6.6).
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
