//! The checks of one role on this machine.

use std::sync::Arc;

use durable_fs::{FileKind, Fs};
use tuf_core::time::UtcTime;

use super::finding::{FindingScope, FindingSeverity, Findings, PreflightFinding};
use super::isolation::one_key_per_process;
use super::mounts::{self, Mounts};
use super::{probe, readable, signing_keys};
use crate::places::{self, PlaceKind, PlaceUse, RolePlace};
use crate::roles::WorkerRole;
use crate::{Config, FleetError};

/// A mount with fewer free bytes is reported.
pub const LOW_BYTES: u64 = 256 << 20;
/// A mount with fewer free inodes is reported.
pub const LOW_INODES: u64 = 10_000;

/// Checks everything on this machine that `role` needs. Probe files have names that every worker ignores, and are removed
/// again. `alone`: this process is that worker and no other, so that reaching another role's keys is refused. Blocks; the
/// broker is checked by [`broker`](super::broker()).
#[must_use]
pub fn for_role(
    fs: &Arc<dyn Fs>,
    config: &Config,
    role: WorkerRole,
    now: UtcTime,
    alone: bool,
) -> Vec<PreflightFinding> {
    let mut findings = Findings::new(FindingScope::Role(role));
    let places = places::of_role(config, role);
    if alone {
        isolation(fs.as_ref(), config, role, &mut findings);
    }
    let mounts = Mounts::of_this_process(fs.as_ref());
    let mut skews = Vec::new();
    for place in &places {
        if !present(fs.as_ref(), config, place, &mut findings) {
            continue;
        }
        if let Some(mount) = mounts.as_ref().and_then(|mounts| mounts.of(&place.path)) {
            mounts::check(mount, place, &mut findings);
        }
        modes(fs.as_ref(), place, &mut findings);
        if place.usage == PlaceUse::Write {
            space(fs.as_ref(), place, &mut findings);
            if let Some(written) = probe::write(fs.as_ref(), place, &mut findings)
                && place.shared
            {
                skews.push((place, now.unix().saturating_sub(written.mtime)));
                // The administrator's umask is not that of the workers.
                if alone {
                    readable::check_new(written.mode, place, &mut findings);
                }
            }
        } else {
            probe::read(fs.as_ref(), place, &mut findings);
        }
    }
    clock(config, &skews, &mut findings);
    if role == WorkerRole::Timestamp {
        readable::check_served(fs.as_ref(), config, &mut findings);
    }
    if let Some(role) = role.key_role() {
        signing_keys::check(fs, config, role, now, &mut findings);
    }
    findings.all
}

/// Runs [`for_role`] when a worker starts, and logs each warning once.
///
/// # Errors
/// [`FleetError::Preflight`] for the first finding that refuses a start.
pub fn at_start(fs: &Arc<dyn Fs>, config: &Config, role: WorkerRole, now: UtcTime) -> Result<(), FleetError> {
    let findings = for_role(fs, config, role, now, true);
    if let Some(refusal) = findings.iter().find(|finding| finding.severity == FindingSeverity::Refuse) {
        return Err(FleetError::Preflight(Box::new(refusal.clone())));
    }
    for finding in findings {
        let check = finding.check;
        match finding.severity {
            FindingSeverity::Info => tracing::info!(preflight.check = check, %finding, "preflight finding"),
            _ => tracing::warn!(preflight.check = check, %finding, "preflight finding"),
        }
    }
    Ok(())
}

fn isolation(fs: &dyn Fs, config: &Config, role: WorkerRole, findings: &mut Findings) {
    // The monitor holds no key. That it can read one is as bad, but its start puts no signature at risk.
    let severity = if role == WorkerRole::Monitor { FindingSeverity::Warn } else { FindingSeverity::Refuse };
    let (severity, message) = match one_key_per_process(fs, config, role) {
        Ok(()) => return,
        Err(error @ FleetError::ForeignKey { .. }) => (severity, error.to_string()),
        Err(error) => (FindingSeverity::Warn, error.to_string()),
    };
    findings.add(
        severity,
        "isolation",
        &config.signing_keys_path,
        message,
        "give each worker its own key directory only",
    );
}

