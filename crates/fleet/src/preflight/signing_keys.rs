//! Checks of the role's keys against the newest root.

use std::sync::Arc;

use durable_fs::{Fs, durable};
use tuf_core::key::{KeyIdFormat, Signer};
use tuf_core::names::RoleName;
use tuf_core::root_chain::{MAX_ROOT_BYTES, RootChain};
use tuf_core::schema::Root;
use tuf_core::time::UtcTime;
use tuf_repository::roles::Trust;

use super::finding::{FindingSeverity, Findings};
use crate::key_files::{self, KeysError};
use crate::roles::KeyRole;
use crate::signing::{SigningError, SigningErrorKind};
use crate::{Config, repository};

pub(super) fn check(fs: &Arc<dyn Fs>, config: &Config, role: KeyRole, now: UtcTime, findings: &mut Findings) {
    let dir = config.signing_keys_of(role);
    let names = config.key_names(role);
    let signers = match key_files::signers(fs.as_ref(), &dir, names) {
        Ok(signers) => signers,
        Err(error) => {
            let message = error.to_string();
            match &error {
                KeysError::Exposed { path, .. } => {
                    let advice = "only the worker itself may read it";
                    findings.add(FindingSeverity::Refuse, "keys", path, message, advice);
                }
                // Reported as a place that is missing.
                KeysError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound && names.is_empty() => {}
                _ => findings.warn("keys", &dir, message, "the role cannot sign without its key"),
            }
            return;
        }
    };
    let trusted = config.trusted_root.as_path();
    let trust = match repository::trust(fs, config, role).and_then(|trust| newest(trust, now)) {
        Ok(trust) => trust,
        Err(error) if error.kind() == SigningErrorKind::Waiting => {
            findings.add(FindingSeverity::Info, "root", trusted, error.to_string(), "the worker waits for it");
            return;
        }
        Err(error) => {
            findings.warn("root", trusted, error.to_string(), "the role does not sign until this is repaired");
            return;
        }
    };
    let Ok(name) = RoleName::new(role.as_str()) else { return };
    let earlier = earlier_roots(fs, config, trust.version());
    for signer in signers.iter().filter(|signer| !lists(trust.root(), &name, signer.as_ref())) {
        let id = signer.public_key().key_id(KeyIdFormat::Spec);
        if let Some(last) = earlier.iter().find(|root| lists(root, &name, signer.as_ref())) {
            let message = format!(
                "key {id} is retired: root version {} listed it for {role}, and root version {} does not",
                last.version,
                trust.version()
            );
            let advice = "remove it from this machine: it signs nothing here, and a thief could deceive clients that know only \
                          the old root";
            findings.warn("keys", &dir, message, advice);
            continue;
        }
        let message = format!("key {id} is staged: root version {} does not list it for {role}", trust.version());
        findings.add(FindingSeverity::Info, "keys", &dir, message, "it signs once a new root lists it");
    }
    if let Err(error) = trust.signers_of(&name) {
        findings.warn("keys", &dir, error.to_string(), "mount the keys that the root lists");
    }
    let left = trust.root().expires.seconds_since(now);
    if left < config.roles.root.renew_before_seconds {
        let message = format!("root version {} expires at {}", trust.version(), trust.root().expires);
        findings.warn(
            "root",
            trusted,
            message,
            "publish a new root version first: after the expiry clients trust no metadata",
        );
    }
}

/// Whether `root` lists the key of `signer` for `role`.
fn lists(root: &Root, role: &RoleName, signer: &dyn Signer) -> bool {
    root.roles.get(role).is_some_and(|keys| {
        keys.keyids.iter().any(|id| root.keys.get(id).is_some_and(|key| key.is_same_key(signer.public_key())))
    })
}

/// The roots from the pinned one to that before version `newest`, newest first. Each was verified on the way to it.
fn earlier_roots(fs: &Arc<dyn Fs>, config: &Config, newest: u64) -> Vec<Root> {
    let Ok(pinned) = durable::read_bounded(fs.as_ref(), &config.trusted_root, MAX_ROOT_BYTES) else {
        return Vec::new();
    };
    let Ok(mut chain) = RootChain::from_pinned(&pinned) else { return Vec::new() };
    let mut roots = Vec::new();
    while chain.version() < newest {
        roots.push(chain.root().clone());
        let next = config.metadata_path().join(format!("{}.root.json", chain.version() + 1));
        let advanced = durable::read_bounded(fs.as_ref(), &next, MAX_ROOT_BYTES).map(|bytes| chain.advance(&bytes));
        if !matches!(advanced, Ok(Ok(_))) {
            break;
        }
    }
    roots.reverse();
    roots
}

fn newest(mut trust: Trust, now: UtcTime) -> Result<Trust, SigningError> {
    trust.refresh(0, now)?;
    Ok(trust)
}
