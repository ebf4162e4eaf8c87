//! The house: which file may import which, which crate stands on which, and what a signature may say.
//!
//! These tests read the sources under `crates/*/src`. Test modules are left out: a test may look at anything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

mod graph;
mod signatures;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{Crate, crates};

/// Names that a library for Celery and a library for TUF each have in their own field: a caller reads them with their crate.
const IN_BOTH_FIELDS: [&str; 4] = ["Client", "Envelope", "Limits", "Signature"];

/// Each crate and the crates of this workspace that it may import, directly.
///
/// Arrows run one way: workers and CLI → fleet → service → celery-runtime → celery-protocol, and workers →
/// tuf-repository → tuf-core → durable-fs. There is none between workers.
const ARROWS: [(&str, &[&str]); 15] = [
    ("durable-fs", &[]),
    ("tuf-core", &["durable-fs"]),
    ("tuf-repository", &["tuf-core", "durable-fs"]),
    ("celery-protocol", &[]),
    ("celery-runtime", &["celery-protocol"]),
    ("celery-conformance", &["celery-runtime", "celery-protocol"]),
    // Of tuf-core it takes the time alone: status and metrics show times as metadata has them.
    ("service", &["celery-runtime", "tuf-core", "durable-fs"]),
    ("fleet", &["service", "celery-runtime", "tuf-repository", "tuf-core", "durable-fs"]),
    ("monitor-worker", &["fleet", "service", "celery-runtime", "tuf-core", "durable-fs"]),
    ("targets-worker", &["fleet", "service", "celery-runtime", "tuf-repository", "tuf-core", "durable-fs"]),
    ("snapshot-worker", &["fleet", "service", "tuf-repository", "tuf-core"]),
    ("timestamp-worker", &["fleet", "service", "tuf-repository", "tuf-core"]),
    ("root-worker", &["fleet", "service", "tuf-repository", "tuf-core", "durable-fs"]),
    (
        "rugged-cli",
        &[
            "monitor-worker",
            "targets-worker",
            "snapshot-worker",
            "timestamp-worker",
            "root-worker",
            "fleet",
            "service",
            "celery-runtime",
            "tuf-repository",
            "tuf-core",
            "durable-fs",
        ],
    ),
    ("testkit", &["tuf-repository", "tuf-core", "durable-fs"]),
];

/// Rugged's side. A crate of the second system, `rstuf-*`, never imports one of these, and none of them imports it.
const RUGGED: [&str; 6] =
    ["fleet", "monitor-worker", "targets-worker", "snapshot-worker", "timestamp-worker", "root-worker"];

#[test]
fn no_file_imports_another_in_a_circle() {
    let circles: Vec<String> = crates().iter().flat_map(graph::circles).collect();
    assert!(circles.is_empty(), "files import each other in a circle:\n{}", circles.join("\n"));
}

#[test]
fn no_lower_crate_imports_a_higher_one() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into();
    let all = crates();
    let names: BTreeSet<&str> = all.iter().map(|one| one.name.as_str()).collect();
    let mut wrong = Vec::new();
    for one in &all {
        let Some(allowed) = arrows.get(one.name.as_str()) else {
            wrong.push(format!("{}: give the crate a line in ARROWS", one.name));
            continue;
        };
        for (file, imported) in one.workspace_imports(&names) {
            if !allowed.contains(&imported) {
                wrong.push(format!("{file} imports {imported}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that go back, or are new:\n{}", wrong.join("\n"));
}

#[test]
fn ruggeds_and_rstufs_crates_never_import_each_other() {
    let all = crates();
    let names: BTreeSet<&str> = all.iter().map(|one| one.name.as_str()).collect();
    let is_rstuf = |name: &str| name.starts_with("rstuf-");
    let crosses =
        |from: &str, to: &str| (RUGGED.contains(&from) && is_rstuf(to)) || (is_rstuf(from) && RUGGED.contains(&to));
    for one in &all {
        for (file, imported) in one.workspace_imports(&names) {
            assert!(!crosses(&one.name, imported), "{file} imports {imported}");
        }
    }
    assert!(crosses("fleet", "rstuf-worker") && crosses("rstuf-worker", "fleet"));
}

#[test]
fn no_text_crosses_a_module_as_an_error() {
    let found: Vec<String> = crates().iter().flat_map(signatures::text_errors).collect();
    assert!(found.is_empty(), "give these a typed error:\n{}", found.join("\n"));
}

#[test]
fn no_function_takes_a_role_as_text() {
    let found: Vec<String> = crates().iter().flat_map(signatures::text_roles).collect();
    assert!(found.is_empty(), "take a WorkerRole, a KeyRole or a RoleName:\n{}", found.join("\n"));
}

#[test]
fn a_module_with_children_is_a_mod_rs() {
    let found: Vec<String> = crates().iter().flat_map(Crate::files_beside_their_folder).collect();
    assert!(found.is_empty(), "rename to FOLDER/mod.rs:\n{}", found.join("\n"));
}

#[test]
fn no_two_public_types_share_a_name() {
    let mut places: BTreeMap<(String, bool), Vec<String>> = BTreeMap::new();
    for one in &crates() {
        for (name, file) in one.public_types() {
            let of_celery = one.name.starts_with("celery-") && IN_BOTH_FIELDS.contains(&name.as_str());
            places.entry((name, of_celery)).or_default().push(file);
        }
    }
    let twice: Vec<String> = places
        .iter()
        .filter(|(_, files)| files.len() > 1)
        .map(|((name, _), files)| format!("{name}: {}", files.join(", ")))
        .collect();
    assert!(twice.is_empty(), "one name, one thing:\n{}", twice.join("\n"));
}
