//! A TUF repository for tests: keys, a root, the roles, and a client that starts from that root.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::{Fs, durable};
use tuf_core::bins::BinLayout;
use tuf_core::canonical::Extra;
use tuf_core::client::{Client, ClientError, ClientLimits, Fetch, FetchError};
use tuf_core::envelope::{Envelope, Signature};
use tuf_core::key::{FileSigner, KeyIdFormat, Signer, ed25519};
use tuf_core::names::{RoleName, TargetPath, TopRole};
use tuf_core::schema::{Metadata, RoleKeys, Root, SpecVersion};
use tuf_core::sha256::Sha256;
use tuf_core::store::{LocalStore, NewFile};
use tuf_core::time::UtcTime;
use tuf_repository::floor::FloorFile;
pub use tuf_repository::roles::Layout;
use tuf_repository::roles::{
    Lifetime, RepositoryStores, SnapshotRole, Submission, TargetChange, TargetEntry, TargetsPolicy, TargetsRole,
    TimestampPolicy, TimestampRole, Trust,
};

use crate::sim_fs::SimFs;

/// The properties of a scratch repository.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `consistent_snapshot` of the root.
    pub consistent_snapshot: bool,
    /// Layout of the targets.
    pub layout: Layout,
    /// Lifetime of every role except the root.
    pub lifetime: Lifetime,
    /// Whether the targets role refuses targets that tough sorts differently.
    pub portable_names: bool,
}

impl Options {
    /// One for each layout in which the roles write different files: flat, in bins, and in bins without consistent snapshots.
    ///
    /// # Panics
    /// If 4 is no number of bins any more.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a constant of the tests")]
    pub fn each_layout() -> Vec<Self> {
        let bins = Layout::Bins(BinLayout::new(4).expect("a number of bins"));
        [(true, Layout::Flat), (true, bins), (false, bins)]
            .map(|(consistent_snapshot, layout)| Self { consistent_snapshot, layout, ..Self::default() })
            .into()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            consistent_snapshot: true,
            layout: Layout::Flat,
            lifetime: Lifetime { seconds: 7 * 86_400, renew_before: 86_400 },
            portable_names: true,
        }
    }
}

/// A repository below a directory. A role opened twice acts as two processes: each reads the repository from the start.
#[derive(Clone)]
pub struct Scratch {
    /// The file system.
    pub fs: Arc<dyn Fs>,
    /// The directory. Holds `metadata/`, `targets/`, `log/` and `state-ROLE/`.
    pub dir: PathBuf,
    /// Its properties.
    pub options: Options,
    /// `1.root.json`.
    pub root: Vec<u8>,
    signers: BTreeMap<TopRole, Arc<dyn Signer>>,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("dir", &self.dir).field("options", &self.options).finish_non_exhaustive()
    }
}

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

impl Scratch {
    /// Makes directories, keys and root. The root does not expire during any test.
    ///
    /// # Errors
    /// Any error.
    pub fn new(fs: Arc<dyn Fs>, dir: impl Into<PathBuf>, options: Options) -> Result<Self> {
        let dir = dir.into();
        let rng = ring::rand::SystemRandom::new();
        let (mut keys, mut roles, mut signers) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for role in TopRole::ALL {
            let pair = ed25519(&rng)?;
            let id = pair.public.key_id(KeyIdFormat::Spec);
            signers.insert(role, Arc::new(FileSigner::from_pem(pair.private_pem.as_bytes())?) as Arc<dyn Signer>);
            keys.insert(id.clone(), pair.public);
            roles.insert(RoleName::new(role.as_str())?, RoleKeys::new(vec![id], 1));
        }
        let root = Root {
            spec_version: SpecVersion::default(),
            consistent_snapshot: options.consistent_snapshot,
            version: 1,
            expires: UtcTime::from_unix(4_000_000_000),
            keys,
            roles,
            extra: Extra::new(),
        };
        let signed = root.to_canonical();
        let sig = signers[&TopRole::Root].sign(&signed)?;
        let keyid = root.roles[&RoleName::root()].keyids[0].clone();
        let bytes = Envelope::to_bytes(&signed, &[Signature { keyid, sig }]);
        let below = ["metadata", "targets", "log", "state-targets", "state-snapshot", "state-timestamp"];
        for name in below {
            durable::create_dir_all(fs.as_ref(), &dir.join(name), 0o755)?;
        }
        durable::create(fs.as_ref(), &dir.join("metadata/1.root.json"), &bytes, 0o644)?;
        fs.begin_sync(&dir)?.sync()?;
        Ok(Self { fs, dir, options, root: bytes, signers })
    }

    /// A repository below `/repo` of a new simulated machine, whose clock stands at `now`.
    ///
    /// # Errors
    /// Any error.
    pub fn simulated(options: Options, now: UtcTime) -> Result<(SimFs, Self)> {
        let fs = SimFs::new();
        fs.set_time(now.unix());
        let scratch = Self::new(Arc::new(fs.clone()), "/repo", options)?;
        Ok((fs, scratch))
    }

