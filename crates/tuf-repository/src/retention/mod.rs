//! Which files may be deleted, and when.
//!
//! A client that has fetched a timestamp then fetches the files that it leads to, and may be slow. So every role that
//! deletes files notes regularly which timestamp and snapshot it finds served, in a [`ServedMark`]. The served version only
//! moves forward: no client of the last `keep` seconds can hold a snapshot older than that of the newest mark made before
//! them, the *horizon*. The versions of roles that the horizon's snapshot lists, and all above them, stay. Versions below
//! them, and target files that no version at or above them lists, are out of use.
//!
//! Marks are made from a timestamp that verifies and has not expired, and only time that this process has seen pass counts:
//! the times of files are never evidence that a file is out of use. Without a mark that is old enough no file is deleted.
//!
//! | files | deleted by | when |
//! |---|---|---|
//! | `N.root.json` | no role | never |
//! | `N.targets.json`, `N.bins.json`, `N.bin_*.json` | targets role | below the version that the horizon lists |
//! | `N.snapshot.json` | snapshot role | below a horizon one day older, so that every role finds its horizon |
//! | `.N.timestamp.json` | timestamp role | below the horizon |
//! | `dir/HASH.name`, `HASH.dir/name` | targets role | listed by no version from the horizon on, and older than `keep` |
//! | plain target files | timestamp role, without consistent snapshots | the same |
//! | records and bases | targets role | before the newest valid base older than `keep`; its own record stays |
//!
//! The newest version of each file is at or above the horizon, so that no number is used twice.

mod candidate;
mod collected;
mod policy;
mod role_retention;
mod sweep_progress;
mod versions;

pub(crate) use candidate::{CandidateFile, is_hashed_dir};
pub use collected::Collected;
pub use policy::{MIN_KEEP_SECONDS, RetentionPolicy};
pub(crate) use role_retention::SNAPSHOT_MARGIN_SECONDS;
pub use role_retention::{Retention, ServedMark};
pub(crate) use sweep_progress::SweepProgress;
pub(crate) use versions::{versioned_role, versions_below};
