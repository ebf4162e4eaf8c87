//! Drops that hold what cannot be released: each is set aside with its reason, and the rest of its batch is published.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use system_tests::{Fleet, Keys, MONITOR, SNAPSHOT, TARGETS, TIMESTAMP, clients, eventually};
use testkit::servers::RabbitMq;

use crate::{batch, chmod, files, quick, run, unfinished, without_monitor};

/// Has a bad drop rejected: `bad` puts into its directory, beside an ordinary file, what is wrong with it. A good drop of
/// the same batch is published, and so is one that comes later; nothing of the bad one is, and it is all there still.
/// Returns the fleet and the reason.
#[track_caller]
pub fn rejected(bad: impl FnOnce(&Fleet, &Path)) -> (Fleet, String) {
    let mut fleet = without_monitor(&[]);
    fleet.post_drop("good", &files([("good/file", "good"), ("shared", "good")]));
    let dir = unfinished(&fleet, "bad");
    fs::write(dir.join("innocent"), "not to be lost").unwrap();
    bad(&fleet, &dir);
    fleet.release_drop("bad");
    fleet.start_worker(MONITOR);
    fleet.published("good");
    let reason = fleet.rejected("bad");
    let kept = fleet.post().join("tuf_rejected_bad/innocent");
    assert_eq!(fs::read_to_string(kept).unwrap(), "not to be lost");
    fleet.post_drop("after", &files([("after", "after")]));
    fleet.published("after");
    let all = files([("good/file", "good"), ("shared", "good"), ("after", "after")]);
    assert_eq!(clients::our_client(&fleet), all);
    (fleet, reason)
}

#[test]
fn a_drop_with_a_symlink_is_rejected_with_its_reason_and_the_rest_of_the_batch_is_published() {
    for target in ["innocent", "/etc/passwd", "../../tuf_repo", "nowhere"] {
        let (_, reason) = rejected(|_, dir| symlink(target, dir.join("link")).unwrap());
        assert!(reason.contains("\"link\" is a symbolic link"), "{reason}");
    }
}

#[test]
fn a_drop_with_a_hard_link_to_a_file_outside_is_rejected_and_one_with_links_within_is_published() {
    let (fleet, reason) = rejected(|fleet, dir| {
        let outside = fleet.path("outside");
        fs::write(&outside, "never to be released").unwrap();
        fs::hard_link(outside, dir.join("taken")).unwrap();
    });
    assert!(reason.contains("\"taken\" has 2 hard links, of which 1 are in the drop"), "{reason}");
    assert!(reason.contains("post a copy"), "{reason}");
    let dir = unfinished(&fleet, "twice");
    fs::write(dir.join("one"), "once").unwrap();
    fs::hard_link(dir.join("one"), dir.join("two")).unwrap();
    fleet.release_drop("twice");
    fleet.published("twice");
    assert_eq!(clients::our_client(&fleet)["two"], b"once");
}

#[test]
fn a_drop_with_a_fifo_is_rejected_without_waiting_for_its_writer() {
    let (_, reason) = rejected(|_, dir| assert!(run("mkfifo", &[&dir.join("pipe")])));
    assert!(reason.contains("\"pipe\" is neither a file nor a directory"), "{reason}");
}

#[test]
fn a_drop_with_a_device_or_a_socket_is_rejected_without_opening_it() {
    let (fleet, reason) = rejected(|_, dir| drop(UnixListener::bind(dir.join("special")).unwrap()));
    assert!(reason.contains("\"special\" is neither a file nor a directory"), "{reason}");
    // The one device everybody may make, where the file system takes it; `durable-fs` is tried on real ones.
    let dir = unfinished(&fleet, "device");
    if run("mknod", &[&dir.join("special"), &"c", &"0", &"0"]) {
        fleet.release_drop("device");
        let reason = fleet.rejected("device");
        assert!(reason.contains("\"special\" is neither a file nor a directory"), "{reason}");
    }
}

