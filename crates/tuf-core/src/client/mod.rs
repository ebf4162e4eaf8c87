//! A strict verifying client (specification §5).
//!
//! It trusts one root file and nothing else: neither the sources of files nor the state it kept from an earlier run.
//! The limits are those of python-tuf, so that other clients refuse files of the same sizes.

mod check;
mod download;
mod error;
mod fetch;
mod limits;
mod loaded_role;
mod read;
mod refresh;
mod search;
mod targets_role;
mod trusted;
mod verifying;

pub use error::ClientError;
pub use fetch::{Fetch, FetchError};
pub use limits::ClientLimits;
pub use trusted::TrustedState;
pub use verifying::Client;

pub(crate) use loaded_role::LoadedRole;
