//! Retention over months of simulated operation: it deletes files out of use, and no client notices.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use testkit::scratch::{FsFetch, Options, Scratch};
use testkit::sim_fs::{CrashMode, SimFs};
use tuf_core::bins::BinLayout;
use tuf_core::client::{Client, ClientLimits, TrustedState};
use tuf_core::names::TargetPath;
use tuf_core::sha256::Sha256;
use tuf_core::store::{FileName, LocalStore, NewFile, Store as _};
use tuf_core::time::UtcTime;
use tuf_repository::retention::{Collected, Retention, RetentionPolicy};
use tuf_repository::roles::{Layout, Lifetime, SnapshotRole, Submission, TargetChange, TargetsRole, TimestampRole};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// Lifetime of every role in these tests, and the resulting time that files are kept.
const LIFETIME: i64 = 2 * DAY;
const KEEP: i64 = LIFETIME + DAY;
const DROPS_A_DAY: i64 = 20;
/// The number of targets at any time: each drop adds one and removes the one of this many drops before.
const WINDOW: i64 = 30;

fn start() -> UtcTime {
    UtcTime::from_unix(1_800_000_000)
}

/// The fleet: three roles, each with its marks, opened again now and then as processes are restarted.
struct Fleet {
    fs: SimFs,
    scratch: Scratch,
    now: UtcTime,
    targets: TargetsRole,
    snapshot: SnapshotRole,
    timestamp: TimestampRole,
    marks: [Retention; 3],
}

const ROLES: [&str; 3] = ["targets", "snapshot", "timestamp"];

fn marks(scratch: &Scratch) -> [Retention; 3] {
    ROLES.map(|role| {
        let policy = RetentionPolicy::new(0, LIFETIME);
        Retention::open(Arc::clone(&scratch.fs), &scratch.dir.join(format!("state-{role}")), policy).unwrap()
    })
}

impl Fleet {
    fn new(consistent_snapshot: bool, layout: Layout) -> Self {
        let fs = SimFs::new();
        fs.set_time(start().unix());
        let lifetime = Lifetime { seconds: LIFETIME, renew_before: LIFETIME / 3 };
        let options = Options { consistent_snapshot, layout, lifetime, ..Options::default() };
        let scratch = Scratch::new(Arc::new(fs.clone()), "/repo", options).unwrap();
        Self::on(fs, scratch, start())
    }

    fn on(fs: SimFs, scratch: Scratch, now: UtcTime) -> Self {
        let (targets, snapshot, timestamp) =
            (scratch.targets().unwrap(), scratch.snapshot().unwrap(), scratch.timestamp().unwrap());
        Self { marks: marks(&scratch), fs, scratch, now, targets, snapshot, timestamp }
    }

    /// The same on a file system of its own.
    fn fork(&self) -> Self {
        let fs = self.fs.fork();
        Self::on(fs.clone(), self.scratch.on(Arc::new(fs)), self.now)
    }

    fn restart(&mut self) {
        *self = Self::on(self.fs.clone(), self.scratch.clone(), self.now);
    }

    fn pass(&mut self, seconds: i64) {
        self.now = self.now.plus_seconds(seconds);
        self.fs.set_time(self.now.unix());
        // Meanwhile the kernel has written everything back; else the simulation gets slower by the day.
        self.fs.sync_everything();
    }

    fn commit(&mut self, submission: Submission) {
        self.targets.commit(&[submission], self.now).unwrap();
    }

    fn publish(&mut self) {
        self.targets.reconcile(self.now, false).unwrap();
        self.snapshot.update(self.now, false).unwrap();
        self.timestamp.update(self.now, false).unwrap();
    }

    /// A drop of one file, which also replaces the index, and removes the target that leaves the window.
    fn release(&mut self, number: i64) {
        let (name, text) = (format!("pkg/{number}"), format!("{number}"));
        let index = format!("index of {number}");
        let request = format!("drop {number}");
        let mut submission =
            self.scratch.submission(&request, &[(&name, text.as_bytes()), ("index", index.as_bytes())]).unwrap();
        if number >= WINDOW {
            let gone: TargetPath = format!("pkg/{}", number - WINDOW).parse().unwrap();
            submission.changes.push((gone, TargetChange::Remove { expected: None }));
        }
        self.commit(submission);
        self.publish();
    }

