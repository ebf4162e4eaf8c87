//! `docs/bad-input.md` against the source.

use std::collections::BTreeSet;
use std::fs;

use testkit::servers::workspace;

/// Where the tests are that are named without a path.
const HERE: &str = "tests/tests/bad_input";
/// Everything that has to be in the table, in its order.
const ITEMS: [&str; 49] = [
    "symlinks",
    "hard links to outside",
    "FIFOs",
    "devices",
    "`..`",
    "absolute names",
    "names that are not NFC",
    "names with control characters",
    "names that some clients cannot fetch",
    "names over 255 bytes",
    "a path that is both file and directory in one batch",
    "unreadable files",
    "a record or snapshot that cannot be read",
    "a targets directory that is full only at the sync",
    "files that change while they are read",
    "files that change or arrive after they were read",
    "an empty drop",
    "a drop with 100,000 files",
    "a drop larger than the free space",
    "a re-posted rejected drop",
    "a drop name used twice",
    "a manifest that lies",
    "a manifest from elsewhere",
    "a zero-byte target",
    "a zero-byte target under the legacy profile",
    "wrong keys",
    "missing keys",
    "group-readable keys",
    "a staged key",
    "expired metadata on disk",
    "tampered metadata on disk",
    "rolled-back metadata on disk",
    "a share restored to yesterday",
    "a squatted file name",
    "a read-only mount",
    "a missing mount",
    "a producer directory that cannot be deleted",
    "YAML mistakes",
    "a broker that is down at start",
    "a malformed or hostile task message",
    "tasks for later, and long chains",
    "a forced renewal from others",
    "a task that names files of a batch",
    "half-open connections",
    "a lock that another process holds",
    "a task for another role or repository",
    "a redelivered old `add-targets` or `remove-targets`",
    "a clock running backwards",
    "a clock years ahead",
];

/// Rows of three columns.
fn rows() -> Vec<[String; 3]> {
    let text = fs::read_to_string(workspace().join("docs/bad-input.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    rows.skip(1)
        .map(|line| {
            let cells: Vec<String> = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
            cells.try_into().unwrap_or_else(|cells| panic!("not three columns: {cells:?}"))
        })
        .collect()
}

/// The tests a cell names, as file and function.
fn tests_in(cell: &str) -> Vec<(String, String)> {
    cell.split('`')
        .filter(|name| name.contains("::"))
        .map(|name| {
            let (place, test) = name.rsplit_once("::").unwrap();
            let file = if place.ends_with(".rs") { place.to_owned() } else { format!("{HERE}/{place}.rs") };
            (file, test.to_owned())
        })
        .collect()
}

/// The functions of a file that have a test's attribute.
fn tests_of(file: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(workspace().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut found = BTreeSet::new();
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(name) = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn "))
            && std::mem::take(&mut marked)
        {
            found.insert(name.split('(').next().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn every_item_has_its_row() {
    let items: Vec<String> = rows().into_iter().map(|[item, ..]| item).collect();
    assert_eq!(items, ITEMS);
}

#[test]
fn every_row_says_what_happens_and_names_tests_that_exist() {
    for [item, happens, tests] in rows() {
        assert!(happens.len() > 20, "{item}");
        let tests = tests_in(&tests);
        assert!(!tests.is_empty(), "{item} has no test");
        for (file, test) in tests {
            assert!(tests_of(&file).contains(&test), "{item}: {file} has no test {test}");
        }
    }
}

#[test]
fn every_test_here_has_its_row() {
    let named: BTreeSet<(String, String)> = rows().iter().flat_map(|[.., tests]| tests_in(tests)).collect();
    for entry in fs::read_dir(workspace().join(HERE)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "table.rs" {
            continue;
        }
        let file = format!("{HERE}/{name}");
        for test in tests_of(&file) {
            assert!(named.contains(&(file.clone(), test.clone())), "{file}: {test} is not in docs/bad-input.md");
        }
    }
}
