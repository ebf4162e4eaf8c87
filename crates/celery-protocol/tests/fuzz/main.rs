//! Replays the corpus that fuzzing found (`scripts/fuzz.sh`): what once took a path of its own still passes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests say what they expect, and read the corpus"
)]

mod targets;

use std::fs;
use std::path::PathBuf;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() > 100, "{} holds {} inputs", folder.display(), inputs.len());
    for input in inputs {
        let bytes = fs::read(&input).unwrap();
        let outcome = std::panic::catch_unwind(|| run(&bytes));
        assert!(outcome.is_ok(), "{} fails", input.display());
    }
}

#[test]
fn every_task_in_the_corpus_is_a_task_or_a_refusal() {
    replay("task", targets::task::run);
}

#[test]
fn every_message_in_the_corpus_is_read_back_as_written() {
    replay("messages", targets::messages::run);
}

#[test]
fn every_value_in_the_corpus_is_read_back_as_written() {
    replay("values", targets::values::run);
}
