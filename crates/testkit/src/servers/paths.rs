//! Directories of the checkout and of private servers.

use std::path::{Path, PathBuf};

/// The root of the checkout that this was built from.
#[must_use]
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().and_then(Path::parent).unwrap_or(here)
}

/// The directory of private servers' files: `TUF_FLEET_TEST_SERVERS`, otherwise `target/test-servers` of the checkout.
pub(in crate::servers) fn servers_dir() -> PathBuf {
    let dir = std::env::var_os("TUF_FLEET_TEST_SERVERS")
        .map_or_else(|| workspace().join("target/test-servers"), PathBuf::from);
    if let Err(e) = std::fs::create_dir_all(&dir) {
        panic!("cannot create {}: {e}", dir.display());
    }
    dir
}
