//! A repository in memory whose every part a test can bend.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::rc::Rc;

use tuf_core::client::{Client, ClientLimits, Fetch, FetchError};
use tuf_core::envelope::{self, Envelope};
use tuf_core::key::{self, FileSigner, KeyIdFormat, PublicKey, Signer};
use tuf_core::names::{KeyId, MetadataFileName, RoleName, TargetPath};
use tuf_core::schema::{
    DelegatedPaths, DelegatedRole, Delegations, Hashes, Metadata, PathPattern, RoleKeys, RoleMeta, Root, Snapshot,
    SpecVersion, TargetMeta, Targets, Timestamp,
};
use tuf_core::time::UtcTime;

pub fn now() -> UtcTime {
    UtcTime::parse("2026-01-01T00:00:00Z").unwrap()
}

pub fn later() -> UtcTime {
    now().plus_seconds(3600)
}

pub fn role(name: &str) -> RoleName {
    RoleName::new(name).unwrap()
}

pub fn path(path: &str) -> TargetPath {
    TargetPath::new(path).unwrap()
}

#[derive(Debug)]
pub struct Key {
    pub id: KeyId,
    pub signer: FileSigner,
}

impl Key {
    pub fn new() -> Self {
        let generated = key::ed25519(&ring::rand::SystemRandom::new()).unwrap();
        let signer = FileSigner::from_pem(generated.private_pem.as_bytes()).unwrap();
        Self { id: generated.public.key_id(KeyIdFormat::Spec), signer }
    }

    pub fn public(&self) -> PublicKey {
        self.signer.public_key().clone()
    }
}

pub fn keys_of(keys: &[&Key]) -> BTreeMap<KeyId, PublicKey> {
    keys.iter().map(|key| (key.id.clone(), key.public())).collect()
}

pub fn role_keys(keys: &[&Key], threshold: u32) -> RoleKeys {
    RoleKeys::new(keys.iter().map(|key| key.id.clone()).collect(), threshold)
}

pub fn file(metadata: &impl Metadata, by: &[&Key]) -> Vec<u8> {
    let signed = metadata.to_canonical();
    let signers: Vec<_> = by.iter().map(|key| (key.id.clone(), &key.signer as &dyn Signer)).collect();
    Envelope::to_bytes(&signed, &envelope::sign(&signed, &signers).unwrap())
}

pub fn root(version: u64, roots: &[&Key], threshold: u32, online: [&Key; 3]) -> Root {
    let mut keys = keys_of(roots);
    keys.extend(keys_of(&online));
    let mut roles = BTreeMap::from([(role("root"), role_keys(roots, threshold))]);
    for (name, key) in ["targets", "snapshot", "timestamp"].into_iter().zip(online) {
        roles.insert(role(name), role_keys(&[key], 1));
    }
    let spec_version = SpecVersion::default();
    let extra = tuf_core::canonical::Extra::new();
    Root { spec_version, consistent_snapshot: true, version, expires: later(), keys, roles, extra }
}

/// Files by path, and the paths that were asked for. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Files(pub Rc<RefCell<BTreeMap<String, Vec<u8>>>>, Rc<RefCell<Vec<String>>>);

impl Files {
    pub fn put(&self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.0.borrow_mut().insert(path.into(), content.into());
    }

    pub fn get(&self, path: &str) -> Vec<u8> {
        self.0.borrow()[path].clone()
    }

    /// The paths that were asked for since the last call.
    pub fn asked(&self) -> Vec<String> {
        self.1.take()
    }
}

impl Fetch for Files {
    fn fetch(&self, path: &str, _: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        self.1.borrow_mut().push(path.to_owned());
        let found = self.0.borrow().get(path).cloned();
        Ok(found.map(|content| Box::new(std::io::Cursor::new(content)) as Box<dyn Read>))
    }
}

/// Keys, the metadata to publish next, and the published files.
#[derive(Debug)]
pub struct Repo {
    pub root_key: Key,
    pub targets_key: Key,
    pub snapshot_key: Key,
    pub timestamp_key: Key,
    pub consistent: bool,
    pub targets: Targets,
    pub delegated: BTreeMap<RoleName, Targets>,
    pub snapshot: Snapshot,
    pub timestamp: Timestamp,
    pub metadata: Files,
    pub contents: Files,
}

