//! Every rule of the audit is broken once, and nothing else is found then; sound repositories have no findings.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests read fixtures")]

mod clients;
mod delegations;
mod documented;
mod elsewhere;
mod files;
mod format;
mod keys;
mod other_clients;
mod repo;
mod roots;
mod snapshots;
mod sound;
