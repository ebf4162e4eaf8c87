//! The path table: the directories that each role needs, and its use of them. Preflight probes them, the sandbox enforces
//! them.

use std::fmt;
use std::path::PathBuf;

use service::sandbox::SandboxPlace;

use crate::config::Config;
use crate::roles::WorkerRole;

/// The use that a role makes of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceUse {
    /// Reads files.
    Read,
    /// Reads, creates, links, renames and removes files.
    Write,
}

/// The kind of a place: the setting that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceKind {
    /// `post_to_tuf_path`: the drop directory.
    Post,
    /// `inbound_targets_path`: staging and batch directories.
    Inbound,
    /// `repo_path`: a directory of the repository.
    Repository,
    /// `signing_keys_path`: the private keys of one role.
    SigningKeys,
    /// `verification_keys_path`: public keys.
    VerificationKeys,
    /// `trusted_root`: the pinned root, which may be a file outside the directory of the public keys.
    TrustedRoot,
    /// `state_path`: the private state of one worker.
    State,
}

impl PlaceKind {
    /// The configuration key of the path.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Post => "post_to_tuf_path",
            Self::Inbound => "inbound_targets_path",
            Self::Repository => "repo_path",
            Self::SigningKeys => "signing_keys_path",
            Self::VerificationKeys => "verification_keys_path",
            Self::TrustedRoot => "trusted_root",
            Self::State => "state_path",
        }
    }
}

impl fmt::Display for PlaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// A directory (or, for a pinned root kept elsewhere, a file) that a role needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolePlace {
    /// Its path.
    pub path: PathBuf,
    /// Its kind.
    pub kind: PlaceKind,
    /// The role's use of it.
    pub usage: PlaceUse,
    /// Whether other workers or hosts use it too.
    pub shared: bool,
    /// Whether the role cannot work without it.
    pub needed: bool,
}

/// The places of `role`.
#[must_use]
pub fn of_role(config: &Config, role: WorkerRole) -> Vec<RolePlace> {
    let place = |path: PathBuf, kind, usage| RolePlace { path, kind, usage, shared: true, needed: true };
    let mut places = Vec::new();
    let (metadata, targets, log) = (config.metadata_path(), config.targets_path(), config.log_path());
    match role {
        WorkerRole::Monitor => {
            places.push(place(config.post_to_tuf_path.clone(), PlaceKind::Post, PlaceUse::Write));
            places.push(place(config.inbound_targets_path.clone(), PlaceKind::Inbound, PlaceUse::Write));
        }
        WorkerRole::Targets => {
            places.push(place(config.inbound_targets_path.clone(), PlaceKind::Inbound, PlaceUse::Write));
            places.push(place(metadata, PlaceKind::Repository, PlaceUse::Write));
            if config.store_targets {
                places.push(place(targets, PlaceKind::Repository, PlaceUse::Write));
            }
            places.push(place(log, PlaceKind::Repository, PlaceUse::Write));
        }
        WorkerRole::Snapshot => {
            places.push(place(metadata, PlaceKind::Repository, PlaceUse::Write));
            places.push(place(log, PlaceKind::Repository, PlaceUse::Read));
        }
        WorkerRole::Timestamp => {
            places.push(place(metadata, PlaceKind::Repository, PlaceUse::Write));
            // Without consistent snapshots it is the timestamp-worker that moves the plain names.
            if !config.consistent_snapshot && config.store_targets {
                places.push(place(targets, PlaceKind::Repository, PlaceUse::Write));
            }
        }
    }
    if let Some(keys) = role.key_role() {
        let own = |path, kind| RolePlace { shared: false, ..place(path, kind, PlaceUse::Read) };
        places.push(own(config.signing_keys_of(keys), PlaceKind::SigningKeys));
        let below = config.trusted_root.starts_with(&config.verification_keys_path);
        places.push(RolePlace {
            needed: below,
            ..place(config.verification_keys_path.clone(), PlaceKind::VerificationKeys, PlaceUse::Read)
        });
        if !below {
            places.push(place(config.trusted_root.clone(), PlaceKind::TrustedRoot, PlaceUse::Read));
        }
    }
    places.push(RolePlace { shared: false, ..place(config.state_of(role), PlaceKind::State, PlaceUse::Write) });
    places
}

/// The places of `role` as its sandbox admits them. The worker's own directory below an existing state path is created.
#[must_use]
pub fn in_sandbox(config: &Config, role: WorkerRole) -> Vec<SandboxPlace> {
    let own_state = config.state_of(role);
    let place = |place: RolePlace| SandboxPlace {
        created_below: (place.path == own_state).then(|| config.state_path.clone()),
        writable: place.usage == PlaceUse::Write,
        needed: place.needed,
        path: place.path,
    };
    of_role(config, role).into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn written(role: WorkerRole, pairs: &[(&str, &str)]) -> Vec<String> {
        let mut builder = Config::beneath(Path::new("/x"));
        for (key, value) in pairs {
            builder = builder.set(*key, *value);
        }
        let places = of_role(&builder.build().unwrap(), role);
        places.iter().filter(|p| p.usage == PlaceUse::Write).map(|p| p.path.display().to_string()).collect()
    }

    #[test]
    fn each_role_writes_where_the_table_says_and_nowhere_else() {
        assert_eq!(written(WorkerRole::Monitor, &[]), ["/x/post_to_tuf", "/x/incoming_targets", "/x/state/monitor"]);
        assert_eq!(
            written(WorkerRole::Targets, &[]),
            ["/x/incoming_targets", "/x/repo/metadata", "/x/repo/targets", "/x/repo/log", "/x/state/targets"]
        );
        assert_eq!(written(WorkerRole::Snapshot, &[]), ["/x/repo/metadata", "/x/state/snapshot"]);
        assert_eq!(written(WorkerRole::Timestamp, &[]), ["/x/repo/metadata", "/x/state/timestamp"]);
        let plain = written(WorkerRole::Timestamp, &[("consistent_snapshot", "false")]);
        assert_eq!(plain, ["/x/repo/metadata", "/x/repo/targets", "/x/state/timestamp"]);
    }

    #[test]
    fn the_monitor_has_no_keys_and_no_repository() {
        let config = Config::beneath(Path::new("/x")).build().unwrap();
        for place in of_role(&config, WorkerRole::Monitor) {
            assert!(!place.path.starts_with("/x/repo") && !place.path.starts_with("/x/keys"), "{place:?}");
        }
    }
}