    /// The key of a role: `root`, `targets` (bins too), `snapshot` or `timestamp`.
    #[must_use]
    pub fn signer(&self, role: TopRole) -> Option<Arc<dyn Signer>> {
        self.signers.get(&role).cloned()
    }

    /// The same repository on another file system, such as a fork of a simulated one.
    #[must_use]
    pub fn on(&self, fs: Arc<dyn Fs>) -> Self {
        Self { fs, ..self.clone() }
    }

    /// The stores.
    pub fn repository(&self) -> RepositoryStores {
        let store = |name: &str| Arc::new(LocalStore::new(Arc::clone(&self.fs), self.dir.join(name)));
        RepositoryStores { metadata: store("metadata"), targets: store("targets"), log: store("log") }
    }

    fn open(&self, role: TopRole) -> Result<(RepositoryStores, Trust, FloorFile)> {
        let repository = self.repository();
        let trust = Trust::new(&self.root, Arc::clone(&repository.metadata), vec![Arc::clone(&self.signers[&role])])?;
        let floor = FloorFile::open(Arc::clone(&self.fs), &self.dir.join(format!("state-{role}")))?;
        Ok((repository, trust, floor))
    }

    /// Opens the targets role.
    ///
    /// # Errors
    /// Any error.
    pub fn targets(&self) -> Result<TargetsRole> {
        let (repository, trust, floor) = self.open(TopRole::Targets)?;
        let Options { layout, lifetime, portable_names, .. } = self.options;
        let policy = TargetsPolicy { layout, targets: lifetime, bins: lifetime, portable_names };
        Ok(TargetsRole::new(repository, trust, policy, floor))
    }

    /// Opens the snapshot role.
    ///
    /// # Errors
    /// Any error.
    pub fn snapshot(&self) -> Result<SnapshotRole> {
        let (repository, trust, floor) = self.open(TopRole::Snapshot)?;
        Ok(SnapshotRole::new(repository, trust, self.options.lifetime, floor))
    }

    /// Opens the timestamp role.
    ///
    /// # Errors
    /// Any error.
    pub fn timestamp(&self) -> Result<TimestampRole> {
        let (repository, trust, floor) = self.open(TopRole::Timestamp)?;
        let policy = TimestampPolicy { lifetime: self.options.lifetime, store_targets: true };
        Ok(TimestampRole::new(repository, trust, policy, floor))
    }

    /// Puts files into the repository under their hashed names and describes them for a commit.
    ///
    /// # Errors
    /// Any error.
    pub fn submission(&self, request: &str, files: &[(&str, &[u8])]) -> Result<Submission> {
        let store = self.repository().targets;
        let mut changes = Vec::new();
        let mut new = Vec::new();
        for (path, bytes) in files {
            let path = TargetPath::new(path)?;
            let entry = TargetEntry { length: bytes.len() as u64, sha256: Sha256::of(bytes) };
            let mut names = vec![path.hash_prefixed(&entry.sha256.to_string()).try_into()?];
            if path.as_str().contains('/') {
                names.push(format!("{}.{path}", entry.sha256).try_into()?);
            }
            let staged = store.stage("", &mut &**bytes, u64::MAX)?;
            new.push(NewFile::staged(names, staged));
            changes.push((path, TargetChange::Put(entry)));
        }
        store.create_all(new)?;
        Ok(Submission { request: request.into(), changes })
    }

    /// A client that trusts `1.root.json` and has fetched nothing yet.
    ///
    /// # Errors
    /// When the root is not valid.
    pub fn client(&self) -> Result<Client<FsFetch, FsFetch>, ClientError> {
        let limits = ClientLimits { snapshot_bytes: 1 << 30, targets_bytes: 1 << 30, ..ClientLimits::default() };
        Client::new(&self.root, self.fetch("metadata"), self.fetch("targets"), limits)
    }

    /// Reads files below a directory of the repository as a client would.
    pub fn fetch(&self, below: &str) -> FsFetch {
        FsFetch::new(Arc::clone(&self.fs), self.dir.join(below))
    }

    /// All targets with their bytes, as a new client gets them at `now`.
    ///
    /// # Errors
    /// The client's error.
    pub fn download_all(&self, now: UtcTime) -> Result<BTreeMap<String, Vec<u8>>, ClientError> {
        let mut client = self.client()?;
        client.refresh(now)?;
        let targets = client.all_targets()?;
        let mut files = BTreeMap::new();
        for path in targets.keys() {
            files.insert(path.to_string(), client.download(path)?);
        }
        Ok(files)
    }
}

/// Fetches files from a directory.
#[derive(Clone, Debug)]
pub struct FsFetch {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}

impl FsFetch {
    /// Fetches files from `dir`.
    pub fn new(fs: Arc<dyn Fs>, dir: impl AsRef<Path>) -> Self {
        Self { fs, dir: dir.as_ref().to_owned() }
    }
}

impl Fetch for FsFetch {
    fn fetch(&self, path: &str, _max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        match self.fs.open(&self.dir.join(path)) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FetchError::new(error)),
        }
    }
}
