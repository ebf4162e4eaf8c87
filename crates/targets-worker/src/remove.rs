//! `remove-targets`.

use fleet::contract::{RemoveTargets, RemoveTargetsResult};
use fleet::signing::SigningError;
use tuf_core::names::TargetPath;
use tuf_core::time::UtcTime;
use tuf_repository::roles::{Submission, TargetChange};

use crate::role::Targets;

/// Longest request id, in bytes.
const MAX_REQUEST_ID: usize = 128;

impl Targets {
    /// Takes targets out, once per request id; all of them or, when a precondition does not hold, none.
    ///
    /// # Errors
    /// [`SigningError::Refused`] for names that are no target paths and for preconditions that do not hold.
    pub fn remove(&mut self, request: &RemoveTargets, now: UtcTime) -> Result<RemoveTargetsResult, SigningError> {
        if request.request_id.is_empty() || request.request_id.len() > MAX_REQUEST_ID {
            return Err(SigningError::refused(format!("request_id must have 1 to {MAX_REQUEST_ID} bytes")));
        }
        if let Some(unlisted) = request.expected.keys().find(|path| !request.targets.contains(path)) {
            return Err(SigningError::refused(format!("`expected` names {unlisted}, which is not to be removed")));
        }
        let mut changes = Vec::with_capacity(request.targets.len());
        for target in &request.targets {
            let path = TargetPath::new(target).map_err(|error| SigningError::refused(error.to_string()))?;
            let expected = match request.expected.get(target) {
                Some(hash) => {
                    Some(hash.parse().map_err(|_| SigningError::refused(format!("`{hash}` is not a hex sha256")))?)
                }
                None => None,
            };
            changes.push((path, TargetChange::Remove { expected }));
        }
        let submission = Submission { request: format!("remove:{}", request.request_id), changes };
        let commit = self.role.commit(&[submission], now)?;
        let applied = commit.applied.first();
        let outcome = applied.map(|applied| applied.outcome).unwrap_or_default();
        Ok(RemoveTargetsResult {
            record: applied.map(|applied| applied.record),
            removed: outcome.removed,
            not_found: outcome.not_found,
            already_done: applied.is_some_and(|applied| applied.earlier),
        })
    }
}
