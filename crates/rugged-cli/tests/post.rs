//! `rugged post`: what a drop looks like, and receipts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]
#![allow(clippy::disallowed_methods, reason = "tests look at what was written from outside")]

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use common::{Demo, command, files, rugged, write};

/// A drop directory and something to release.
struct Producer {
    temp: tempfile::TempDir,
}

impl Producer {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("post")).unwrap();
        write(&temp.path().join("dist/a.txt"), "alpha");
        write(&temp.path().join("dist/sub/dir/b.txt"), "beta");
        Self { temp }
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        self.temp.path().join(below)
    }

    /// Only the drop directory is configured.
    fn post(&self, arguments: &[&str]) -> common::Said {
        let set = format!("post_to_tuf_path={}", self.path("post").display());
        rugged(["--json", "--set", &set, "post"].iter().chain(arguments))
    }

    fn dist(&self) -> String {
        self.path("dist").display().to_string()
    }
}

#[test]
fn a_drop_keeps_sub_directories_and_lists_what_it_holds() {
    let producer = Producer::new();
    let said = producer.post(&[&producer.dist(), "--name", "X"]).exits(0).json();
    assert_eq!(said["posted"]["files"], 2);
    assert_eq!(said["posted"]["bytes"], 9);
    let ready = producer.path("post/tuf_ready_X");
    assert_eq!(std::fs::read_to_string(ready.join("sub/dir/b.txt")).unwrap(), "beta");
    let sums = std::fs::read_to_string(ready.join("SHA256SUMS")).unwrap();
    assert_eq!(
        sums,
        "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8  a.txt\n\
         f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753  sub/dir/b.txt\n"
    );
    assert_eq!(std::fs::read_dir(producer.path("post")).unwrap().count(), 1);
}

#[test]
fn files_are_taken_by_their_names_and_the_manifest_can_be_left_out() {
    let producer = Producer::new();
    let (one, two) = (producer.path("dist/a.txt"), producer.path("dist/sub/dir/b.txt"));
    let said = producer.post(&[one.to_str().unwrap(), two.to_str().unwrap(), "--no-manifest", "--name", "Y"]).exits(0);
    assert_eq!(said.json()["posted"]["files"], 2);
    let mut names: Vec<_> = files(&producer.path("post/tuf_ready_Y"));
    names.sort();
    assert_eq!(names, [producer.path("post/tuf_ready_Y/a.txt"), producer.path("post/tuf_ready_Y/b.txt")]);
}

#[test]
fn many_files_arrive_whole_and_under_a_name_of_their_own() {
    let producer = Producer::new();
    for number in 0..40 {
        write(&producer.path(&format!("dist/many/{number}.txt")), &number.to_string());
    }
    let first = producer.post(&[&producer.dist()]).exits(0).json();
    let second = producer.post(&[&producer.dist()]).exits(0).json();
    assert_ne!(first["posted"]["name"], second["posted"]["name"]);
    assert_eq!(first["posted"]["digest"], second["posted"]["digest"]);
    let ready = first["posted"]["path"].as_str().unwrap();
    assert_eq!(files(Path::new(ready)).len(), 43);
}

#[test]
fn what_cannot_be_released_is_said_before_anything_is_written() {
    let producer = Producer::new();
    let nothing_posted = || assert_eq!(std::fs::read_dir(producer.path("post")).unwrap().count(), 0);

    assert!(producer.post(&["/does/not/exist"]).exits(2).err.contains("cannot read"));
    std::fs::create_dir(producer.path("empty")).unwrap();
    producer.post(&[producer.path("empty").to_str().unwrap()]).exits(2);
    let twice = producer.path("dist/a.txt");
    assert!(producer.post(&[&producer.dist(), twice.to_str().unwrap()]).exits(2).err.contains("both"));
    for name in ["", "a/b", "a\nb"] {
        producer.post(&[&producer.dist(), "--name", name]).exits(2);
    }
    symlink("a.txt", producer.path("dist/link")).unwrap();
    assert!(producer.post(&[&producer.dist()]).exits(2).err.contains("symbolic link"));
    std::fs::remove_file(producer.path("dist/link")).unwrap();
    // Nor is a link that is named, to a file or to a directory.
    for (named, to) in [("named", "dist/a.txt"), ("current", "dist")] {
        symlink(to, producer.path(named)).unwrap();
        let said = producer.post(&[producer.path(named).to_str().unwrap()]).exits(2);
        assert!(said.err.contains("symbolic link") && said.err.contains("leads to"), "{}", said.err);
    }
    write(&producer.path("dist/back\\slash"), "x");
    assert!(producer.post(&[&producer.dist()]).exits(2).err.contains("backslash"));
    nothing_posted();
}