impl Repo {
    pub fn new() -> Self {
        let repo = Self {
            root_key: Key::new(),
            targets_key: Key::new(),
            snapshot_key: Key::new(),
            timestamp_key: Key::new(),
            consistent: true,
            targets: Targets::new(1, later(), BTreeMap::new()),
            delegated: BTreeMap::new(),
            snapshot: Snapshot::new(0, later(), BTreeMap::new()),
            timestamp: Timestamp::new(0, later(), RoleMeta::new(1)),
            metadata: Files::default(),
            contents: Files::default(),
        };
        repo.publish_root(1, &[&repo.root_key]);
        repo
    }

    pub fn root(&self, version: u64) -> Root {
        let online = [&self.targets_key, &self.snapshot_key, &self.timestamp_key];
        let mut root = root(version, &[&self.root_key], 1, online);
        root.consistent_snapshot = self.consistent;
        root
    }

    pub fn publish_root(&self, version: u64, by: &[&Key]) {
        self.metadata.put(format!("{version}.root.json"), file(&self.root(version), by));
    }

    /// The entry of this content, which is stored where clients look for it.
    pub fn store(&self, at: &str, content: &[u8]) -> TargetMeta {
        let hashes = Hashes::sha256_of(content);
        let (_, hash) = hashes.iter().next().unwrap();
        let location = if self.consistent { path(at).hash_prefixed(&hash) } else { at.to_owned() };
        self.contents.put(location, content);
        TargetMeta::new(content.len() as u64, hashes)
    }

    pub fn add(&mut self, at: &str) {
        let meta = self.store(at, at.as_bytes());
        self.targets.targets.insert(path(at), meta);
    }

    fn put(&self, name: &RoleName, version: u64, file: Vec<u8>) {
        let at = if self.consistent {
            MetadataFileName::versioned(name.clone(), version)
        } else {
            MetadataFileName::unversioned(name.clone())
        };
        self.metadata.put(at.to_string(), file);
    }

    pub fn meta(version: u64, file: &[u8]) -> RoleMeta {
        let mut meta = RoleMeta::new(version);
        meta.length = Some(file.len() as u64);
        meta.hashes = Some(Hashes::sha256_of(file));
        meta
    }

    /// Publishes everything; delegated roles are signed with the targets key.
    pub fn publish(&mut self) {
        let mut listed = BTreeMap::new();
        for (name, targets) in self.delegated.iter().chain([(&role("targets"), &self.targets)]) {
            let file = file(targets, &[&self.targets_key]);
            listed.insert(name.clone(), Self::meta(targets.version, &file));
            self.put(name, targets.version, file);
        }
        self.snapshot.meta.extend(listed);
        self.publish_snapshot();
    }

    pub fn publish_snapshot(&mut self) {
        self.snapshot.version += 1;
        let file = file(&self.snapshot, &[&self.snapshot_key]);
        self.put(&role("snapshot"), self.snapshot.version, file.clone());
        self.timestamp.snapshot = Self::meta(self.snapshot.version, &file);
        self.publish_timestamp();
    }

    pub fn publish_timestamp(&mut self) {
        self.timestamp.version += 1;
        self.metadata.put("timestamp.json", file(&self.timestamp, &[&self.timestamp_key]));
    }

    /// Delegates paths that match `patterns` from the top-level role to `name`, which has the key of the targets role.
    pub fn delegate(&mut self, name: &str, patterns: &[&str]) {
        let paths =
            DelegatedPaths::Patterns(patterns.iter().map(|pattern| PathPattern::new(pattern).unwrap()).collect());
        let keyids = vec![self.targets_key.id.clone()];
        let extra = tuf_core::canonical::Extra::new();
        let delegated = DelegatedRole { name: role(name), keyids, threshold: 1, terminating: false, paths, extra };
        let keys = keys_of(&[&self.targets_key]);
        let delegations = self.targets.delegations.get_or_insert_with(|| Delegations::new(keys, Vec::new()));
        delegations.roles.push(delegated);
        self.delegated.insert(role(name), Targets::new(1, later(), BTreeMap::new()));
    }

    pub fn client(&self) -> Client<Files, Files> {
        let root = self.metadata.get("1.root.json");
        Client::new(&root, self.metadata.clone(), self.contents.clone(), ClientLimits::default()).unwrap()
    }
}
