//! Our own TUF client on a directory of this machine.

use std::io::Read;
use std::sync::Arc;

use durable_fs::Fs;
use serde::Serialize;
use tuf_core::client::{Client, ClientError, ClientLimits, Fetch, FetchError};
use tuf_core::names::RoleName;
use tuf_core::root_chain::MAX_ROOT_BYTES;
use tuf_core::time::UtcTime;

use super::local_directory::LocalDirectory;
use super::repository_paths::RepositoryPaths;
use crate::error::CliError;

/// Larger than other clients accept, so that this client can name the file that is too large for them.
const OWN_CLIENT_LIMITS: ClientLimits = ClientLimits {
    root_bytes: MAX_ROOT_BYTES,
    root_rotations: 1024,
    timestamp_bytes: 1 << 20,
    snapshot_bytes: 64 << 20,
    targets_bytes: 1 << 30,
    delegations: 1 << 16,
    all_roles: 1 << 20,
};

/// Our own TUF client on a directory of this machine.
pub type OwnClient = Client<ClientFiles, ClientFiles>;

/// The files that the client reads; none where the repository does not store target files.
#[derive(Clone, Debug)]
pub struct ClientFiles(Option<LocalDirectory>);

impl Fetch for ClientFiles {
    fn fetch(&self, path: &str, _max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        let Some(directory) = &self.0 else { return Ok(None) };
        let file = directory.open(path).map_err(FetchError::new)?;
        Ok(file.map(|file| Box::new(file) as Box<dyn Read>))
    }
}

/// The result of a client's refresh.
#[derive(Debug)]
pub enum RepositoryCheck {
    /// Root, timestamp, snapshot and top-level targets verify.
    Verified(Box<OwnClient>),
    /// One of them does not verify. The client holds the roles that verified before the error.
    Failed(Box<OwnClient>, ClientError),
    /// The trusted root itself is invalid.
    BadRoot(ClientError),
}

/// Refreshes a client from the trusted root.
///
/// # Errors
/// When the trusted root cannot be read.
pub fn check_repository(fs: &Arc<dyn Fs>, paths: &RepositoryPaths, now: UtcTime) -> Result<RepositoryCheck, CliError> {
    let root = paths.read_root(fs.as_ref())?;
    let files = |dir: &std::path::Path| ClientFiles(Some(LocalDirectory::new(Arc::clone(fs), dir.to_owned())));
    let targets = paths.targets.as_deref().map_or(ClientFiles(None), files);
    let mut client = match Client::new(&root, files(&paths.metadata), targets, OWN_CLIENT_LIMITS) {
        Ok(client) => Box::new(client),
        Err(error) => return Ok(RepositoryCheck::BadRoot(error)),
    };
    Ok(match client.refresh(now) {
        Ok(()) => RepositoryCheck::Verified(client),
        Err(error) => RepositoryCheck::Failed(client, error),
    })
}

/// A role as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VisibleRole {
    /// Its name.
    pub role: String,
    /// The version clients see.
    pub version: u64,
    /// Its expiry, `YYYY-MM-DDTHH:MM:SSZ`.
    pub expires: Option<String>,
}

/// The top-level roles that the client trusts: root, timestamp, snapshot, targets.
#[must_use]
pub fn visible_roles(client: &OwnClient) -> Vec<VisibleRole> {
    let state = |role: &str, version, expires: Option<UtcTime>| VisibleRole {
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
