//! `rugged doctor` and `rugged recover`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

mod common;

use std::process::Command;

use common::Demo;

#[test]
fn doctor_reports_another_roles_keys_only_where_it_stands_in_for_a_worker() {
    let demo = Demo::new();
    let all = demo.rugged(&["--json", "doctor"]).json();
    assert_eq!(all["roles"].as_array().unwrap().len(), 4);
    let isolation = |document: &serde_json::Value| {
        let findings = document["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["check"] == "isolation").cloned()
    };
    assert_eq!(isolation(&all), None, "{all}");
    let one = demo.rugged(&["--json", "doctor", "--role", "targets"]).exits(1).json();
    assert_eq!(isolation(&one).unwrap()["severity"], "refuse");
    assert_eq!(one["ok"], false);
}

#[test]
fn doctor_says_what_to_do_about_a_missing_directory() {
    let demo = Demo::new();
    std::fs::remove_dir_all(demo.path("post_to_tuf")).unwrap();
    let said = demo.rugged(&["doctor", "--role", "monitor"]).exits(1);
    assert!(
        said.out.contains("post_to_tuf_path cannot be used") && said.out.contains("mount or create it"),
        "{said:?}"
    );
}

#[test]
fn a_restored_repository_is_released_into_again_after_recover() {
    let demo = Demo::new();
    let said = demo.rugged(&["recover"]).exits(0);
    assert_eq!(said.out.matches("is not below its floor").count(), 3, "{said:?}");
    let (repo, backup) = (demo.path("repo"), demo.path("backup"));
    let copied = Command::new("cp").arg("-a").args([&repo, &backup]).status().unwrap();
    assert!(copied.success());
    demo.again().exits(0);
    std::fs::remove_dir_all(&repo).unwrap();
    std::fs::rename(&backup, &repo).unwrap();
    let said = demo.rugged(&["recover"]).exits(2);
    assert!(said.err.contains("below the floor") && said.err.contains("--yes"), "{said:?}");
    let granted = demo.rugged(&["--json", "recover", "--yes"]).exits(0).json();
    assert!(granted["roles"].as_array().unwrap().iter().all(|role| role["granted"] == true), "{granted}");
    demo.again().exits(0);
    demo.rugged(&["validate", "--strict"]).exits(0);
}
