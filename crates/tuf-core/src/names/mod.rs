//! Names from outside, validated once: target paths, role names and key ids.
//!
//! Each type is a string that is cheap to clone and cannot hold a dangerous value, so code that receives one need not
//! check it again. A role name alone is no file name; [`MetadataFileName`] is. Ordering is by UTF-8 bytes, which is also the
//! order of canonical JSON.

mod check;
mod error;
mod key_id;
mod metadata_file;
mod percent;
mod portable;
mod role_name;
mod target_path;
mod text_type;
mod top_role;

pub use error::NameError;
pub use key_id::{KeyId, MAX_KEY_ID_BYTES};
pub use metadata_file::MetadataFileName;
pub use portable::{UnportablePath, sorted_apart};
pub use role_name::{MAX_ROLE_NAME_BYTES, RoleName};
pub use target_path::{MAX_COMPONENT_BYTES, MAX_TARGET_PATH_BYTES, TargetPath};
pub use top_role::TopRole;

pub(crate) use percent::percent_encode;
