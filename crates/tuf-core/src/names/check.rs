//! The characters that no name may contain.

/// Checks for characters that no name may contain.
pub(super) fn check_text(name: &str) -> Result<(), &'static str> {
    if name.is_ascii() {
        for byte in name.bytes() {
            if byte.is_ascii_control() {
                return Err("contains a control character");
            }
            if byte == b'\\' {
                return Err("contains a backslash");
            }
        }
        return Ok(());
    }
    if name.chars().any(char::is_control) {
        return Err("contains a control character");
    }
    if name.contains('\\') {
        return Err("contains a backslash");
    }
    if !unicode_normalization::is_nfc(name) {
        return Err("is not in Unicode normalization form C");
    }
    Ok(())
}
