//! The command line, the configuration it makes, keys and the first root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]
#![allow(clippy::disallowed_methods, reason = "tests look at what was written from outside")]

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::{command, rugged, write};
use serde_json::Value;

fn setting(said: &Value, key: &str) -> (String, String) {
    let found = said["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == key).unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("value"), text("origin"))
}

#[test]
fn every_value_is_shown_with_its_origin() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("config.yaml");
    write(&file, "scheduler_scan_period: 7\nnumber_of_bins: 4\nreconcile_period: 9\n");
    let said = command()
        .args(["--json", "--config", file.to_str().unwrap(), "--set", "reconcile_period=11", "config"])
        .args(["--broker-url", "amqp://user:s3cret@host/v"])
        .env("RUGGED_NUMBER_OF_BINS", "16")
        .output()
        .unwrap();
    let said = common::Said::from(said).exits(0);
    assert!(!said.out.contains("s3cret"), "{}", said.out);
    let json = said.json();
    assert_eq!(json["file"], file.to_str().unwrap());
    assert_eq!(setting(&json, "scheduler_scan_period"), ("7".into(), format!("{}:1", file.display())));
    assert_eq!(setting(&json, "number_of_bins"), ("16".into(), "RUGGED_NUMBER_OF_BINS".into()));
    assert_eq!(setting(&json, "reconcile_period"), ("11".into(), "--set".into()));
    assert_eq!(setting(&json, "environment").1, "default");
    assert_eq!(setting(&json, "broker_url"), ("amqp://user:***@host/v".into(), "--set".into()));
}

#[test]
fn config_names_the_clients_that_its_choices_lock_out() {
    let temp = tempfile::tempdir().unwrap();
    let warnings = |settings: &[&str]| -> Vec<String> {
        let mut arguments = beneath(temp.path());
        arguments.extend(settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]));
        let said = rugged(arguments.iter().chain(&["--json".to_owned(), "config".to_owned()])).exits(0).json();
        let text = |warning: &Value| {
            assert!(!warning["advice"].as_str().unwrap().is_empty(), "{warning}");
            format!("{}: {}", warning["subject"].as_str().unwrap(), warning["message"].as_str().unwrap())
        };
        said["warnings"].as_array().unwrap().iter().map(text).collect()
    };
    let [by_default] = warnings(&[]).try_into().unwrap();
    assert!(by_default.starts_with("keyid_format: spec: ") && by_default.contains("php-tuf"), "{by_default}");
    let [legacy, ed25519] = warnings(&["keyid_format=legacy"]).try_into().unwrap();
    assert!(legacy.starts_with("keyid_format: legacy: ") && legacy.contains("tough refuses"), "{legacy}");
    assert!(ed25519.contains("Ed25519 signatures only"), "{ed25519}");
    let [_, bins] = warnings(&["number_of_bins=16"]).try_into().unwrap();
    assert!(bins.starts_with("number_of_bins: 16: go-tuf "), "{bins}");
    let [_, _, slow] = warnings(&["number_of_bins=16384"]).try_into().unwrap();
    assert!(slow.starts_with("number_of_bins: 16384: ") && slow.contains("tough") && slow.contains("tuf-js"), "{slow}");

    let mut arguments = beneath(temp.path());
    arguments.extend(["--set", "keyid_format=legacy"].map(str::to_owned));
    rugged(arguments.iter().chain(&["generate-keys", "--type", "ecdsa"].map(str::to_owned))).exits(0);
    rugged(arguments.iter().chain(&["initialize".to_owned()])).exits(0);
    let [_, keys] = warnings(&["keyid_format=legacy"]).try_into().unwrap();
    assert!(keys.starts_with("ecdsa keys: php-tuf "), "{keys}");
    let shown = rugged(arguments.iter().chain(&["config".to_owned()])).exits(0).out;
    assert_eq!(shown.lines().filter(|line| line.starts_with("warning: ")).count(), 2, "{shown}");
}

#[test]
fn a_wrong_configuration_is_exit_code_2_with_a_hint() {
    for arguments in [
        &["--set", "scheduler_scan_perod=1", "config"][..],
        &["--set", "number_of_bins=3", "config"],
        &["--set", "nonsense", "config"],
        &["--config", "/does/not/exist.yaml", "config"],
        &["--broker-url", "http://host", "status"],
    ] {
        let said = rugged(arguments).exits(2);
        assert!(said.err.starts_with("error: ") && said.err.contains("\nhint: "), "{}", said.err);
        assert_eq!(said.out, "");
    }
    assert!(rugged(["--set", "scheduler_scan_perod=1", "config"]).err.contains("did you mean `scheduler_scan_period`"));
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for arguments in [
        &["no-such-command"][..],
        &["post"],
        &["remove-targets"],
        &["remove-targets", "../escape", "--yes"],
        &["remove-targets", "a", "--expect", "zz", "--yes"],
        &["ping", "no-worker"],
        &["generate-keys", "--role", "bins"],
        &["up", "--http", "nowhere"],
    ] {
        rugged(arguments).exits(2);
    }
}

