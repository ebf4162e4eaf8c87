//! Where the worker binaries are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The packages whose binaries the tests start, and those binaries.
const PACKAGES: [(&str, &str); 6] = [
    ("monitor-worker", "monitor-worker"),
    ("targets-worker", "targets-worker"),
    ("snapshot-worker", "snapshot-worker"),
    ("timestamp-worker", "timestamp-worker"),
    ("root-worker", "root-worker"),
    ("rugged-cli", "rugged"),
];

/// The binary `name`.
///
/// `TUF_FLEET_TEST_BIN` names the directory of binaries that are up to date, as `scripts/test.sh` sets it. Otherwise they
/// are built beside the running test: cargo builds no binaries of other packages for a test, and stale ones would be
/// tested in their place.
///
/// # Panics
///
/// If there is none and none can be built.
#[track_caller]
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| match std::env::var_os("TUF_FLEET_TEST_BIN") {
        Some(directory) => PathBuf::from(directory),
        None => build(),
    });
    let path = directory.join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace --bins`", path.display());
    path
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    // target/PROFILE/deps/TEST-HASH
    let directory = test.parent().and_then(Path::parent).expect("a test below the target directory").to_owned();
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(testkit::servers::workspace()).args(["build", "--quiet", "--bins", "--profile", profile]);
    for (package, _) in PACKAGES {
        command.args(["--package", package]);
    }
    if let Some(target) = directory.parent() {
        command.arg("--target-dir").arg(target);
    }
    match command.status() {
        Ok(status) => assert!(status.success(), "the worker binaries cannot be built: {status}"),
        // Tests may run where cargo is out of reach; what is there has to do.
        Err(_) if PACKAGES.iter().all(|(_, name)| directory.join(name).exists()) => {}
        Err(error) => panic!("the worker binaries are missing, and cargo cannot be started: {error}"),
    }
    directory
}
