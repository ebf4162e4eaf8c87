//! The real and the simulated file system do the same.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use durable_fs::{Fs, RealFs};
use testkit::fs_conformance::check;
use testkit::sim_fs::SimFs;

#[test]
fn the_operating_system_passes_the_conformance_suite() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Command::new("mkfifo").arg(dir.path().join("fifo")).status().unwrap().success());
    symlink("plain", dir.path().join("link")).unwrap();
    symlink("real", dir.path().join("dirlink")).unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    check(&fs, dir.path());
}

#[test]
fn the_simulation_passes_the_conformance_suite() {
    let fs = SimFs::new();
    fs.plant_fifo("/some/dir/fifo");
    fs.plant_symlink("/some/dir/link", "plain");
    fs.plant_symlink("/some/dir/dirlink", "real");
    let fs: Arc<dyn Fs> = Arc::new(fs);
    check(&fs, Path::new("/some/dir"));
}
