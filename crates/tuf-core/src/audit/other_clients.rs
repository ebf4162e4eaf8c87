//! How much other clients read and follow.

/// Roots that python-tuf and go-tuf follow in one run.
pub(super) const MAX_ROOTS_FOLLOWED: u64 = 256;
/// Roles that python-tuf and go-tuf visit in the search for one target, the top-level one included.
pub(super) const MAX_ROLES_VISITED: usize = 33;
/// Bytes that php-tuf reads of a file without a listed length.
pub(super) const PHP_MAX_BYTES: u64 = 100_000;
