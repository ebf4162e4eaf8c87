//! The Update Framework: metadata, keys, verification, the store and one idempotent function per role.
//!
//! The library is synchronous and knows no broker, no configuration and no clock: time and randomness are passed in,
//! files are reached through [`durable_fs`]. Every name and every byte from outside becomes a validated type before
//! anything is decided by it, and what was signed is never serialised a second time.

pub mod audit;
pub mod bins;
pub mod canonical;
pub mod client;
pub mod document;
pub mod envelope;
pub mod key;
pub mod names;
pub mod root_chain;
pub mod schema;
pub mod sha256;
pub mod store;
pub mod time;
pub mod verify;

pub use schema::SPEC_VERSION;
