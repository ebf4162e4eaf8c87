//! The clock of the drop directory's mount.

use std::time::Duration;

use durable_fs::durable;

use crate::file_work::FileWork;

/// How often the clock is looked at, a millisecond apart: the clocks of local file systems tick every ten or less.
const LOOKS: u32 = 12;

/// The longest tick of a local file system's clock, and a little more.
const LONGEST_TICK: Duration = Duration::from_millis(12);

impl FileWork {
    /// The time by the clock of the drop directory's mount (seconds, nanoseconds); `None` where no file can be created.
    pub(super) fn mount_time(&self) -> Option<(i64, u32)> {
        let file = durable::TempFile::new(&*self.fs, &self.settings.post, 0o600).ok()?;
        let stat = self.fs.stat(file.path()).ok()?;
        Some((stat.ctime, stat.ctime_nanos))
    }

    /// Whether a rename that happens now gets a later time than `after` (seconds, nanoseconds). It waits for the next tick of
    /// the mount's clock, but not for clocks that tick every second. On a full mount, whose clock cannot be read, it waits as long
    /// as a local file system needs for a tick.
    pub(super) fn has_ticked_since(&self, after: (i64, u32)) -> bool {
        for look in 0..LOOKS {
            if look > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            match self.mount_time() {
                Some(now) if now > after => return true,
                Some(_) => {}
                None => {
                    std::thread::sleep(LONGEST_TICK);
                    return true;
                }
            }
        }
        false
    }
}
