//! `remove-targets`.

use fleet::contract::{RemoveTargets, RemoveTargetsResult};
use fleet::signing::SigningError;
use tuf_core::names::TargetPath;
use tuf_core::time::UtcTime;
use tuf_repository::roles::{Submission, TargetChange};

use crate::error::{RefusedRequest, TargetsError};
use crate::role::TargetsWorker;

/// Longest request id, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

impl TargetsWorker {
    /// Removes targets, once per request id: all of them or, when a precondition does not hold, none.
    ///
    /// # Errors
    /// [`SigningError::Refused`] for names that are no target paths and for preconditions that do not hold.
    pub fn remove(&mut self, request: &RemoveTargets, now: UtcTime) -> Result<RemoveTargetsResult, SigningError> {
        Ok(self.remove_checked(request, now)?)
    }

    fn remove_checked(&mut self, request: &RemoveTargets, now: UtcTime) -> Result<RemoveTargetsResult, TargetsError> {
        if request.request_id.is_empty() || request.request_id.len() > MAX_REQUEST_ID_BYTES {
            return Err(RefusedRequest::RequestId { max: MAX_REQUEST_ID_BYTES }.into());
        }
        if let Some(path) = request.expected.keys().find(|path| !request.targets.contains(path)) {
            return Err(RefusedRequest::ExpectedNotRemoved { path: path.clone() }.into());
        }
        let mut changes = Vec::with_capacity(request.targets.len());
        for target in &request.targets {
            let path = TargetPath::new(target)?;
            let expected = match request.expected.get(target) {
                Some(hash) => Some(hash.parse().map_err(|_| RefusedRequest::NotASha256 { hash: hash.clone() })?),
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
