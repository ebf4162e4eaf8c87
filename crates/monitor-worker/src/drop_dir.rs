//! Names in the drop directory (`post_to_tuf_path`): each prefix is a stage of a drop, and says who owns the directory.
//!
//! ```text
//! tuf_tmp_X  ->  tuf_ready_X  ->  tuf_processing_X  ->  .tuf_done_X.BATCH    (and tuf_receipt_X.json)
//!  producer       producer          monitor         \->  tuf_rejected_X[.N]  (and REASON.json in it)
//! ```
//!
//! A published directory to which its producer wrote afterwards becomes `tuf_late_X[.N]`, with a `REASON.json`.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use durable_fs::{FileKind, Fs, durable};
use tuf_core::sha256::Sha256;

use crate::read_mark::ReadMark;
use crate::unusable_dir::unusable_dir;

/// Longest drop name in bytes: with the longest prefix and suffix it still fits a file name (255 bytes).
pub const MAX_NAME_BYTES: usize = 200;

/// Prefix of a directory to which its producer still writes.
pub const UNFINISHED: &str = "tuf_tmp_";
/// Prefix of a directory that its producer has finished.
pub const READY: &str = "tuf_ready_";
/// Prefix of a directory that was taken in.
pub const PROCESSING: &str = "tuf_processing_";
/// Prefix of a directory that was rejected.
pub const REJECTED: &str = "tuf_rejected_";
/// Prefix of a directory that was published and to which its producer wrote afterwards.
pub const LATE: &str = "tuf_late_";
/// Prefix of a receipt.
pub const RECEIPT: &str = "tuf_receipt_";
/// Prefix of a directory that was published and is yet to be removed.
pub const DONE: &str = ".tuf_done_";

/// Why a name cannot be that of a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DropNameError {
    /// Nothing follows the prefix.
    #[error("the drop has no name")]
    Empty,
    /// It leaves no room for the prefixes and suffixes of a drop's files.
    #[error("the drop's name is longer than {MAX_NAME_BYTES} bytes")]
    TooLong,
    /// It would not be shown safely, or would be a path.
    #[error("the drop's name holds a control character or a slash")]
    ForbiddenCharacter,
    /// It is not text.
    #[error("the drop's name is not UTF-8")]
    NotUtf8,
}

/// The name of a drop, the `X` of `tuf_ready_X`: 1 to [`MAX_NAME_BYTES`] bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DropName(String);

impl DropName {
    /// Accepts `name` as a drop name.
    ///
    /// # Errors
    /// [`DropNameError`].
    pub fn new(name: &str) -> Result<Self, DropNameError> {
        if name.is_empty() {
            return Err(DropNameError::Empty);
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(DropNameError::TooLong);
        }
        if name.chars().any(|c| c.is_control() || c == '/') {
            return Err(DropNameError::ForbiddenCharacter);
        }
        Ok(Self(name.to_owned()))
    }

    /// A valid name that stands for the invalid one `raw`: readable where possible, and different for different bytes.
    fn standing_for(raw: &[u8]) -> Self {
        let mut name: String = raw
            .iter()
            .take(120)
            .map(|b| if b.is_ascii_alphanumeric() || b"._-".contains(b) { char::from(*b) } else { '_' })
            .collect();
        let hash = Sha256::of(raw).to_string();
        name.push('-');
        name.push_str(&hash[..8]);
        Self(name)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory the drop is in while it is being processed.
    pub fn processing_dir(&self) -> String {
        format!("{PROCESSING}{}", self.0)
    }

    /// The file name of its public receipt.
    pub fn receipt_file(&self) -> String {
        format!("{RECEIPT}{}.json", self.0)
    }
}

impl fmt::Display for DropName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A drop in the drop directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropDir {
    /// Its name.
    pub name: DropName,
    /// The directory's name in the drop directory.
    pub dir: OsString,
    /// Time of the directory's last change, its renaming included (seconds, nanoseconds): drops are taken in this order. The
    /// kernel sets it; the modification time is the producer's choice (`cp -a`, `rsync -a`).
    pub ctime: (i64, u32),
    /// Device and inode of the directory.
    pub id: (u64, u64),
    /// When this process began to read it; `None` before, and where the clock of its mount cannot be read.
    pub read: Option<ReadMark>,
    /// Why the name cannot be used as it is; `name` then stands for it.
    pub bad_name: Option<DropNameError>,
}

impl DropDir {
    /// Which post of the drop this is: another for every directory that is posted, also under the same name with the same
    /// files, and the same for every attempt at it once it has its processing name. It names the inode and the time of the
    /// rename; the device is left out, because a network mount gets another one each time it is mounted.
    pub fn post(&self) -> String {
        let (seconds, nanos) = self.ctime;
        format!("{}-{seconds}-{nanos}", self.id.1)
    }
}

/// Why an entry of the drop directory that looks like a drop is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum IgnoredReason {
    /// It is no directory.
    #[error("it is {kind}, and only a directory can be a drop: remove it, or post a directory")]
    NotADirectory {
        /// What it is instead.
        kind: &'static str,
    },
    /// Its prefix is not in lower case.
    #[error("its prefix is not in lower case: rename it, or set prefix_case_insensitive")]
    PrefixCase,
}

