//! A timestamp with its signatures.

use tuf_core::schema::Timestamp;

/// A timestamp and its file.
#[derive(Clone, Debug)]
pub(in crate::roles) struct SignedTimestamp {
    pub(in crate::roles) timestamp: Timestamp,
    pub(super) file: Vec<u8>,
}
