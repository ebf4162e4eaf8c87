//! Key generation and root metadata: the only code that handles root keys. It takes no task from the broker.

mod error;
mod generate;
mod initialize;

pub use error::CeremonyError;
pub use generate::{GeneratedKey, KeyKind, KeyRequest, generate_keys};
pub use initialize::{Initialized, InitializedRole, initialize};
