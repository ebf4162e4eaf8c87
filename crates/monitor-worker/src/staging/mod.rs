//! The way of a drop's files into the staging directory: walked without following links, copied once while hashing, checked.
//!
//! Producers can write to the drop directory, and the targets-worker to the inbound directory, at any moment. So both are held
//! open while a drop is copied: each name is looked up in an open directory, and no link is followed. Directories are
//! entered one below another, at most as many as a drop may have, which bounds the descriptors.
//!
//! Faults of the producer (a link, a bad name, a manifest that does not match) reject the drop. Faults of the machine
//! never do: those met while reading the drop hold it back, those met in our own directories fail the cycle.

mod changed;
mod copy;
mod measure;
mod not_taken;
mod open_drop;
mod staged_file;
mod survey;
mod walk;

pub use changed::{ChangedWhileRead, DropEntry};
pub use copy::{CopyTarget, DropContents, SHARED_DIR_MODE, copy_drop};
pub use measure::{DirSize, measure};
pub use not_taken::NotTaken;
pub use staged_file::{StagedFile, digest_of};
pub use survey::{DropSurvey, PathNumbers, for_each_path, survey};
