//! Public keys as metadata holds them, and signers.

mod der;
mod error;
mod generate;
mod pem;
mod public;
mod signer;

pub use error::KeyError;
pub use generate::{KeyPair, ecdsa_p256, ed25519};
pub use public::{KeyIdFormat, PublicKey, SignatureError};
pub use signer::{FileSigner, SignError, Signer};
