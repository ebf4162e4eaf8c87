//! `.tuf_done_X.BATCH.TSECONDS-NANOS-TICK`: the name of a published directory, with the time at which it was read.

use std::ffi::OsStr;

use crate::drop_dir::{DONE, DropDir, DropName};
use crate::read_mark::ReadMark;

/// The name of a published directory. A number is added where it is taken.
pub(crate) fn done_name(drop: &DropDir, batch: &str) -> String {
    match drop.read {
        // The longest drop name leaves room for hexadecimal digits only.
        Some(ReadMark { time: (seconds, nanos), tick }) => {
            format!("{DONE}{}.{batch}.T{seconds}-{nanos:x}-{:x}", drop.name, tick.unwrap_or_default())
        }
        None => format!("{DONE}{}.{batch}", drop.name),
    }
}

/// The drop's name, and when it was read. `None` for a directory that is being removed.
pub(crate) fn parse(dir: &OsStr) -> Option<(DropName, ReadMark)> {
    let rest = dir.to_str()?.strip_prefix(DONE)?;
    marked(rest).or_else(|| marked_before(rest))
}

/// The text before the number that is added where a name is taken. `None` if it ends otherwise: it is a part of the drop's
/// name.
fn without_number(text: &str) -> Option<&str> {
    match text.split_once('.') {
        Some((text, number)) => number.bytes().all(|byte| byte.is_ascii_digit()).then_some(text),
        None => Some(text),
    }
}

fn marked(rest: &str) -> Option<(DropName, ReadMark)> {
    let (before, mark) = rest.rsplit_once(".T")?;
    let mark = without_number(mark)?;
    let (time, tick) = mark.rsplit_once('-')?;
    let (seconds, nanos) = time.rsplit_once('-')?;
    let (name, _batch) = before.rsplit_once('.')?;
    let time = (seconds.parse().ok()?, u32::from_str_radix(nanos, 16).ok()?);
    Some((DropName::new(name).ok()?, ReadMark { time, tick: Some(u32::from_str_radix(tick, 16).ok()?) }))
}

/// `.tSECONDS-NANOS`, as monitors before wrote it.
fn marked_before(rest: &str) -> Option<(DropName, ReadMark)> {
    let (before, time) = rest.rsplit_once(".t")?;
    let time = without_number(time)?;
    let (seconds, nanos) = time.rsplit_once('-')?;
    let (name, _batch) = before.rsplit_once('.')?;
    let time = (seconds.parse().ok()?, nanos.parse().ok()?);
    Some((DropName::new(name).ok()?, ReadMark { time, tick: None }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::drop_dir::MAX_NAME_BYTES;

    fn drop(name: &str, time: (i64, u32), tick: u32) -> DropDir {
        DropDir {
            name: DropName::new(name).unwrap(),
            dir: "d".into(),
            ctime: (1, 0),
            id: (1, 2),
            read: Some(ReadMark { time, tick: Some(tick) }),
            bad_name: None,
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, time, tick) in
            [("X", (1_000_000_000, 999_999_999), 0), ("a.T1-2-3.b", (-5, 0), u32::MAX), ("a.t1-2", (7, 10), 0xab)]
        {
            let drop = drop(name, time, tick);
            let written = done_name(&drop, "01234567");
            let expected = Some((drop.name.clone(), drop.read.unwrap()));
            assert_eq!(parse(OsStr::new(&written)), expected);
            assert_eq!(parse(OsStr::new(&format!("{written}.3"))), expected);
        }
        for other in [
            ".tuf_done_X.01234567",
            ".tuf_done_tuf_tmp_X",
            "tuf_done_X.0.T1-2-3",
            // Being removed: the rest is the drop's name and the process.
            ".tuf_done_b.a.T1-2-3.0123abcd-4",
            ".tuf_done_b.a.t1-2.0123abcd-4",
        ] {
            assert_eq!(parse(OsStr::new(other)), None, "{other}");
        }
    }

    #[test]
    fn names_that_an_older_monitor_gave_are_read() {
        let mark = ReadMark { time: (1_000_000_000, 10), tick: None };
        let read = parse(OsStr::new(".tuf_done_a.T1-2-3.01234567.t1000000000-10.7"));
        assert_eq!(read, Some((DropName::new("a.T1-2-3").unwrap(), mark)));
    }

    #[test]
    fn the_longest_drop_name_leaves_room_for_a_number() {
        let longest = drop(&"x".repeat(MAX_NAME_BYTES), (9_999_999_999, 999_999_999), u32::MAX);
        let name = format!("{}.99999", done_name(&longest, "01234567"));
        assert!(name.len() <= 255, "{}", name.len());
    }
}
