//! Tests of the foundations through the public API: names, canonical JSON, keys, metadata, verification, the client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

mod canonical;
mod client;
mod client_foreign_names;
mod client_limits;
mod client_refusals;
mod client_state;
mod client_targets;
mod envelope;
mod foreign;
mod keys;
mod names;
mod repo;
mod root_chain;
mod schema;
mod time;
mod verify;
