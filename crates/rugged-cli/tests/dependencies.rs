//! What may depend on what.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]
#![allow(clippy::disallowed_methods, reason = "tests look at what was written from outside")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What each workspace member is built from, development dependencies left out.
fn dependencies() -> (BTreeMap<String, String>, BTreeMap<String, Vec<String>>) {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let said = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1", "--manifest-path", manifest])
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let metadata: Value = serde_json::from_slice(&said.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let names = metadata["packages"].as_array().unwrap().iter().map(|package| (text(&package["id"]), text(&package["name"])));
    let edges = metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| {
        let built_in = |dependency: &&Value| {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            kinds.iter().any(|kind| kind["kind"] != "dev")
        };
        let dependencies = node["deps"].as_array().unwrap().iter().filter(built_in).map(|dep| text(&dep["pkg"])).collect();
        (text(&node["id"]), dependencies)
    });
    (names.collect(), edges.collect())
}

#[test]
fn tough_and_aws_lc_are_in_the_command_alone() {
    let (names, edges) = dependencies();
    let reached = |name: &str| {
        let mut todo: Vec<&String> = names.iter().filter(|(_, found)| *found == name).map(|(id, _)| id).collect();
        assert_eq!(todo.len(), 1, "{name}");
        let mut seen = BTreeSet::new();
        while let Some(id) = todo.pop() {
            if seen.insert(id) {
                todo.extend(&edges[id]);
            }
        }
        seen.into_iter().map(|id| names[id].as_str()).collect::<BTreeSet<_>>()
    };
    let heavy = ["tough", "aws-lc-rs", "aws-lc-sys"];
    let libraries = ["durable-fs", "tuf-core", "celery-protocol", "celery-runtime", "fleet"];
    let workers = ["monitor-worker", "targets-worker", "snapshot-worker", "timestamp-worker", "root-worker"];
    for name in libraries.iter().chain(&workers) {
        let reached = reached(name);
        for heavy in heavy {
            assert!(!reached.contains(heavy), "{name} depends on {heavy}");
        }
    }
    for worker in workers {
        let reached = reached(worker);
        for other in workers.iter().filter(|other| **other != worker) {
            assert!(!reached.contains(other), "{worker} depends on {other}");
        }
    }
    // The question is asked of the right graph.
    assert!(reached("rugged-cli").contains("aws-lc-rs"));
}
