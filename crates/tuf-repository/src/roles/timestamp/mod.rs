//! The timestamp role: shows the newest snapshot, and alone changes what clients see.
//!
//! A timestamp is first created under its hidden name `.N.timestamp.json` and then copied over `timestamp.json`, so that a
//! crash in between loses no version and signs none twice.

mod hidden;
mod lock;
mod names;
mod plain_check;
mod plain_round;
mod policy;
mod progress;
mod role;
mod served;
mod signed;
mod swap;

pub(super) use names::hidden_version;
pub use policy::TimestampPolicy;
pub use role::TimestampRole;
