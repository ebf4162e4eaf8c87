//! Signed documents that are edited without being serialised again.
//!
//! `targets.json` may hold a million targets and `snapshot.json` sixteen thousand roles, of which one changes. A
//! [`Document`] is the canonical `signed` part as it stands on disk plus an index of the entries of its one large
//! member (`targets` or `meta`). An edit copies the untouched stretches and writes only what changed, so its cost is
//! that of copying memory, and what was not touched keeps its bytes: unknown fields included.

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
