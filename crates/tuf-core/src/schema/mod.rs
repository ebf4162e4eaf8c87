//! The four kinds of metadata (specification §4.3 to §4.6).
//!
//! Members this project does not know are kept and written back in their sorted places, so that canonical bytes in are
//! canonical bytes out. Reading needs canonical bytes, which [`crate::envelope::Envelope`] provides for any file.

mod common;
mod delegations;
mod hashes;
mod pattern;
mod root;
mod snapshot;
mod targets;
mod timestamp;

pub use common::{Metadata, RoleKeys, RoleMeta, SPEC_VERSION, SpecVersion};
pub use delegations::{DelegatedPaths, DelegatedRole, Delegations, SuccinctError, SuccinctRoles, path_hash};
pub use hashes::{HashChecker, HashError, Hashes};
pub use pattern::{HashPrefix, PathPattern};
pub use root::Root;
pub use snapshot::Snapshot;
pub use targets::{TargetMeta, Targets};
pub use timestamp::Timestamp;
