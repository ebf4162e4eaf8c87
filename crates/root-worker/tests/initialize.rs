//! The ceremony that creates the first root.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::Arc;

use durable_fs::{Fs, durable};
use fleet::Config;
use root_worker::{CeremonyError, KeyRequest, generate_keys, initialize};
use testkit::sim_fs::SimFs;
use tuf_core::time::UtcTime;

fn now() -> UtcTime {
    UtcTime::from_unix(1_800_000_000)
}

fn scene() -> (Arc<dyn Fs>, SimFs, Config) {
    let sim = SimFs::new();
    sim.set_time(now().unix());
    let config = Config::beneath(Path::new("/fleet")).build().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    durable::create_dir_all(fs.as_ref(), &config.state_path, 0o755).unwrap();
    generate_keys(fs.as_ref(), &config, &KeyRequest::default()).unwrap();
    (fs, sim, config)
}

#[test]
fn a_wrong_clock_leaves_no_root_behind() {
    let (fs, sim, config) = scene();
    for days in [-300, 300] {
        let error = initialize(&fs, &config, now().plus_seconds(days * 86_400)).unwrap_err();
        assert!(matches!(error, CeremonyError::Clock(_)), "{error}");
        assert!(error.to_string().contains("no root was written"), "{error}");
        let repository = config.metadata_path().join("1.root.json");
        assert!(sim.contents(&config.trusted_root).is_none() && sim.contents(repository).is_none());
    }
    // With the clock set right, nothing stands in the way.
    assert_eq!(initialize(&fs, &config, now()).unwrap().root_version, 1);
    assert!(fs.stat(&config.trusted_root).is_ok());
}