#[test]
fn a_path_that_is_file_and_directory_in_one_batch_rejects_the_later_drop() {
    let (_, reason) = rejected(|_, dir| {
        fs::create_dir(dir.join("shared")).unwrap();
        fs::write(dir.join("shared/below"), "x").unwrap();
    });
    assert!(reason.contains("\"shared/below\" cannot be released together with \"shared\""), "{reason}");
    let (_, reason) = rejected(|_, dir| fs::write(dir.join("good"), "x").unwrap());
    assert!(reason.contains("\"good\" cannot be released together with \"good/file\""), "{reason}");
}

#[test]
fn a_path_that_a_release_before_has_as_file_rejects_a_drop_that_has_it_as_directory() {
    let settings = quick(&[("consistent_snapshot", false.into())]);
    let fleet = Fleet::start(RabbitMq::shared().vhost(), Keys::Ed25519, &settings);
    fleet.post_drop("first", &files([("path", "a file"), ("dir/file", "x")]));
    fleet.published("first");
    fleet.post_drop("below", &files([("path/below", "x")]));
    assert!(fleet.rejected("below").contains("path\" is a file in the targets directory"));
    fleet.post_drop("above", &files([("dir", "x")]));
    assert!(fleet.rejected("above").contains("\"dir\" cannot be released: it is a directory"));
    fleet.post_drop("after", &files([("after", "x")]));
    fleet.published("after");
}

#[test]
fn names_that_clash_only_under_their_hashes_reject_the_drop_and_do_not_block_others() {
    let fleet = crate::fleet();
    fleet.post_drop("first", &files([("path", "same bytes")]));
    fleet.published("first");
    // `HASH.path` is a file; clients of tough would look for this one below a directory of that name.
    fleet.post_drop("second", &files([("path/file", "same bytes")]));
    let reason = fleet.rejected("second");
    assert!(reason.contains("cannot be stored") && reason.contains(".path\" is a file"), "{reason}");
    fleet.post_drop("third", &files([("path/file", "other bytes")]));
    fleet.published("third");
    assert_eq!(clients::our_client(&fleet), files([("path", "same bytes"), ("path/file", "other bytes")]));
}

#[test]
fn a_drop_with_an_unreadable_file_or_directory_is_rejected_with_the_mode() {
    for (what, make) in [
        ("\"secret\"", (|path: &Path| fs::write(path, "x").unwrap()) as fn(&Path)),
        ("\"secret\"", |path: &Path| fs::create_dir(path).unwrap()),
    ] {
        let (fleet, reason) = rejected(|_, dir| {
            make(&dir.join("secret"));
            chmod(&dir.join("secret"), 0o000);
        });
        assert!(reason.contains(&format!("{what} cannot be read: its mode is 0000")), "{reason}");
        chmod(&fleet.post().join("tuf_rejected_bad/secret"), 0o700);
    }
}

#[test]
fn a_writer_that_holds_a_descriptor_through_rename_and_signing_changes_nothing_published() {
    let mut fleet = crate::stopped(&[]);
    for worker in [SNAPSHOT, TIMESTAMP] {
        fleet.start_worker(worker);
    }
    let dir = unfinished(&fleet, "held");
    fs::write(dir.join("file"), "as released").unwrap();
    let mut writer = OpenOptions::new().write(true).open(dir.join("file")).unwrap();
    fleet.release_drop("held");
    fleet.start_worker(MONITOR);
    // Copied, and not signed yet.
    let _ = batch(&fleet);
    writer.write_all(b"CHANGED AFTER THE COPY").unwrap();
    fleet.start_worker(TARGETS);
    fleet.published("held");
    assert_eq!(clients::our_client(&fleet), files([("file", "as released")]));
    // And when all is over.
    writer.write_all(b"CHANGED AFTER SIGNING").unwrap();
    writer.sync_all().unwrap();
    fleet.wait_ready();
    assert_eq!(clients::our_client(&fleet), files([("file", "as released")]));
    assert_eq!(clients::python_tuf(&fleet)["targets"], clients::expected(&files([("file", "as released")])));
}

