//! Metadata that clients would find too long.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::Arc;

use testkit::scratch::{Options, Scratch};
use testkit::sim_fs::SimFs;
use tuf_core::envelope::{Envelope, Signature};
use tuf_core::key::{FileSigner, KeyIdFormat, Signer, ed25519};
use tuf_core::names::{RoleName, TopRole};
use tuf_core::schema::{Metadata, RoleKeys, Root};
use tuf_core::time::UtcTime;
use tuf_repository::floor::FloorFile;
use tuf_repository::roles::{RoleErrorKind, TimestampPolicy, TimestampRole, Trust};

/// A scratch repository whose root gives the timestamp role `count` keys, and these keys.
fn with_timestamp_keys(count: usize) -> (SimFs, Scratch, Vec<Arc<dyn Signer>>) {
    let fs = SimFs::new();
    fs.set_time(1_800_000_000);
    let mut scratch = Scratch::new(Arc::new(fs.clone()), "/repo", Options::default()).unwrap();
    let mut root = Root::from_envelope(&Envelope::parse(scratch.root.as_slice()).unwrap()).unwrap();
    let rng = ring::rand::SystemRandom::new();
    let (mut ids, mut signers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let pair = ed25519(&rng).unwrap();
        let id = pair.public.key_id(KeyIdFormat::Spec);
        signers.push(Arc::new(FileSigner::from_pem(pair.private_pem.as_bytes()).unwrap()) as Arc<dyn Signer>);
        root.keys.insert(id.clone(), pair.public);
        ids.push(id);
    }
    root.roles.insert(RoleName::timestamp(), RoleKeys::new(ids, 1));
    let signed = root.to_canonical();
    let keyid = root.roles[&RoleName::root()].keyids[0].clone();
    let sig = scratch.signer(TopRole::Root).unwrap().sign(&signed).unwrap();
    scratch.root = Envelope::to_bytes(&signed, &[Signature { keyid, sig }]);
    fs.plant("/repo/metadata/1.root.json", scratch.root.clone());
    (fs, scratch, signers)
}

#[test]
fn a_timestamp_longer_than_clients_read_is_not_published() {
    let now = UtcTime::from_unix(1_800_000_000);
    for (keys, fits) in [(60, true), (90, false)] {
        let (fs, scratch, signers) = with_timestamp_keys(keys);
        scratch.targets().unwrap().reconcile(now, false).unwrap();
        scratch.snapshot().unwrap().update(now, false).unwrap();
        let repository = scratch.repository();
        let trust = Trust::new(&scratch.root, Arc::clone(&repository.metadata), signers).unwrap();
        let floor = FloorFile::open(Arc::clone(&scratch.fs), Path::new("/repo/state-timestamp")).unwrap();
        let policy = TimestampPolicy { lifetime: scratch.options.lifetime, store_targets: true };
        let updated = TimestampRole::new(repository, trust, policy, floor).update(now, false);
        let published = fs.contents("/repo/metadata/timestamp.json");
        if fits {
            updated.unwrap();
            assert!(published.unwrap().len() <= 16_384);
        } else {
            let error = updated.unwrap_err();
            assert_eq!(error.kind(), RoleErrorKind::Alarm);
            assert!(error.to_string().contains("16384") && error.to_string().contains("fewer"), "{error}");
            assert!(published.is_none() && fs.contents("/repo/metadata/.1.timestamp.json").is_none());
        }
    }
}
