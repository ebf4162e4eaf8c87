//! The four kinds of metadata (specification §4.3 to §4.6).
//!
//! Members that this project does not know are kept and written back in their sorted places, so canonical bytes that
//! are read are written back unchanged. Reading needs canonical bytes, which [`crate::envelope::Envelope`] provides for
//! any file.

mod delegated_role;
mod delegations;
mod hashes;
mod header;
mod members;
mod metadata;
mod pattern;
mod role_keys;
mod role_meta;
mod root;
mod snapshot;
mod spec_version;
mod succinct_roles;
mod targets;
mod timestamp;

pub use delegated_role::{DelegatedPaths, DelegatedRole, path_hash};
pub use delegations::Delegations;
pub use hashes::{HashChecker, HashError, Hashes};
pub use metadata::Metadata;
pub use pattern::{HashPrefix, InvalidHashPrefix, InvalidPattern, PathPattern};
pub use role_keys::RoleKeys;
pub use role_meta::RoleMeta;
pub use root::Root;
pub use snapshot::Snapshot;
pub use spec_version::{SPEC_VERSION, SpecVersion};
pub use succinct_roles::{SuccinctError, SuccinctRoles};
pub use targets::{ForeignTargets, TargetMeta, Targets};
pub use timestamp::Timestamp;
