//! `rugged validate`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]
#![allow(clippy::disallowed_methods, reason = "tests look at what was written from outside")]

mod common;

use common::{Demo, files};

#[test]
fn a_sound_repository_has_no_findings() {
    let demo = Demo::new();
    let said = demo.rugged(&["--json", "validate", "--strict"]).exits(0).json();
    assert_eq!(said["ok"], true);
    let names: Vec<&str> =
        said["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["metadata", "delegations", "target-files", "tough"]);
}

#[test]
fn a_tampered_target_is_found() {
    let demo = Demo::new();
    let target =
        files(&demo.path("repo/targets")).into_iter().find(|path| path.to_str().unwrap().ends_with("hello")).unwrap();
    let len = std::fs::metadata(&target).unwrap().len() as usize;
    // In place, so that every name of the file is changed.
    std::fs::write(&target, "x".repeat(len)).unwrap();
    let said = demo.rugged(&["--json", "validate", "--strict"]).exits(1).json();
    assert_eq!(said["ok"], false);
    let check = |name: &str| {
        let checks = said["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).unwrap().clone()
    };
    assert_eq!(check("metadata")["verdict"], "ok");
    assert_eq!(check("target-files")["verdict"], "findings");
    assert_eq!(check("target-files")["findings"].as_array().unwrap().len(), 2, "{said}");
    assert_eq!(check("tough")["verdict"], "findings");

    let text = demo.rugged(&["validate"]).exits(1);
    assert!(text.out.contains("FINDINGS") && text.out.contains("not valid"), "{}", text.out);
}

#[test]
fn a_missing_target_and_one_that_is_too_long_are_found() {
    let demo = Demo::new();
    let targets = files(&demo.path("repo/targets"));
    std::fs::remove_file(&targets[0]).unwrap();
    let said = demo.rugged(&["validate"]).exits(1);
    assert!(said.out.contains("is missing"), "{}", said.out);
    std::fs::write(&targets[1], "much longer than anything that was signed ".repeat(20)).unwrap();
    let said = demo.rugged(&["validate"]).exits(1);
    assert!(said.out.contains("bytes, listed are"), "{}", said.out);
}

#[test]
fn tampered_metadata_is_found_and_nothing_after_it_is_guessed() {
    let demo = Demo::new();
    let path = demo.path("repo/metadata/timestamp.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"version\":2", "\"version\":3")).unwrap();
    let said = demo.rugged(&["--json", "validate", "--strict"]).exits(1).json();
    assert_eq!(said["checks"][0]["verdict"], "findings");
    assert_eq!(said["checks"][1]["verdict"], "skipped");
    assert_eq!(said["checks"][2]["verdict"], "skipped");
    assert_eq!(said["checks"][3]["verdict"], "findings");
    let status = demo.rugged(&["--json", "status"]).exits(1).json();
    assert_eq!(status["repository"]["verified"], false);
}

#[test]
fn what_cannot_be_looked_at_is_not_a_finding() {
    let demo = Demo::new();
    demo.rugged(&["validate", "--metadata", "/does/not/exist"]).exits(2);
    demo.rugged(&["validate", "--trusted-root", "/does/not/exist"]).exits(2);
}

#[test]
fn a_mirror_is_checked_by_its_directories() {
    let demo = Demo::new();
    let mirror = demo.path("mirror");
    std::fs::rename(demo.path("repo"), &mirror).unwrap();
    let metadata = mirror.join("metadata");
    let said = demo.rugged(&["--json", "validate", "--metadata", metadata.to_str().unwrap()]).exits(0).json();
    assert_eq!(said["checks"][2]["verdict"], "skipped");
    let targets = mirror.join("targets");
    let both = [
        "--json",
        "validate",
        "--strict",
        "--metadata",
        metadata.to_str().unwrap(),
        "--targets",
        targets.to_str().unwrap(),
    ];
    assert_eq!(demo.rugged(&both).exits(0).json()["checks"][2]["verdict"], "ok");
}
