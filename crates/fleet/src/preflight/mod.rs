//! What a worker checks before it starts, and `rugged doctor` whenever it is asked: mounts, modes, space, that files can
//! be written, linked, renamed and deleted where the role needs it, keys, clock, broker.
//!
//! Only what endangers keys refuses a start. What may heal by itself (a mount that is late, a full disk) is a warning:
//! the worker waits for it.

mod broker;
mod isolation;
mod keys;
mod mounts;
mod probe;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests arrange files as someone else would")]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use durable_fs::{FileKind, Fs};
use serde::Serialize;
use tuf_core::time::UtcTime;

use crate::places::{self, Place, Use};
use crate::{Config, FleetError};

pub use broker::{broker, reachable};
pub use isolation::one_key_per_process;
pub use mounts::{Mount, Mounts};

/// Below that many bytes free, a mount is reported.
pub const LOW_BYTES: u64 = 256 << 20;
/// Below that many inodes free, a mount is reported.
pub const LOW_INODES: u64 = 10_000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// The worker starts, and may not be able to do its work.
    Warn,
    /// The worker does not start.
    Refuse,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Refuse => "refuse",
        })
    }
}

/// Something an operator should know, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was checked: `place`, `mount`, `mode`, `space`, `write`, `keys`, `root`, `clock`, `isolation`, `broker`.
    pub check: &'static str,
    /// The role it was checked for.
    pub role: String,
    /// The path (or address) it is about.
    pub subject: String,
    /// What is the matter.
    pub message: String,
    /// What to do about it.
    pub advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.message)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

/// Collects the findings of one role.
struct Findings {
    role: String,
    all: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, severity: Severity, check: &'static str, subject: &Path, message: String, advice: &str) {
        let subject = subject.display().to_string();
        let (role, advice) = (self.role.clone(), advice.to_owned());
        self.all.push(Finding { severity, check, role, subject, message, advice });
    }

    fn warn(&mut self, check: &'static str, subject: &Path, message: impl Into<String>, advice: &str) {
        self.add(Severity::Warn, check, subject, message.into(), advice);
    }
}

/// Looks at everything on this machine that `role` (`monitor`, `targets`, `snapshot` or `timestamp`) stands on. Probe
/// files have names that everything ignores and are removed again. `alone`: this process is that worker and nothing
/// else, so that reaching another role's keys is refused. Blocks; the broker is [`broker`].
#[must_use]
pub fn for_role(fs: &Arc<dyn Fs>, config: &Config, role: &str, now: UtcTime, alone: bool) -> Vec<Finding> {
    let mut findings = Findings { role: role.to_owned(), all: Vec::new() };
    let places = places::of_role(config, role);
    if places.is_empty() {
        return Vec::new();
    }
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
        if place.usage == Use::Write {
            space(fs.as_ref(), place, &mut findings);
            if let Some(mtime) = probe::write(fs.as_ref(), place, &mut findings)
                && place.shared
            {
                skews.push((place, now.unix().saturating_sub(mtime)));
            }
        } else {
            probe::read(fs.as_ref(), place, &mut findings);
        }
    }
    clock(config, &skews, &mut findings);
    if role != "monitor" {
        keys::check(fs, config, role, now, &mut findings);
    }
    findings.all
}

/// What a worker does with [`for_role`] when it starts: each warning is logged once.
///
/// # Errors
/// [`FleetError::Refused`] for the first finding that refuses a start.
pub fn at_start(fs: &Arc<dyn Fs>, config: &Config, role: &str, now: UtcTime) -> Result<(), FleetError> {
    let findings = for_role(fs, config, role, now, true);
    if let Some(refusal) = findings.iter().find(|finding| finding.severity == Severity::Refuse) {
        return Err(FleetError::Refused(refusal.to_string()));
    }
    for finding in findings {
        let check = finding.check;
        match finding.severity {
            Severity::Info => tracing::info!(preflight.check = check, "preflight: {finding}"),
            _ => tracing::warn!(preflight.check = check, "preflight: {finding}"),
        }
    }
    Ok(())
}

