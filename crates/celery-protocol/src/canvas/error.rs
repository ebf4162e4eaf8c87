//! Errors of workflows.

/// Why a workflow cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanvasError {
    /// A signature is invalid.
    #[error("a signature has {0}")]
    Invalid(&'static str),
    /// Signatures are nested deeper than any real workflow.
    #[error("signatures are nested too deeply")]
    TooDeep,
}