/// Whether the place exists; adds a finding if not.
fn present(fs: &dyn Fs, config: &Config, place: &RolePlace, findings: &mut Findings) -> bool {
    // A link to the directory is as good.
    let found = fs.stat(&place.path.join("")).or_else(|_| fs.stat(&place.path));
    match found {
        Ok(stat) if stat.kind == FileKind::Dir || place.kind == PlaceKind::TrustedRoot => true,
        Ok(_) => {
            findings.warn("place", &place.path, format!("{} is not a directory", place.kind), "");
            false
        }
        Err(_) if !place.needed => false,
        // The private directory of a role is made by its worker.
        Err(_) if place.kind == PlaceKind::State && fs.stat(&config.state_path.join("")).is_ok() => false,
        Err(error) => {
            let advice = match place.kind {
                PlaceKind::SigningKeys => "mount the role's keys there, or generate them with `rugged generate-keys`",
                PlaceKind::Repository => {
                    "mount the repository there, or create it with `rugged initialize`; the worker waits for it"
                }
                PlaceKind::TrustedRoot | PlaceKind::VerificationKeys => {
                    "mount the public keys and the pinned root there"
                }
                _ => "mount or create it; the worker waits for it",
            };
            findings.warn("place", &place.path, format!("{} cannot be used: {error}", place.kind), advice);
            false
        }
    }
}

fn modes(fs: &dyn Fs, place: &RolePlace, findings: &mut Findings) {
    let Ok(stat) = fs.stat(&place.path.join("")).or_else(|_| fs.stat(&place.path)) else { return };
    let (mode, path) = (stat.mode, place.path.as_path());
    let shown = format!("mode {mode:04o}, owner {}:{}", stat.uid, stat.gid);
    match place.kind {
        PlaceKind::State if mode & 0o077 != 0 => {
            findings.warn(
                "mode",
                path,
                format!("others may read this worker's private state ({shown})"),
                "chmod 700 it",
            );
        }
        PlaceKind::SigningKeys if mode & 0o022 != 0 => {
            findings.warn("mode", path, format!("others may put keys there ({shown})"), "chmod 500 it");
        }
        PlaceKind::VerificationKeys | PlaceKind::TrustedRoot if mode & 0o002 != 0 => {
            findings.warn(
                "mode",
                path,
                format!("anyone may replace the pinned root ({shown})"),
                "let only the administrator write there",
            );
        }
        PlaceKind::Repository | PlaceKind::Inbound if mode & 0o002 != 0 && mode & 0o1000 == 0 => {
            findings.warn(
                "mode",
                path,
                format!("anyone may remove or replace files ({shown})"),
                "chmod o-w it, or set the sticky bit",
            );
        }
        _ => {}
    }
}

pub(super) fn space(fs: &dyn Fs, place: &RolePlace, findings: &mut Findings) {
    match fs.space(&place.path) {
        Ok(space) => {
            if space.bytes < LOW_BYTES {
                let message = format!("only {} MiB are free", space.bytes >> 20);
                findings.warn("space", &place.path, message, "free some space: releases that do not fit have to wait");
            }
            if space.inodes < LOW_INODES {
                let message = format!("only {} inodes are free", space.inodes);
                findings.warn("space", &place.path, message, "remove files, or use a file system with more inodes");
            }
        }
        Err(error) => findings.warn("space", &place.path, format!("free space is unknown: {error}"), ""),
    }
}

fn clock(config: &Config, skews: &[(&RolePlace, i64)], findings: &mut Findings) {
    let limit = i64::try_from(config.max_clock_skew.as_secs()).unwrap_or(i64::MAX);
    for (place, skew) in skews {
        if skew.saturating_abs() > limit {
            let direction = if *skew > 0 { "ahead of" } else { "behind" };
            let seconds = skew.saturating_abs();
            findings.warn(
                "clock",
                &place.path,
                format!("the clock of this machine is {seconds} s {direction} that of the mount (max_clock_skew is {limit} s)"),
                "set both by NTP: nothing is signed until they agree",
            );
        }
    }
}