fn isolation(fs: &dyn Fs, config: &Config, role: &str, findings: &mut Findings) {
    // The monitor holds no key; that it could read one is as bad, but nobody else's signatures depend on its start.
    let severity = if role == "monitor" { Severity::Warn } else { Severity::Refuse };
    let (severity, message) = match one_key_per_process(fs, config, role) {
        Ok(()) => return,
        Err(FleetError::Refused(message)) => (severity, message),
        Err(error) => (Severity::Warn, error.to_string()),
    };
    findings.add(
        severity,
        "isolation",
        &config.signing_keys_path,
        message,
        "give each worker its own key directory only",
    );
}

/// Whether the place is there; a finding if it is not.
fn present(fs: &dyn Fs, config: &Config, place: &Place, findings: &mut Findings) -> bool {
    // A link to the directory is as good.
    let found = fs.stat(&place.path.join("")).or_else(|_| fs.stat(&place.path));
    match found {
        Ok(stat) if stat.kind == FileKind::Dir || place.key == "trusted_root" => true,
        Ok(_) => {
            findings.warn("place", &place.path, format!("{} is not a directory", place.key), "");
            false
        }
        Err(_) if !place.needed => false,
        // The private directory of a role is made by its worker.
        Err(_) if place.key == "state_path" && fs.stat(&config.state_path.join("")).is_ok() => false,
        Err(error) => {
            let advice = match place.key {
                "signing_keys_path" => "mount the role's keys there, or make some with `rugged generate-keys`",
                "repo_path" => {
                    "mount the repository there, or make one with `rugged initialize`; the worker waits for it"
                }
                "trusted_root" | "verification_keys_path" => "mount the public keys and the pinned root there",
                _ => "mount or create it; the worker waits for it",
            };
            findings.warn("place", &place.path, format!("{} cannot be used: {error}", place.key), advice);
            false
        }
    }
}

fn modes(fs: &dyn Fs, place: &Place, findings: &mut Findings) {
    let Ok(stat) = fs.stat(&place.path.join("")).or_else(|_| fs.stat(&place.path)) else { return };
    let (mode, path) = (stat.mode, place.path.as_path());
    let shown = format!("mode {mode:04o}, owner {}:{}", stat.uid, stat.gid);
    match place.key {
        "state_path" if mode & 0o077 != 0 => {
            findings.warn(
                "mode",
                path,
                format!("others may look into this worker's private state ({shown})"),
                "chmod 700 it",
            );
        }
        "signing_keys_path" if mode & 0o022 != 0 => {
            findings.warn("mode", path, format!("others may put keys there ({shown})"), "chmod 500 it");
        }
        "verification_keys_path" | "trusted_root" if mode & 0o002 != 0 => {
            findings.warn(
                "mode",
                path,
                format!("anyone may replace the pinned root ({shown})"),
                "let only the administrator write there",
            );
        }
        "repo_path" | "inbound_targets_path" if mode & 0o002 != 0 && mode & 0o1000 == 0 => {
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

fn space(fs: &dyn Fs, place: &Place, findings: &mut Findings) {
    match fs.space(&place.path) {
        Ok(space) => {
            if space.bytes < LOW_BYTES {
                let message = format!("only {} MiB are free", space.bytes >> 20);
                findings.warn("space", &place.path, message, "make room: what does not fit waits");
            }
            if space.inodes < LOW_INODES {
                let message = format!("only {} inodes are free", space.inodes);
                findings.warn("space", &place.path, message, "remove files, or use a file system with more inodes");
            }
        }
        Err(error) => findings.warn("space", &place.path, format!("free space cannot be told: {error}"), ""),
    }
}

fn clock(config: &Config, skews: &[(&Place, i64)], findings: &mut Findings) {
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
