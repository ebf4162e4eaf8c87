#![doc = include_str!("../README.md")]

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