#[test]
fn the_help_names_every_command_and_every_exit_code() {
    let said = rugged(["help"]).exits(0);
    for command in [
        "demo",
        "up",
        "post",
        "status",
        "validate",
        "generate-keys",
        "initialize",
        "add-targets",
        "remove-targets",
        "refresh-expiry",
        "pause-processing",
        "resume-processing",
        "ping",
        "config",
    ] {
        assert!(said.out.contains(&format!("\n  {command} ")), "{command}: {}", said.out);
        assert!(rugged(["help", command]).exits(0).out.contains("--json"), "{command}");
    }
    assert!(rugged(["help", "exit-codes"]).exits(0).out.contains("no answer in time"));
    assert_eq!(rugged(["--json", "exit-codes"]).exits(0).json().as_array().unwrap().len(), 8);
}

/// Settings with every path below a directory.
fn beneath(dir: &std::path::Path) -> Vec<String> {
    let paths = [
        ("post_to_tuf_path", "post"),
        ("inbound_targets_path", "inbound"),
        ("repo_path", "repo"),
        ("signing_keys_path", "signing"),
        ("verification_keys_path", "verification"),
        ("state_path", "state"),
    ];
    paths.iter().flat_map(|(key, below)| ["--set".into(), format!("{key}={}", dir.join(below).display())]).collect()
}

#[test]
fn keys_are_made_once_and_a_repository_is_initialized_once() {
    let temp = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut all = beneath(temp.path());
        all.push("--json".into());
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        rugged(all)
    };
    // Without keys there is no root.
    let said = run(&["initialize"]).exits(5);
    assert!(said.err.contains("generate-keys"), "{}", said.err);

    let keys = run(&["generate-keys"]).exits(0).json();
    assert_eq!(keys.as_array().unwrap().len(), 4);
    let private = keys[0]["private_path"].as_str().unwrap();
    assert_eq!(std::fs::metadata(private).unwrap().permissions().mode() & 0o777, 0o400);
    let before = std::fs::read(private).unwrap();
    run(&["generate-keys"]).exits(5);
    run(&["generate-keys", "--role", "root"]).exits(5);
    assert_eq!(std::fs::read(private).unwrap(), before);
    let more = run(&["generate-keys", "--role", "root", "--name", "second", "--type", "ecdsa"]).exits(0).json();
    assert_eq!(more[0]["name"], "second");

    let made = run(&["initialize"]).exits(0).json();
    let root = made["keys"].as_array().unwrap().iter().find(|role| role["role"] == "root").unwrap();
    assert_eq!(root["keyids"].as_array().unwrap().len(), 2, "{made}");
    let roles: Vec<&str> =
        made["visible"].as_array().unwrap().iter().map(|role| role["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["root", "timestamp", "snapshot", "targets"]);
    run(&["initialize"]).exits(5);
    run(&["validate", "--strict"]).exits(0);
}

#[test]
fn errors_are_json_where_results_are() {
    for (arguments, code) in [
        (&["--set", "scheduler_scan_perod=1", "config"][..], 2),
        (&["ping"], 3),
        // The command line itself is wrong.
        (&["no-such-command"], 2),
        (&["post"], 2),
    ] {
        let said = rugged(["--json"].iter().chain(arguments)).exits(code);
        assert_eq!(said.out, "");
        let line = said.err.lines().last().unwrap();
        let error: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {}", said.err));
        assert!(!error["error"].as_str().unwrap().is_empty() && !error["hint"].as_str().unwrap().is_empty(), "{error}");
        assert_eq!(error["exit_code"], code, "{error}");
        assert!(!error["error"].as_str().unwrap().starts_with("error"), "{error}");
    }
    // Without --json they are text, and so is help in any case.
    assert!(rugged(["post"]).exits(2).err.contains("Usage:"));
    assert!(rugged(["--json", "post", "--help"]).exits(0).out.contains("Usage:"));
}

#[test]
fn an_unreachable_broker_is_no_answer_and_its_password_is_not_shown() {
    let said =
        rugged(["--broker-url", "amqp://user:s3cret@127.0.0.1:1/v", "refresh-expiry", "--timeout", "1"]).exits(3);
    assert!(!said.err.contains("s3cret") && said.err.contains("hint: "), "{}", said.err);
    assert!(said.err.contains("cannot connect to the broker") && !said.err.contains("rugged.admin"), "{}", said.err);
}
