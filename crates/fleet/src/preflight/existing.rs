//! The choices that an existing repository has made: its keys, its key ids and its bins.

use durable_fs::{Fs, durable};
use tuf_core::bins::BinLayout;
use tuf_core::envelope::Envelope;
use tuf_core::key::KeyIdFormat;
use tuf_core::root_chain::{MAX_ROOT_BYTES, RootChain};
use tuf_core::schema::{Metadata, Root, Snapshot, Timestamp};

use crate::Config;

/// The longest timestamp and snapshot that are read, in bytes.
const MAX_METADATA_BYTES: u64 = 64 << 20;

/// An existing repository, as far as this machine can read it. Nothing is verified beyond the roots: it is only described.
pub(super) struct ExistingRepository {
    /// The form of its key ids. `None` without a root that can be read, and where its key ids have no form or several.
    pub(super) keyid_format: Option<KeyIdFormat>,
    /// The type of a key that is not Ed25519.
    pub(super) foreign_key_type: Option<String>,
    /// The number of its bins, zero if it is flat. `None` before its first snapshot.
    pub(super) bins: Option<u32>,
}

impl ExistingRepository {
    /// Reads the newest root and the newest snapshot. Files that cannot be read are left out: other checks report them.
    pub(super) fn read(fs: &dyn Fs, config: &Config) -> Self {
        let root = newest_root(fs, config);
        let root = root.as_ref();
        let is = |format| root.is_some_and(|root| root.keys.iter().all(|(keyid, key)| *keyid == key.key_id(format)));
        let keys = || root.into_iter().flat_map(|root| root.keys.values());
        Self {
            keyid_format: [KeyIdFormat::Spec, KeyIdFormat::Legacy].into_iter().find(|format| is(*format)),
            foreign_key_type: keys().map(|key| key.keytype()).find(|kind| *kind != "ed25519").map(str::to_owned),
            bins: root.and_then(|root| bins(fs, config, root)),
        }
    }
}

fn newest_root(fs: &dyn Fs, config: &Config) -> Option<Root> {
    let pinned = durable::read_bounded(fs, &config.trusted_root, MAX_ROOT_BYTES).ok()?;
    let mut chain = RootChain::from_pinned(&pinned).ok()?;
    let mut read = |version: u64| -> Result<_, std::convert::Infallible> {
        let next = config.metadata_path().join(format!("{version}.root.json"));
        Ok(durable::read_bounded(fs, &next, MAX_ROOT_BYTES).ok())
    };
    // A root that does not verify ends the walk; the chain then ends before it.
    let _ = chain.walk(&mut read);
    Some(chain.root().clone())
}

fn bins(fs: &dyn Fs, config: &Config, root: &Root) -> Option<u32> {
    let timestamp: Timestamp = read(fs, config, "timestamp.json")?;
    let version = timestamp.snapshot.version;
    let name = if root.consistent_snapshot { format!("{version}.snapshot.json") } else { "snapshot.json".to_owned() };
    let snapshot: Snapshot = read(fs, config, &name)?;
    Some(BinLayout::of_roles(snapshot.meta.keys()).map_or(0, |bins| bins.count()))
}

fn read<M: Metadata>(fs: &dyn Fs, config: &Config, name: &str) -> Option<M> {
    let file = durable::read_bounded(fs, &config.metadata_path().join(name), MAX_METADATA_BYTES).ok()?;
    M::from_envelope(&Envelope::parse(file).ok()?).ok()
}
