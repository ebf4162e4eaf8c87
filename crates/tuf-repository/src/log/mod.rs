//! The commit log: the state of the targets role, one record per batch.
//!
//! Record `N` lists every role that its batch changed, and the outcome of every request that the batch applied. It is
//! signed with the targets key and holds the SHA-256 of the record before it. Creating `N.record.json` exclusively is the
//! compare-and-swap that makes a batch visible whole or not at all: a writer that loses starts again from the newer
//! record. Metadata files that no record lists are not state.
//!
//! Every [`BASE_INTERVAL`] records a base `N.base.json` holds the whole table of roles and the outcomes of the last
//! [`OUTCOME_RETENTION_SECONDS`]. The state is the newest valid base and the records behind it. A file of such a name that
//! does not verify is skipped with an alarm, and its number is never used: it is not state and no reason to stop.
//!
//! | file | holds |
//! |---|---|
//! | `record` | the record of one batch |
//! | `base` | the base |
//! | `signed` | signing and checking both |
//! | `reader` | the log, read up to its head |
//! | `append` | writing records and bases |
//! | `collect` | the files that retention may delete |

mod append;
mod base;
mod collect;
mod error;
mod reader;
mod record;
mod signed;

pub use append::Appended;
pub use base::{BASE_INTERVAL, OUTCOME_RETENTION_SECONDS};
pub use error::{LogError, SignerError};
pub use reader::Log;
pub use record::{LOG_FORMAT, Record, RecordedOutcome, RequestOutcome, RoleRef};
pub use signed::{Sign, Verify};