    fn collect(&mut self) -> Collected {
        self.try_collect().unwrap()
    }

    fn try_collect(&mut self) -> Result<Collected, tuf_repository::roles::RoleError> {
        let [targets, snapshot, timestamp] = &mut self.marks;
        let mut all = Collected::default();
        for one in [
            self.targets.collect(targets, self.now, true)?,
            self.snapshot.collect(snapshot, self.now)?,
            self.timestamp.collect(timestamp, self.now)?,
        ] {
            all.metadata += one.metadata;
            all.targets += one.targets;
            all.records += one.records;
            all.temporary += one.temporary;
            all.more |= one.more;
        }
        Ok(all)
    }

    fn client(&self, state: &TrustedState) -> Client<FsFetch, FsFetch> {
        let limits = ClientLimits::default();
        Client::from_state(state, self.scratch.fetch("metadata"), self.scratch.fetch("targets"), limits).unwrap()
    }

    fn new_state(&self) -> TrustedState {
        let mut client = self.scratch.client().unwrap();
        client.refresh(self.now).unwrap();
        client.export()
    }

    fn check(&self, state: &TrustedState, expected: &BTreeMap<String, Vec<u8>>, context: &str) {
        let mut client = self.client(state);
        client.refresh(self.now).unwrap_or_else(|error| panic!("{context}: {error}"));
        let listed = client.all_targets().unwrap_or_else(|error| panic!("{context}: {error}"));
        let files: BTreeMap<String, Vec<u8>> = listed
            .keys()
            .map(|path| {
                let bytes = client.download(path).unwrap_or_else(|error| panic!("{context}: {path}: {error}"));
                (path.to_string(), bytes)
            })
            .collect();
        assert_eq!(&files, expected, "{context}");
    }

    fn count(&self, below: &str, wanted: impl Fn(&str) -> bool) -> usize {
        let dir = format!("/repo/{below}/");
        self.fs.paths().iter().filter_map(|path| path.strip_prefix(&dir)).filter(|name| wanted(name)).count()
    }
}

/// The files that clients get after drop `number`.
fn expected(number: i64) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = ((number - WINDOW + 1).max(0)..=number)
        .map(|number| (format!("pkg/{number}"), format!("{number}").into_bytes()))
        .collect();
    files.insert("index".into(), format!("index of {number}").into_bytes());
    files
}

/// A client that fetched timestamp and snapshot and then stood still: it fetches the rest of just that state.
struct Paused {
    since: UtcTime,
    number: i64,
    state: TrustedState,
}

/// Fetches an earlier state without today's timestamp, as a client that continues after a pause.
struct Frozen {
    timestamp: Vec<u8>,
    rest: FsFetch,
}

impl tuf_core::client::Fetch for Frozen {
    fn fetch(&self, path: &str, max: u64) -> Result<Option<Box<dyn std::io::Read + '_>>, tuf_core::client::FetchError> {
        if path == "timestamp.json" {
            return Ok(Some(Box::new(self.timestamp.as_slice())));
        }
        self.rest.fetch(path, max)
    }
}

impl Paused {
    fn finish(&self, fleet: &Fleet) {
        let frozen = Frozen { timestamp: self.state.timestamp.clone().unwrap(), rest: fleet.scratch.fetch("metadata") };
        let mut client =
            Client::new(&fleet.scratch.root, frozen, fleet.scratch.fetch("targets"), ClientLimits::default()).unwrap();
        let context = format!("a client paused at {} goes on at {}", self.since, fleet.now);
        // A client judges expiry by the time at which its update began.
        client.refresh(self.since).unwrap_or_else(|error| panic!("{context}: {error}"));
        let listed = client.all_targets().unwrap_or_else(|error| panic!("{context}: {error}"));
        for (path, bytes) in expected(self.number) {
            let path: TargetPath = path.parse().unwrap();
            assert!(listed.contains_key(&path), "{context}: {path}");
            assert_eq!(client.download(&path).unwrap_or_else(|e| panic!("{context}: {path}: {e}")), bytes);
        }
    }
}

