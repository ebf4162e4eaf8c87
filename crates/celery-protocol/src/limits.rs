//! Limits for input from outside.

/// The limits of a decoder. Input beyond one is a typed error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest body, in bytes, as received and again after decompression.
    pub body_bytes: usize,
    /// The deepest nesting of JSON arrays and objects. Values above 120 count as 120, because of the
    /// JSON parser's own limit.
    pub depth: usize,
    /// The largest number of JSON values in one body. A value takes some 80 bytes of memory while its
    /// text may take one, so a limit in bytes alone does not limit memory.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 16 * 1024 * 1024, depth: 100, values: 1_000_000 }
    }
}