fn kind_text(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "a file",
        FileKind::Dir => "a directory",
        FileKind::Symlink => "a symbolic link",
        FileKind::Other => "a special file",
    }
}

/// An entry of the drop directory that looks like a drop and is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IgnoredEntry {
    /// Its name.
    pub name: OsString,
    /// Why it is none.
    pub reason: IgnoredReason,
}

/// Most ignored entries that are listed; further ones are counted.
const MAX_IGNORED: usize = 1_000;
/// With more names than this, listing the drop directory takes noticeable time in every cycle.
const MANY_NAMES: u64 = 1_000_000;

/// The contents of the drop directory, in bounded space whatever it holds.
#[derive(Clone, Debug, Default)]
pub struct DropListing {
    /// The oldest ready drops, the first renamed first, then by name.
    pub ready: Vec<DropDir>,
    /// Number of ready drops.
    pub ready_total: u64,
    /// The oldest drops taken in, in the same order.
    pub processing: Vec<DropDir>,
    /// Number of drops taken in.
    pub processing_total: u64,
    /// What looks like a drop and is none, at most a thousand.
    pub ignored: Vec<IgnoredEntry>,
    /// Number of entries that look like a drop and are none.
    pub ignored_total: u64,
    /// Number of rejected directories that their producers have not removed yet.
    pub rejected: u64,
    /// Number of published directories that their producers wrote to afterwards and have not removed yet.
    pub late: u64,
    /// Number of published directories that are yet to be removed.
    pub done: u64,
    /// Number of names, receipts and foreign ones included.
    pub names: u64,
}

impl DropListing {
    /// Whether drops that were taken in are left out. No ready drop may then be taken in: it would overtake them.
    pub fn leaves_processing_out(&self) -> bool {
        self.processing_total > self.processing.len() as u64
    }

    /// The number of drops that are left out.
    fn left_out(&self) -> u64 {
        let listed = (self.ready.len() + self.processing.len()) as u64;
        (self.ready_total + self.processing_total).saturating_sub(listed)
    }

    /// The condition that an operator has to look at, if there is one.
    pub fn notice(&self) -> Option<String> {
        let left_out = self.left_out();
        if left_out > 0 {
            return Some(format!(
                "post_to_tuf_path holds {} drops, and the {left_out} youngest wait until older ones end: see why those wait",
                self.ready_total + self.processing_total
            ));
        }
        (self.names > MANY_NAMES).then(|| {
            format!(
                "post_to_tuf_path holds {} names, which slows every cycle down: remove those that are no drops",
                self.names
            )
        })
    }
}

/// The oldest drops of many.
struct OldestDrops {
    drops: BinaryHeap<ByAge>,
    most: usize,
    total: u64,
}

impl OldestDrops {
    fn of_at_most(most: usize) -> Self {
        Self { drops: BinaryHeap::new(), most, total: 0 }
    }

    fn add(&mut self, drop: DropDir) {
        self.total += 1;
        self.drops.push(ByAge(drop));
        if self.drops.len() > self.most {
            // The youngest.
            self.drops.pop();
        }
    }

    fn oldest_first(self) -> Vec<DropDir> {
        self.drops.into_sorted_vec().into_iter().map(|ByAge(drop)| drop).collect()
    }
}

/// A drop in the order in which drops are taken.
struct ByAge(DropDir);

impl Ord for ByAge {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (&self.0, &other.0);
        (a.ctime, &a.name, &a.dir).cmp(&(b.ctime, &b.name, &b.dir))
    }
}

impl PartialOrd for ByAge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByAge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ByAge {}

