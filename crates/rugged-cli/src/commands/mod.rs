//! The commands: one file or directory each, with the command's arguments (`…Args`) and its `run`.

pub mod add_targets;
pub mod completions;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod download;
pub mod events;
pub mod exit_codes;
pub mod generate_keys;
pub mod initialize;
pub mod inspect;
pub mod man;
pub mod pause_processing;
pub mod ping;
pub mod post;
pub mod recover;
pub mod reference;
pub mod refresh_expiry;
pub mod remove_targets;
pub mod resume_processing;
pub mod revoke;
pub mod status;
pub mod up;
pub mod validate;

mod held_drop;
mod processing_switch;
mod remote_control;
mod signing_chain;
