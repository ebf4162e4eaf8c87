//! JSON and representations, compared with what Python 3 and Celery 5.7.0 gave for the same values.

use crate::captures::read_json;
use celery_protocol::{Limits, json, python as py};
use serde_json::Value;

fn parse(text: &Value) -> Value {
    json::parse(text.as_str().unwrap().as_bytes(), &Limits::default()).unwrap()
}

#[test]
fn arguments_are_represented_as_celery_represents_them() {
    let cases = read_json("python/reprs-5.7.0.json");
    for case in cases.as_array().unwrap() {
        let body = parse(&case["body"]);
        assert_eq!(py::args_repr(body[0].as_array().unwrap()), case["argsrepr"], "args of {}", case["body"]);
        assert_eq!(py::kwargs_repr(body[1].as_object().unwrap()), case["kwargsrepr"], "kwargs of {}", case["body"]);
    }
}

#[test]
fn json_is_written_as_python_writes_it() {
    let reprs = read_json("python/reprs-5.7.0.json");
    let values = read_json("python/json-and-repr.json");
    let bodies = reprs.as_array().unwrap().iter().map(|case| &case["body"]);
    for text in bodies.chain(values.as_array().unwrap().iter().map(|case| &case["json"])) {
        assert_eq!(json::to_string(&parse(text)), text.as_str().unwrap());
    }
}

#[test]
fn values_are_represented_as_python_represents_them() {
    let cases = read_json("python/json-and-repr.json");
    for case in cases.as_array().unwrap() {
        assert_eq!(py::repr(&parse(&case["json"])), case["repr"]);
    }
}
