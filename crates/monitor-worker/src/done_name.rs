//! `.tuf_done_X.BATCH.tSECONDS-NANOS`: the name of a published directory, with the time at which it was read.

use std::ffi::OsStr;

use crate::drop_dir::{DONE, DropDir, DropName};

/// The name of a published directory. A number is added where it is taken.
pub(crate) fn done_name(drop: &DropDir, batch: &str) -> String {
    match drop.read_at {
        Some((seconds, nanos)) => format!("{DONE}{}.{batch}.t{seconds}-{nanos}", drop.name),
        None => format!("{DONE}{}.{batch}", drop.name),
    }
}

/// The drop's name, and when it was read (seconds, nanoseconds). `None` for a directory that is being removed.
pub(crate) fn parse(dir: &OsStr) -> Option<(DropName, (i64, u32))> {
    let rest = dir.to_str()?.strip_prefix(DONE)?;
    let (before, time) = rest.rsplit_once(".t")?;
    let time = time.split_once('.').map_or(time, |(time, _number)| time);
    let (seconds, nanos) = time.rsplit_once('-')?;
    let (name, _batch) = before.rsplit_once('.')?;
    Some((DropName::new(name).ok()?, (seconds.parse().ok()?, nanos.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, read_at) in [("X", (1_000_000_000, 999_999_999)), ("a.t1-2.b", (-5, 0))] {
            let name = DropName::new(name).unwrap();
            let drop = DropDir {
                name: name.clone(),
                dir: "d".into(),
                ctime: (1, 0),
                id: (1, 2),
                read_at: Some(read_at),
                bad_name: None,
            };
            let written = done_name(&drop, "01234567");
            assert_eq!(parse(OsStr::new(&written)), Some((name.clone(), read_at)));
            assert_eq!(parse(OsStr::new(&format!("{written}.3"))), Some((name, read_at)));
        }
        for other in [".tuf_done_X.01234567", ".tuf_done_tuf_tmp_X", "tuf_done_X.0.t1-2"] {
            assert_eq!(parse(OsStr::new(other)), None, "{other}");
        }
    }
}
