//! Public keys as metadata holds them (specification §4.2 KEY).

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};

use super::der::{self, Algorithm};
use super::error::KeyError;
use super::pem;
use crate::canonical::{Extra, Json, ObjectWriter, ReadError, Reader, Wire, canonicalize, write_str};
use crate::names::KeyId;
use crate::sha256::Sha256;

/// The way a key id is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyIdFormat {
    /// sha256 of the canonical key, as the specification says (§4.2).
    #[default]
    Spec,
    /// As if the key had `"keyid_hash_algorithms":["sha256","sha512"]`, as Rugged wrote and php-tuf requires.
    Legacy,
}

/// A signature that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The signature is not by this key over these bytes.
    #[error("the signature does not match")]
    Mismatch,
    /// A key type and scheme this project does not verify.
    #[error("unsupported key type `{keytype}` with scheme `{scheme}`")]
    Unsupported {
        /// The key type.
        keytype: String,
        /// The scheme.
        scheme: String,
    },
    /// The public key does not have the form of its type.
    #[error("malformed public key: {0}")]
    Key(&'static str),
}

/// A public key, including members that this project does not know.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    keytype: String,
    scheme: String,
    public: String,
    keyval_extra: Extra,
    extra: Extra,
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicKey")
            .field("keytype", &self.keytype)
            .field("scheme", &self.scheme)
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// The key itself, decoded from hexadecimal or PEM.
#[derive(Debug, PartialEq, Eq)]
struct Material {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// Reads a key as metadata has it: `{"keytype":…,"keyval":{"public":…},"scheme":…}` in any layout.
    ///
    /// Any key type is read; [`PublicKey::verify`] lists the ones that can be used.
    ///
    /// # Errors
    /// [`KeyError::Json`] or [`KeyError::Shape`].
    pub fn from_json(json: &[u8]) -> Result<Self, KeyError> {
        let canonical = canonicalize(json)?;
        let text = std::str::from_utf8(&canonical).map_err(|_| KeyError::Malformed("not text"))?;
        Ok(Self::read(&mut Reader::new(text))?)
    }

