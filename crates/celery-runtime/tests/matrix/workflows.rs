//! Workflows through a worker of Python and one of ours, sent by a Python client and by ours; and all else our client can ask
//! of a Python worker.

use std::time::Duration;

use celery_protocol::Signature;
use celery_runtime::client::{CallError, Client, SendOptions};
use serde_json::{Map, Value, json};

use super::{
    lab::{Cell, Lab, Needs, OURS, SOON, THEIRS},
    report::Report,
};

pub async fn both_ways(cell: Cell) {
    let mut lab = Lab::open(cell, Needs { python_worker: true, chords: false }).await;
    python_sends(cell, &lab).await;
    let client = lab.client().await;
    let seen = json!({
        "chains": chains(&client).await,
        "chain_that_fails": told(apply(&client, failing_chain()).await),
        "groups": groups(&client).await,
        "calls": calls(&client).await,
        "links": links(&mut lab, &client).await,
        "revoked": revoked(&client).await,
    });
    let mut seen = Report::new(cell, seen);
    seen.expect("chains", json!([113, 113, 12]));
    seen.expect("chain_that_fails", json!("ValueError: no luck"));
    seen.expect("groups", json!([[2, 4, 6], [12, 23]]));
    seen.expect(
        "calls",
        json!({
            "plain": 3, "keywords": 3, "compressed": 3, "countdown": 3, "retried": 2, "progress": 3,
            "told": {"args": [1], "stamps": {"release": "r1"}, "priority": 4, "nesting": 0},
            "expired": "revoked: expired", "exception": "ValueError: boom",
            "own": "LabError: 1, two", "unknown": "NotRegistered: lab.nothing",
        }),
    );
    seen.expect("links", json!([[3], true]));
    seen.expect("revoked", json!("revoked: revoked"));
    seen.end();
    drop(client);
    lab.close().await;
}

async fn python_sends(cell: Cell, lab: &Lab) {
    let mut seen = Report::new(cell, lab.python_client("workflows").await);
    for chain in ["chain_python_rust_python", "chain_rust_python_rust"] {
        seen.expect(chain, 113);
    }
    seen.expect("chain_that_fails", json!({"raised": "builtins.ValueError", "args": ["boom"]}));
    seen.expect("chain_with_a_retry", 12);
    seen.expect("chain_with_group", json!([12, 22]));
    for link in ["link_to_python", "link_to_rust"] {
        seen.expect(link, json!({"first": 3, "after": 13, "is_child": true}));
    }
    for (link, failure) in
        [("link_error_to_rust", "ValueError('boom')"), ("link_error_of_python_to_rust", "ValueError('no')")]
    {
        // An errback gets the id of what failed, and is nobody's child.
        seen.expect(link, json!({"first": failure, "after": true, "is_child": false}));
    }
    seen.expect("group", json!([2, 4, 6]));
    seen.expect("group_on_a_shared_queue", true);
    // The last first: the step that stands for the replaced one, and each that follows it, knows how deep that went.
    seen.expect("replaced", json!({"nesting": [1, 1, 1], "first": 3}));
    seen.end();
}

/// The result as JSON; a failure as text.
pub fn told(outcome: Result<Value, CallError>) -> Value {
    match outcome {
        Ok(value) => value,
        Err(CallError::TaskFailed { exc_type, messages, .. }) => {
            let text = |message: &Value| message.as_str().map_or_else(|| message.to_string(), str::to_owned);
            format!("{exc_type}: {}", messages.iter().map(text).collect::<Vec<_>>().join(", ")).into()
        }
        Err(CallError::Revoked { reason, .. }) => format!("revoked: {reason}").into(),
        Err(other) => format!("{other:?}").into(),
    }
}

pub async fn apply(client: &Client, signature: Signature) -> Result<Value, CallError> {
    client.apply(signature).await.unwrap().get(SOON).await
}

pub fn step(name: &str, args: &[i64]) -> Signature {
    Signature::new(name, args.iter().map(|number| json!(number)).collect())
}

/// A Python worker has no table of ours: a step it sends on names its queue.
fn back(args: &[i64]) -> Signature {
    step("rust.add", args).with_option("queue", OURS)
}

fn failing_chain() -> Signature {
    let fails = Signature::new("lab.fail", vec![json!("no luck")]).immutable();
    Signature::chain(vec![step("rust.add", &[1, 2]), fails, back(&[1]), back(&[2])])
}

