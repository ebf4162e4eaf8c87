//! Fuzzes the guard over the broker's bytes and the parser of URLs: takes any bytes and panics if a promise is broken.
//!
//! Compiled for the tests, which replay the corpus, and for the fuzzer (`fuzz/`).

use super::guard::FrameGuard;
use crate::url::BrokerUrl;

/// The deepest table that is safe to read by recursion.
const MAX_SAFE_DEPTH: usize = 32;

/// The first byte chooses the target for the rest.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((b'u', rest)) => url(rest),
        Some((step, rest)) => frames(rest, usize::from(*step).max(1)),
        None => {}
    }
}

/// The same bytes pass however they are cut; a second pass changes nothing; no table in them is deep.
fn frames(stream: &[u8], step: usize) {
    let whole = through(stream, stream.len().max(1));
    assert_eq!(through(stream, step), whole);
    let (passed, ended) = whole;
    assert!(passed.len() <= stream.len());
    if !ended {
        assert_eq!(through(&passed, step), (passed.clone(), false));
        assert_shallow(&passed);
    }
}

/// The bytes that passed, and whether the connection was ended.
fn through(stream: &[u8], step: usize) -> (Vec<u8>, bool) {
    let (mut guard, mut out) = (FrameGuard::default(), Vec::new());
    for piece in stream.chunks(step) {
        if guard.feed(piece, &mut out).is_err() {
            return (out, true);
        }
    }
    (out, false)
}

/// Reads the passed bytes as the library behind the guard does: by recursion.
fn assert_shallow(stream: &[u8]) {
    let mut rest = stream;
    while let [kind, _, _, a, b, c, d, after @ ..] = rest {
        let size = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let Some(payload) = after.get(..size) else { return };
        if *kind == 2 {
            assert!(content_header(payload).is_some(), "a content header that cannot be read was let through");
        }
        rest = after.get(size + 1..).unwrap_or_default();
    }
}

fn content_header(payload: &[u8]) -> Option<()> {
    let flags = u16::from_be_bytes(payload.get(12..14)?.try_into().ok()?);
    if flags & (1 << 13) == 0 {
        return Some(());
    }
    let mut rest = payload.get(14..)?;
    for flag in [1 << 15, 1 << 14] {
        if flags & flag != 0 {
            rest = rest.get(1 + usize::from(*rest.first()?)..)?;
        }
    }
    table(long(rest)?.0, 1, true)
}

fn table(mut rest: &[u8], depth: usize, named: bool) -> Option<()> {
    assert!(depth <= MAX_SAFE_DEPTH, "nested {depth} deep");
    while !rest.is_empty() {
        if named {
            rest = rest.get(1 + usize::from(*rest.first()?)..)?;
        }
        let (tag, value) = rest.split_first()?;
        rest = match tag {
            b'F' | b'A' => {
                let (inner, after) = long(value)?;
                table(inner, depth + 1, *tag == b'F')?;
                after
            }
            b'S' | b'x' => long(value)?.1,
            b'V' => value,
            b't' | b'b' | b'B' => value.get(1..)?,
            b's' | b'U' | b'u' => value.get(2..)?,
            b'I' | b'i' | b'f' => value.get(4..)?,
            b'D' => value.get(5..)?,
            _ => value.get(8..)?,
        };
    }
    Some(())
}

/// The bytes that a length of four bytes announces, and those behind them.
fn long(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(4)?;
    rest.split_at_checked(u32::from_be_bytes(length.try_into().ok()?) as usize)
}

/// A URL is refused with a reason, or shown without its password.
fn url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let shown = match text.parse::<BrokerUrl>() {
        Ok(url) => format!("{url} {url:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!shown.is_empty());
    // The password of the seeds; in no other place of a URL would one be hidden.
    if text.matches("s3cret").count() == 1 && text.contains(":s3cret@") && !text.contains(['/', '?']) {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn everything_in_the_corpus_passes_or_ends_the_connection() {
        crate::fuzz_corpus::replay("wire", super::run);
    }
}
