//! The targets role: target files become signed metadata, and one commit record per batch.
//!
//! | file | holds |
//! |---|---|
//! | `role` | the role and the state that it has read |
//! | `state` | reading root and log, compared with the floor |
//! | `commit` | requests become one record |
//! | `reconcile` | first versions, renewals and bases |
//! | `changes`, `documents`, `draft` | from requests to the next versions |
//! | `sorted_apart` | the submissions after which tough would refuse a role |
//! | `publish` | the next versions become files and a record |
//! | `policy` | the configuration: layout and lifetimes |
//! | `request` | a request and its effect |
//! | `first` | version 1 of a new repository |
//! | `lookup`, `entry` | the signed entries of targets |

mod changes;
mod commit;
mod documents;
mod draft;
mod entry;
mod first;
mod lookup;
mod policy;
mod publish;
mod reconcile;
mod request;
mod role;
mod sorted_apart;
mod state;

pub use entry::TargetEntry;
pub(super) use entry::sha256_of;
pub use policy::{Layout, TargetsPolicy};
pub use request::{AppliedRequest, CommitOutcome, Submission, TargetChange};
pub use role::TargetsRole;
pub use sorted_apart::SortedApart;
