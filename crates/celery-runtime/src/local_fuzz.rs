//! Fuzz target for bytes from this machine: takes any bytes and panics if a promise is broken.
//!
//! Compiled for the tests, which replay the corpus, and for the fuzzer (`fuzz/`).

use jiff::{Timestamp, ToSpan};

use crate::{broker::socket::frame_fuzz, scheduler::Crontab};

/// The first byte selects the reader of the rest.
pub(crate) fn run(data: &[u8]) {
    match data.split_first() {
        Some((b'r', rest)) => frame_fuzz::request(rest),
        Some((b'a', rest)) => frame_fuzz::answer(rest),
        Some((_, rest)) => crontab(&String::from_utf8_lossy(rest)),
        None => {}
    }
}

/// A line is refused with a reason; or it is shown so that it is read back, and its times are full minutes, each after the last.
fn crontab(line: &str) {
    let crontab = match Crontab::parse(line) {
        Ok(crontab) => crontab,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(Crontab::parse(&crontab.to_string()).as_ref(), Ok(&crontab));
    // 2024-02-28T23:59:30Z, before a leap day; and the end of the calendar.
    let near_the_end = Timestamp::MAX.checked_sub(400.hours()).unwrap_or(Timestamp::MAX);
    for last in [Timestamp::from_second(1_709_164_770).unwrap_or_default(), near_the_end] {
        let mut last = last;
        for _ in 0..3 {
            let Some(next) = crontab.next_after(last) else { break };
            assert!(
                next > last && next.as_second() % 60 == 0 && next.subsec_nanosecond() == 0,
                "{line}: {last} {next}"
            );
            last = next;
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_frame_and_crontab_in_the_corpus_is_refused_or_read_back_as_written() {
        crate::fuzz_corpus::replay("local", super::run);
    }
}
