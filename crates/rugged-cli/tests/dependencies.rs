//! What may depend on what.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]
#![allow(clippy::disallowed_methods, reason = "tests look at what was written from outside")]

use std::collections::BTreeSet;
use std::process::Command;

/// Every crate `package` is built from when it is built by itself, development dependencies left out. `cargo metadata`
/// would not do: it shows the features of the whole workspace at once.
fn built_from(package: &str) -> BTreeSet<String> {
    let names =
        |text: String| text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    // Asked beforehand where the tests run as a user who cannot reach cargo.
    if let Some(trees) = std::env::var_os("TUF_FLEET_TEST_CARGO_TREES") {
        return names(std::fs::read_to_string(std::path::Path::new(&trees).join(package)).unwrap());
    }
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let said = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
        .args(["--package", package, "--manifest-path", manifest])
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    names(String::from_utf8(said.stdout).unwrap())
}

#[test]
fn tough_aws_lc_and_an_http_client_are_in_the_command_alone() {
    let workers = ["monitor-worker", "targets-worker", "snapshot-worker", "timestamp-worker", "root-worker"];
    for worker in workers {
        let crates = built_from(worker);
        // The question is asked of the right crate.
        assert!(crates.contains("fleet") && crates.contains(worker), "{worker}: {crates:?}");
        for heavy in ["tough", "aws-lc-rs", "aws-lc-sys", "ureq"] {
            assert!(!crates.contains(heavy), "{worker} depends on {heavy}");
        }
        for other in workers.iter().filter(|other| **other != worker) {
            assert!(!crates.contains(*other), "{worker} depends on {other}");
        }
    }
    assert!(built_from("rugged-cli").contains("aws-lc-rs"));
}

#[test]
fn the_crates_for_celery_stand_alone() {
    let ours = ["durable-fs", "tuf-core", "fleet", "rugged-cli", "testkit", "celery-conformance"];
    for (package, below) in [("celery-protocol", None), ("celery-runtime", Some("celery-protocol"))] {
        let crates = built_from(package);
        assert!(crates.contains(package) && below.is_none_or(|below| crates.contains(below)), "{package}: {crates:?}");
        for other in ours {
            assert!(!crates.contains(other), "{package} depends on {other}");
        }
        assert!(!crates.iter().any(|name| name.ends_with("-worker")), "{package}: {crates:?}");
    }
}
