//! A worker locks itself into its own directories, with the rights the path table gives, by Landlock.
//!
//! What is left to a process whose code an attacker runs: the role's own places ([`places`]), the network, and reading
//! what name resolution and the runtime need of the system. It can start no other program, reach no other file, and gain
//! nothing from set-uid binaries (`no_new_privs`). It holds for every thread and cannot be undone.
//!
//! Landlock admits the directories that exist when it is entered. A worker that starts before its directories exist works
//! without it until they do, and then starts itself anew in place; under `sandbox: required` it waits for them before it
//! does anything.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use durable_fs::{FileKind, Fs, durable};
use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope,
};

use crate::config::SandboxMode;
use crate::places::{self, Place, Use};
use crate::{Config, FleetError};

/// What is asked of the kernel, fixed so that a newer kernel does not change what a worker may do.
const WANTED: ABI = ABI::V6;
/// How often the places are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What of the system a worker may read: name resolution, certificates, time zones, shared libraries that the C library
/// loads late, and what tells how many threads are sensible. Nothing of it is secret, and nothing is written.
const SYSTEM: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/run/systemd/resolve",
    "/proc/self",
    "/proc/stat",
    "/proc/meminfo",
    "/proc/sys/vm/overcommit_memory",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
    "/dev/urandom",
];
/// Files of [`SYSTEM`] that are replaced under a running worker.
const REPLACED: &[&str] = &["/etc/resolv.conf", "/etc/hosts"];

/// What became of the sandbox.
#[derive(Debug)]
pub enum Sandbox {
    /// Not wanted, or the kernel has none; a warning was logged.
    None,
    /// Entered.
    Entered(Sealed),
    /// These places are not there yet.
    Later(Vec<PathBuf>),
}

/// The places of an entered sandbox as they were then.
#[derive(Debug, Default)]
pub struct Sealed(Vec<(PathBuf, (u64, u64))>);

/// Locks the calling thread, and every thread it starts from now on, into the places of `role`. To be called before any
/// other thread exists. Under `sandbox: required` it first waits for all of them.
///
/// # Errors
/// [`FleetError::Refused`] under `sandbox: required` when the kernel cannot do all of it.
pub fn enter(fs: &dyn Fs, config: &Config, role: &str) -> Result<Sandbox, FleetError> {
    if config.sandbox == SandboxMode::Off {
        tracing::warn!("not sandboxed: `sandbox` is off");
        return Ok(Sandbox::None);
    }
    let required = config.sandbox == SandboxMode::Required;
    let places = places::of_role(config, role);
    let mut told = false;
    loop {
        let missing = missing(fs, config, role);
        if missing.is_empty() {
            break;
        }
        if !required {
            let shown = shown(&missing);
            tracing::warn!("not sandboxed yet: {shown} not there; when it is, the worker starts anew by itself");
            return Ok(Sandbox::Later(missing));
        }
        if !told {
            tracing::warn!("`sandbox` is required: waiting for {}", shown(&missing));
            told = true;
        }
        std::thread::sleep(LOOK);
    }
    let credentials = credentials(config);
    let problem = match restrict(fs, &places, &credentials) {
        Ok(problem) => problem,
        Err(error) => Some(format!("Landlock failed: {error}")),
    };
    match problem {
        None => tracing::info!("sandboxed: only the {} places of the role {role} can be reached", places.len()),
        Some(problem) if required => {
            return Err(FleetError::Refused(format!("`sandbox` is required: {problem}")));
        }
        Some(problem) => {
            tracing::warn!(
                "not fully sandboxed: {problem}; use the units of deploy/ or a container to confine the worker"
            );
        }
    }
    let watched = places.iter().map(|place| place.path.clone());
    let watched = watched.chain(REPLACED.iter().map(PathBuf::from)).chain(credentials);
    Ok(Sandbox::Entered(Sealed(watched.filter_map(|path| identity(fs, &path).map(|id| (path, id))).collect())))
}