async fn chains(client: &Client) -> Value {
    let mut results = Vec::new();
    for chain in [
        vec![step("rust.add", &[1, 2]), step("lab.add", &[10]), back(&[100])],
        vec![step("lab.add", &[1, 2]), back(&[10]), step("lab.add", &[100])],
        vec![step("rust.add", &[1, 1]), step("lab.retry", &[]), back(&[10])],
    ] {
        results.push(told(apply(client, Signature::chain(chain)).await));
    }
    results.into()
}

async fn groups(client: &Client) -> Value {
    let group = Signature::group(vec![step("rust.add", &[1, 1]), step("lab.add", &[2, 2]), step("rust.add", &[3, 3])]);
    let inner = Signature::chain(vec![step("lab.add", &[20]), back(&[1])]);
    let chain = Signature::chain(vec![step("lab.add", &[1, 1]), Signature::group(vec![back(&[10]), inner])]);
    json!([told(apply(client, group).await), told(apply(client, chain).await)])
}

async fn call(client: &Client, task: &str, args: Value, options: SendOptions) -> Value {
    let Value::Array(args) = args else { panic!("not a list") };
    let mut sent = client.send(THEIRS, task, args, Map::new(), options).await.unwrap();
    told(sent.get(SOON).await)
}

async fn calls(client: &Client) -> Value {
    let plain = SendOptions::default;
    let add = async |options| call(client, "lab.add", json!([1, 2]), options).await;
    let late = SendOptions {
        countdown: Some(Duration::from_secs(5)),
        expires_in: Some(Duration::from_secs(3)),
        ..SendOptions::default()
    };
    // Waited for when all else is done.
    let mut late = client.send(THEIRS, "lab.add", vec![json!(1), json!(2)], Map::new(), late).await.unwrap();
    let keywords = json!({"x": 1, "y": 2}).as_object().unwrap().clone();
    let mut progress = client.send(THEIRS, "lab.progress", vec![json!(3)], Map::new(), plain()).await.unwrap();
    let mut strange = Vec::new();
    let progress = progress.get_with(SOON, |state, _| strange.push(state.to_string())).await;
    // Which of them are seen is a matter of time.
    strange.retain(|state| state != "PROGRESS" && state != "STARTED");
    assert!(strange.is_empty(), "{strange:?}");
    let stamped = SendOptions {
        priority: 4,
        stamps: json!({"release": "r1"}).as_object().unwrap().clone(),
        ..SendOptions::default()
    };
    json!({
        "plain": add(plain()).await,
        "keywords": told(client.call(THEIRS, "lab.add", keywords, SOON).await),
        "compressed": add(SendOptions { compression: Some("gzip".into()), ..plain() }).await,
        "countdown": add(SendOptions { countdown: Some(Duration::from_millis(200)), ..plain() }).await,
        "retried": call(client, "lab.retry", json!([2]), plain()).await,
        "progress": told(progress),
        "told": call(client, "lab.told", json!([1]), stamped).await,
        "exception": call(client, "lab.fail", json!(["boom"]), plain()).await,
        "own": call(client, "lab.fail_custom", json!([1, "two"]), plain()).await,
        "unknown": call(client, "lab.nothing", json!([]), plain()).await,
        "expired": told(late.get(SOON).await),
    })
}

/// The argument of the callback of a Python task, and whether its errback got the id of the failed task.
async fn links(lab: &mut Lab, client: &Client) -> Value {
    let note = || vec![Signature::new("rust.note", vec![]).with_option("queue", OURS)];
    let options = SendOptions { link: note(), ..SendOptions::default() };
    client.send(THEIRS, "lab.add", vec![json!(1), json!(2)], Map::new(), options).await.unwrap();
    let after = lab.noted().await;
    let options = SendOptions { link_error: note(), ..SendOptions::default() };
    let failed = client.send(THEIRS, "lab.fail", vec![json!("no")], Map::new(), options).await.unwrap();
    json!([after, lab.noted().await == json!([failed.task_id()])])
}

async fn revoked(client: &Client) -> Value {
    let ping = async {
        loop {
            let nodes = client.control().inspect("ping").await.unwrap().into_iter().map(|reply| reply.node);
            if let Some(node) = nodes.into_iter().find(|node| node.starts_with("lab@")) {
                return node;
            }
        }
    };
    let node = tokio::time::timeout(SOON, ping).await.expect("no answer of the Python worker");
    let id = "to-be-revoked".to_owned();
    let answers = client.control().to([node]).timeout(SOON).revoke(std::slice::from_ref(&id), false).await.unwrap();
    assert_eq!(answers.len(), 1, "{answers:?}");
    call(client, "lab.add", json!([1, 2]), SendOptions { task_id: Some(id), ..SendOptions::default() }).await
}
