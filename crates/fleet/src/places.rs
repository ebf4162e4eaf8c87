//! Which directories a role needs, and what for: the path table. Preflight probes it, the sandbox enforces it.

use std::path::PathBuf;

use service::sandbox::SandboxPlace;

use crate::config::Config;

/// The roles that have a worker, in the order in which a release passes them.
pub const ROLES: [&str; 4] = ["monitor", "targets", "snapshot", "timestamp"];

/// What a role does in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Reads files.
    Read,
    /// Reads, creates, links, renames and removes files.
    Write,
}

/// A directory (or, for a pinned root kept elsewhere, a file) that a role needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub path: PathBuf,
    /// The configuration key that says so.
    pub key: &'static str,
    /// What the role does there.
    pub usage: Use,
    /// Whether other workers or hosts use it too.
    pub shared: bool,
    /// Whether the role cannot work without it.
    pub needed: bool,
}

/// The places of `role`, with `config`. Empty for a role that has no worker.
#[must_use]
pub fn of_role(config: &Config, role: &str) -> Vec<Place> {
    let place = |path: PathBuf, key, usage| Place { path, key, usage, shared: true, needed: true };
    let mut places = Vec::new();
    let (metadata, targets, log) = (config.metadata_path(), config.targets_path(), config.log_path());
    match role {
        "monitor" => {
            places.push(place(config.post_to_tuf_path.clone(), "post_to_tuf_path", Use::Write));
            places.push(place(config.inbound_targets_path.clone(), "inbound_targets_path", Use::Write));
        }
        "targets" => {
            places.push(place(config.inbound_targets_path.clone(), "inbound_targets_path", Use::Write));
            places.push(place(metadata, "repo_path", Use::Write));
            if config.store_targets {
                places.push(place(targets, "repo_path", Use::Write));
            }
            places.push(place(log, "repo_path", Use::Write));
        }
        "snapshot" => {
            places.push(place(metadata, "repo_path", Use::Write));
            places.push(place(log, "repo_path", Use::Read));
        }
        "timestamp" => {
            places.push(place(metadata, "repo_path", Use::Write));
            // Without consistent snapshots it is the timestamp-worker that moves the plain names.
            if !config.consistent_snapshot && config.store_targets {
                places.push(place(targets, "repo_path", Use::Write));
            }
        }
        _ => return places,
    }
    if role != "monitor" {
        let own = |path, key| Place { shared: false, ..place(path, key, Use::Read) };
        places.push(own(config.signing_keys_of(role), "signing_keys_path"));
        let below = config.trusted_root.starts_with(&config.verification_keys_path);
        places.push(Place {
            needed: below,
            ..place(config.verification_keys_path.clone(), "verification_keys_path", Use::Read)
        });
        if !below {
            places.push(place(config.trusted_root.clone(), "trusted_root", Use::Read));
        }
    }
    places.push(Place { shared: false, ..place(config.state_of(role), "state_path", Use::Write) });
    places
}

/// The places of `role` as its sandbox admits them. The worker's own directory below an existing state path is created.
#[must_use]
pub fn in_sandbox(config: &Config, role: &str) -> Vec<SandboxPlace> {
    let own_state = config.state_of(role);
    let place = |place: Place| SandboxPlace {
        created_below: (place.path == own_state).then(|| config.state_path.clone()),
        writable: place.usage == Use::Write,
        needed: place.needed,
        path: place.path,
    };
    of_role(config, role).into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn written(role: &str, pairs: &[(&str, &str)]) -> Vec<String> {
        let mut builder = Config::beneath(Path::new("/x"));
        for (key, value) in pairs {
            builder = builder.set(*key, *value);
        }
        let places = of_role(&builder.build().unwrap(), role);
        places.iter().filter(|p| p.usage == Use::Write).map(|p| p.path.display().to_string()).collect()
    }

    #[test]
    fn each_role_writes_where_the_table_says_and_nowhere_else() {
        assert_eq!(written("monitor", &[]), ["/x/post_to_tuf", "/x/incoming_targets", "/x/state/monitor"]);
        assert_eq!(
            written("targets", &[]),
            ["/x/incoming_targets", "/x/repo/metadata", "/x/repo/targets", "/x/repo/log", "/x/state/targets"]
        );
        assert_eq!(written("snapshot", &[]), ["/x/repo/metadata", "/x/state/snapshot"]);
        assert_eq!(written("timestamp", &[]), ["/x/repo/metadata", "/x/state/timestamp"]);
        let plain = written("timestamp", &[("consistent_snapshot", "false")]);
        assert_eq!(plain, ["/x/repo/metadata", "/x/repo/targets", "/x/state/timestamp"]);
    }

    #[test]
    fn the_monitor_has_no_keys_and_no_repository() {
        let config = Config::beneath(Path::new("/x")).build().unwrap();
        for place in of_role(&config, "monitor") {
            assert!(!place.path.starts_with("/x/repo") && !place.path.starts_with("/x/keys"), "{place:?}");
        }
    }
}
