//! The order of object keys.

use std::cmp::Ordering;

/// The order of two strings in their canonical, escaped form, by code points.
pub(crate) fn cmp_escaped(a: &str, b: &str) -> Ordering {
    cmp_bytes(a.as_bytes(), b.as_bytes())
}

/// [`cmp_escaped`] for bytes.
pub(crate) fn cmp_bytes(a: &[u8], b: &[u8]) -> Ordering {
    let at = a.iter().zip(b).position(|(a, b)| a != b);
    let Some(at) = at else {
        return a.len().cmp(&b.len());
    };
    // Escapes are `\"` and `\\` only, so the byte after a backslash is the character itself. Up to `at` both agree; if
    // the bytes there begin an escape, compare the character it stands for. A backslash that is the second half of an
    // escape cannot meet a first half, as the halves before it agree.
    let in_escape = a[..at].iter().rev().take_while(|&&b| b == b'\\').count() % 2 == 1;
    let character = |s: &[u8]| {
        if !in_escape && s[at] == b'\\' { s.get(at + 1).copied().unwrap_or(0) } else { s[at] }
    };
    character(a).cmp(&character(b))
}
