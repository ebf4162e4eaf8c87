//! The clock of this machine compared with the clock of the shared mount.

use std::path::Path;
use std::time::{Duration, Instant};

use durable_fs::{Fs, durable};
use tuf_core::time::UtcTime;

use super::error::SigningError;

/// Compares the clock with the modification time that the mount gives a new file, once per period.
#[derive(Debug)]
pub(super) struct SkewProbe {
    limit: i64,
    period: Duration,
    /// Time of the last agreement.
    agreed: Option<Instant>,
}

impl SkewProbe {
    pub(super) fn new(limit: Duration, period: Duration) -> Self {
        Self { limit: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX), period, agreed: None }
    }

    /// Compares the clocks, unless they agreed within the period. A directory that cannot be written gives no answer: the role's
    /// own work reports that failure.
    ///
    /// # Errors
    /// [`SigningError::ClockSkew`] when the two are further apart than the limit.
    pub(super) fn check(&mut self, fs: &dyn Fs, dir: &Path, now: &dyn Fn() -> UtcTime) -> Result<(), SigningError> {
        if self.agreed.is_some_and(|agreed| agreed.elapsed() < self.period) {
            return Ok(());
        }
        let before = now();
        let Some(theirs) = mtime_of_a_new_file(fs, dir) else { return Ok(()) };
        // A slow mount, or a process that was stopped in between, is no skew.
        let (ahead, behind) = (before.unix().saturating_sub(theirs), theirs.saturating_sub(now().unix()));
        let apart = ahead.max(behind);
        if apart > self.limit {
            self.agreed = None;
            let (ahead, mount) = (ahead > behind, dir.to_path_buf());
            return Err(SigningError::ClockSkew { apart, ahead, mount, limit: self.limit });
        }
        self.agreed = Some(Instant::now());
        Ok(())
    }
}

/// Compares the time `now` with the clock of the mount that holds `dir`, before something is signed with that time. A directory
/// that cannot be written gives no answer.
///
/// # Errors
/// [`SigningError::ClockSkew`] when the two are further apart than `limit`.
pub fn check_skew(fs: &dyn Fs, dir: &Path, limit: Duration, now: UtcTime) -> Result<(), SigningError> {
    SkewProbe::new(limit, Duration::ZERO).check(fs, dir, &|| now)
}

fn mtime_of_a_new_file(fs: &dyn Fs, dir: &Path) -> Option<i64> {
    let mut file = durable::TempFile::new(fs, dir, 0o600).ok()?;
    // Over NFS the time is the server's only after bytes have reached it.
    file.write_bytes(b"x").and_then(|()| file.sync()).ok()?;
    fs.stat(file.path()).ok().map(|stat| stat.mtime)
}

#[cfg(test)]
mod tests {
    use super::super::error::SigningErrorKind;
    use super::*;
    use durable_fs::RealFs;
    use service::clock::{Clock as _, SystemClock};

    fn check(offset: i64, dir: &Path) -> Result<(), SigningError> {
        let mut probe = SkewProbe::new(Duration::from_secs(300), Duration::from_secs(3_600));
        probe.check(&RealFs, dir, &|| SystemClock.now().plus_seconds(offset))
    }

    #[test]
    fn a_clock_years_ahead_or_behind_the_mount_stops_signing() {
        let dir = tempfile::tempdir().unwrap();
        check(0, dir.path()).unwrap();
        check(-200, dir.path()).unwrap();
        for (offset, word) in [(3 * 365 * 86_400, "ahead of"), (-365 * 86_400, "behind"), (400, "ahead of")] {
            let error = check(offset, dir.path()).unwrap_err();
            assert_eq!(error.kind(), SigningErrorKind::Alarm, "{offset}");
            assert!(error.to_string().contains(word), "{error}");
        }
        assert_eq!(dir.path().read_dir().unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_mount_that_cannot_be_written_gives_no_answer() {
        check(86_400, Path::new("/nonexistent")).unwrap();
    }

    #[test]
    fn a_corrected_clock_is_accepted_immediately() {
        let dir = tempfile::tempdir().unwrap();
        let mut probe = SkewProbe::new(Duration::from_secs(300), Duration::from_secs(3_600));
        assert!(probe.check(&RealFs, dir.path(), &|| SystemClock.now().plus_seconds(86_400)).is_err());
        probe.check(&RealFs, dir.path(), &|| SystemClock.now()).unwrap();
    }
}
