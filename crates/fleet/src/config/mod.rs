//! The settings of the fleet: one file, overridden by the environment, overridden by flags.
//!
//! [`SETTINGS`] is the one table of settings. The engine is [`service::config`].

mod builder;
mod kinds;
mod resolve;
mod roles;
mod schedule;
mod settings;
mod settings_table;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests arrange files as someone else would")]
mod tests;

pub use builder::ConfigBuilder;
pub use resolve::SettingsContradiction;
pub use roles::{KeyNames, RoleConfig, Roles};
pub use schedule::ScheduledTask;
pub use settings::{Config, TargetNames};
pub use settings_table::{ROWS, SETTINGS};
pub use tuf_core::key::KeyIdFormat;
