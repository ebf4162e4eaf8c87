//! The floor: the newest state that a signing role has seen, on its own private volume.
//!
//! A role never signs state below its floor, not even a renewal. Otherwise a share that was restored to yesterday would
//! make the role sign versions that clients have already passed, or sign releases away. The floor is raised after the
//! file is durable, so that a crash in between leaves it low, never high.

mod error;
mod file;
mod numbers;

pub use error::FloorError;
pub use file::FloorFile;
pub use numbers::{Floor, RecordFloor};
