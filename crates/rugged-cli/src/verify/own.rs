//! Our own client on a directory.

use std::io::Read;
use std::sync::Arc;

use durable_fs::Fs;
use serde::Serialize;
use tuf_core::client::{Client, ClientError, ClientLimits, Fetch, FetchError};
use tuf_core::names::RoleName;
use tuf_core::time::UtcTime;

use super::Place;
use super::directory::Directory;
use crate::error::CliError;

/// Larger than clients in the field accept, so that what is too large for them is said by name.
const LIMITS: ClientLimits = ClientLimits {
    timestamp_bytes: 1 << 20,
    snapshot_bytes: 64 << 20,
    targets_bytes: 1 << 30,
    delegations: 1 << 16,
    all_roles: 1 << 20,
};

/// Our client on a directory.
pub type OwnClient = Client<Files, Files>;

/// A directory, or nothing where target files are not stored.
#[derive(Clone, Debug)]
pub struct Files(Option<Directory>);

impl Fetch for Files {
    fn fetch(&self, path: &str, _max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        let Some(directory) = &self.0 else { return Ok(None) };
        let file = directory.open(path).map_err(FetchError::new)?;
        Ok(file.map(|file| Box::new(file) as Box<dyn Read>))
    }
}

/// What looking came to.
#[derive(Debug)]
pub enum Opened {
    /// Root, timestamp, snapshot and top-level targets verify.
    Verified(Box<OwnClient>),
    /// They do not, as far as said; what verified before is in the client.
    Failed(Box<OwnClient>, ClientError),
    /// The trusted root itself is none.
    BadRoot(ClientError),
}

/// Loads the repository from the trusted root on.
///
/// # Errors
/// When the trusted root cannot be read.
pub fn open(fs: &Arc<dyn Fs>, place: &Place, now: UtcTime) -> Result<Opened, CliError> {
    let root = place.read_root(fs.as_ref())?;
    let files = |dir: &std::path::Path| Files(Some(Directory::new(Arc::clone(fs), dir.to_owned())));
    let targets = place.targets.as_deref().map_or(Files(None), files);
    let mut client = match Client::new(&root, files(&place.metadata), targets, LIMITS) {
        Ok(client) => Box::new(client),
        Err(error) => return Ok(Opened::BadRoot(error)),
    };
    Ok(match client.refresh(now) {
        Ok(()) => Opened::Verified(client),
        Err(error) => Opened::Failed(client, error),
    })
}

/// What is visible of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleState {
    /// Its name.
    pub role: String,
    /// The version clients see.
    pub version: u64,
    /// When it expires, `YYYY-MM-DDTHH:MM:SSZ`.
    pub expires: Option<String>,
}

/// The top-level roles as the client trusts them, in the order in which they vouch for each other.
#[must_use]
pub fn roles(client: &OwnClient) -> Vec<RoleState> {
    let state = |role: &str, version, expires: Option<UtcTime>| RoleState {
        role: role.to_owned(),
        version,
        expires: expires.map(|time| time.to_string()),
    };
    let root = client.root();
    let mut roles = vec![state("root", root.version, Some(root.expires))];
    roles.extend(client.timestamp().map(|timestamp| state("timestamp", timestamp.version, Some(timestamp.expires))));
    if let Some(snapshot) = client.snapshot() {
        roles.push(state("snapshot", snapshot.version, Some(snapshot.expires)));
        let targets = client.top_level_targets();
        if let Some(meta) = snapshot.meta.get(&RoleName::targets()) {
            roles.push(state("targets", meta.version, targets.map(|targets| targets.expires)));
        }
    }
    roles
}
