//! A drop is copied while its producer, or the targets-worker, exchanges directories with links, on the real file system.

#![allow(clippy::disallowed_methods, reason = "a test on real directories")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use durable_fs::durable::{self, WriteBatch};
use durable_fs::{Fs, RealFs};
use monitor_worker::staging::{CopyTarget, copy_drop};
use monitor_worker::{BatchLimits, staging};
use testkit::exchange::Exchanger;

const TRIES: usize = 3_000;
const FILES: [&str; 4] = ["a", "b", "sub/c", "sub/deeper/d"];

fn fill(dir: &Path, text: &str) {
    fs::create_dir_all(dir.join("sub/deeper")).unwrap();
    for file in FILES {
        fs::write(dir.join(file), text).unwrap();
    }
}

/// The files below `dir`, of which some may be missing.
fn read(dir: &Path) -> BTreeMap<&'static str, String> {
    FILES.into_iter().filter_map(|file| Some((file, fs::read_to_string(dir.join(file)).ok()?))).collect()
}

struct Place {
    temp: tempfile::TempDir,
    staging: Box<dyn durable_fs::Dir>,
}

impl Place {
    /// A drop, `outside` with the same names, and a link to `outside/LINKED`.
    fn new(linked: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        fill(&temp.path().join("drop"), "inside");
        fill(&temp.path().join("outside"), "outside");
        symlink(temp.path().join("outside").join(linked), temp.path().join("link")).unwrap();
        fs::create_dir(temp.path().join("staging")).unwrap();
        let staging = RealFs.open_dir(&temp.path().join("staging")).unwrap();
        Self { temp, staging }
    }

    /// Copies the drop `TRIES` times. Returns how often that succeeded.
    fn copy(&self, check: impl Fn(usize, bool)) -> usize {
        let drop = self.temp.path().join("drop");
        let held = fs::File::open(&drop).unwrap();
        let id = {
            use std::os::unix::fs::MetadataExt as _;
            let found = held.metadata().unwrap();
            (found.dev(), found.ino())
        };
        let batch = WriteBatch::begin(&RealFs, [self.temp.path()]).unwrap();
        let target = CopyTarget { staging: self.staging.as_ref(), name: OsStr::new("copy"), batch: &batch };
        let mut copied = 0;
        for number in 0..TRIES {
            let result = copy_drop(&RealFs, &drop, id, &target, &BatchLimits::default(), &|| true);
            check(number, result.is_ok());
            copied += usize::from(result.is_ok());
            durable::remove_tree_in(self.staging.as_ref(), OsStr::new("copy"), Path::new("staging")).unwrap();
        }
        copied
    }
}

fn drop_exchanged(name: &str, linked: &str) {
    let place = Place::new(linked);
    // The id is that of the directory; it is opened before the race begins.
    let exchange = |place: &Place| Exchanger::start(&place.temp.path().join(name), &place.temp.path().join("link"));
    let copy = place.temp.path().join("staging/copy");
    let exchanger = std::cell::OnceCell::new();
    let copied = place.copy(|number, ok| {
        let found = read(&copy);
        assert!(found.values().all(|text| text == "inside"), "try {number}: {found:?}");
        assert!(!ok || found.len() == FILES.len(), "try {number}: {found:?}");
        // The first try is undisturbed.
        exchanger.get_or_init(|| exchange(&place));
    });
    let exchanges = exchanger.get().map(Exchanger::exchanges);
    println!("{name:?} exchanged: {TRIES} tries, {copied} copied, {exchanges:?} exchanges");
    assert!(copied > 0 && exchanges > Some(0));
}

#[test]
fn a_drop_that_is_exchanged_with_a_link_while_it_is_copied_stages_nothing_from_outside() {
    drop_exchanged("drop", "");
}

#[test]
fn a_directory_in_a_drop_that_is_exchanged_with_a_link_stages_nothing_from_outside() {
    drop_exchanged("drop/sub", "sub");
}

#[test]
fn a_drop_that_is_exchanged_with_another_directory_while_it_is_copied_is_not_mixed_with_it() {
    let place = Place::new("");
    fs::remove_file(place.temp.path().join("link")).unwrap();
    fs::rename(place.temp.path().join("outside"), place.temp.path().join("link")).unwrap();
    let copy = place.temp.path().join("staging/copy");
    let exchanger = std::cell::OnceCell::new();
    place.copy(|number, _| {
        let found = read(&copy);
        assert!(found.values().all(|text| text == "inside"), "try {number}: {found:?}");
        exchanger.get_or_init(|| Exchanger::start(&place.temp.path().join("drop"), &place.temp.path().join("link")));
    });
}

#[test]
fn a_staging_directory_that_is_exchanged_with_a_link_while_it_is_filled_writes_nothing_outside() {
    let place = Place::new("");
    let (staging, link) = (place.temp.path().join("staging"), place.temp.path().join("link"));
    fs::create_dir(place.temp.path().join("victim")).unwrap();
    fs::remove_file(&link).unwrap();
    symlink(place.temp.path().join("victim"), &link).unwrap();
    let exchanger = Exchanger::start(&staging, &link);
    let copied = place.copy(|number, ok| {
        assert!(ok, "try {number}");
        assert_eq!(fs::read_dir(place.temp.path().join("victim")).unwrap().count(), 0, "try {number}");
    });
    assert_eq!((copied, exchanger.exchanges() > 0), (TRIES, true));
}

#[test]
fn a_measured_drop_that_is_exchanged_with_a_link_is_measured_or_an_error_and_never_the_other() {
    let place = Place::new("");
    for number in 0..20 {
        fs::write(place.temp.path().join("outside").join(number.to_string()), "outside").unwrap();
    }
    let drop = place.temp.path().join("drop");
    let _exchanger = Exchanger::start(&drop, &place.temp.path().join("link"));
    for _ in 0..TRIES {
        if let Ok(size) = staging::measure(&RealFs, &drop, 100) {
            assert_eq!(size.files, FILES.len() as u64);
        }
        if let Ok(survey) = staging::survey(&RealFs, &drop, 100, &staging::PathNumbers::default(), &|| true) {
            assert_eq!(survey.paths.unwrap().len(), FILES.len());
        }
    }
}
