//! A strict verifying client (specification §5).
//!
//! It trusts one root file and nothing else: neither the sources of files nor the state it kept from an earlier run.
//! The default limits are those of python-tuf, so that other clients refuse files of the same sizes.
//!
//! | part | type |
//! |---|---|
//! | the client: `refresh`, `find_target`, `download_into` | [`Client`] |
//! | its limits, as values | [`ClientLimits`] |
//! | sources of files: a trait, and an HTTP server with the feature `http` | [`Fetch`], `HttpDirectory` |
//! | files kept between runs, locked and durable | [`StateDirectory`]; in memory: [`TrustedState`] |
//! | downloaded targets, used again while they are listed | [`TargetDirectory`] |

mod check;
mod download;
mod error;
mod fetch;
#[cfg(feature = "http")]
mod http_directory;
mod kept_files;
mod limits;
mod loaded_role;
mod read;
mod refresh;
mod search;
mod state_directory;
mod target_directory;
mod targets_role;
mod trusted;
mod verifying;

pub use download::DownloadedTarget;
pub use error::ClientError;
pub use fetch::{Fetch, FetchError};
#[cfg(feature = "http")]
pub use http_directory::{HttpDirectory, InvalidHttpUrl};
pub use limits::ClientLimits;
pub use state_directory::{StateDirectory, StateError};
pub use target_directory::{TargetDirectory, TargetFileNames};
pub use trusted::TrustedState;
pub use verifying::Client;

pub(crate) use loaded_role::LoadedRole;
