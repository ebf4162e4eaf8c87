//! Percent-encoding (RFC 3986 §2.1).

use std::fmt::Write as _;

/// `text` with every byte percent-encoded, except `A-Z a-z 0-9 _ . - ~` and the ASCII characters in `kept`.
pub(crate) fn percent_encode(text: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let unreserved = byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte);
        if unreserved || kept.as_bytes().contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