fn is_long() -> bool {
    std::env::var_os("TUF_FLEET_TEST_LONG").is_some()
}

fn days() -> i64 {
    // A year takes minutes in a debug build; the same rules show in two months.
    if is_long() { 365 } else { 60 }
}

fn operate(consistent_snapshot: bool, layout: Layout) {
    let mut fleet = Fleet::new(consistent_snapshot, layout);
    let mut states: Vec<(i64, TrustedState)> = Vec::new();
    let mut paused: VecDeque<Paused> = VecDeque::new();
    let days = days();
    let mut number = -1;
    for day in 0..days {
        for drop in 0..DROPS_A_DAY {
            number += 1;
            fleet.release(number);
            fleet.pass(DAY / DROPS_A_DAY);
            if drop % 5 == 0 {
                let collected = fleet.collect();
                assert!(!collected.more);
            }
            if drop == 0 && consistent_snapshot {
                paused.push_back(Paused { since: fleet.now, number, state: fleet.new_state() });
                while paused.front().is_some_and(|paused| fleet.now.seconds_since(paused.since) > KEEP) {
                    paused.pop_front();
                }
                // The longest pause that is promised.
                if let Some(paused) = paused.front() {
                    paused.finish(&fleet);
                }
            }
        }
        // A client of every day; of every week where time is short.
        if is_long() || day % 7 == 0 {
            states.push((day, fleet.new_state()));
        }
        if day % 10 == 9 {
            // The weekend: no drops, renewals alone.
            for _ in 0..6 {
                fleet.pass(DAY / 6);
                fleet.publish();
                fleet.collect();
            }
            fleet.restart();
        }
        if day % 5 == 0 {
            for (from, state) in &states {
                fleet.check(state, &expected(number), &format!("day {day}, a client of day {from}"));
            }
        }
    }
    for (from, state) in &states {
        fleet.check(state, &expected(number), &format!("a client of day {from}"));
    }

    // At the end only the files of the last days remain.
    let kept_drops = ((KEEP + DAY / 2) * DROPS_A_DAY / DAY) as usize;
    let roles = match layout {
        Layout::Flat => 1,
        Layout::Bins(layout) => layout.count() as usize + 2,
    };
    // A drop changes two targets and removes one; each role is renewed every 32 hours and has its current version.
    let versions = kept_drops * roles.min(3) + roles * 5;
    let metadata = fleet.count("metadata", |name| {
        name.ends_with(".json") && !name.starts_with('.') && !name.ends_with(".snapshot.json")
    });
    assert!(metadata <= versions + 20, "{metadata} files of metadata, {versions} expected");
    let snapshots = fleet.count("metadata", |name| name.ends_with(".snapshot.json"));
    let kept_snapshots = kept_drops + (DROPS_A_DAY as usize) + 10;
    assert!(snapshots <= kept_snapshots, "{snapshots} snapshots, {kept_snapshots} expected");
    let hidden = fleet.count("metadata", |name| name.starts_with('.'));
    assert!(hidden <= kept_drops + 10, "{hidden} hidden timestamps");
    let records = fleet.count("log", |name| name.ends_with(".record.json"));
    // Up to 256 wait for the next base, which then has to grow old.
    assert!(records <= 2 * 256 + kept_drops, "{records} records");
    assert!(fleet.count("log", |name| name.ends_with(".base.json")) <= 3);
    let files = fleet.count("targets", |name| !name.ends_with('/'));
    // Of each drop a file of two names and an index; in plain repositories a plain name besides.
    let kept_files = 3 * (WINDOW as usize + kept_drops) + if consistent_snapshot { 0 } else { 2 * kept_drops + 31 };
    assert!(files <= kept_files, "{files} target files, {kept_files} expected");
    let directories = fleet.count("targets", |name| name.ends_with('/'));
    assert!(directories <= WINDOW as usize + kept_drops + 1, "{directories} directories");
    assert_eq!(fleet.count("metadata", |name| name == "1.root.json"), 1);
    println!(
        "{days} days: {metadata} metadata, {snapshots} snapshots, {hidden} hidden, {records} records, {files} files, \
         {directories} directories"
    );
}