impl Sandbox {
    /// Ends when the process has to start anew for the sandbox to be right again, with the reason; never without need.
    pub async fn outdated(&self, fs: Arc<dyn Fs>, config: Arc<Config>, role: &'static str) -> Outdated {
        loop {
            let (fs, config) = (fs.clone(), config.clone());
            match self {
                Self::None => std::future::pending::<()>().await,
                Self::Later(_) => {
                    tokio::time::sleep(LOOK).await;
                    // A mount may hang.
                    let complete = tokio::task::spawn_blocking(move || missing(fs.as_ref(), &config, role).is_empty());
                    if complete.await.unwrap_or(false) {
                        return Outdated::Complete;
                    }
                }
                Self::Entered(sealed) => {
                    tokio::time::sleep(LOOK * 10).await;
                    let known = sealed.0.clone();
                    let moved = tokio::task::spawn_blocking(move || {
                        known
                            .into_iter()
                            .find(|(path, then)| identity(fs.as_ref(), path).is_some_and(|now| now != *then))
                    });
                    if let Ok(Some((path, _))) = moved.await {
                        return Outdated::Replaced(path);
                    }
                }
            }
        }
    }
}

/// Why a process has to start anew.
#[derive(Debug, PartialEq, Eq)]
pub enum Outdated {
    /// All places are there now.
    Complete,
    /// A place was mounted or made anew; the sandbox admits the old one only.
    Replaced(PathBuf),
}

/// The needed places that are not there. The role's directory below an existing state path is made.
fn missing(fs: &dyn Fs, config: &Config, role: &str) -> Vec<PathBuf> {
    let own_state = config.state_of(role);
    let mut missing = Vec::new();
    for place in places::of_role(config, role) {
        if place.path == own_state && identity(fs, &config.state_path).is_some() {
            // As the role itself would; if it fails the place is missing.
            let _ = durable::create_dir_all(fs, &own_state, 0o700);
        }
        if place.needed && identity(fs, &place.path).is_none() {
            missing.push(place.path);
        }
    }
    missing
}

/// What has to be readable so that credentials of the broker can be read again: the directory they are in, because whoever
/// replaces a file makes another one; of a directory with more in it only the file, and then the process starts anew.
fn credentials(config: &Config) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for path in config.broker_files() {
        // Links lead to where an orchestrator keeps the file now.
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        for file in [path, real] {
            match file.parent() {
                Some(dir) if dir.components().count() > 2 => paths.push(dir.to_owned()),
                _ => paths.push(file),
            }
        }
    }
    paths.sort();
    paths.dedup();
    paths
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Device and inode of what a path leads to.
fn identity(fs: &dyn Fs, path: &Path) -> Option<(u64, u64)> {
    fs.stat(&path.join("")).or_else(|_| fs.stat(path)).ok().map(|stat| stat.id)
}

/// `None`: all of it is enforced; otherwise what is not.
fn restrict(fs: &dyn Fs, places: &[Place], credentials: &[PathBuf]) -> Result<Option<String>, landlock::RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        // Linking and renaming between directories of one place.
        | AccessFs::Refer;
    let mut ruleset =
        Ruleset::default().handle_access(AccessFs::from_all(WANTED))?.scope(Scope::from_all(WANTED))?.create()?;
    let own = std::env::current_exe().ok();
    let system =
        SYSTEM.iter().map(PathBuf::from).chain(own).chain(credentials.iter().cloned()).map(|path| (path, read));
    let null = std::iter::once((PathBuf::from("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile));
    let own = places.iter().map(|place| (place.path.clone(), if place.usage == Use::Write { write } else { read }));
    for (path, rights) in system.chain(null).chain(own) {
        // What is not there cannot be reached either.
        let Ok(opened) = PathFd::new(&path) else { continue };
        let is_dir = fs.stat(&path.join("")).is_ok_and(|stat| stat.kind == FileKind::Dir);
        let rights: BitFlags<AccessFs> = if is_dir { rights } else { rights & AccessFs::from_file(WANTED) };
        ruleset = ruleset.add_rule(PathBeneath::new(opened, rights))?;
    }
    let status = ruleset.restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced if status.no_new_privs => None,
        RulesetStatus::FullyEnforced => Some("`no_new_privs` could not be set".into()),
        RulesetStatus::PartiallyEnforced => {
            Some("this kernel's Landlock is too old for all of it (Linux 6.12 has it)".into())
        }
        RulesetStatus::NotEnforced => Some("this kernel has no Landlock, or it is not enabled (`lsm=`)".into()),
    })
}
