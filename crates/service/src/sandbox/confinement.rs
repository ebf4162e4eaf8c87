//! Entering the sandbox, and noticing when it is no longer right.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use durable_fs::{Fs, durable};

use super::place::{SandboxMode, SandboxPlace, SandboxPlan};
use super::rules::{REPLACED_FILES, restrict};
use crate::error::ProcessError;

/// Time between two looks for missing places.
const MISSING_PLACES_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two looks for replaced places.
const REPLACED_PLACES_INTERVAL: Duration = Duration::from_secs(10);

/// The state of a worker's sandbox.
#[derive(Debug)]
pub enum Confinement {
    /// Not wanted, or the kernel has none; a warning was logged.
    None,
    /// Entered.
    Entered(EnteredPlaces),
    /// These places do not exist yet.
    Postponed(Vec<PathBuf>),
}

/// The places of an entered sandbox, each with its device and inode at that time.
#[derive(Debug, Default)]
pub struct EnteredPlaces(Vec<(PathBuf, (u64, u64))>);

/// Why a process has to restart for its sandbox to be right again.
#[derive(Debug, PartialEq, Eq)]
pub enum RestartReason {
    /// All places exist now.
    PlacesComplete,
    /// This place was mounted or created again; the sandbox admits the former one only.
    PlaceReplaced(PathBuf),
}

/// Confines the calling thread, and every thread it starts from now on, to the places of `plan`. Call it before any other
/// thread exists. Under [`SandboxMode::Required`] it first waits for all needed places.
///
/// # Errors
/// [`ProcessError::Sandbox`] under [`SandboxMode::Required`] when the kernel cannot enforce all of it.
pub fn enter(fs: &dyn Fs, plan: &SandboxPlan) -> Result<Confinement, ProcessError> {
    if plan.mode == SandboxMode::Off {
        tracing::warn!("sandbox not entered: `sandbox` is off");
        return Ok(Confinement::None);
    }
    let required = plan.mode == SandboxMode::Required;
    let mut logged = false;
    loop {
        let missing = missing_places(fs, &plan.places);
        if missing.is_empty() {
            break;
        }
        let shown = shown(&missing);
        if !required {
            tracing::warn!(
                sandbox.missing = shown,
                "sandbox postponed: the worker restarts to enter it once all its places exist"
            );
            return Ok(Confinement::Postponed(missing));
        }
        if !logged {
            tracing::warn!(sandbox.missing = shown, "`sandbox` is required: waiting for the places of the worker");
            logged = true;
        }
        std::thread::sleep(MISSING_PLACES_INTERVAL);
    }
    let credentials = credential_places(&plan.credentials);
    match restrict(fs, &plan.places, &credentials) {
        Ok(()) => tracing::info!(sandbox.places = plan.places.len(), "sandbox entered"),
        Err(gap) if required => return Err(ProcessError::Sandbox(gap)),
        Err(gap) => {
            tracing::warn!(%gap, "sandbox incomplete; confine the worker by its service unit or a container instead")
        }
    }
    let watched = plan.places.iter().map(|place| place.path.clone());
    let watched = watched.chain(REPLACED_FILES.iter().map(PathBuf::from)).chain(credentials);
    let entered = watched.filter_map(|path| identity(fs, &path).map(|id| (path, id)));
    Ok(Confinement::Entered(EnteredPlaces(entered.collect())))
}

impl Confinement {
    /// Ends when the process has to restart for the sandbox to be right again; otherwise never.
    pub async fn outdated(&self, fs: Arc<dyn Fs>, places: Arc<[SandboxPlace]>) -> RestartReason {
        loop {
            let (fs, places) = (fs.clone(), places.clone());
            match self {
                Self::None => std::future::pending::<()>().await,
                Self::Postponed(_) => {
                    tokio::time::sleep(MISSING_PLACES_INTERVAL).await;
                    // A mount may hang.
                    let complete = tokio::task::spawn_blocking(move || missing_places(fs.as_ref(), &places).is_empty());
                    if complete.await.unwrap_or(false) {
                        return RestartReason::PlacesComplete;
                    }
                }
                Self::Entered(entered) => {
                    tokio::time::sleep(REPLACED_PLACES_INTERVAL).await;
                    let known = entered.0.clone();
                    let replaced = tokio::task::spawn_blocking(move || {
                        known
                            .into_iter()
                            .find(|(path, then)| identity(fs.as_ref(), path).is_some_and(|now| now != *then))
                    });
                    if let Ok(Some((path, _))) = replaced.await {
                        return RestartReason::PlaceReplaced(path);
                    }
                }
            }
        }
    }
}

/// The needed places that do not exist. A place with a `created_below` that exists is created first.
fn missing_places(fs: &dyn Fs, places: &[SandboxPlace]) -> Vec<PathBuf> {
    let mut missing = Vec::new();
    for place in places {
        if place.created_below.as_ref().is_some_and(|parent| identity(fs, parent).is_some()) {
            // As the worker itself would; if it fails the place is missing.
            let _ = durable::create_dir_all(fs, &place.path, 0o700);
        }
        if place.needed && identity(fs, &place.path).is_none() {
            missing.push(place.path.clone());
        }
    }
    missing
}

/// The places that must be readable so that credentials can be read again. A replaced file has a new inode, so the place is
/// its directory. Near the root of the file system it is the file alone, and the process restarts when the file is replaced.
fn credential_places(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for path in files {
        // Links lead to the place where an orchestrator keeps the file now.
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        for file in [path.clone(), real] {
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
