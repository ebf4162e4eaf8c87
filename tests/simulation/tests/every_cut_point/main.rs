//! One batch of three drops, cut short at every file operation, publish and acknowledgement: each drop ends published
//! exactly once and whole, without any command.
//!
//! The whole fleet runs in this process over a simulated file system and the in-memory broker. At a cut both stop;
//! unsynced files are lost (or keep their names and lose their data). Then everything starts again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking"
)]

mod mounts;
mod rules;
mod shared_disk;
mod simulated;

use std::io::ErrorKind;

use celery_runtime::broker::memory::Duplicates;
use simulated::{Broken, Cut, Simulated};
use testkit::sim_fs::{CrashMode, SimFs};

/// The number of bins of the repository.
const BINS: u32 = 4;

fn every_cut(consistent_snapshot: bool, bins: u32, duplicates: Duplicates) {
    let base = Simulated::new(consistent_snapshot, bins, duplicates);
    let whole = base.run(None);
    rules::check(&whole, &base);
    let (files, messages) = whole.operations();
    let mut tried = 0;
    for cut in (0..files).map(Cut::File).chain((0..messages).map(Cut::Message)) {
        for mode in CrashMode::all(cut.number() as u64) {
            let context = format!("consistent={consistent_snapshot} bins={bins} {duplicates:?} {cut:?} {mode:?}");
            let stopped = base.run(Some(cut));
            let Broken { crashed, before } = stopped.crash(mode, tried % 3 != 0);
            rules::check_crashed(&crashed, &base, &context);
            let finished = crashed.resume(&context);
            rules::check_after(&finished, &base, &before, &context);
            tried += 1;
        }
    }
    println!(
        "consistent_snapshot={consistent_snapshot}, {bins} bins, {duplicates:?}: {} cut points ({files} file operations, {messages} \
         publishes and acknowledgements, before and after), {tried} restarts",
        files + messages
    );
}

/// Every file operation of an uncut run, with a fault planted at it.
fn every_fault(consistent_snapshot: bool, bins: u32, what: &str, plant: impl Fn(&SimFs, usize)) {
    let base = Simulated::new(consistent_snapshot, bins, Duplicates::Off);
    let (files, _) = base.run(None).operations();
    for at in 0..files {
        let context = format!("consistent={consistent_snapshot} bins={bins} {what} at {at}");
        let finished = base.run_with(&context, |fs| plant(fs, at));
        rules::check_after(&finished, &base, &base.fs.files(), &context);
    }
    println!("consistent_snapshot={consistent_snapshot}, {bins} bins: {files} file operations, each {what} once");
}

#[test]
fn an_operation_repeated_because_its_reply_was_lost_changes_nothing() {
    for (consistent_snapshot, bins) in [(true, BINS), (false, BINS), (true, 0)] {
        every_fault(consistent_snapshot, bins, "repeated", |fs, at| fs.repeat_at(at));
    }
}

#[test]
fn a_disk_that_is_full_for_a_moment_rejects_nothing() {
    for (consistent_snapshot, bins) in [(true, BINS), (false, BINS), (true, 0)] {
        every_fault(consistent_snapshot, bins, "out of space", |fs, at| fs.fail_at(at, ErrorKind::StorageFull));
    }
}

#[test]
fn a_batch_cut_short_anywhere_is_published_once_and_whole() {
    every_cut(true, BINS, Duplicates::Off);
}

#[test]
fn a_batch_cut_short_anywhere_is_published_once_and_whole_without_consistent_snapshots() {
    every_cut(false, BINS, Duplicates::Off);
}

#[test]
fn a_batch_cut_short_anywhere_is_published_once_and_whole_with_every_task_delivered_twice() {
    every_cut(true, BINS, Duplicates::Together);
}

#[test]
fn a_batch_cut_short_anywhere_is_published_once_and_whole_without_consistent_snapshots_with_every_task_delivered_twice()
{
    every_cut(false, BINS, Duplicates::AfterAck);
}

/// In a flat layout `targets` is written while it is signed.
#[test]
fn a_batch_cut_short_anywhere_is_published_once_and_whole_without_bins() {
    every_cut(true, 0, Duplicates::Off);
}
