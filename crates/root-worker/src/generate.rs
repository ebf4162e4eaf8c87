//! New key pairs in the places where workers and ceremonies look for them.

use std::io;
use std::path::PathBuf;

use durable_fs::{Fs, durable};
use fleet::Config;
use ring::rand::SystemRandom;
use tuf_core::canonical::to_json;
use tuf_core::key;

use crate::CeremonyError;

/// The roles that have keys of their own. Bins are signed with the targets key.
pub const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// Kind of a new key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// Ed25519: what every client reads.
    #[default]
    Ed25519,
    /// ECDSA on P-256: what most hardware signs with.
    EcdsaP256,
}

/// Which keys to make.
#[derive(Clone, Debug, Default)]
pub struct KeyRequest {
    /// Roles; none means all of [`ROLES`].
    pub roles: Vec<String>,
    /// Kind.
    pub kind: KeyKind,
    /// Names of the keys of each role; none means as the configuration names them (`keys.ROLE`), else as many as the
    /// role's threshold asks for: `ROLE`, `ROLE1`, ….
    pub names: Vec<String>,
}

/// A key that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedKey {
    /// Its role.
    pub role: String,
    /// Its name.
    pub name: String,
    /// Its id in the repository's format.
    pub keyid: String,
    /// The private key (PKCS#8 PEM, mode 0400).
    pub private_path: PathBuf,
    /// The public key (a TUF key object).
    pub public_path: PathBuf,
}

/// Makes keys. Existing ones are never overwritten: if any file of the request exists, nothing is made.
///
/// # Errors
/// [`CeremonyError`].
pub fn generate_keys(fs: &dyn Fs, config: &Config, request: &KeyRequest) -> Result<Vec<GeneratedKey>, CeremonyError> {
    let mut wanted = Vec::new();
    let all = ROLES.map(str::to_owned);
    for role in if request.roles.is_empty() { &all[..] } else { &request.roles } {
        let Some((threshold, configured)) = role_settings(config, role) else {
            return Err(CeremonyError::Request(format!(
                "there is no role `{role}` with keys of its own: use {}",
                ROLES.join(", ")
            )));
        };
        let names: Vec<String> = if !request.names.is_empty() {
            request.names.clone()
        } else if !configured.is_empty() {
            configured.to_vec()
        } else {
            (0..threshold.max(1)).map(|n| if n == 0 { role.clone() } else { format!("{role}{n}") }).collect()
        };
        for name in names {
            if !is_key_name(&name) {
                return Err(CeremonyError::Request(format!(
                    "`{name}` cannot name a key: use letters, digits, `-` and `_`"
                )));
            }
            let private = config.signing_keys_of(role).join(&name);
            let public = config.verification_keys_path.join(role).join(format!("{name}.json"));
            for path in [&private, &public] {
                match fs.stat(path) {
                    Ok(_) => return Err(CeremonyError::Exists(path.clone())),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => return Err(CeremonyError::Io { path: path.clone(), source }),
                }
            }
            wanted.push((role.clone(), name, private, public));
        }
    }
    let rng = SystemRandom::new();
    let mut made = Vec::with_capacity(wanted.len());
    for (role, name, private_path, public_path) in wanted {
        let pair = match request.kind {
            KeyKind::Ed25519 => key::ed25519(&rng),
            KeyKind::EcdsaP256 => key::ecdsa_p256(&rng),
        }
        .map_err(|error| CeremonyError::Key(error.to_string()))?;
        let write = |path: &PathBuf, bytes: &[u8], mode, dir_mode| {
            let io = |source| CeremonyError::Io { path: path.clone(), source };
            if let Some(dir) = path.parent() {
                durable::create_dir_all(fs, dir, dir_mode).map_err(io)?;
            }
            durable::create(fs, path, bytes, mode).map_err(io)
        };
        // The public half first: a private key whose public half is lost could never be put into a root.
        write(&public_path, &to_json(&pair.public.to_canonical()), 0o644, 0o755)?;
        write(&private_path, pair.private_pem.as_bytes(), 0o400, 0o700)?;
        let keyid = pair.public.key_id(config.keyid_format).to_string();
        made.push(GeneratedKey { role, name, keyid, private_path, public_path });
    }
    Ok(made)
}

/// Threshold and configured key names of a role.
pub(crate) fn role_settings<'a>(config: &'a Config, role: &str) -> Option<(u64, &'a [String])> {
    Some(match role {
        "root" => (config.roles.root.threshold.into(), &config.keys.root),
        "targets" => (config.roles.targets.threshold.into(), &config.keys.targets),
        "snapshot" => (config.roles.snapshot.threshold.into(), &config.keys.snapshot),
        "timestamp" => (config.roles.timestamp.threshold.into(), &config.keys.timestamp),
        _ => return None,
    })
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