#[test]
fn a_name_that_is_taken_is_refused_and_what_has_it_stays() {
    let producer = Producer::new();
    producer.post(&[&producer.dist(), "--name", "X"]).exits(0);
    producer.post(&[&producer.dist(), "--name", "X"]).exits(2);
    assert_eq!(files(&producer.path("post/tuf_ready_X")).len(), 3);
    std::fs::create_dir(producer.path("post/tuf_tmp_Z")).unwrap();
    producer.post(&[&producer.dist(), "--name", "Z"]).exits(2);
    assert!(producer.path("post/tuf_tmp_Z").exists());
}

#[test]
fn a_missing_drop_directory_is_a_configuration_error() {
    let producer = Producer::new();
    std::fs::remove_dir(producer.path("post")).unwrap();
    let said = producer.post(&[&producer.dist()]).exits(2);
    assert!(said.err.contains("post_to_tuf_path"), "{}", said.err);
}

#[test]
fn seconds_that_are_taken_for_a_source_get_the_right_spelling_as_a_hint() {
    let producer = Producer::new();
    let said = producer.post(&[&producer.dist(), "--wait", "5"]).exits(2);
    assert!(said.err.contains("write --wait=5"), "{}", said.err);
}

#[test]
fn a_missing_receipt_is_distinguished_from_an_answer() {
    let producer = Producer::new();
    let said = producer.post(&[&producer.dist(), "--name", "X", "--wait=0"]).exits(3);
    assert!(said.err.contains("no monitor has taken the drop in"), "{}", said.err);
    assert!(producer.path("post/tuf_ready_X").exists());
}

