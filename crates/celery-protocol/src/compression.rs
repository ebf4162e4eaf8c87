//! The compressions a default Celery worker understands, for reading, with bounded output.
//!
//! They are named by the `compression` header of a task, not by the content encoding.

use std::io::{self, Read, Write as _};

/// The memory limit for the dictionary of an `.xz` stream: that of Python's strongest preset, and a
/// little for the tables.
const LZMA_MEMORY_KIB: u32 = 66 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Why a compressed body was refused.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// This crate does not read the compression.
    #[error("unsupported compression {0:?}")]
    Unsupported(String),
    /// The body inflates to more than the limit.
    #[error("body inflates to more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The body does not have the compression of its header.
    #[error("body is not valid {compression}: {source}")]
    Corrupt {
        /// The value of the `compression` header.
        compression: String,
        /// The error of the decompressor.
        source: io::Error,
    },
}

/// Inflates `body`, compressed as the `compression` header names it, to at most `limit` bytes.
///
/// `application/x-gzip` is a zlib stream, as in kombu; a gzip stream is accepted too.
///
/// # Errors
/// See [`CompressionError`].
pub fn decompress(compression: &str, body: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    let reader: Box<dyn Read + '_> = match compression {
        "application/x-gzip" if body.starts_with(&GZIP_MAGIC) => Box::new(flate2::read::GzDecoder::new(body)),
        "application/x-gzip" => Box::new(flate2::read::ZlibDecoder::new(body)),
        "application/x-bz2" => Box::new(bzip2::read::BzDecoder::new(body)),
        "application/x-lzma" => Box::new(lzma_rust2::XzReader::new_mem_limit(body, false, LZMA_MEMORY_KIB)),
        other => return Err(CompressionError::Unsupported(shorten(other))),
    };
    let mut inflated = Vec::new();
    // One byte beyond the limit is enough to know that there is more.
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader
        .take(bound)
        .read_to_end(&mut inflated)
        .map_err(|source| CompressionError::Corrupt { compression: compression.to_owned(), source })?;
    if inflated.len() > limit {
        return Err(CompressionError::TooLarge { limit });
    }
    Ok(inflated)
}

/// Compresses `body` by Celery's name of a compression (`gzip`, `zlib`, `bzip2`, or the content type). Also returns the value of
/// the `compression` header. `gzip` makes a zlib stream, as in kombu.
///
/// # Errors
/// [`CompressionError::Unsupported`] for any other name.
pub fn compress(name: &str, body: &[u8]) -> Result<(&'static str, Vec<u8>), CompressionError> {
    let corrupt = |source| CompressionError::Corrupt { compression: shorten(name), source };
    match name {
        "gzip" | "zlib" | "application/x-gzip" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(body).map_err(corrupt)?;
            Ok(("application/x-gzip", encoder.finish().map_err(corrupt)?))
        }
        "bzip2" | "application/x-bz2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
            encoder.write_all(body).map_err(corrupt)?;
            Ok(("application/x-bz2", encoder.finish().map_err(corrupt)?))
        }
        other => Err(CompressionError::Unsupported(shorten(other))),
    }
}

/// Text from outside, cut for use in an error.
pub(crate) fn shorten(text: &str) -> String {
    const MAX_QUOTED_CHARS: usize = 100;
    if text.chars().count() <= MAX_QUOTED_CHARS {
        return text.to_owned();
    }
    text.chars().take(MAX_QUOTED_CHARS).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_is_read_back_and_gzip_means_zlib() {
        let body = b"[[], {}, {}]".repeat(100);
        for (name, header) in
            [("gzip", "application/x-gzip"), ("zlib", "application/x-gzip"), ("bzip2", "application/x-bz2")]
        {
            let (named, small) = compress(name, &body).unwrap();
            assert_eq!(named, header);
            assert!(small.len() < body.len());
            assert_eq!(decompress(named, &small, body.len()).unwrap(), body);
            assert!(matches!(decompress(named, &small, body.len() - 1), Err(CompressionError::TooLarge { .. })));
        }
        assert_eq!(compress("gzip", &body).unwrap().1[..2], [0x78, 0x9c]);
        assert!(matches!(compress("brotli", &body), Err(CompressionError::Unsupported(_))));
    }
}
