//! Roles and workers as arguments of commands.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use fleet::{KeyRole, WorkerRole};

/// Reads the name of a role that has a worker.
pub fn worker_role() -> impl TypedValueParser<Value = WorkerRole> {
    PossibleValuesParser::new(WorkerRole::ALL.map(WorkerRole::as_str)).try_map(|name| name.parse::<WorkerRole>())
}

/// Reads the name of a role that signs and keeps a floor.
pub fn signing_role() -> impl TypedValueParser<Value = WorkerRole> {
    PossibleValuesParser::new(WorkerRole::SIGNING.map(WorkerRole::as_str)).try_map(|name| name.parse::<WorkerRole>())
}

/// Reads the name of a role that has keys.
pub fn key_role() -> impl TypedValueParser<Value = KeyRole> {
    PossibleValuesParser::new(KeyRole::ALL.map(KeyRole::as_str)).try_map(|name| name.parse::<KeyRole>())
}

/// Reads the name of a worker, which is the name of its queue.
pub fn worker_name() -> impl TypedValueParser<Value = WorkerRole> {
    PossibleValuesParser::new(WorkerRole::ALL.map(WorkerRole::worker_name))
        .try_map(|name| name.strip_suffix("-worker").unwrap_or(&name).parse::<WorkerRole>())
}
