//! The part of DER that keys need.

use super::error::KeyError;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// `[0]` and `[1]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xa0;
pub(super) const CONTEXT_1: u8 = 0xa1;

const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// The kind of key that an AlgorithmIdentifier announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Ed25519,
    P256,
    P384,
    Rsa,
}

/// The remaining input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The content of the next element, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Result<&'a [u8], KeyError> {
        const SHORT: KeyError = KeyError::Malformed("the DER structure is not that of a key");
        let (&[found, first], rest) = self.0.split_first_chunk::<2>().ok_or(SHORT)?;
        if found != tag {
            return Err(SHORT);
        }
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or(SHORT)?;
                (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
            }
            _ => return Err(SHORT),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(content)
    }

    /// The same, if the next element has this tag.
    pub(super) fn take_optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, KeyError> {
        if self.0.first() == Some(&tag) { self.take(tag).map(Some) } else { Ok(None) }
    }

    pub(super) fn sequence(&mut self) -> Result<Der<'a>, KeyError> {
        self.take(SEQUENCE).map(Der)
    }

    /// A bit string of whole bytes.
    pub(super) fn bit_string(&mut self) -> Result<&'a [u8], KeyError> {
        match self.take(BIT_STRING)? {
            [0, bytes @ ..] => Ok(bytes),
            _ => Err(KeyError::Malformed("a bit string is not of whole bytes")),
        }
    }

    /// Reads an AlgorithmIdentifier.
    pub(super) fn algorithm(&mut self) -> Result<Algorithm, KeyError> {
        let mut inside = self.sequence()?;
        match inside.take(OID)? {
            ED25519 => Ok(Algorithm::Ed25519),
            RSA_ENCRYPTION => Ok(Algorithm::Rsa),
            EC_PUBLIC_KEY => match inside.take_optional(OID)? {
                Some(curve) => Self::curve(curve),
                None => Err(KeyError::Unsupported("an EC key without a named curve".to_owned())),
            },
            _ => {
                Err(KeyError::Unsupported("neither Ed25519, nor ECDSA P-256, nor RSA (plain rsaEncryption)".to_owned()))
            }
        }
    }

    fn curve(oid: &[u8]) -> Result<Algorithm, KeyError> {
        match oid {
            PRIME256V1 => Ok(Algorithm::P256),
            SECP384R1 => Ok(Algorithm::P384),
            _ => Err(KeyError::Unsupported("an EC key on a curve other than P-256".to_owned())),
        }
    }

    /// The curve in the `[0]` parameters of an EC private key.
    pub(super) fn named_curve(parameters: &'a [u8]) -> Result<Algorithm, KeyError> {
        Self::curve(Der(parameters).take(OID)?)
    }
}

/// Reads a SubjectPublicKeyInfo: the kind of key and the key.
pub(super) fn read_spki(spki: &[u8]) -> Result<(Algorithm, &[u8]), KeyError> {
    let mut inside = Der::new(spki).sequence()?;
    let algorithm = inside.algorithm()?;
    Ok((algorithm, inside.bit_string()?))
}

/// Writes a SubjectPublicKeyInfo.
pub(super) fn write_spki(algorithm: Algorithm, key: &[u8]) -> Vec<u8> {
    let identifier = match algorithm {
        Algorithm::Ed25519 => element(OID, ED25519),
        Algorithm::P256 => [element(OID, EC_PUBLIC_KEY), element(OID, PRIME256V1)].concat(),
        Algorithm::P384 => [element(OID, EC_PUBLIC_KEY), element(OID, SECP384R1)].concat(),
        // NULL parameters, as RFC 3279 wants them.
        Algorithm::Rsa => [element(OID, RSA_ENCRYPTION), vec![0x05, 0x00]].concat(),
    };
    let bits = [&[0], key].concat();
    element(SEQUENCE, &[element(SEQUENCE, &identifier), element(BIT_STRING, &bits)].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(length as u8),
        0x80..=0xff => out.extend_from_slice(&[0x81, length as u8]),
        _ => out.extend_from_slice(&[0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(content);
    out
}

/// Bits of the modulus of a PKCS#1 RSA public key.
pub(super) fn rsa_bits(pkcs1: &[u8]) -> Result<usize, KeyError> {
    let modulus = Der::new(pkcs1).sequence()?.take(INTEGER)?;
    let from = modulus.iter().position(|&byte| byte != 0).unwrap_or(modulus.len());
    let significant = &modulus[from..];
    Ok(significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize))
}
