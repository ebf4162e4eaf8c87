//! Signed documents, edited without serialising them again.
//!
//! `targets.json` may hold a million targets and `snapshot.json` sixteen thousand roles, and a release changes a few. A
//! [`Document`] is the canonical `signed` part as on disk, plus an index of the entries of its one large
//! member (`targets` or `meta`). An edit copies unchanged stretches and writes only the changed entries, so it costs
//! about as much as copying memory, and everything else keeps its bytes, unknown members included.

mod document_type;
mod edit;
mod error;
mod indexed;
mod scanner;
#[cfg(test)]
mod tests;

pub use document_type::DocumentType;
pub use error::DocumentError;
pub use indexed::Document;
