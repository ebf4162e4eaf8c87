//! Keeps hostile header tables away from `lapin`.
//!
//! `lapin` reads nested tables by recursion without a limit. A message of a few kilobytes, nested some hundred levels deep,
//! overflows its thread's stack and so ends the process, and the broker delivers it again to the next one. And a frame longer
//! than agreed ends the connection, after which its message too is delivered again: RabbitMQ splits bodies to the agreed size,
//! but never headers. Every user with permission to publish could stop all workers for good.
//!
//! So the bytes from the broker pass through here first. Headers that are nested deeper than any client nests them, or that
//! do not fit a frame, are removed. The message arrives without them and is refused like any other that is not a task.

use std::io;

/// The largest frame that this side asks for, in bytes. Longer messages travel in more frames.
// Smaller where it is fuzzed, so that the fuzzer reaches it.
pub(super) const FRAME_BYTES: u32 = if cfg!(fuzzing) { 2 << 10 } else { 32 << 10 };
/// The deepest nesting of tables and arrays that passes. Celery's own headers nest twice.
const MAX_TABLE_DEPTH: usize = 32;
/// The largest frame the broker may send; RabbitMQ's own limit is 128 KiB by default.
const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

const FRAME_HEAD: usize = 7;
const CONTENT_HEADER: u8 = 2;
/// Class id, weight, body size.
const BEFORE_FLAGS: usize = 12;
const HAS_CONTENT_TYPE: u16 = 1 << 15;
const HAS_CONTENT_ENCODING: u16 = 1 << 14;
const HAS_HEADERS: u16 = 1 << 13;
const MORE_FLAGS: u16 = 1;

/// Checks the frames in a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct FrameGuard {
    /// The start of a frame, or a content header, until it is complete enough to be checked.
    partial: Vec<u8>,
    /// The remaining bytes of a frame that needs no check.
    pass: usize,
}

impl FrameGuard {
    /// Takes bytes from the broker and appends those that pass to `out`.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.pass > 0 {
                let (now, rest) = bytes.split_at(self.pass.min(bytes.len()));
                out.extend_from_slice(now);
                self.pass -= now.len();
                bytes = rest;
                continue;
            }
            bytes = self.hold(bytes, FRAME_HEAD);
            let Some((kind, size)) = self.frame_head() else {
                return Ok(());
            };
            if size > MAX_FRAME_BYTES {
                return Err(bad("the broker sent an oversized frame"));
            }
            // The payload and the octet that ends the frame.
            if kind != CONTENT_HEADER {
                out.append(&mut self.partial);
                self.pass = size + 1;
                continue;
            }
            let whole = FRAME_HEAD + size + 1;
            bytes = self.hold(bytes, whole);
            if self.partial.len() == whole {
                let frame = std::mem::take(&mut self.partial);
                pass_header(&frame, out)?;
            }
        }
        Ok(())
    }

    /// Moves bytes to `partial` until it has `length` bytes; returns the others.
    fn hold<'a>(&mut self, bytes: &'a [u8], length: usize) -> &'a [u8] {
        let (now, rest) = bytes.split_at(length.saturating_sub(self.partial.len()).min(bytes.len()));
        self.partial.extend_from_slice(now);
        rest
    }

    fn frame_head(&self) -> Option<(u8, usize)> {
        let size = u32_at(&self.partial, 3)?;
        Some((*self.partial.first()?, size))
    }
}

/// Appends a content header to `out`, without its table of headers if that is too deep, too long or malformed.
fn pass_header(frame: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let payload = frame.get(FRAME_HEAD..frame.len() - 1).unwrap_or_default();
    let flags = u16_at(payload, BEFORE_FLAGS).ok_or_else(|| bad("the broker sent a content header without flags"))?;
    if flags & MORE_FLAGS != 0 {
        return Err(bad("the broker sent a content header with unknown properties"));
    }
    if flags & HAS_HEADERS == 0 {
        out.extend_from_slice(frame);
        return Ok(());
    }
    let malformed = || bad("the broker sent a malformed content header");
    let mut at = BEFORE_FLAGS + 2;
    for flag in [HAS_CONTENT_TYPE, HAS_CONTENT_ENCODING] {
        if flags & flag != 0 {
            at += 1 + usize::from(*payload.get(at).ok_or_else(malformed)?);
        }
    }
    let length = u32_at(payload, at).ok_or_else(malformed)?;
    let table = payload.get(at + 4..at + 4 + length).ok_or_else(malformed)?;
    let fits = frame.len() <= FRAME_BYTES as usize;
    if fits && is_shallow(table) {
        out.extend_from_slice(frame);
        return Ok(());
    }
    tracing::warn!(bytes = length, "message headers removed: too many or nested too deep");
    let after = payload.get(at + 4 + length..).ok_or_else(malformed)?;
    let size = u32::try_from(at + after.len()).map_err(|_| malformed())?;
    out.extend_from_slice(frame.get(..3).ok_or_else(malformed)?);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(payload.get(..BEFORE_FLAGS).ok_or_else(malformed)?);
    out.extend_from_slice(&(flags & !HAS_HEADERS).to_be_bytes());
    out.extend_from_slice(payload.get(BEFORE_FLAGS + 2..at).ok_or_else(malformed)?);
    out.extend_from_slice(after);
    out.extend(frame.last());
    Ok(())
}

