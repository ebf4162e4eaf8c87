//! A worker confines itself to its own directories by Landlock.
//!
//! A process whose code an attacker runs keeps: the worker's own places ([`SandboxPlace`]), the network, and the files
//! of the system that name resolution and the runtime read. It can start no other program, reach no other file, and gain
//! nothing from set-uid programs (`no_new_privs`). The sandbox holds for every thread and cannot be left.
//!
//! Landlock admits the directories that exist when it is entered. A worker that starts before its directories exist works
//! without the sandbox until they do, and then restarts in place; under `sandbox: required` it waits for them first.

mod confinement;
mod place;
mod rules;

pub use confinement::{Confinement, EnteredPlaces, RestartReason, enter};
pub use place::{SandboxMode, SandboxPlace, SandboxPlan};
