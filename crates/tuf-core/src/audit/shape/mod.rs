//! The shape of each kind of metadata, member by member. Faults are reported and repaired, so that the types of
//! [`crate::schema`] can hold the rest.

mod check;
mod delegations;
mod header;
mod keys;
mod meta;
mod root;
mod targets;

pub(super) use check::ShapeCheck;