fn bins() -> Layout {
    Layout::Bins(BinLayout::new(16).unwrap())
}

#[test]
fn months_of_flat_releases_end_with_the_files_of_the_last_days() {
    operate(true, Layout::Flat);
}

#[test]
fn months_of_binned_releases_end_with_the_files_of_the_last_days() {
    operate(true, bins());
}

#[test]
fn months_of_plain_flat_releases_end_with_the_files_of_the_last_days() {
    operate(false, Layout::Flat);
}

#[test]
fn months_of_plain_binned_releases_end_with_the_files_of_the_last_days() {
    operate(false, bins());
}

/// A fleet with a week of history, much of it out of use.
fn with_history(consistent_snapshot: bool, layout: Layout) -> (Fleet, i64) {
    let mut fleet = Fleet::new(consistent_snapshot, layout);
    for number in 0..40 {
        fleet.release(number);
        for _ in 0..4 {
            fleet.pass(HOUR);
            fleet.publish();
            // Marks are made, and nothing is old enough to be deleted yet; then it is all left for one collection.
            if number < 12 {
                fleet.collect();
            }
        }
    }
    (fleet, 39)
}

#[test]
fn a_collection_cut_short_at_any_operation_breaks_nothing() {
    let mut cuts = 0;
    for (consistent, layout) in [(true, Layout::Flat), (true, bins()), (false, Layout::Flat)] {
        let (base, number) = with_history(consistent, layout);
        let state = base.new_state();
        let mut whole = base.fork();
        let collected = whole.collect();
        assert!(collected.metadata > 0 && collected.targets > 0, "{collected:?}");
        let operations = whole.fs.operations();
        let long = is_long();
        for cut in (1..=operations).step_by(if long { 1 } else { 9 }) {
            let modes = CrashMode::all(cut as u64);
            for mode in modes.into_iter().skip(if long { 0 } else { cut % 4 }).take(if long { 4 } else { 1 }) {
                let mut fleet = base.fork();
                fleet.fs.stop_at(cut);
                assert!(fleet.try_collect().is_err() || fleet.fs.is_stopped() || cut == operations);
                fleet.fs.crash(mode);
                fleet.restart();
                let context = format!("{consistent} {layout:?} {mode:?} {cut}");
                if consistent {
                    fleet.check(&state, &expected(number), &context);
                }
                fleet.publish();
                fleet.check(&state, &expected(number), &context);
                fleet.release(number + 1);
                fleet.collect();
                fleet.check(&state, &expected(number + 1), &context);
                assert!(fleet.fs.paths().iter().all(|path| !path.contains(".tmp-old-")), "{context}");
                cuts += 1;
            }
        }
    }
    println!("{cuts} cut points");
}

#[test]
fn nothing_is_deleted_before_anything_is_known_to_be_out_of_use() {
    let mut fleet = Fleet::new(true, Layout::Flat);
    for number in 0..40 {
        fleet.release(number);
        fleet.pass(DAY / 4);
    }
    fleet.publish();
    // Ten days old, and all of it might have been served until a moment ago.
    assert_eq!(fleet.collect().total(), 0);
    fleet.pass(KEEP - HOUR);
    fleet.publish();
    assert_eq!(fleet.collect().total(), 0);
    fleet.pass(HOUR);
    fleet.publish();
    let collected = fleet.collect();
    assert!(collected.metadata > 30 && collected.targets > 0, "{collected:?}");
}

#[test]
fn served_files_stay_as_long_as_no_newer_timestamp_is_served() {
    let mut fleet = Fleet::new(true, Layout::Flat);
    fleet.release(0);
    let state = fleet.new_state();
    let served = fleet.fs.contents("/repo/metadata/timestamp.json").unwrap();
    // The timestamp role is down; the others go on.
    for number in 1..30 {
        fleet.pass(HOUR);
        let submission = fleet.scratch.submission(&format!("drop {number}"), &[("index", b"new")]).unwrap();
        fleet.commit(submission);
        fleet.snapshot.update(fleet.now, false).unwrap();
        fleet.collect_without_timestamp();
    }
    fleet.check(&state, &expected(0), "while the timestamp is not expired");
    fleet.pass(20 * DAY);
    fleet.snapshot.update(fleet.now, false).unwrap();
    fleet.collect_without_timestamp();
    // Expired: nothing is served at all, and nothing is deleted.
    assert_eq!(fleet.fs.contents("/repo/metadata/timestamp.json").unwrap(), served);
    assert!(fleet.fs.contents("/repo/metadata/2.targets.json").is_some());
    fleet.publish();
    assert_eq!(fleet.new_state().root, state.root);
}