/// Plays the monitor: answers the drop `X` with `receipt` once it is posted.
fn answered(producer: &Producer, receipt: impl Fn(&str) -> String) -> common::Said {
    let post = producer.path("post");
    // A receipt of an older drop of that name is no answer.
    write(&post.join("tuf_receipt_X.json"), &rejected(None, "an older one"));
    let set = format!("post_to_tuf_path={}", post.display());
    let child = command()
        .args(["--json", "--set", &set, "post", &producer.dist(), "--name", "X", "--wait=60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ready = post.join("tuf_ready_X");
    while !ready.exists() {
        std::thread::yield_now();
    }
    let digest = digest(&ready);
    write(&post.join("new"), &receipt(&digest));
    std::fs::rename(post.join("new"), post.join("tuf_receipt_X.json")).unwrap();
    std::fs::rename(ready, post.join("taken")).unwrap();
    child.wait_with_output().unwrap().into()
}

fn digest(ready: &Path) -> String {
    let sums = std::fs::read_to_string(ready.join("SHA256SUMS")).unwrap();
    let lines = sums.lines().map(|line| {
        let (hash, path) = line.split_once("  ").unwrap();
        let len = std::fs::metadata(ready.join(path)).unwrap().len();
        format!("{hash} {len} {path}\n")
    });
    hex::encode(ring::digest::digest(&ring::digest::SHA256, lines.collect::<String>().as_bytes()))
}

fn rejected(digest: Option<&str>, reason: &str) -> String {
    let digest = digest.map(|digest| format!("\"digest\":\"{digest}\",")).unwrap_or_default();
    format!(
        "{{\"format\":1,\"name\":\"X\",{digest}\"outcome\":\"rejected\",\"reason\":\"{reason}\",\"finished_at\":\"2026-01-01T00:00:00Z\"}}"
    )
}

#[test]
fn a_rejection_is_a_negative_answer_with_its_reason() {
    let producer = Producer::new();
    let said = answered(&producer, |digest| rejected(Some(digest), "it is bad")).exits(1);
    assert_eq!(said.json()["receipt"]["reason"], "it is bad");
}

#[test]
fn a_rejection_before_all_was_read_has_no_digest_and_is_an_answer_all_the_same() {
    let producer = Producer::new();
    let said = answered(&producer, |_| rejected(None, "a link")).exits(1);
    assert_eq!(said.json()["receipt"]["reason"], "a link");
}

#[test]
fn a_published_drop_is_a_positive_answer() {
    let producer = Producer::new();
    let said = answered(&producer, |digest| rejected(Some(digest), "").replace("rejected", "published")).exits(0);
    assert_eq!(said.json()["receipt"]["outcome"], "published");
}

#[test]
fn a_rejected_drop_can_be_posted_again() {
    let demo = Demo::new();
    let up = demo.up();
    let source = demo.path("source");
    write(&source.join("good.txt"), "good");
    write(&source.join("SHA256SUMS"), &format!("{}  good.txt\n", "00".repeat(32)));
    let post = ["post", source.to_str().unwrap(), "--name", "X", "--wait=60"];
    let said = demo.rugged(&post).exits(1);
    assert!(said.out.contains("rejected X") && said.out.contains("hint: "), "{}", said.out);
    assert!(demo.path("post_to_tuf/tuf_rejected_X/REASON.json").exists());
    assert!(said.out.ends_with("the files are in tuf_rejected_X\n"), "{}", said.out);
    // Each rejection names the directory of its own files.
    let said = demo.rugged(&post).exits(1);
    assert!(said.out.ends_with("the files are in tuf_rejected_X.2\n"), "{}", said.out);

    std::fs::remove_file(source.join("SHA256SUMS")).unwrap();
    let said = demo.rugged(&post).exits(0);
    assert!(said.out.contains("published X: 1 target"), "{}", said.out);
    drop(up);
}

#[test]
fn a_drop_that_is_held_is_said_to_be_with_the_reason_and_is_counted_once() {
    let demo = Demo::new();
    let up = demo.up();
    let source = demo.path("source");
    write(&source.join("app.txt"), "released");
    demo.rugged(&["pause-processing"]).exits(0);
    let said = demo.rugged(&["post", source.to_str().unwrap(), "--name", "Y", "--wait=0"]).exits(3);
    assert!(said.err.contains("the drop is held: intake of drops is paused"), "{}", said.err);
    std::fs::remove_dir_all(demo.path("post_to_tuf/tuf_ready_Y")).unwrap();

    let said = std::thread::scope(|scope| {
        let posting = scope.spawn(|| demo.rugged(&["post", source.to_str().unwrap(), "--name", "X", "--wait=4"]));
        while !demo.path("post_to_tuf/tuf_ready_X").exists() {
            std::thread::yield_now();
        }
        // The monitor cannot rename the drop to a name that a file has.
        write(&demo.path("post_to_tuf/tuf_processing_X"), "in the way");
        demo.rugged(&["resume-processing"]).exits(0);
        posting.join().unwrap().exits(3)
    });
    assert!(said.err.contains("the drop is held: tuf_processing_X has the name"), "{}", said.err);

    let status = demo.rugged(&["--json", "status"]).json();
    assert_eq!((&status["drops"]["held"], &status["drops"]["ready"]), (&1.into(), &0.into()), "{status}");
    let monitor = &status["workers"][0]["status"]["drops"];
    assert_eq!((&monitor["held"], &monitor["ready"]), (&1.into(), &0.into()), "{status}");
    assert_eq!(status["waiting"][0]["stage"], "held", "{status}");
    let text = demo.rugged(&["status"]).out;
    assert_eq!(text.matches("has the name that it gets next").count(), 1, "{text}");
    assert!(text.contains("  tuf_processing_X (ignored): it is a file"), "{text}");
    drop(up);
}
