//! Where two answers differ, and where they may.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::lab::OURS;

const README: &str = include_str!("../../README.md");

/// The places where Python's and ours differ, with both values.
pub type Differences = BTreeMap<String, String>;

/// Texts in which only the names of node and queue differ are the same.
pub fn neutral(text: &str, python_node: &str) -> String {
    text.replace(python_node, "NODE").replace(OURS, "NODE").replace("pythons", "QUEUE").replace("ours", "QUEUE")
}

/// The same value with neutral names, of members too.
pub fn neutral_value(value: &Value, python_node: &str) -> Value {
    serde_json::from_str(&neutral(&value.to_string(), python_node)).unwrap()
}

/// Where two answers differ: members, types, texts. Numbers are only compared as such.
pub fn differences(at: &str, python: &Value, ours: &Value, node: &str, found: &mut Differences) {
    match (python, ours) {
        (Value::Object(python), Value::Object(ours)) => {
            for key in python.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
                let at = format!("{at}.{key}");
                match (python.get(key), ours.get(key)) {
                    (Some(python), Some(ours)) => differences(&at, python, ours, node, found),
                    (python, ours) => {
                        found.insert(at, format!("{python:?} and {ours:?}"));
                    }
                }
            }
        }
        (Value::Array(python), Value::Array(ours)) => {
            if python.is_empty() != ours.is_empty() {
                found.insert(at.to_owned(), format!("{python:?} and {ours:?}"));
            }
            for (python, ours) in python.iter().zip(ours) {
                differences(&format!("{at}[]"), python, ours, node, found);
            }
        }
        (Value::String(python), Value::String(ours)) if neutral(python, node) == neutral(ours, node) => {}
        // Numbers and times as text are only compared as such, too.
        (Value::String(python), Value::String(ours))
            if (python.parse::<f64>().is_ok() && ours.parse::<f64>().is_ok())
                || (python.parse::<jiff::Timestamp>().is_ok() && ours.parse::<jiff::Timestamp>().is_ok()) => {}
        (Value::Number(python), Value::Number(ours)) if python.is_f64() == ours.is_f64() => {}
        (python, ours) if python == ours => {}
        (python, ours) => {
            found.insert(at.to_owned(), format!("{python} and {ours}"));
        }
    }
}

/// The places in the README's table; `*` stands for anything.
fn allowed() -> Vec<String> {
    let table = README.split("## Differences from a Python worker in monitors").nth(1).expect("the table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let allowed: Vec<String> = rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned())).collect();
    assert!(allowed.len() > 5, "{allowed:?}");
    allowed
}

fn fits(pattern: &str, place: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, after)) => place.starts_with(before) && place.ends_with(after),
        None => pattern == place,
    }
}

pub fn is_allowed(place: &str) -> bool {
    allowed().iter().any(|pattern| fits(pattern, place))
}

/// Nothing differs but what the table has.
pub fn assert_the_same(found: &Differences) {
    let unexplained: BTreeMap<_, _> = found.iter().filter(|(place, _)| !is_allowed(place)).collect();
    assert!(unexplained.is_empty(), "Python's and ours differ: {unexplained:#?}");
}

/// The rows of the table on these methods are all needed: each names a difference that was found.
pub fn assert_no_row_is_stale(found: &Differences, methods: &[&str]) {
    let of_these = |pattern: &String| methods.contains(&pattern.split(['.', '[']).next().unwrap());
    let stale: Vec<_> = allowed()
        .into_iter()
        .filter(|pattern| of_these(pattern) && !found.keys().any(|place| fits(pattern, place)))
        .collect();
    assert!(stale.is_empty(), "the README allows differences that are not: {stale:?}\n{found:#?}");
}