impl Fleet {
    fn collect_without_timestamp(&mut self) {
        let [targets, snapshot, _] = &mut self.marks;
        self.targets.collect(targets, self.now, true).unwrap();
        self.snapshot.collect(snapshot, self.now).unwrap();
    }
}

/// Ages a fleet until retention has deleted every replaced file.
fn age(fleet: &mut Fleet) {
    for _ in 0..(KEEP + 2 * DAY) / (6 * HOUR) {
        fleet.pass(6 * HOUR);
        fleet.publish();
        fleet.collect();
    }
}

#[test]
fn a_file_that_is_about_to_be_listed_again_stays() {
    for consistent in [true, false] {
        let mut fleet = Fleet::new(consistent, Layout::Flat);
        fleet.commit(fleet.scratch.submission("one", &[("pkg/a", b"first"), ("index", b"1")]).unwrap());
        fleet.publish();
        fleet.commit(Submission {
            request: "two".into(),
            changes: vec![("pkg/a".parse().unwrap(), TargetChange::Remove { expected: None })],
        });
        fleet.publish();
        fleet.collect();
        for _ in 0..(KEEP / HOUR - 1) {
            fleet.pass(HOUR);
            fleet.publish();
        }
        fleet.pass(HOUR);
        fleet.publish();
        // Another worker took the same file in again and has not committed yet.
        let again = fleet.scratch.submission("three", &[("pkg/a", b"first")]).unwrap();
        fleet.collect();
        fleet.commit(again);
        fleet.publish();
        let state = fleet.new_state();
        let files = [("index", "1"), ("pkg/a", "first")].map(|(k, v)| (k.to_owned(), v.as_bytes().to_vec()));
        fleet.check(&state, &files.into(), "listed again");
        fleet.collect();
        age(&mut fleet);
        let hash = Sha256::of(b"first").to_string();
        assert!(fleet.fs.contents(format!("/repo/targets/pkg/{hash}.a")).is_some());
        assert!(fleet.fs.contents(format!("/repo/targets/{hash}.pkg/a")).is_some());
        // And removed for good it goes, with the directory that was made for it.
        fleet.commit(Submission {
            request: "four".into(),
            changes: vec![("pkg/a".parse().unwrap(), TargetChange::Remove { expected: None })],
        });
        fleet.publish();
        age(&mut fleet);
        assert_eq!(fleet.count("targets", |name| name.contains("pkg")), 0, "{:?}", fleet.fs.paths());
    }
}

#[test]
fn unlisted_files_and_files_of_killed_processes_are_deleted_too() {
    let mut fleet = Fleet::new(true, bins());
    fleet.release(0);
    let orphan = fleet.scratch.submission("never committed", &[("pkg/orphan", b"orphan")]).unwrap();
    drop(orphan);
    fleet.fs.plant("/repo/metadata/.tmp-1-2-3", "half");
    fleet.fs.plant("/repo/targets/.tmp-1-2-3", "half");
    fleet.fs.plant("/repo/log/.tmp-1-2-3", "half");
    fleet.fs.plant("/repo/targets/robots.txt", "somebody's");
    age(&mut fleet);
    let paths = fleet.fs.paths();
    assert!(!paths.iter().any(|path| path.contains("orphan") || path.contains(".tmp-")), "{paths:?}");
    assert!(paths.iter().any(|path| path.ends_with("robots.txt")), "not ours to delete");
    fleet.check(&fleet.new_state(), &expected(0), "after all");
}

