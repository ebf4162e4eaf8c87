//! `rugged validate` on repositories of this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]
#![allow(clippy::disallowed_methods, reason = "tests look at what was written from outside")]

mod common;

use std::path::Path;

use common::{Demo, files};
use serde_json::Value;

/// The rules of the findings, without the clients that every default repository excludes.
fn rules(said: &Value) -> Vec<&str> {
    all_rules(said).into_iter().filter(|rule| !rule.starts_with('O')).collect()
}

fn all_rules(said: &Value) -> Vec<&str> {
    said["findings"].as_array().unwrap().iter().map(|finding| finding["rule"].as_str().unwrap()).collect()
}

#[test]
fn a_sound_repository_is_valid_and_names_each_client_that_it_excludes_once() {
    let demo = Demo::new();
    let said = demo.rugged(&["--json", "validate", "--strict"]).exits(0).json();
    assert_eq!((&said["ok"], &said["complete"]), (&true.into(), &true.into()));
    // php-tuf and rust-tuf, which a demo without bins does not suit.
    assert_eq!(all_rules(&said), ["O2", "O3"], "{said}");
    assert_eq!(said["counts"]["error"], 0);
    assert_eq!(said["versions"]["root"], 1);
    assert_eq!((&said["tough"]["accepted"], &said["tough"]["downloaded"]), (&true.into(), &said["checked"]["targets"]));
    assert_eq!(said["checked"]["unchecked_targets"], 0);
    assert!(said["checked"]["target_files"].as_u64().unwrap() >= said["checked"]["targets"].as_u64().unwrap());
    let text = demo.rugged(&["validate"]).exits(0);
    assert!(text.out.contains("the repository is valid"), "{}", text.out);
    assert!(text.err.is_empty(), "{}", text.err);
}

#[test]
fn the_shape_of_the_report_is_as_documented() {
    let demo = Demo::new();
    let said = demo.rugged(&["--json", "validate", "--at", "2200-01-01T00:00:00Z"]).exits(1).json();
    let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let wanted = [
        "ok",
        "complete",
        "metadata",
        "targets",
        "trusted_root",
        "at",
        "versions",
        "checked",
        "counts",
        "findings",
        "more",
        "unread",
    ];
    assert_eq!(members(&said), wanted);
    assert_eq!(members(&said["counts"]), ["error", "warning", "note"]);
    assert_eq!(members(&said["findings"][0]), ["severity", "rule", "section", "subject", "message"]);
    let checked = [
        "roots",
        "metadata_files",
        "targets_roles",
        "signatures",
        "older_snapshots",
        "targets",
        "target_files",
        "target_bytes",
        "unchecked_targets",
    ];
    assert_eq!(members(&said["checked"]), checked);
    let help = demo.rugged(&["validate", "--help"]).exits(0).out;
    for member in wanted {
        assert!(help.contains(member), "{member} is not in the help");
    }
}

#[test]
fn a_repository_without_its_target_files_is_said_to_be_checked_without_them() {
    let demo = Demo::new();
    let (metadata, root) = (demo.path("repo/metadata"), demo.path("repo/metadata/1.root.json"));
    let arguments = ["--metadata", metadata.to_str().unwrap(), "--trusted-root", root.to_str().unwrap(), "--strict"];
    let said = demo.rugged(&[["--json", "validate"].as_slice(), &arguments].concat()).exits(0).json();
    assert_eq!((&said["ok"], &said["complete"]), (&true.into(), &false.into()));
    assert!(said["checked"]["unchecked_targets"].as_u64().unwrap() > 0, "{said}");
    assert_eq!((&said["tough"]["accepted"], &said["tough"]["downloaded"]), (&true.into(), &0.into()));
    let text = demo.rugged(&[["validate"].as_slice(), &arguments].concat()).exits(0).out;
    assert!(text.contains("tough verified the metadata and downloaded no target: there is no --targets\n"), "{text}");
    assert!(text.ends_with("the repository is valid, but no target file was checked\n"), "{text}");
}

