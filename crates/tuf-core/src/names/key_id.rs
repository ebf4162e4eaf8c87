//! Key ids.

use std::sync::Arc;

use super::text_type::name_type;
use crate::sha256::Sha256;

/// Longest key id in bytes.
pub const MAX_KEY_ID_BYTES: usize = 128;

/// The identifier of a key (specification §4.2 KEYID): 1 to [`MAX_KEY_ID_BYTES`] ASCII letters and digits, usually the
/// hexadecimal sha256 of the key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

name_type!(KeyId, "key id");

impl KeyId {
    /// The key id that is this digest in hexadecimal.
    #[must_use]
    pub fn from_digest(digest: Sha256) -> Self {
        Self(Arc::from(digest.to_string()))
    }

    fn check(name: &str) -> Result<(), &'static str> {
        if name.is_empty() {
            return Err("is empty");
        }
        if name.len() > MAX_KEY_ID_BYTES {
            return Err("is longer than 128 bytes");
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err("has characters other than ASCII letters and digits");
        }
        Ok(())
    }
}
