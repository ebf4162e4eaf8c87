//! Bounds on what is read from outside.

/// Bounds a decoder keeps to; beyond one it answers with a typed error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest body accepted, in bytes, as received and again after decompression.
    pub body_bytes: usize,
    /// Deepest nesting of JSON arrays and objects. Values above 120 are treated as 120, which the
    /// JSON parser's own recursion guard allows.
    pub depth: usize,
    /// Largest number of JSON values in one body. A value takes some 80 bytes of memory while its
    /// text may take one, so bytes alone do not bound memory.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 16 * 1024 * 1024, depth: 100, values: 1_000_000 }
    }
}
