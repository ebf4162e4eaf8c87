//! `rugged demo`, and what can be done with what it leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]
#![allow(clippy::disallowed_methods, reason = "tests look at what was written from outside")]

mod common;

use common::{Demo, rugged, write};

#[test]
fn the_demo_publishes_the_next_version_on_the_same_directory() {
    let demo = Demo::new();
    let said = demo.again().exits(0).json();
    assert_eq!(said["release"], "hello 1.1.0");
    // Three files of each version, and the index both have.
    assert_eq!(said["targets_verified"], 7);
    assert_eq!(demo.again().exits(0).json()["release"], "hello 1.2.0");
    for below in ["keys", "repo/metadata/1.root.json", "repo/targets", "post_to_tuf", "incoming_targets"] {
        assert!(demo.path(below).exists(), "{below}");
    }
}

#[test]
fn the_demo_says_each_stage_and_how_to_go_on() {
    let temp = tempfile::tempdir().unwrap();
    let said = rugged(["demo", "--dir", temp.path().to_str().unwrap()]).exits(0);
    for text in [
        "keys",
        "root",
        "fleet",
        "metadata",
        "post",
        "publish",
        "tough",
        "our own client",
        "post DIR --wait",
        "config.yaml up",
    ] {
        assert!(said.out.contains(text), "{text}: {}", said.out);
    }
    assert_eq!(said.err, "");
}

#[test]
fn a_configuration_for_another_directory_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    write(&temp.path().join("config.yaml"), "repo_path: /somewhere/else\n");
    let said = rugged(["demo", "--dir", temp.path().to_str().unwrap()]).exits(2);
    assert!(said.err.contains("hint: "), "{}", said.err);
    assert!(!temp.path().join("keys").exists());
}

#[test]
fn a_repository_whose_keys_are_elsewhere_is_refused_and_nothing_is_written() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(temp.path().join("repo/metadata")).unwrap();
    write(&temp.path().join("repo/metadata/1.root.json"), "{}");
    let said = rugged(["demo", "--dir", temp.path().to_str().unwrap()]).exits(5);
    assert!(said.err.contains("hint: choose another directory with --dir"), "{}", said.err);
    let left: Vec<_> = std::fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["repo"]);
}

#[test]
fn status_without_a_fleet_shows_what_is_on_disk() {
    let demo = Demo::new();
    let said = demo.rugged(&["status", "--json"]).exits(1).json();
    assert_eq!(said["repository"]["verified"], true);
    assert_eq!(said["workers"].as_array().unwrap().len(), 4);
    assert_eq!(said["workers"][0]["problem"], "not running");
    assert_eq!(said["drops"]["ready"], 0);
    demo.rugged(&["ping"]).exits(3);
}

#[test]
fn one_shot_commands_host_the_workers_they_need() {
    let demo = Demo::new();
    write(&demo.path("incoming_targets/loose/a b.txt"), "loose");
    let added = demo.rugged(&["--json", "add-targets"]).exits(0).json();
    assert_eq!(added["targets"]["targets_added"], 1, "{added}");
    assert_eq!(added["timestamp"]["changed"], true, "{added}");
    demo.rugged(&["validate", "--strict"]).exits(0);

    // Removing asks, and there is nobody to answer.
    demo.rugged(&["remove-targets", "loose/a b.txt"]).exits(2);
    let wrong = "00".repeat(32);
    demo.rugged(&["remove-targets", "loose/a b.txt", "--yes", "--expect", &wrong]).exits(4);
    let remove = ["--json", "remove-targets", "loose/a b.txt", "--yes", "--request-id", "one"];
    assert_eq!(demo.rugged(&remove).exits(0).json()["targets"]["removed"], 1);
    let again = demo.rugged(&remove).exits(0).json();
    assert_eq!(again["targets"]["already_done"], true, "{again}");
    demo.rugged(&["remove-targets", "loose/a b.txt", "--yes"]).exits(1);
    demo.rugged(&["validate", "--strict"]).exits(0);
}

#[test]
fn refreshing_renews_only_when_it_is_due_or_forced() {
    let demo = Demo::new();
    let none = demo.rugged(&["--json", "refresh-expiry"]).exits(0).json();
    assert_eq!(none["renewed"].as_object().unwrap().len(), 0, "{none}");
    let forced = demo.rugged(&["--json", "refresh-expiry", "--force"]).exits(0).json();
    for role in ["targets", "snapshot", "timestamp"] {
        assert!(forced["renewed"][role].as_u64().unwrap() > 1, "{forced}");
    }
    demo.rugged(&["validate", "--strict"]).exits(0);
}

#[test]
fn the_demo_holds_for_bins_and_for_names_without_versions() {
    for extra in
        ["number_of_bins: 16\n", "consistent_snapshot: false\n", "number_of_bins: 16\nconsistent_snapshot: false\n"]
    {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().canonicalize().unwrap();
        let paths = [
            ("post_to_tuf_path", "post_to_tuf"),
            ("inbound_targets_path", "incoming_targets"),
            ("repo_path", "repo"),
            ("signing_keys_path", "keys/signing"),
            ("verification_keys_path", "keys/verification"),
            ("state_path", "state"),
        ];
        let paths = paths.map(|(key, below)| format!("{key}: {}\n", dir.join(below).display()));
        let config = dir.join("config.yaml");
        write(&config, &(paths.concat() + extra));
        for _ in 0..2 {
            rugged(["demo", "--dir", dir.to_str().unwrap()]).exits(0);
        }
        rugged(["--config", config.to_str().unwrap(), "validate", "--strict"]).exits(0);
    }
}