    /// Reads a public key from PEM (`PUBLIC KEY`, as `openssl pkey -pubout` writes it), in the form python-tuf gives
    /// it: hexadecimal for Ed25519, PEM with a line feed at the end for ECDSA and RSA.
    ///
    /// # Errors
    /// [`KeyError`] for anything but Ed25519, ECDSA P-256 and RSA of at least 2048 bits.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let (label, der) = pem::decode(pem)?;
        if label != "PUBLIC KEY" {
            return Err(KeyError::Unsupported(format!(
                "a PEM block `{}` where `PUBLIC KEY` is needed; write it with `openssl pkey -pubout`",
                label.chars().take(40).collect::<String>()
            )));
        }
        let (algorithm, key) = der::read_spki(&der)?;
        Self::from_parts(algorithm, key)
    }

    /// The key as python-tuf would write it.
    pub(super) fn from_parts(algorithm: Algorithm, key: &[u8]) -> Result<Self, KeyError> {
        let pem = || pem::encode("PUBLIC KEY", &der::write_spki(algorithm, key)).to_string();
        let (keytype, scheme, public) = match algorithm {
            Algorithm::Ed25519 if key.len() == 32 => ("ed25519", "ed25519", hex::encode(key)),
            Algorithm::Ed25519 => return Err(KeyError::Malformed("an Ed25519 key has 32 bytes")),
            Algorithm::P256 if key.len() == 65 && key[0] == 4 => ("ecdsa", "ecdsa-sha2-nistp256", pem()),
            Algorithm::P256 => return Err(KeyError::Unsupported("a compressed EC point".to_owned())),
            Algorithm::P384 => {
                return Err(KeyError::Unsupported("an EC key on a curve other than P-256".to_owned()));
            }
            Algorithm::Rsa => {
                if der::rsa_bits(key)? < 2048 {
                    return Err(KeyError::Unsupported("an RSA key of fewer than 2048 bits".to_owned()));
                }
                ("rsa", "rsassa-pss-sha256", pem())
            }
        };
        Ok(Self {
            keytype: keytype.to_owned(),
            scheme: scheme.to_owned(),
            public,
            keyval_extra: Extra::new(),
            extra: Extra::new(),
        })
    }

    /// The canonical bytes of the key with all its members.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// The key id in this format. Key ids read from metadata are kept even if they differ.
    #[must_use]
    pub fn key_id(&self, format: KeyIdFormat) -> KeyId {
        const MEMBER: &str = "keyid_hash_algorithms";
        let canonical = match format {
            KeyIdFormat::Legacy if self.extra.get(MEMBER).is_none() => {
                self.clone().with_extra(MEMBER, Json::trusted(r#"["sha256","sha512"]"#)).to_canonical()
            }
            KeyIdFormat::Spec | KeyIdFormat::Legacy => self.to_canonical(),
        };
        KeyId::from_digest(Sha256::of(&canonical))
    }

    /// Checks one signature over `message`.
    ///
    /// These can be verified: `ed25519`; `ecdsa` and `ecdsa-sha2-nistp256` keys with scheme `ecdsa-sha2-nistp256` and
    /// DER signatures (P-384 alike); `rsa` of 2048 to 8192 bits with `rsassa-pss-sha256` and a salt as long as the
    /// digest.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let material = self.material()?;
        let algorithm: &dyn VerificationAlgorithm = match material.algorithm {
            Algorithm::Ed25519 => &ED25519,
            Algorithm::P256 => &ECDSA_P256_SHA256_ASN1,
            Algorithm::P384 => &ECDSA_P384_SHA384_ASN1,
            Algorithm::Rsa => &RSA_PSS_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, &material.bytes)
            .verify(message, signature)
            .map_err(|_| SignatureError::Mismatch)
    }

    fn material(&self) -> Result<Material, SignatureError> {
        let algorithm = match (self.keytype.as_str(), self.scheme.as_str()) {
            ("ed25519", "ed25519") => Algorithm::Ed25519,
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => Algorithm::P256,
            ("ecdsa" | "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384") => Algorithm::P384,
            ("rsa", "rsassa-pss-sha256") => Algorithm::Rsa,
            (keytype, scheme) => {
                return Err(SignatureError::Unsupported { keytype: keytype.to_owned(), scheme: scheme.to_owned() });
            }
        };
        let bytes = match algorithm {
            Algorithm::Ed25519 => hex::decode(&self.public)
                .ok()
                .filter(|bytes| bytes.len() == 32)
                .ok_or(SignatureError::Key("an Ed25519 key is 64 hexadecimal digits"))?,
            Algorithm::Rsa => self.spki(algorithm)?,
            // Old repositories have the point or the whole structure in hexadecimal.
            Algorithm::P256 | Algorithm::P384 => match hex::decode(self.public.trim_ascii()) {
                Ok(bytes) if bytes.first() == Some(&4) => bytes,
                Ok(der) => spki_key(&der, algorithm)?,
                Err(_) => self.spki(algorithm)?,
            },
        };
        Ok(Material { algorithm, bytes })
    }

    fn spki(&self, algorithm: Algorithm) -> Result<Vec<u8>, SignatureError> {
        let (_, der) = pem::decode(self.public.as_bytes()).map_err(|_| SignatureError::Key("not PEM"))?;
        spki_key(&der, algorithm)
    }

    /// Whether both are the same key, even if they are written differently.
    #[must_use]
    pub fn is_same_key(&self, other: &Self) -> bool {
        match (self.material(), other.material()) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            _ => self.public == other.public,
        }
    }

    /// Checks that signatures by this key can be verified.
    ///
    /// # Errors
    /// [`SignatureError`] for an unknown type or scheme, or a public key that is not one of its type.
    pub fn usable(&self) -> Result<(), SignatureError> {
        self.material().map(|_| ())
    }

    /// The number of bits of an RSA key; `None` for other keys and for malformed ones.
    #[must_use]
    pub fn rsa_bits(&self) -> Option<usize> {
        match self.material() {
            Ok(Material { algorithm: Algorithm::Rsa, bytes }) => der::rsa_bits(&bytes).ok(),
            _ => None,
        }
    }

    /// The key type, as `ed25519`.
    #[must_use]
    pub fn keytype(&self) -> &str {
        &self.keytype
    }

    /// The signature scheme, as `ed25519`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The key itself: hexadecimal or PEM.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Members that this project does not know, except those of `keyval`.
    #[must_use]
    pub fn extra(&self) -> &Extra {
        &self.extra
    }

    /// The same key with a further member, which becomes part of its key id.
    #[must_use]
    pub fn with_extra(mut self, name: &str, value: Json) -> Self {
        self.extra.insert(name, value);
        self
    }
}

fn spki_key(der: &[u8], expected: Algorithm) -> Result<Vec<u8>, SignatureError> {
    match der::read_spki(der) {
        Ok((algorithm, key)) if algorithm == expected => Ok(key.to_vec()),
        Ok(_) => Err(SignatureError::Key("another kind of key than its type says")),
        Err(_) => Err(SignatureError::Key("not a SubjectPublicKeyInfo")),
    }
}

impl Wire for PublicKey {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let (mut keytype, mut scheme, mut public) = (None, None, None);
        let (mut keyval_extra, mut extra) = (Extra::new(), Extra::new());
        reader.object(|key, reader| {
            match key {
                "keytype" => keytype = Some(reader.string()?.into_owned()),
                "scheme" => scheme = Some(reader.string()?.into_owned()),
                "keyval" => reader.object(|key, reader| {
                    match key {
                        "public" => public = Some(reader.string()?.into_owned()),
                        _ => reader.keep(key, &mut keyval_extra)?,
                    }
                    Ok(())
                })?,
                _ => reader.keep(key, &mut extra)?,
            }
            Ok(())
        })?;
        Ok(Self {
            keytype: keytype.ok_or(ReadError::missing("keytype"))?,
            scheme: scheme.ok_or(ReadError::missing("scheme"))?,
            public: public.ok_or_else(|| ReadError::missing("public").at("keyval"))?,
            keyval_extra,
            extra,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out, &self.extra);
        write_str(object.field("keytype"), &self.keytype);
        let mut keyval = ObjectWriter::new(object.field("keyval"), &self.keyval_extra);
        write_str(keyval.field("public"), &self.public);
        keyval.finish();
        write_str(object.field("scheme"), &self.scheme);
        object.finish();
    }
}
