//! From canonical bytes to the JSON that files hold.

use std::borrow::Cow;

/// The position of the first control character. It checks whole stretches without an early exit, which the compiler
/// vectorises.
fn first_control(bytes: &[u8]) -> Option<usize> {
    const STRETCH: usize = 256;
    let control = |byte: &u8| *byte < 0x20;
    let clean = |stretch: &[u8]| !stretch.iter().fold(false, |found, byte| found | control(byte));
    let start = STRETCH * bytes.chunks(STRETCH).take_while(|stretch| clean(stretch)).count();
    Some(start + bytes.get(start..)?.iter().position(control)?)
}

/// The file form of canonical bytes: the same bytes, with control characters escaped as JSON requires.
///
/// It is borrowed if there are none, as in all metadata without PEM keys.
#[must_use]
pub fn to_json(canonical: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = first_control(canonical) else {
        return Cow::Borrowed(canonical);
    };
    let mut out = Vec::with_capacity(canonical.len() + 64);
    let (mut rest, mut at) = (canonical, Some(first));
    while let Some(control) = at {
        out.extend_from_slice(&rest[..control]);
        match rest[control] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            other => out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
        }
        rest = &rest[control + 1..];
        at = first_control(rest);
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}
