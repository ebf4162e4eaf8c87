//! The format version of what the monitor keeps.

use std::io;

use serde::Deserialize;

/// Looks at the format before anything else: what a newer version wrote may not look like anything known here.
///
/// # Errors
/// `InvalidData` without a format; `Unsupported`, with what to do about it, for one above `newest`.
pub(crate) fn check(bytes: &[u8], newest: u64) -> io::Result<()> {
    #[derive(Deserialize)]
    struct Format {
        format: u64,
    }
    let Format { format } =
        serde_json::from_slice(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if format <= newest {
        return Ok(());
    }
    let message = format!("it has format {format}, this version reads up to {newest}: upgrade the monitor-worker");
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}