#[test]
fn an_empty_drop_is_rejected_and_so_is_one_with_nothing_but_directories_or_a_manifest() {
    let mut fleet = without_monitor(&[]);
    fleet.post_drop("good", &files([("good", "good")]));
    unfinished(&fleet, "empty");
    fs::create_dir_all(unfinished(&fleet, "hollow").join("a/b")).unwrap();
    fs::write(unfinished(&fleet, "listed").join("SHA256SUMS"), "").unwrap();
    for name in ["empty", "hollow", "listed"] {
        fleet.release_drop(name);
    }
    fleet.start_worker(MONITOR);
    fleet.published("good");
    for name in ["empty", "hollow", "listed"] {
        assert_eq!(fleet.rejected(name), "the drop holds no files");
    }
}

#[test]
fn a_manifest_that_lies_rejects_the_drop_and_names_the_file() {
    let sum = |text: &str| hex::encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()));
    let (right, other) = (sum("not to be lost"), sum("another"));
    for (manifest, why) in [
        (format!("{other}  innocent\n"), "\"innocent\" does not match"),
        (format!("{right}  innocent\n{other}  more\n"), "\"more\" is listed in SHA256SUMS, but missing"),
        (String::new(), "\"innocent\" is not listed in SHA256SUMS"),
        ("nothing of the kind\n".to_owned(), "SHA256SUMS line 1 is malformed"),
    ] {
        let (_, reason) = rejected(|_, dir| fs::write(dir.join("SHA256SUMS"), &manifest).unwrap());
        assert!(reason.contains(why), "{reason}");
    }
}

#[test]
fn a_rejected_drop_that_is_posted_again_is_looked_at_again() {
    let (fleet, _) = rejected(|_, dir| symlink("innocent", dir.join("link")).unwrap());
    // The same again.
    let dir = unfinished(&fleet, "bad");
    fs::write(dir.join("innocent"), "not to be lost").unwrap();
    symlink("innocent", dir.join("link")).unwrap();
    fleet.release_drop("bad");
    let again = fleet.post().join("tuf_rejected_bad.2/REASON.json");
    eventually("the second rejection", || fs::read(&again).ok());
    // Repaired.
    let dir = unfinished(&fleet, "bad");
    fs::write(dir.join("innocent"), "not to be lost").unwrap();
    fleet.release_drop("bad");
    eventually("the publication", || (fleet.receipt("bad")["outcome"] == "published").then_some(()));
    assert_eq!(clients::our_client(&fleet)["innocent"], b"not to be lost");
    assert!(again.exists(), "what was set aside stays for its producer");
}

#[test]
fn a_drop_name_used_twice_is_a_new_drop_if_its_content_is_new_and_the_old_one_if_not() {
    let fleet = crate::fleet();
    fleet.post_drop("name", &files([("file", "first")]));
    let first = fleet.published("name");
    fs::remove_dir_all(fleet.path("built")).unwrap();
    fleet.post_drop("name", &files([("other", "second")]));
    let second = eventually("the second receipt", || {
        let receipt = fleet.receipt("name");
        (receipt["digest"] != first["digest"]).then_some(receipt)
    });
    assert_eq!(second["outcome"], "published");
    let both = files([("file", "first"), ("other", "second")]);
    assert_eq!(clients::our_client(&fleet), both);
    // The second once more: a receipt for what clients are served, and no new metadata.
    fs::remove_file(fleet.post().join("tuf_receipt_name.json")).unwrap();
    fleet.post_drop("name", &files([("other", "second")]));
    let again = fleet.receipt("name");
    for same in ["digest", "outcome", "snapshot_version", "timestamp_version"] {
        assert_eq!(again[same], second[same], "{again}");
    }
    assert_eq!(clients::our_client(&fleet), both);
}

