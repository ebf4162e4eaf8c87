//! Faults of a disk that others use too, at every operation of a batch of three drops: bytes are lost and only another
//! process is told, a new name is not found for a while, a second actor exchanges, plants and touches names. Each drop ends
//! published once and whole, without any command.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use celery_runtime::broker::memory::Duplicates;
use testkit::sim_fs::SimFs;

use super::BINS;
use crate::rules;
use crate::simulated::{NOW, Simulated, drops};

/// Lookups that do not find a hidden name.
const HIDDEN_LOOKUPS: u32 = 8;
/// Calls of the program for which two names are exchanged.
const EXCHANGED_FOR: usize = 12;

const LAYOUTS: [(bool, u32); 3] = [(true, BINS), (false, BINS), (true, 0)];

/// `seen`: the disk forgets lost bytes immediately, as when memory is short. Otherwise the cache shows them to the end.
fn lost_bytes(seen: bool) {
    for (consistent_snapshot, bins) in LAYOUTS {
        let base = Simulated::new(consistent_snapshot, bins, Duplicates::Off);
        let (files, _) = base.run(None).operations();
        let mut losses = 0;
        for at in 0..files {
            let context = format!("consistent={consistent_snapshot} bins={bins} bytes lost at {at}, seen={seen}");
            let finished = base.run_with(&context, |fs| {
                fs.lose_unsynced_at(at);
                if seen {
                    fs.set_second_actor(|fs, _| fs.drop_caches());
                }
            });
            losses += usize::from(finished.fs.losses() > 0);
            finished.fs.drop_caches();
            rules::check_after(&finished, &base, &base.fs.files(), &context);
        }
        assert!(losses > 0);
        println!(
            "consistent_snapshot={consistent_snapshot}, {bins} bins, seen={seen}: {files} file operations, unsynced bytes lost before \
             {losses} of them, reported to another process only"
        );
    }
}

#[test]
fn bytes_whose_loss_only_another_process_was_told_are_written_again() {
    lost_bytes(false);
}

#[test]
fn bytes_that_are_lost_and_gone_from_the_cache_are_written_again() {
    lost_bytes(true);
}

#[test]
fn a_new_name_that_is_not_found_for_a_while_changes_nothing() {
    for (consistent_snapshot, bins) in LAYOUTS {
        let base = Simulated::new(consistent_snapshot, bins, Duplicates::Off);
        let (files, _) = base.run(None).operations();
        let drops = base.config.post_to_tuf_path.display().to_string();
        let mut hidden = 0;
        for at in 0..files {
            let context = format!("consistent={consistent_snapshot} bins={bins} name hidden at {at}");
            let finished = base.run_with(&context, |fs| fs.hide_at(at, HIDDEN_LOOKUPS));
            hidden += usize::from(finished.fs.lookups_denied() > 0);
            finished.fs.heal();
            if finished.fs.log().get(at).is_some_and(|operation| operation.contains(&drops)) {
                // A drop that is not found is passed by the others; which of two with one path is the later is then open.
                rules::check_tampered(&finished, &base, &context);
            } else {
                rules::check_after(&finished, &base, &base.fs.files(), &context);
            }
        }
        assert!(hidden > 0);
        println!(
            "consistent_snapshot={consistent_snapshot}, {bins} bins: {files} file operations, {hidden} names not found for up to \
             {HIDDEN_LOOKUPS} lookups"
        );
    }
}

/// Runs once for each call of an undisturbed run, before which `act` runs, and before all later calls. It gets the number of
/// calls since then, and whether it has changed anything yet; it returns whether it changed something.
fn second_actor(what: &str, act: impl Fn(&SimFs, &Path, usize, bool) -> bool + Send + Sync + Copy + 'static) {
    let base = Simulated::new(true, BINS, Duplicates::Off);
    let post = base.config.post_to_tuf_path.clone();
    base.fs.plant_symlink(post.join(".link"), "/outside");
    for (_, files) in drops() {
        for (path, _) in files {
            base.fs.plant(Path::new("/outside").join(path), "from outside");
        }
    }
    let calls = base.run(None).fs.calls();
    let mut acted = 0;
    for at in 0..calls {
        let context = format!("{what} at call {at}");
        let changes = Arc::new(AtomicUsize::new(0));
        let finished = base.run_with(&context, |fs| {
            let (post, changes) = (post.clone(), Arc::clone(&changes));
            fs.set_second_actor(move |fs, call| {
                if call >= at && act(fs, &post, call - at, changes.load(Ordering::SeqCst) > 0) {
                    changes.fetch_add(1, Ordering::SeqCst);
                }
            });
        });
        acted += usize::from(changes.load(Ordering::SeqCst) > 0);
        rules::check_tampered(&finished, &base, &context);
    }
    assert!(acted > 0);
    println!("{calls} calls, a second actor {what} before {acted} of them");
}

#[test]
fn a_second_actor_that_exchanges_a_drop_with_a_link_publishes_nothing_from_outside() {
    second_actor("exchanges a drop with a link", |fs, post, since, changed| {
        (since == 0 || (since == EXCHANGED_FOR && changed))
            && fs.exchange(post.join("tuf_processing_1"), post.join(".link"))
    });
}

#[test]
fn a_second_actor_that_exchanges_a_directory_in_a_drop_publishes_nothing_from_outside() {
    second_actor("exchanges a directory in a drop with a link", |fs, post, since, changed| {
        (since == 0 || (since == EXCHANGED_FOR && changed))
            && fs.exchange(post.join("tuf_processing_1/pkg"), post.join(".link"))
    });
}

#[test]
fn a_second_actor_that_touches_drops_and_plants_names_loses_nothing() {
    second_actor("touches drops and plants names", |fs, post, since, _| {
        if since > 0 {
            return false;
        }
        fs.plant(post.join("tuf_tmp_stray/file"), "stray");
        fs.plant(post.join(".tmp-stray"), "stray");
        ["ready", "processing"]
            .into_iter()
            .flat_map(|stage| drops().into_iter().map(move |(name, _)| (stage, name)))
            .fold(false, |touched, (stage, name)| {
                fs.touch(post.join(format!("tuf_{stage}_{name}")), NOW + 1000) || touched
            })
    });
}
