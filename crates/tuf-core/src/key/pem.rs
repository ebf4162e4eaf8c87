//! PEM blocks (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize as _, Zeroizing};

use super::error::KeyError;

/// Largest PEM file read.
const MAX_PEM_BYTES: usize = 64 * 1024;

/// The label and content of the one key in a PEM file. Text around it and `EC PARAMETERS` before it are skipped.
pub(super) fn decode(pem: &[u8]) -> Result<(&str, Zeroizing<Vec<u8>>), KeyError> {
    if pem.len() > MAX_PEM_BYTES {
        return Err(KeyError::Pem("larger than 64 KiB"));
    }
    let text = std::str::from_utf8(pem).map_err(|_| KeyError::Pem("not text"))?;
    let mut lines = text.lines().map(str::trim_ascii);
    let mut found = None;
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        // Enough for every line, so that no reallocation leaves a copy of the key.
        let mut body = Zeroizing::new(String::with_capacity(pem.len()));
        loop {
            let line = lines.next().ok_or(KeyError::Pem("a block without an END line"))?;
            if let Some(end) = line.strip_prefix("-----END ") {
                if end.strip_suffix("-----") != Some(label) {
                    return Err(KeyError::Pem("BEGIN and END lines differ"));
                }
                break;
            }
            if line.contains(':') {
                return Err(KeyError::Unsupported(
                    "an encrypted key; decrypt it with `openssl pkey -in KEY -out DECRYPTED`".to_owned(),
                ));
            }
            body.push_str(line);
        }
        if label == "EC PARAMETERS" {
            continue;
        }
        if found.is_some() {
            return Err(KeyError::Pem("more than one block"));
        }
        let mut der = Zeroizing::new(vec![0; body.len()]);
        let length = STANDARD.decode_slice(body.as_bytes(), &mut der).map_err(|_| KeyError::Pem("invalid base64"))?;
        der.truncate(length);
        found = Some((label, der));
    }
    found.ok_or(KeyError::Pem("no BEGIN line"))
}

/// A PEM block in lines of 64 characters, with a line feed at the end.
pub(super) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let mut body = STANDARD.encode(der);
    let mut pem = Zeroizing::new(String::with_capacity(body.len() * 2 + label.len() * 2 + 64));
    pem.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    body.zeroize();
    pem
}
