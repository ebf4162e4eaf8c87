//! New keys.

use std::fmt;

use ring::rand::SecureRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use zeroize::Zeroizing;

use super::error::KeyError;
use super::pem;
use super::public::PublicKey;
use super::signer::{FileSigner, Signer as _};

/// A new key pair. `Debug` shows the public half alone.
pub struct KeyPair {
    /// The private key as unencrypted PKCS#8 PEM, which OpenSSL, python-tuf and [`FileSigner`] read. Wiped on drop.
    pub private_pem: Zeroizing<String>,
    /// The public key.
    pub public: PublicKey,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

fn no_randomness(_: ring::error::Unspecified) -> KeyError {
    KeyError::NoRandomness
}

/// A new Ed25519 key.
///
/// # Errors
/// [`KeyError`] if `rng` has no randomness.
pub fn ed25519(rng: &dyn SecureRandom) -> Result<KeyPair, KeyError> {
    // PKCS#8 version 1, as OpenSSL writes it; version 2, which ring writes, is refused by older OpenSSL.
    const BEFORE_SEED: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    let mut pkcs8 = Zeroizing::new([0u8; 48]);
    pkcs8[..16].copy_from_slice(&BEFORE_SEED);
    rng.fill(&mut pkcs8[16..]).map_err(no_randomness)?;
    finish(&pkcs8[..])
}

/// A new ECDSA P-256 key.
///
/// # Errors
/// [`KeyError`] if `rng` has no randomness.
pub fn ecdsa_p256(rng: &dyn SecureRandom) -> Result<KeyPair, KeyError> {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, rng).map_err(no_randomness)?;
    finish(document.as_ref())
}

fn finish(pkcs8: &[u8]) -> Result<KeyPair, KeyError> {
    let private_pem = pem::encode("PRIVATE KEY", pkcs8);
    let public = FileSigner::from_pem(private_pem.as_bytes())?.public_key().clone();
    Ok(KeyPair { private_pem, public })
}