#[test]
fn a_zero_byte_target_is_published() {
    let fleet = crate::fleet();
    let empty = files([("empty", ""), ("full", "x")]);
    fleet.post_drop("empty", &empty);
    fleet.published("empty");
    assert_eq!(clients::our_client(&fleet), empty);
    assert_eq!(clients::python_tuf(&fleet)["targets"], clients::expected(&empty));
}

#[test]
fn a_zero_byte_target_is_rejected_with_a_reason_under_the_legacy_profile() {
    let mut fleet = without_monitor(&[("keyid_format", "legacy".into())]);
    fleet.post_drop("good", &files([("full", "x")]));
    fleet.post_drop("bad", &files([("more", "x"), ("empty", "")]));
    fleet.start_worker(MONITOR);
    fleet.published("good");
    let reason = fleet.rejected("bad");
    assert!(reason.starts_with("\"empty\" is an empty file") && reason.contains("keyid_format: legacy"), "{reason}");
    assert_eq!(clients::our_client(&fleet), files([("full", "x")]));
}

#[test]
fn a_directory_in_the_place_of_a_receipt_is_set_aside_and_does_not_block_others() {
    let fleet = crate::fleet();
    let squat = fleet.post().join("tuf_receipt_one.json");
    fs::create_dir(&squat).unwrap();
    fs::write(squat.join("file"), "somebody's").unwrap();
    fleet.post_drop("one", &files([("one", "1")]));
    fleet.post_drop("two", &files([("two", "2")]));
    fleet.published("two");
    eventually("the receipt", || squat.is_file().then_some(()));
    fleet.published("one");
    let aside = fleet.post().join("tuf_receipt_one.json.1/file");
    assert_eq!(fs::read_to_string(aside).unwrap(), "somebody's");
    assert_eq!(clients::our_client(&fleet), files([("one", "1"), ("two", "2")]));
}

#[test]
fn a_producers_directory_that_cannot_be_deleted_is_published_once_and_does_not_block_others() {
    let mut fleet = without_monitor(&[]);
    let dir = unfinished(&fleet, "locked");
    fs::create_dir(dir.join("sub")).unwrap();
    fs::write(dir.join("sub/file"), "x").unwrap();
    chmod(&dir.join("sub"), 0o555);
    let refused = unfinished(&fleet, "refused");
    symlink("nowhere", refused.join("link")).unwrap();
    for name in ["locked", "refused"] {
        fleet.release_drop(name);
    }
    chmod(&fleet.post().join("tuf_ready_locked"), 0o555);
    chmod(&fleet.post().join("tuf_ready_refused"), 0o555);
    fleet.start_worker(MONITOR);
    let receipt = fleet.published("locked");
    // Nothing can be written into this one; the receipt holds the reason.
    assert_eq!(fleet.receipt("refused")["outcome"], "rejected");
    crate::logged(&fleet, MONITOR, "only the receipt holds the reason");
    crate::logged(&fleet, MONITOR, "directory not removed");
    fleet.post_drop("after", &files([("after", "x")]));
    fleet.published("after");
    // What is left is no work any more, a restart included.
    fleet.kill(MONITOR);
    fleet.start_worker(MONITOR);
    fleet.post_drop("last", &files([("last", "x")]));
    fleet.published("last");
    assert_eq!(fleet.published("locked"), receipt);
    let left: Vec<String> = fleet.posted().into_iter().filter(|name| name.contains("locked")).collect();
    assert!(left.iter().all(|name| name.starts_with(".tuf_done_") || name.starts_with("tuf_receipt_")), "{left:?}");
    assert_eq!(clients::our_client(&fleet), files([("sub/file", "x"), ("after", "x"), ("last", "x")]));
    // So that what it removes lazily does not go away under this.
    fleet.kill(MONITOR);
    for name in fleet.posted() {
        let path = fleet.post().join(name);
        if path.is_dir() {
            assert!(run("chmod", &[&"-R", &"u+w", &path]));
        }
    }
}
