//! The repository side of the specification, checked on any repository.
//!
//! A client stops at the first fault. An audit continues: it reads files that a strict reader refuses, reports each
//! fault, repairs it in memory and checks the rest, so that one run lists every fault. Nothing that an audit reads is
//! trusted: this module reports, and the client decides.

mod client_concerns;
mod delegation_tree;
mod error;
mod history;
mod keys;
mod lenient;
mod odd_name;
mod options;
mod other_clients;
mod progress;
mod quote;
mod report;
mod root;
pub mod rules;
mod run;
mod running;
mod search;
mod shape;
mod source;
mod target_files;
mod targets_roles;
mod top_level;

pub use error::AuditError;
pub use options::{AuditCeilings, AuditOptions};
pub use progress::{AuditProgress, AuditStage};
pub use report::{Checked, Finding, MAX_FINDINGS_PER_RULE, Report, Severity, Unread};
pub use rules::Rule;
pub use run::audit;
pub use source::MetadataSource;
