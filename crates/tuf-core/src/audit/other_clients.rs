//! How much other clients read and follow, and the clients that a repository excludes as a whole.

use super::report::Severity;
use super::running::RunningAudit;

/// Roots that python-tuf and go-tuf follow in one run.
pub(super) const MAX_ROOTS_FOLLOWED: u64 = 256;
/// Roles that python-tuf and go-tuf visit in the search for one target, the top-level one included.
pub(super) const MAX_ROLES_VISITED: usize = 33;
/// Bytes that php-tuf reads of a file without a listed length.
pub(super) const PHP_MAX_BYTES: u64 = 100_000;

impl RunningAudit<'_> {
    /// Reports the clients that cannot read the repository as a whole, or only slowly.
    pub(super) fn other_clients(&mut self) {
        for (rule, subject, message) in self.concerns.findings(self.report.checked.targets_roles) {
            self.report.add(rule, Severity::Warning, subject, message);
        }
    }
}
