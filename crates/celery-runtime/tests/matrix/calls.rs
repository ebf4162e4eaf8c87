//! A Python client and our worker, nobody else.

use serde_json::{Value, json};

use super::{
    lab::{Cell, Lab, Needs},
    report::Report,
};

pub async fn python_calls_ours(cell: Cell) {
    let lab = Lab::open(cell, Needs::default()).await;
    let mut seen = Report::new(cell, lab.python_client("calls").await);
    for add in ["get", "keyword_arguments", "task_id", "protocol_1", "countdown", "eta"] {
        seen.expect(add, 3);
    }
    seen.expect("many", true);
    seen.expect("compression", vec![3, 3, 3]);
    seen.expect("typed_values", true);
    let raised = |class: &str, args: &[&str]| json!({"raised": class, "args": args});
    seen.expect("exception", raised("builtins.ValueError", &["boom"]));
    // For a class it cannot find the client makes one up, in a module of its own.
    seen.expect("exception_of_its_own", raised("celery.exceptions.LabError", &["own"]));
    seen.expect("not_registered", raised("celery.exceptions.NotRegistered", &["rust.nothing"]));
    let steps: Vec<Value> = (0..3).map(|step| json!(["PROGRESS", {"step": step}])).collect();
    seen.expect("custom_states", json!({"seen": steps, "value": 3}));
    seen.expect("expires", raised("celery.exceptions.TaskRevokedError", &["expired"]));
    seen.expect("retry", 2);
    seen.expect("autoretry", 2);
    seen.expect("autoretry_in_vain", raised("builtins.ValueError", &["not yet"]));
    seen.expect("priority", 7);
    seen.expect("headers", json!({"x-trace": "abc"}));
    seen.expect("stamps", "r1");
    seen.expect("ignore_result", json!([null, 7]));
    seen.expect("time_limit", raised("billiard.exceptions.TimeLimitExceeded", &["0.5"]));
    seen.expect("soft_time_limit", raised("billiard.exceptions.SoftTimeLimitExceeded", &[]));
    seen.expect("revoke", raised("celery.exceptions.TaskRevokedError", &["revoked"]));
    seen.expect("terminate", raised("celery.exceptions.TaskRevokedError", &["terminated"]));
    seen.end();
    lab.close().await;
}
