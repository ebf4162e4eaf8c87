//! `add-targets`: a batch of drops, or loose inbound files.

mod batch;
mod commit;
mod loose;

use fleet::contract::{AddTargets, AddTargetsResult};
use fleet::signing::SigningError;
use tuf_core::time::UtcTime;

use crate::error::RefusedRequest;
use crate::error::TargetsError;
use crate::role::TargetsWorker;

impl TargetsWorker {
    /// Signs a batch, named loose files, or all loose files. `task_id` makes loose files idempotent; drops are identified by
    /// name and digest.
    ///
    /// # Errors
    /// [`SigningError`]; nothing was signed then.
    pub fn add(&mut self, request: &AddTargets, task_id: &str, now: UtcTime) -> Result<AddTargetsResult, SigningError> {
        let result = match (&request.batch, &request.targets) {
            (Some(_), Some(_)) => Err(TargetsError::Refused(RefusedRequest::BatchAndTargets)),
            (Some(batch), None) => self.add_batch(batch, now),
            (None, targets) => self.add_loose(targets.as_deref(), task_id, now),
        };
        Ok(result?)
    }
}
