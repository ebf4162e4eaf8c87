//! The check of a role's floor, which `rugged doctor` makes: a running worker raises an alarm for the same.

use std::sync::Arc;

use durable_fs::Fs;
use tuf_core::time::UtcTime;
use tuf_repository::roles::recover::FlooredRole;

use super::finding::{FindingScope, FindingSeverity, Findings, PreflightFinding};
use crate::Config;
use crate::recover::{inspect, worker_role};
use crate::roles::WorkerRole;
use crate::signing::SigningErrorKind;

/// Compares the repository with the floor of `role`, where its state is on this machine. Reads the newest metadata, and
/// writes nothing.
#[must_use]
pub fn floor(fs: &Arc<dyn Fs>, config: &Config, role: WorkerRole, now: UtcTime) -> Vec<PreflightFinding> {
    let mut findings = Findings::new(FindingScope::Role(role));
    let Some(floored) = FlooredRole::ALL.into_iter().find(|floored| worker_role(*floored) == role) else {
        return findings.all;
    };
    let state = config.state_of(role);
    match inspect(fs, config, floored, now) {
        Ok(Some(standing)) if !standing.below.is_empty() => {
            let below: Vec<String> = standing.below.iter().map(ToString::to_string).collect();
            let message = format!("the repository is below the floor: {}", below.join("; "));
            if standing.granted {
                let advice = "start the worker: it resumes above the floor";
                findings.add(FindingSeverity::Info, "floor", &state, message, advice);
            } else {
                let advice = format!(
                    "put the newer repository back; if it is lost, run `rugged recover --role {role}` (docs/operations.md, \
                     Restore)"
                );
                findings.warn("floor", &state, message, &advice);
            }
        }
        Ok(_) => {}
        // What is missing is reported as a place, or as the root.
        Err(error) if error.kind() == SigningErrorKind::Alarm => {
            let advice = "restore the file that it names from a backup or a mirror; the role does not sign before";
            findings.warn("floor", &state, error.to_string(), advice);
        }
        Err(_) => {}
    }
    findings.all
}
