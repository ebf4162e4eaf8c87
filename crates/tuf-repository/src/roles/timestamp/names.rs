//! The names of timestamps.

use tuf_core::store::{FileName, InvalidFileName};

use crate::numbered::number_of;

/// The timestamp that clients fetch.
pub(super) const SERVED: &str = "timestamp.json";
/// The lock of writers that replace [`SERVED`].
pub(super) const TIMESTAMP_LOCK: &str = ".timestamp.lock";

/// The file of a timestamp that is signed and durable, whether or not it is served.
pub(super) fn hidden(version: u64) -> Result<FileName, InvalidFileName> {
    FileName::new(format!(".{version}.{SERVED}"))
}

/// The version in the name of a hidden timestamp.
pub(in crate::roles) fn hidden_version(name: &str) -> Option<u64> {
    number_of(name.strip_prefix('.')?, ".timestamp.json")
}
