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
fn doctor_names_the_clients_that_the_choices_lock_out_without_calling_for_action() {
    let demo = Demo::new();
    let clients = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let said = demo.rugged(arguments).json();
        let findings = said["findings"].as_array().unwrap().iter();
        findings.filter(|finding| finding["check"] == "clients").cloned().collect()
    };
    // The repository decides where there is one: that of the demo is flat.
    let set = ["--json", "--set", "number_of_bins=16", "--set", "keyid_format=legacy", "doctor"];
    let found = clients(&set);
    assert_eq!(found.len(), 3, "{found:?}");
    let says = |finding: &serde_json::Value, text: &str| finding["message"].as_str().unwrap().contains(text);
    assert!(says(&found[0], "has no effect on the key ids: the repository has spec ones"), "{found:?}");
    assert!(says(&found[1], "php-tuf") && found[1]["subject"] == "keyid_format: spec", "{found:?}");
    assert!(says(&found[2], "has no effect: the repository has none"), "{found:?}");
    let text = demo.rugged(&["doctor"]).out;
    assert!(text.contains("info clients: keyid_format: spec: other clients read"), "{text}");

    std::fs::remove_dir_all(demo.path("repo/metadata")).unwrap();
    let set = ["--json", "--set", "number_of_bins=16", "--set", "trusted_root=/nowhere.json", "doctor"];
    let found = clients(&set);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|finding| finding["severity"] == "info" && finding["role"] == "all"), "{found:?}");
    assert!(found[0]["message"].as_str().unwrap().contains("php-tuf"), "{found:?}");
    assert!(found[1]["message"].as_str().unwrap().contains("go-tuf"), "{found:?}");
    assert!(found[0]["advice"].as_str().unwrap().contains("Ed25519"), "{found:?}");
    // It is no matter of one worker.
    assert!(clients(&["--json", "doctor", "--role", "targets"]).is_empty());
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
fn doctor_reports_a_umask_and_a_mode_that_hide_the_repository_from_its_readers() {
    let demo = Demo::new();
    let config = demo.path("config.yaml");
    let doctor = |umask: &str| {
        let rugged = common::command();
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let output = Command::new("sh")
            .args(["-c", &script])
            .arg(rugged.get_program())
            .args(["--json", "--config", config.to_str().unwrap(), "doctor", "--role", "timestamp"])
            .output()
            .unwrap();
        let found = common::Said::from(output).json()["findings"].clone();
        found.as_array().unwrap().iter().filter(|finding| finding["check"] == "umask").count()
    };
    assert_eq!(doctor("022"), 0);
    assert_eq!(doctor("027"), 0);
    assert!(doctor("077") > 0);

    let served = demo.path("repo/metadata/timestamp.json");
    let of_timestamp = |document: &serde_json::Value| {
        let findings = document["findings"].as_array().unwrap().iter();
        findings.filter(|finding| finding["subject"].as_str().unwrap().ends_with("/timestamp.json")).count()
    };
    assert_eq!(of_timestamp(&demo.rugged(&["--json", "doctor"]).json()), 0);
    std::fs::set_permissions(&served, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let said = demo.rugged(&["--json", "doctor"]).exits(1).json();
    assert_eq!(of_timestamp(&said), 1, "{said}");
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
    // Both names of the fault: what an operator asks first, and what mends it.
    let doctor = demo.rugged(&["--json", "doctor"]).exits(1).json();
    let floors: Vec<_> =
        doctor["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == "floor").collect();
    assert_eq!(floors.len(), 3, "{doctor}");
    assert!(floors[0]["message"].as_str().unwrap().contains("below the floor"), "{doctor}");
    assert!(floors[0]["advice"].as_str().unwrap().contains("`rugged recover --role targets`"), "{doctor}");
    let said = demo.rugged(&["recover"]).exits(2);
    assert!(said.err.contains("below the floor") && said.err.contains("--yes"), "{said:?}");
    let granted = demo.rugged(&["--json", "recover", "--yes"]).exits(0).json();
    assert!(granted["roles"].as_array().unwrap().iter().all(|role| role["granted"] == true), "{granted}");
    demo.again().exits(0);
    demo.rugged(&["validate", "--strict"]).exits(0);
}
