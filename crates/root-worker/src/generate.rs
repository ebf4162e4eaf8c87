//! Generates key pairs and writes them where workers and ceremonies read them.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use durable_fs::{Fs, durable};
use fleet::{Config, KeyRole};
use ring::rand::SystemRandom;
use tuf_core::canonical::to_json;
use tuf_core::key;

use crate::error::CeremonyError;

/// The type of a new key, as command lines name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    // Every client supports it.
    /// Ed25519
    #[default]
    Ed25519,
    // Most hardware supports it.
    /// ECDSA on P-256
    #[value(name = "ecdsa")]
    EcdsaP256,
}

/// The keys to generate.
#[derive(Clone, Debug, Default)]
pub struct KeyRequest {
    /// Roles; if empty, all of [`KeyRole::ALL`]. Bins are signed with the targets key.
    pub roles: Vec<KeyRole>,
    /// The type of the keys.
    pub kind: KeyKind,
    /// Names of the keys of each role. If empty, the names in the configuration (`keys.ROLE`); without these, as many as
    /// the role's threshold: `ROLE`, `ROLE1`, ….
    pub names: Vec<String>,
}

/// A key that was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedKey {
    /// Its role.
    pub role: KeyRole,
    /// Its name.
    pub name: String,
    /// Its key id in the repository's format.
    pub keyid: String,
    /// The private key (PKCS#8 PEM, mode 0400).
    pub private_path: PathBuf,
    /// The public key (a TUF key object).
    pub public_path: PathBuf,
}

/// Generates keys. Existing keys are never overwritten: if one file of the request exists, no key is generated.
///
/// # Errors
/// [`CeremonyError`].
pub fn generate_keys(fs: &dyn Fs, config: &Config, request: &KeyRequest) -> Result<Vec<GeneratedKey>, CeremonyError> {
    let mut wanted = Vec::new();
    for &role in if request.roles.is_empty() { &KeyRole::ALL[..] } else { &request.roles } {
        let (threshold, configured) = (config.role(role).threshold, config.key_names(role));
        let names: Vec<String> = if !request.names.is_empty() {
            request.names.clone()
        } else if !configured.is_empty() {
            configured.to_vec()
        } else {
            (0..threshold.max(1)).map(|n| if n == 0 { role.to_string() } else { format!("{role}{n}") }).collect()
        };
        for name in names {
            if !is_key_name(&name) {
                return Err(CeremonyError::InvalidKeyName { name });
            }
            let private = config.signing_keys_of(role).join(&name);
            let public = config.verification_keys_path.join(role.as_str()).join(format!("{name}.json"));
            for path in [&private, &public] {
                match fs.stat(path) {
                    Ok(_) => return Err(CeremonyError::Exists(path.clone())),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => return Err(CeremonyError::Io { path: path.clone(), source }),
                }
            }
            wanted.push((role, name, private, public));
        }
    }
    let rng = SystemRandom::new();
    let mut made = Vec::with_capacity(wanted.len());
    for (role, name, private_path, public_path) in wanted {
        let pair = match request.kind {
            KeyKind::Ed25519 => key::ed25519(&rng),
            KeyKind::EcdsaP256 => key::ecdsa_p256(&rng),
        }
        .map_err(CeremonyError::GenerateKey)?;
        let write = |path: &PathBuf, bytes: &[u8], mode, dir_mode| {
            let io = |source| CeremonyError::Io { path: path.clone(), source };
            if let Some(dir) = path.parent() {
                durable::create_dir_all(fs, dir, dir_mode).map_err(io)?;
            }
            durable::create(fs, path, bytes, mode).map_err(io)
        };
        // The public key first: a private key without its public key could never enter a root.
        write(&public_path, &to_json(&pair.public.to_canonical()), 0o644, 0o755)?;
        write(&private_path, pair.private_pem.as_bytes(), 0o400, 0o700)?;
        let keyid = pair.public.key_id(config.keyid_format).to_string();
        made.push(GeneratedKey { role, name, keyid, private_path, public_path });
    }
    Ok(made)
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