#[test]
fn everything_expires_in_time() {
    let demo = Demo::new();
    let said = demo.rugged(&["--json", "validate", "--strict", "--at", "2200-01-01T00:00:00Z"]).exits(1).json();
    assert_eq!(said["at"], "2200-01-01T00:00:00Z");
    let rules = rules(&said);
    // Root, timestamp, snapshot and targets at least; tough knows the present alone, and has nothing to say.
    assert!(rules.len() >= 4 && rules.iter().all(|rule| *rule == "C6"), "{rules:?}");
    demo.rugged(&["validate", "--at", "tomorrow"]).exits(2);
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
    // Under both names, and by tough.
    assert_eq!(rules(&said), ["P7", "P7", "X1"], "{said}");

    let text = demo.rugged(&["validate"]).exits(1);
    assert!(text.out.contains("2 errors:") && text.out.contains("not valid"), "{}", text.out);
}

#[test]
fn a_missing_target_and_one_that_is_too_long_are_found() {
    let demo = Demo::new();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let hello: Vec<_> =
        files(&demo.path("repo/targets")).into_iter().filter(|path| name(path).ends_with("hello")).collect();
    assert_eq!(hello.len(), 2);
    for path in &hello {
        std::fs::remove_file(path).unwrap();
    }
    let said = demo.rugged(&["validate"]).exits(1);
    assert!(said.out.contains("[P6 ") && said.out.contains("is missing"), "{}", said.out);
    std::fs::write(&hello[0], "much longer than anything that was signed ".repeat(20)).unwrap();
    let said = demo.rugged(&["validate"]).exits(1);
    assert!(said.out.contains("has more than the"), "{}", said.out);
}

#[test]
fn one_run_lists_everything() {
    let demo = Demo::new();
    let edit = |file: &str, from: &str, to: &str| {
        let path = demo.path(&format!("repo/metadata/{file}"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    };
    edit("timestamp.json", "\"expires\":\"2", "\"expires\":\"1");
    for path in files(&demo.path("repo/targets")).iter().filter(|path| path.to_str().unwrap().ends_with("hello")) {
        std::fs::remove_file(path).unwrap();
    }
    let said = demo.rugged(&["--json", "validate"]).exits(1).json();
    assert_eq!(rules(&said), ["S3", "C6", "P6"], "{said}");
    let status = demo.rugged(&["--json", "status"]).exits(1).json();
    assert_eq!(status["repository"]["verified"], false);
}

#[test]
fn what_cannot_be_looked_at_is_not_a_finding() {
    let demo = Demo::new();
    demo.rugged(&["validate", "--metadata", "/does/not/exist"]).exits(2);
    demo.rugged(&["validate", "--trusted-root", "/does/not/exist"]).exits(2);
    let empty = demo.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let said = demo.rugged(&["validate", "--metadata", empty.to_str().unwrap()]).exits(2);
    assert!(said.err.contains("no repository") && said.err.contains("hint: "), "{}", said.err);
}

#[test]
fn a_metadata_file_that_cannot_be_read_leaves_the_answer_open() {
    let demo = Demo::new();
    let path = demo.path("repo/metadata/timestamp.json");
    std::fs::rename(&path, demo.path("elsewhere.json")).unwrap();
    // Links are not followed: it says nothing about the file.
    std::os::unix::fs::symlink(demo.path("elsewhere.json"), &path).unwrap();
    let said = demo.rugged(&["--json", "validate"]).exits(2).json();
    assert_eq!((&said["ok"], &said["complete"]), (&false.into(), &false.into()));
    assert_eq!(said["unread"][0]["subject"], "timestamp.json", "{said}");
}

#[test]
fn a_mirror_is_checked_by_its_directories() {
    let demo = Demo::new();
    let mirror = demo.path("mirror");
    std::fs::rename(demo.path("repo"), &mirror).unwrap();
    let metadata = mirror.join("metadata");
    let said = demo.rugged(&["--json", "validate", "--metadata", metadata.to_str().unwrap()]).exits(0).json();
    assert_eq!((&said["targets"], &said["trusted_root"]), (&Value::Null, &Value::Null));
    assert_eq!(said["checked"]["target_files"], 0);
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
    let said = demo.rugged(&both).exits(0).json();
    assert!(said["checked"]["target_files"].as_u64().unwrap() > 0);
}

#[test]
fn a_root_of_another_repository_is_not_trusted() {
    let (demo, other) = (Demo::new(), Demo::new());
    let root = other.path("repo/metadata/1.root.json");
    let said = demo.rugged(&["--json", "validate", "--trusted-root", root.to_str().unwrap()]).exits(1).json();
    assert_eq!(rules(&said), ["R4"], "{said}");
}
