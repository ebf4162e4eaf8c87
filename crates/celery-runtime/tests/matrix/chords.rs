//! Chords with members and bodies on both kinds of workers. Results are in Redis, whatever the broker.

use celery_protocol::Signature;
use serde_json::{Value, json};

use super::{
    lab::{Cell, Lab, Needs, OURS},
    report::Report,
    workflows::{apply, step, told},
};

pub async fn mixed(cell: Cell) {
    let lab = Lab::open(cell, Needs { python_worker: true, chords: true }).await;
    let mut seen = Report::new(cell, lab.python_client("chords").await);
    seen.expect("chord_with_a_body_of_ours", 20);
    seen.expect("chord_with_a_body_of_python", json!([[2, 4, 6, 8]]));
    seen.expect("chord_on_a_shared_queue", 380);
    // Celery's client numbers the members of an inner group from its end. Workers of Python alone, of ours alone and both
    // together give the same.
    seen.expect("chord_of_groups", vec![json!([[4, 2, 6]]); 4]);
    seen.expect("chord_of_chains", json!([[3, 4]]));
    seen.expect("chain_with_a_chord", 107);
    seen.expect("chord_with_a_replaced_member", 6);
    for chord in ["chord_that_fails", "chord_in_which_python_fails"] {
        seen.expect(chord, json!({"raised": "ChordError", "told": true}));
    }
    seen.expect("group_after_failures", json!([2, 4, 6, 8]));
    seen.end();

    let client = lab.client().await;
    let members = || {
        let members = [step("rust.add", &[1, 1]), step("lab.add", &[2, 2]), step("rust.add", &[3, 3])];
        Signature::group(members.to_vec())
    };
    // Whoever counts the last member sends the body, and a Python worker has no table of ours.
    let total = || step("rust.total", &[]).with_option("queue", OURS);
    let fails = Signature::group(vec![step("rust.add", &[1, 1]), Signature::new("lab.fail", vec![json!("boom")])]);
    let mut results = Vec::new();
    for signature in [
        Signature::chord(members(), total()),
        Signature::chord(members(), step("lab.echo", &[])),
        Signature::chain(vec![members(), total()]),
        Signature::chord(fails, step("lab.echo", &[])),
    ] {
        results.push(told(apply(&client, signature).await));
    }
    // Which task failed is in the text.
    let failure = results.pop().and_then(|told| told.as_str().map(str::to_owned)).unwrap();
    assert!(
        failure.starts_with("ChordError: Dependency ") && failure.ends_with("raised ValueError('boom')"),
        "{failure}"
    );
    let expected: [Value; 3] = [json!(12), json!({"args": [[2, 4, 6]], "kwargs": {}}), json!(12)];
    assert_eq!(results, expected, "{cell:?}");
    drop(client);
    lab.close().await;
}
