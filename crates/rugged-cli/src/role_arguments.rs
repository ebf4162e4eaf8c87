//! Roles and workers as arguments of commands.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use fleet::recover::worker_role as worker_role_of;
use fleet::{KeyRole, WorkerRole};
use tuf_repository::roles::recover::FlooredRole;

/// Reads the name of a role that has a worker.
pub fn worker_role() -> impl TypedValueParser<Value = WorkerRole> {
    PossibleValuesParser::new(WorkerRole::ALL.map(WorkerRole::as_str)).try_map(|name| name.parse::<WorkerRole>())
}

/// Reads the name of a role that keeps a floor.
pub fn floored_role() -> impl TypedValueParser<Value = FlooredRole> {
    let names = FlooredRole::ALL.map(|role| worker_role_of(role).as_str());
    PossibleValuesParser::new(names).try_map(|name| {
        let named = |role: &FlooredRole| worker_role_of(*role).as_str() == name;
        FlooredRole::ALL.into_iter().find(named).ok_or("this role keeps no floor")
    })
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
