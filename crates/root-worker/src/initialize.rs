//! The first root of a repository.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use durable_fs::{Fs, durable};
use fleet::signing::check_skew;
use fleet::{Config, KeyRole, key_files, repository};
use tuf_core::canonical::Extra;
use tuf_core::envelope::{Envelope, Signature};
use tuf_core::names::RoleName;
use tuf_core::root_chain::RootChain;
use tuf_core::schema::{Metadata, RoleKeys, Root, SpecVersion};
use tuf_core::store::{Created, FileName};
use tuf_core::time::UtcTime;

use crate::error::CeremonyError;

/// A role in the new root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitializedRole {
    /// The role.
    pub role: String,
    /// Its key ids.
    pub keyids: Vec<String>,
    /// Its threshold.
    pub threshold: u64,
}

/// A repository that has its first root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initialized {
    /// The root's version: 1.
    pub root_version: u64,
    /// The root in the repository.
    pub root_path: PathBuf,
    /// The pinned copy (`trusted_root`) that workers start from.
    pub pinned_path: PathBuf,
    /// The expiry of the root.
    pub expires: UtcTime,
    /// Its roles.
    pub roles: Vec<InitializedRole>,
}

/// Writes `1.root.json` from the verification keys, signs it with the root keys, and pins it. Each role then signs its
/// version 1. After a crash, a second run completes the first one. A repository that has a root is not changed.
///
/// # Errors
/// [`CeremonyError`].
pub fn initialize(fs: &Arc<dyn Fs>, config: &Config, now: UtcTime) -> Result<Initialized, CeremonyError> {
    let mut public = BTreeMap::new();
    let mut roles = BTreeMap::new();
    for role in KeyRole::ALL {
        let (threshold, names) = (config.role(role).threshold, config.key_names(role));
        let found = key_files::public_keys(fs.as_ref(), &config.verification_keys_path.join(role.as_str()), names)?;
        let mut keyids = Vec::with_capacity(found.len());
        for key in found {
            let id = key.key_id(config.keyid_format);
            if !keyids.contains(&id) {
                keyids.push(id.clone());
            }
            public.insert(id, key);
        }
        if keyids.len() < threshold as usize {
            return Err(CeremonyError::TooFewKeys { role, threshold, found: keyids.len() });
        }
        let name = RoleName::new(role.as_str())?;
        roles.insert(name, RoleKeys::new(keyids, threshold));
    }
    let signers =
        key_files::signers(fs.as_ref(), &config.signing_keys_of(KeyRole::Root), config.key_names(KeyRole::Root))?;
    let root = Root {
        version: 1,
        expires: repository::lifetime(&config.roles.root).expiry(now),
        consistent_snapshot: config.consistent_snapshot,
        keys: public,
        roles,
        spec_version: SpecVersion::default(),
        extra: Extra::new(),
    };
    let signed = root.to_canonical();
    let mut signatures = Vec::new();
    for id in &root.roles[&RoleName::root()].keyids {
        let Some(signer) = signers.iter().find(|signer| root.keys[id].is_same_key(signer.public_key())) else {
            continue;
        };
        let sig = signer.sign(&signed).map_err(CeremonyError::SignRoot)?;
        signatures.push(Signature { keyid: id.clone(), sig });
    }
    let bytes = Envelope::to_bytes(&signed, &signatures);
    // The check that every client makes, before a client can see the root.
    RootChain::from_pinned(&bytes).map_err(CeremonyError::InvalidNewRoot)?;

    for dir in [config.metadata_path(), config.targets_path(), config.log_path()] {
        durable::create_dir_all(fs.as_ref(), &dir, 0o775)
            .map_err(|source| CeremonyError::Io { path: dir.clone(), source })?;
    }
    // Before a root is pinned: no worker would sign with this clock, and a root of a wrong time expires at a wrong time.
    check_skew(fs.as_ref(), &config.metadata_path(), config.max_clock_skew, now).map_err(CeremonyError::Clock)?;
    let root_path = config.metadata_path().join("1.root.json");
    let pinned = durable::read_bounded(fs.as_ref(), &config.trusted_root, tuf_core::root_chain::MAX_ROOT_BYTES);
    let bytes = match pinned {
        // After a crash between pinning and publishing, the pinned copy is the root.
        Ok(pinned) => pinned,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if fs.stat(&root_path).is_ok() {
                return Err(CeremonyError::Exists(root_path));
            }
            let io = |source| CeremonyError::Io { path: config.trusted_root.clone(), source };
            if let Some(dir) = config.trusted_root.parent() {
                durable::create_dir_all(fs.as_ref(), dir, 0o755).map_err(io)?;
            }
            durable::create(fs.as_ref(), &config.trusted_root, &bytes, 0o644).map_err(io)?;
            bytes
        }
        Err(source) => return Err(CeremonyError::Io { path: config.trusted_root.clone(), source }),
    };
    let name = FileName::new("1.root.json")?;
    match repository::stores(fs, config).metadata.create(&name, &bytes)? {
        Created::New => {}
        Created::Same | Created::Conflict => return Err(CeremonyError::Exists(root_path)),
    }
    let chain = RootChain::from_pinned(&bytes)
        .map_err(|source| CeremonyError::InvalidPinnedRoot { path: config.trusted_root.clone(), source })?;
    let root = chain.root();
    Ok(Initialized {
        root_version: root.version,
        root_path,
        pinned_path: config.trusted_root.clone(),
        expires: root.expires,
        roles: root
            .roles
            .iter()
            .map(|(role, keys)| InitializedRole {
                role: role.to_string(),
                keyids: keys.keyids.iter().map(ToString::to_string).collect(),
                threshold: keys.threshold.into(),
            })
            .collect(),
    })
}
