//! One audit from beginning to end.

use super::error::AuditError;
use super::options::AuditOptions;
use super::progress::AuditProgress;
use super::report::{Report, Severity};
use super::running::RunningAudit;
use super::source::MetadataSource;
use crate::client::Fetch;

/// How often a repository is audited that changes during the audit.
const ATTEMPTS: u32 = 3;

/// Checks a repository against every rule of [`rules`](super::rules), [`X1`](super::rules::X1) excepted. `targets` is the directory of target
/// files; without one they are not checked.
///
/// Target files are read once per name, one after the other; memory grows with the metadata of all targets roles, not
/// with target files. A release may be published meanwhile: if there are findings and the timestamp has changed by the
/// end, the files read may not belong together, and the audit is repeated, three times at most.
///
/// # Errors
/// [`AuditError`] if there is no repository to read. Later failures are in the report.
pub fn audit(
    metadata: &dyn MetadataSource,
    targets: Option<&dyn Fetch>,
    options: &AuditOptions,
    progress: &mut dyn FnMut(AuditProgress),
) -> Result<Report, AuditError> {
    let mut attempt = 1;
    loop {
        let listing = metadata.list().map_err(AuditError::List)?.map(|names| names.into_iter().collect());
        let mut audit = RunningAudit::new(metadata, options, listing, &mut *progress);
        let root = audit.roots()?;
        audit.repository(&root, targets);
        let wrong = !audit.report.is_valid() || audit.report.count(Severity::Warning) > 0;
        if attempt == ATTEMPTS || !wrong || !audit.has_changed() {
            // After the decision: they hold for every version of the repository.
            audit.other_clients();
            return Ok(audit.report);
        }
        attempt += 1;
    }
}
