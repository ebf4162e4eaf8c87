//! Removal while another user exchanges names.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "a test on real directories")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use durable_fs::{RealFs, durable};
use testkit::exchange::Exchanger;

const TRIES: usize = 1_000;
const FILES: [&str; 4] = ["a", "b", "sub/c", "sub/deeper/d"];

fn fill(dir: &Path) {
    fs::create_dir_all(dir.join("sub/deeper")).unwrap();
    for file in FILES {
        fs::write(dir.join(file), "kept").unwrap();
    }
}

/// Removes trees. Of each, the tree itself or the directory `below` it is exchanged with a link to a directory with the same
/// names.
fn race(below: Option<&str>) {
    let temp = tempfile::tempdir().unwrap();
    let outside = temp.path().join("outside");
    fill(&outside);
    let mut exchanger: Option<Exchanger> = None;
    let (mut removed, mut failed) = (0, 0);
    for number in 0..TRIES {
        let dir = temp.path().join(number.to_string());
        let (tree, link) = (dir.join("tree"), dir.join("link"));
        fill(&tree);
        let (name, target) =
            below.map_or_else(|| (tree.clone(), outside.clone()), |below| (tree.join(below), outside.join(below)));
        symlink(target, &link).unwrap();
        match &exchanger {
            Some(exchanger) => exchanger.aim(&name, &link),
            None => exchanger = Some(Exchanger::start(&name, &link)),
        }
        match durable::remove_tree(&RealFs, &tree) {
            Ok(()) => removed += 1,
            Err(_) => failed += 1,
        }
        for file in FILES {
            assert!(outside.join(file).exists(), "try {number} removed {file} outside");
        }
    }
    println!("{below:?} exchanged: {TRIES} trees, {removed} removed, {failed} not");
}

#[test]
fn a_tree_that_is_exchanged_with_a_link_while_it_is_removed_takes_nothing_outside_with_it() {
    race(None);
}

#[test]
fn a_directory_in_a_tree_that_is_exchanged_with_a_link_takes_nothing_outside_with_it() {
    race(Some("sub"));
}