/// Lists the drop directory. Everything but directories with one of the prefixes and receipts is left out: `tuf_tmp_*`,
/// `.nfs*`. Files and links that have a drop's name are listed as ignored. With `any_case`, `TUF_READY_*` and
/// `TUF_PROCESSING_*` are drops too; otherwise they are listed as ignored. The monitor itself always writes lower case.
///
/// Anyone who posts drops can make as many names as the mount holds. So names are read one by one, and at most `max_drops`
/// ready drops are listed, and as many that were taken in: the oldest.
///
/// # Errors
/// The directory cannot be listed. A drop that vanishes meanwhile is left out.
pub fn list(fs: &dyn Fs, post: &Path, any_case: bool, max_drops: usize) -> io::Result<DropListing> {
    let unusable = |error| unusable_dir("post_to_tuf_path", post, error);
    let mut found = DropListing::default();
    let (mut ready, mut processing) = (OldestDrops::of_at_most(max_drops), OldestDrops::of_at_most(max_drops));
    for entry in fs.open_dir(post).and_then(|dir| dir.iter_entries()).map_err(unusable)? {
        let entry = entry.map_err(unusable)?;
        found.names += 1;
        let raw = entry.name.as_bytes();
        let is_dir = entry.kind == FileKind::Dir;
        if let Some(rest) = strip(raw, READY, any_case).filter(|_| is_dir) {
            drop_dir(fs, post, &entry.name, rest)?.into_iter().for_each(|drop| ready.add(drop));
        } else if let Some(rest) = strip(raw, PROCESSING, any_case).filter(|_| is_dir) {
            drop_dir(fs, post, &entry.name, rest)?.into_iter().for_each(|drop| processing.add(drop));
        } else if let Some(reason) = looks_like_a_drop(raw, entry.kind) {
            found.ignored_total += 1;
            if found.ignored.len() < MAX_IGNORED {
                found.ignored.push(IgnoredEntry { name: entry.name, reason });
            }
        } else if is_dir && raw.starts_with(REJECTED.as_bytes()) {
            found.rejected += 1;
        } else if is_dir && raw.starts_with(LATE.as_bytes()) {
            found.late += 1;
        } else if is_dir && raw.starts_with(DONE.as_bytes()) {
            found.done += 1;
        }
    }
    (found.ready_total, found.processing_total) = (ready.total, processing.total);
    (found.ready, found.processing) = (ready.oldest_first(), processing.oldest_first());
    found.ignored.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Why an entry that is no drop looks like one.
fn looks_like_a_drop(raw: &[u8], kind: FileKind) -> Option<IgnoredReason> {
    if [READY, PROCESSING].into_iter().all(|prefix| strip(raw, prefix, true).is_none()) {
        return None;
    }
    Some(if kind == FileKind::Dir {
        IgnoredReason::PrefixCase
    } else {
        IgnoredReason::NotADirectory { kind: kind_text(kind) }
    })
}

/// Whether a change of `name` in the drop directory can mean new work.
pub fn is_ready_name(name: &OsStr, any_case: bool) -> bool {
    strip(name.as_bytes(), READY, any_case).is_some()
}

/// Whether `name` is that of a drop that its producer still writes.
pub fn is_unfinished(name: &OsStr, any_case: bool) -> bool {
    strip(name.as_bytes(), UNFINISHED, any_case).is_some()
}

fn strip<'a>(raw: &'a [u8], prefix: &str, any_case: bool) -> Option<&'a [u8]> {
    let (head, rest) = raw.split_at_checked(prefix.len())?;
    let same = head == prefix.as_bytes() || (any_case && head.eq_ignore_ascii_case(prefix.as_bytes()));
    same.then_some(rest)
}

fn drop_dir(fs: &dyn Fs, post: &Path, dir: &OsStr, rest: &[u8]) -> io::Result<Option<DropDir>> {
    let Some(stat) = durable::stat_if_there(fs, &post.join(dir))? else {
        return Ok(None);
    };
    let parsed = std::str::from_utf8(rest).map_err(|_| DropNameError::NotUtf8).and_then(DropName::new);
    let (name, bad_name) = match parsed {
        Ok(name) => (name, None),
        Err(reason) => (DropName::standing_for(rest), Some(reason)),
    };
    Ok(Some(DropDir {
        name,
        dir: dir.to_owned(),
        ctime: (stat.ctime, stat.ctime_nanos),
        id: stat.id,
        read: None,
        bad_name,
    }))
}