#[test]
fn a_removal_cut_short_gets_its_file_back() {
    let mut fleet = Fleet::new(true, Layout::Flat);
    fleet.release(0);
    let name = format!("/repo/targets/pkg/{}.0", Sha256::of(b"0"));
    let aside = format!("/repo/targets/pkg/.tmp-old-{}.0", Sha256::of(b"0"));
    durable_fs::Fs::rename(&fleet.fs, name.as_ref(), aside.as_ref()).unwrap();
    fleet.pass(KEEP);
    fleet.publish();
    fleet.collect();
    fleet.pass(KEEP);
    fleet.publish();
    fleet.collect();
    assert_eq!(fleet.fs.contents(&name).unwrap(), b"0");
    assert_eq!(fleet.fs.contents(&aside), None);
}

#[test]
fn a_file_reported_as_existing_during_its_deletion_exists() {
    let fs = SimFs::new();
    fs.plant_dir("/store");
    let store = LocalStore::new(Arc::new(fs.clone()), "/store".into());
    for round in 0..300 {
        let names: Vec<FileName> =
            ["dir/file", "HASH.dir/file"].iter().map(|name| format!("{round}/{name}").try_into().unwrap()).collect();
        let create = |names: &[FileName]| {
            let staged = store.stage("", &mut &b"bytes"[..], 100).unwrap();
            store.create_all(vec![NewFile::staged(names.to_vec(), staged)])
        };
        fs.set_time(1_000);
        create(&names).unwrap();
        fs.set_time(2_000);
        let (created, removed) = std::thread::scope(|scope| {
            let remover = scope.spawn(|| store.remove_older(&names, 1_500).unwrap());
            (create(&names), remover.join().unwrap())
        });
        let context = format!("round {round}: {created:?}, {removed} removed");
        // Directories may go while names are made in them; that is an error, and tried again.
        if created.is_ok() {
            for name in &names {
                assert_eq!(store.read(name, 100).unwrap().as_deref(), Some(&b"bytes"[..]), "{context}");
                assert_eq!(store.stat(name).unwrap().unwrap().mtime, 2_000, "{context}");
            }
        }
        assert!(!fs.paths().iter().any(|path| path.contains(".tmp-")), "{context}");
    }
}

#[test]
fn processes_that_stood_still_until_their_past_was_collected_lose_nothing_and_claim_nothing() {
    let mut fleet = Fleet::new(true, Layout::Flat);
    fleet.release(0);
    let mut sleeper = Fleet::on(fleet.fs.clone(), fleet.scratch.clone(), fleet.now);
    sleeper.publish();
    // The first base comes with record 256, and three days later it is old enough.
    for number in 1..350 {
        fleet.release(number);
        fleet.pass(HOUR);
        if number % 5 == 0 {
            fleet.collect();
        }
    }
    assert_eq!(fleet.fs.contents("/repo/log/2.record.json"), None);
    assert_eq!(fleet.fs.contents("/repo/metadata/2.snapshot.json"), None);
    assert_eq!(fleet.fs.contents("/repo/metadata/2.targets.json"), None);
    sleeper.now = fleet.now;
    sleeper.release(350);
    assert_eq!(fleet.fs.contents("/repo/log/3.record.json"), None);
    assert_eq!(fleet.fs.contents("/repo/metadata/3.snapshot.json"), None);
    fleet.publish();
    fleet.check(&fleet.new_state(), &expected(350), "after the sleeper's release");
    assert_eq!(fleet.targets.log().head(), sleeper.targets.log().head());
}

#[test]
fn a_call_deletes_no_more_than_it_may_and_says_that_there_is_more() {
    let (fleet, _) = with_history(true, bins());
    let scratch = fleet.scratch.clone();
    let mut targets = scratch.targets().unwrap();
    let policy = RetentionPolicy::new(0, LIFETIME).with_deletions(3);
    let mut marks = Retention::open(Arc::clone(&scratch.fs), &scratch.dir.join("state-targets"), policy).unwrap();
    let mut calls = 0;
    loop {
        let collected = targets.collect(&mut marks, fleet.now, true).unwrap();
        assert!(collected.metadata <= 3 && collected.targets <= 3 && collected.records <= 3, "{collected:?}");
        calls += 1;
        if !collected.more {
            break;
        }
    }
    assert!(calls > 5, "{calls}");
    assert_eq!(targets.collect(&mut marks, fleet.now, true).unwrap().total(), 0);
}
