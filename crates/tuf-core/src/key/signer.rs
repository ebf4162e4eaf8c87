//! Signers: the trait, and private keys from PEM files.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PSS_SHA256, RsaKeyPair,
};
use zeroize::Zeroizing;

use super::der::{self, Algorithm, Der};
use super::error::KeyError;
use super::pem;
use super::public::PublicKey;

/// Signing failed. The error never holds key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key cannot make this signature, or the system gives no randomness.
    #[error("signing failed: no randomness, or an unusable key")]
    Unusable,
    /// The device or service that holds the key failed.
    #[error("signing failed: {0}")]
    Device(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A holder of one private key, in memory, a device or a service, that signs with it.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The public half.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message` in the scheme of the public key.
    ///
    /// # Errors
    /// [`SignError`] if the key cannot be used.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// The length of each signature in bytes, if it is constant: a file can then be written before it is signed.
    fn signature_length(&self) -> Option<usize> {
        None
    }
}

/// A private key read from a file and held in memory. `Debug` shows the public half alone.
pub struct FileSigner {
    pair: Pair,
    public: PublicKey,
    random: SystemRandom,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl fmt::Debug for FileSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSigner").field("public", &self.public).finish_non_exhaustive()
    }
}

const DECRYPT: &str = "an encrypted key; decrypt it with `openssl pkey -in KEY -out DECRYPTED`";

impl FileSigner {
    /// Reads an unencrypted private key from PEM.
    ///
    /// `PRIVATE KEY` (PKCS#8 v1 and v2) with Ed25519, ECDSA P-256 or RSA (2048 to 4096 bits); `EC PRIVATE KEY` (SEC1)
    /// on P-256; `RSA PRIVATE KEY` (PKCS#1). RSA keys sign with RSASSA-PSS and SHA-256.
    ///
    /// The caller wipes its own buffer; copies made here are wiped.
    ///
    /// # Errors
    /// [`KeyError`], with the command to run if a tool can convert the key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let (label, der) = pem::decode(pem)?;
        let random = SystemRandom::new();
        let pair = match label {
            "PRIVATE KEY" => Self::from_pkcs8(&der, &random)?,
            "EC PRIVATE KEY" => ec_pair(Der::new(&der), None, &random)?,
            "RSA PRIVATE KEY" => Pair::Rsa(Box::new(RsaKeyPair::from_der(&der).map_err(rsa_rejected)?)),
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Unsupported(DECRYPT.to_owned())),
            "OPENSSH PRIVATE KEY" => {
                return Err(KeyError::Unsupported(
                    "an OpenSSH key; make one with `openssl genpkey -algorithm ed25519`".to_owned(),
                ));
            }
            "PUBLIC KEY" => {
                return Err(KeyError::Unsupported("a public key where a private one is needed".to_owned()));
            }
            _ => {
                return Err(KeyError::Unsupported("a PEM block that is not a private key".to_owned()));
            }
        };
        let public = match &pair {
            Pair::Ed25519(pair) => PublicKey::from_parts(Algorithm::Ed25519, pair.public_key().as_ref()),
            Pair::P256(pair) => PublicKey::from_parts(Algorithm::P256, pair.public_key().as_ref()),
            Pair::Rsa(pair) => PublicKey::from_parts(Algorithm::Rsa, pair.public_key().as_ref()),
        }?;
        Ok(Self { pair, public, random })
    }

    fn from_pkcs8(pkcs8: &[u8], random: &SystemRandom) -> Result<Pair, KeyError> {
        let mut inside = Der::new(pkcs8).sequence()?;
        inside.take(der::INTEGER)?;
        match inside.algorithm()? {
            // OpenSSL writes version 1, without the public key that version 2 is checked against.
            Algorithm::Ed25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
                .map(Pair::Ed25519)
                .map_err(|_| KeyError::Malformed("the Ed25519 key is inconsistent")),
            Algorithm::P256 => ec_pair(Der::new(inside.take(der::OCTET_STRING)?), Some(Algorithm::P256), random),
            Algorithm::P384 => Err(KeyError::Unsupported("an EC key on a curve other than P-256".to_owned())),
            Algorithm::Rsa => {
                let pkcs1 = inside.take(der::OCTET_STRING)?;
                Ok(Pair::Rsa(Box::new(RsaKeyPair::from_der(pkcs1).map_err(rsa_rejected)?)))
            }
        }
    }
}

fn rsa_rejected(reason: ring::error::KeyRejected) -> KeyError {
    KeyError::Unsupported(format!(
        "this RSA key ({reason}); 2048 to 4096 bits are supported, with a public exponent of 65537 or more"
    ))
}

/// Reads an ECPrivateKey (RFC 5915). `curve` is known from around it in PKCS#8, from inside it in SEC1.
fn ec_pair(mut der: Der<'_>, curve: Option<Algorithm>, random: &SystemRandom) -> Result<Pair, KeyError> {
    let mut inside = der.sequence()?;
    inside.take(der::INTEGER)?;
    let scalar = inside.take(der::OCTET_STRING)?;
    let curve = match inside.take_optional(der::CONTEXT_0)? {
        Some(parameters) => Some(Der::named_curve(parameters)?),
        None => curve,
    };
    if curve != Some(Algorithm::P256) {
        return Err(KeyError::Unsupported("an EC key on a curve other than P-256".to_owned()));
    }
    let Some(point) = inside.take_optional(der::CONTEXT_1)? else {
        return Err(KeyError::Unsupported(
            "an EC key without its public point; make one with \
             `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
                .to_owned(),
        ));
    };
    let point = Der::new(point).bit_string()?;
    if point.len() != 65 {
        return Err(KeyError::Unsupported(
            "an EC key with a compressed point; convert it with \
             `openssl ec -in KEY -conv_form uncompressed -out CONVERTED`"
                .to_owned(),
        ));
    }
    // Some tools omit leading zeros of the number.
    const SCALAR: usize = 32;
    if scalar.len() > SCALAR {
        return Err(KeyError::Malformed("the EC private key is too long"));
    }
    let mut padded = Zeroizing::new([0u8; SCALAR]);
    padded[SCALAR - scalar.len()..].copy_from_slice(scalar);
    EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_ASN1_SIGNING, &padded[..], point, random)
        .map(Pair::P256)
        .map_err(|_| KeyError::Malformed("the EC key is inconsistent"))
}

impl Signer for FileSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = |_: ring::error::Unspecified| SignError::Unusable;
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::P256(pair) => pair.sign(&self.random, message).map(|s| s.as_ref().to_vec()).map_err(failed),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PSS_SHA256, &self.random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }

    fn signature_length(&self) -> Option<usize> {
        match &self.pair {
            Pair::Ed25519(_) => Some(64),
            // Two numbers in DER, without their leading zeros.
            Pair::P256(_) => None,
            Pair::Rsa(pair) => Some(pair.public().modulus_len()),
        }
    }
}
