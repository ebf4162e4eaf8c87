//! Types that are read from canonical text and written back.

use super::read_error::ReadError;
use super::reader::Reader;

/// A type that can be read from canonical text and written back. Not nameable outside the crate, which seals
/// [`Metadata`].
///
/// [`Metadata`]: crate::schema::Metadata
pub trait Wire: Sized {
    /// Reads one value.
    #[doc(hidden)]
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError>;
    /// Appends the canonical text.
    #[doc(hidden)]
    fn write(&self, out: &mut Vec<u8>);
}
