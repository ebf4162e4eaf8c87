//! When a drop was read, as the name of its directory keeps it after it is published.

/// When a drop began to be read, and the files that it had then.
///
/// A file whose last change is before `time` was there; one whose change is after it is late. Clocks of file systems tick every
/// few milliseconds, some every second, so files that were there may have the time of the very tick: `tick` says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadMark {
    /// The time by the clock of the drop directory's mount (seconds, nanoseconds).
    pub time: (i64, u32),
    /// The print of the files that were changed in that tick; `None` in the names that an older monitor gave, which says
    /// nothing about them.
    pub tick: Option<TickPrint>,
}

/// A print of files: of their paths, inodes, lengths and times. It is the same in each process, and 0 if there are none. Two
/// sets of files have one print by a chance of one in 2^32.
pub type TickPrint = u32;