/// Whether a table can be read to its end within [`MAX_TABLE_DEPTH`]. Not recursive itself.
fn is_shallow(table: &[u8]) -> bool {
    // Where each open table or array ends, and whether its values have names.
    let mut enclosing = vec![(table.len(), true)];
    let mut at = 0;
    while let Some(&(end, named)) = enclosing.last() {
        if at == end {
            enclosing.pop();
            continue;
        }
        if named {
            let Some(name) = table.get(at) else { return false };
            at += 1 + usize::from(*name);
        }
        let Some(tag) = table.get(at) else { return false };
        at += 1;
        let size = match tag {
            b'V' => Some(0),
            b't' | b'b' | b'B' => Some(1),
            b's' | b'U' | b'u' => Some(2),
            b'I' | b'i' | b'f' => Some(4),
            b'D' => Some(5),
            b'l' | b'L' | b'd' | b'T' => Some(8),
            b'S' | b'x' => u32_at(table, at).map(|length| 4 + length),
            b'A' | b'F' => {
                let Some(length) = u32_at(table, at) else { return false };
                at += 4;
                if enclosing.len() >= MAX_TABLE_DEPTH || at + length > end {
                    return false;
                }
                enclosing.push((at + length, *tag == b'F'));
                continue;
            }
            _ => None,
        };
        let Some(size) = size else { return false };
        at += size;
        if at > end {
            return false;
        }
    }
    true
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let value = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
    usize::try_from(value).ok()
}

fn bad(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).unwrap();
        [&[kind, 0, 1][..], &size.to_be_bytes(), payload, &[0xce]].concat()
    }

    fn nested(depth: usize) -> Vec<u8> {
        let mut table = b"\x01nI\0\0\0\x07\x01sS\0\0\0\x02hi".to_vec();
        for level in 0..depth {
            let size = u32::try_from(table.len() + if level % 2 == 0 { 0 } else { 5 }).unwrap().to_be_bytes();
            table = if level % 2 == 0 {
                [&b"\x01aF"[..], &size, &table].concat()
            } else {
                let inner = u32::try_from(table.len()).unwrap().to_be_bytes();
                [&b"\x01aA"[..], &size, b"F", &inner, &table].concat()
            };
        }
        table
    }

    /// A content header with type, encoding, the table and a correlation id.
    fn header(table: Option<&[u8]>) -> Vec<u8> {
        let flags = HAS_CONTENT_TYPE | HAS_CONTENT_ENCODING | (1 << 10) | if table.is_some() { HAS_HEADERS } else { 0 };
        let size = table.map(|table| u32::try_from(table.len()).unwrap().to_be_bytes().to_vec()).unwrap_or_default();
        let payload = [
            &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5][..],
            &flags.to_be_bytes(),
            b"\x04json\x04utf8",
            &size,
            table.unwrap_or_default(),
            b"\x02id",
        ]
        .concat();
        frame(CONTENT_HEADER, &payload)
    }

    fn through(bytes: &[u8], step: usize) -> io::Result<Vec<u8>> {
        let (mut guard, mut out) = (FrameGuard::default(), Vec::new());
        for piece in bytes.chunks(step) {
            guard.feed(piece, &mut out)?;
        }
        Ok(out)
    }

    #[test]
    fn ordinary_frames_pass_unchanged_however_they_are_cut() {
        let stream = [
            frame(1, b"method"),
            header(Some(&nested(3))),
            frame(3, &[7; 300]),
            header(None),
            frame(8, b""),
            header(Some(b"")),
        ]
        .concat();
        for step in [1, 2, 7, 8, 64, stream.len()] {
            assert_eq!(through(&stream, step).unwrap(), stream, "{step}");
        }
    }

    #[test]
    fn deep_headers_are_taken_out_and_the_rest_stays() {
        for depth in [40, 5_000] {
            let stream = [frame(1, b"deliver"), header(Some(&nested(depth))), frame(3, b"body")].concat();
            let expected = [frame(1, b"deliver"), header(None), frame(3, b"body")].concat();
            for step in [1, 1000, stream.len()] {
                assert_eq!(through(&stream, step).unwrap(), expected);
            }
        }
    }

    #[test]
    fn headers_that_do_not_fit_a_frame_are_taken_out_and_the_rest_stays() {
        let long = |length: usize| {
            let text = vec![b'x'; length];
            [&b"\x01tS"[..], &u32::try_from(length).unwrap().to_be_bytes(), &text].concat()
        };
        let around = header(Some(&long(0))).len();
        let fits = header(Some(&long(FRAME_BYTES as usize - around)));
        assert_eq!(fits.len(), FRAME_BYTES as usize);
        assert_eq!(through(&fits, 1000).unwrap(), fits);
        for length in [FRAME_BYTES as usize - around + 1, 100_000, 1_000_000] {
            assert_eq!(through(&header(Some(&long(length))), 1000).unwrap(), header(None), "{length}");
        }
    }

    #[test]
    fn malformed_headers_are_taken_out_and_malformed_frames_end_the_connection() {
        for table in [&b"\x01a?"[..], b"\x09a", b"\x01aF\xff\xff\xff\xff", b"\x01aS\0\0\0\x09x", b"\x01aI\0"] {
            assert_eq!(through(&header(Some(table)), 5).unwrap(), header(None), "{table:?}");
        }
        assert!(through(&[1, 0, 1, 0xff, 0, 0, 0], 7).is_err());
        assert!(through(&frame(CONTENT_HEADER, b"short"), 100).is_err());
        let mut overlong = header(Some(&nested(1)));
        // The table claims to be longer than the frame.
        overlong[FRAME_HEAD + BEFORE_FLAGS + 2 + 10] = 0x7f;
        assert!(through(&overlong, 100).is_err());
    }
}
