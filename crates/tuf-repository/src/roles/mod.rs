//! One idempotent function per role.
//!
//! Each role reads the state below it, compares, and writes the next version or nothing. It needs only its own keys.
//! Two runs, from one process or two, or a run after a crash at any point, have the effect of one. Time is passed in. All
//! I/O goes through [`tuf_core::store::Store`] and [`durable_fs::Fs`], and blocks.
//!
//! | module | holds |
//! |---|---|
//! | `targets` | the targets role: target files become signed metadata and one commit record per batch |
//! | `snapshot` | the snapshot role: the previous snapshot plus the commit records behind it |
//! | `timestamp` | the timestamp role: it alone changes what clients see |
//! | `collect` | retention, role by role |
//! | [`recover`] | how a role resumes after a restore |
//! | `floor_checks` | the repository compared with the floor of a role |
//! | `foreign` | metadata of a repository that a role has no record of |
//! | `trust`, `role_reader` | the root chain, the keys, and the check of every metadata file read |
//! | `plain_names` | the unversioned names of repositories without consistent snapshots |

mod collect;
mod error;
mod floor_checks;
mod foreign;
mod invalid_metadata;
mod lifetime;
mod limits;
mod parallel;
mod plain_names;
pub mod recover;
mod repository_stores;
mod role_reader;
mod signed_file;
mod snapshot;
mod snapshot_entry;
mod snapshot_reader;
mod targets;
mod timestamp;
mod trust;
mod update;
mod versioned;

pub use error::{Contested, FloorItem, ListedBy, RoleError, RoleErrorKind};
pub use invalid_metadata::{InvalidMetadata, RoleNotInRoot};
pub use lifetime::Lifetime;
pub use limits::{MAX_SNAPSHOT, MAX_TARGETS, MAX_TIMESTAMP};
pub use repository_stores::RepositoryStores;
pub use snapshot::SnapshotRole;
pub use targets::{
    AppliedRequest, CommitOutcome, Layout, SortedApart, Submission, TargetChange, TargetEntry, TargetsPolicy,
    TargetsRole,
};
pub use timestamp::{TimestampPolicy, TimestampRole};
pub use trust::Trust;
pub use update::RoleUpdate;
