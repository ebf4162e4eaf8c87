use std::time::Duration;

use serde_json::{Map, Value, json};

use jiff::Timestamp;

use super::*;

use crate::task::{Embed, Signature, TaskRequest};
use crate::value::{FieldTable, FieldValue};

fn now() -> Timestamp {
    "2026-11-21T05:40:00Z".parse().unwrap()
}

fn sig(task: &str, id: &str) -> Signature {
    Signature::new(task, vec![json!("own")]).with_option("task_id", id).with_option("reply_to", "client")
}

fn parent(embed: Embed) -> TaskRequest {
    let mut task = TaskRequest::builder("lab.first", "p").sent_by("root", "grandparent").stamp("m", "1").build();
    task.embed = embed;
    task
}

fn continued(embed: Embed) -> (Plan, Vec<Value>) {
    let task = parent(embed);
    Sender::task(&task, now()).on_success(&task, &json!(5)).unwrap()
}

#[test]
fn the_last_element_of_a_chain_runs_next_with_the_result_in_front() {
    let chain = vec![sig("lab.third", "3"), sig("lab.second", "2").with_option("queue", "other")];
    let (plan, children) = continued(Embed { chain: Some(chain.clone()), ..Embed::default() });
    let [Outgoing { task, route, .. }] = plan.tasks.as_slice() else { panic!("{plan:?}") };
    assert_eq!((task.name(), task.id(), task.root_id()), ("lab.second", "2", "root"));
    assert_eq!(task.headers.parent_id.as_deref(), Some("p"));
    assert_eq!(task.args, [json!(5), json!("own")]);
    assert_eq!(task.reply_to(), Some("client"));
    assert_eq!(task.correlation_id(), "2");
    assert_eq!(task.embed.chain.as_deref(), Some(&chain[..1]));
    assert_eq!(task.headers.stamps.get("m").and_then(FieldValue::as_str), Some("1"), "stamps are handed on");
    assert_eq!(task.headers.stamped_headers.as_deref(), Some(&["m".to_owned()][..]));
    assert_eq!(route.queue.as_deref(), Some("other"));
    assert_eq!(children, [json!([["2", null], null])]);
}

#[test]
fn an_immutable_step_keeps_its_arguments_and_the_end_of_a_chain_is_an_empty_list() {
    let (plan, _) = continued(Embed { chain: Some(vec![sig("t", "2").immutable()]), ..Embed::default() });
    assert_eq!(plan.tasks[0].task.args, [json!("own")]);
    assert_eq!(plan.tasks[0].task.embed.chain, Some(vec![]));
}

#[test]
fn a_continuation_that_is_made_twice_is_the_same() {
    let embed = Embed {
        callbacks: Some(vec![Signature::new("a", vec![]), Signature::new("b", vec![])]),
        chain: Some(vec![Signature::new("c", vec![])]),
        ..Embed::default()
    };
    assert_eq!(continued(embed.clone()), continued(embed.clone()));
    let mut other = parent(embed);
    other.headers.id = "q".into();
    let (plan, _) = Sender::task(&other, now()).on_success(&other, &json!(5)).unwrap();
    let ids: Vec<_> = plan.tasks.iter().map(|out| out.task.id().to_owned()).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| uuid::Uuid::parse_str(id).is_ok()));
}

#[test]
fn several_callbacks_are_a_group_and_one_is_itself() {
    let one = continued(Embed { callbacks: Some(vec![sig("a", "1")]), ..Embed::default() });
    assert_eq!((one.0.tasks[0].task.headers.group.as_deref(), one.0.tasks.len()), (None, 1));
    let group = Signature::group(vec![sig("x", "x1"), sig("y", "y1")]).with_option("task_id", "g");
    let (plan, children) =
        continued(Embed { callbacks: Some(vec![sig("a", "1"), group, sig("b", "2")]), ..Embed::default() });
    let sent: Vec<_> = plan
        .tasks
        .iter()
        .map(|out| (out.task.name(), out.task.headers.group_index, out.task.headers.group.as_deref() == Some("g")))
        .collect();
    assert_eq!(sent, [("x", Some(0), true), ("y", Some(1), true), ("a", Some(0), false), ("b", Some(1), false)]);
    assert_eq!(children.len(), 2);
    assert_eq!(children[0], json!([["g", null], [[["x1", null], null], [["y1", null], null]]]));
}

#[test]
fn an_errback_gets_the_id_of_what_failed() {
    let embed = Embed { errbacks: Some(vec![Signature::new("cry", vec![json!("extra")])]), ..Embed::default() };
    let task = parent(embed);
    let plan = Sender::task(&task, now()).on_failure(&task).unwrap();
    assert_eq!(plan.tasks[0].task.args, [json!("p"), json!("extra")]);
    assert_eq!(plan.tasks[0].task.headers.parent_id.as_deref(), Some("p"));
}

#[test]
fn a_group_at_the_end_of_a_chain_is_unrolled_and_its_chains_start() {
    let inner = Signature::chain(vec![sig("b1", "b1"), sig("b2", "b2")]);
    let group = Signature::group(vec![sig("a", "a"), inner]).with_option("task_id", "g");
    let (plan, children) = continued(Embed { chain: Some(vec![group]), ..Embed::default() });
    let [a, b] = plan.tasks.as_slice() else { panic!("{plan:?}") };
    assert_eq!((a.task.id(), a.task.headers.group_index), ("a", Some(0)));
    assert_eq!((b.task.id(), b.task.headers.group.as_deref()), ("b1", None));
    assert_eq!(b.task.args, [json!(5), json!("own")]);
    let rest = b.task.embed.chain.as_ref().unwrap();
    assert_eq!((rest.len(), rest[0].text("group_id"), &rest[0].options["group_index"]), (1, Some("g"), &json!(1)));
    assert_eq!(children, [json!([["g", null], [[["a", null], null], [["b2", null], null]]])]);
}

#[test]
fn a_chord_is_announced_and_its_body_travels_with_every_member() {
    let header = Signature::group(vec![sig("a", "a"), Signature::chain(vec![sig("b", "b"), sig("c", "c")])])
        .with_option("task_id", "g");
    let chord = Signature::chord(header, sig("sum", "body"));
    let (plan, children) = continued(Embed { chain: Some(vec![sig("after", "after"), chord]), ..Embed::default() });
    assert_eq!(plan.chords, [("g".to_owned(), 2)]);
    let [a, b] = plan.tasks.as_slice() else { panic!("{plan:?}") };
    let body = a.task.embed.chord.as_ref().unwrap();
    assert_eq!((body.task.as_str(), body.text("task_id")), ("sum", Some("body")));
    assert_eq!(body.options["chain"][0]["task"], "after", "what follows the chord follows its body");
    assert!(a.task.embed.chain.as_ref().is_none_or(Vec::is_empty));
    assert_eq!(b.task.embed.chord, None, "only the end of a chain counts");
    let last = &b.task.embed.chain.as_ref().unwrap()[0];
    assert_eq!((last.text("task_id"), &last.options["chord"]["task"]), (Some("c"), &json!("sum")));
    assert_eq!(children, [json!([["body", null], null])]);
}

#[test]
fn a_group_in_front_of_a_step_is_a_chord() {
    let chain = Signature::chain(vec![
        sig("first", "1"),
        Signature::group(vec![sig("a", "a"), sig("b", "b")]),
        sig("sum", "sum"),
        sig("last", "last"),
    ]);
    assert!(chain.has_chord());
    let mut plan = Plan::default();
    let frozen = Sender::new("seed", now()).apply(&mut plan, chain, &[], "w").unwrap();
    assert_eq!(frozen, Frozen::Task("last".into()));
    let rest = plan.tasks[0].task.embed.chain.as_ref().unwrap();
    let kinds: Vec<_> = rest.iter().map(|step| step.task.as_str()).collect();
    assert_eq!(kinds, ["last", "celery.chord"]);
    assert!(!Signature::chain(vec![sig("a", "a"), Signature::group(vec![sig("b", "b")])]).has_chord());
}

#[test]
fn options_become_headers_and_properties() {
    let signature = Signature::new("t", vec![])
        .with_option("countdown", 1.5)
        .with_option("expires", json!({"__type__": "datetime", "__value__": "2026-11-21T06:00:00+00:00"}))
        .with_option("priority", 7)
        .with_option("time_limit", 10.5)
        .with_option("soft_time_limit", 1)
        .with_option("headers", json!({"x-trace": "abc"}))
        .with_option("stamped_headers", json!(["m"]))
        .with_option("m", "mine")
        .with_option("exchange", "e")
        .with_option("routing_key", "k")
        .with_option("compression", "gzip")
        .with_option("link", sig("cb", "cb").to_json())
        .with_option("ignore_result", true)
        .with_option("nonsense", json!({"a": 1}));
    let mut plan = Plan::default();
    let mut stamps = FieldTable::new();
    stamps.insert("m", "theirs");
    stamps.insert("n", "handed on");
    let sender =
        Sender { stamps: Some(&stamps), reply_to: Some("me"), origin: Some("gen1@h"), ..Sender::new("s", now()) };
    sender.apply(&mut plan, signature, &[], "w").unwrap();
    let Outgoing { task, route, compression } = &plan.tasks[0];
    let headers = &task.headers;
    assert_eq!(headers.eta.as_ref().unwrap().timestamp(), now() + Duration::from_millis(1500));
    assert_eq!(headers.expires.as_ref().unwrap().as_str(), "2026-11-21T06:00:00+00:00");
    assert_eq!(task.properties.expiration, None);
    assert_eq!((task.properties.priority, task.reply_to()), (Some(7), Some("me")));
    assert_eq!(headers.timelimit.hard_duration(), Some(Duration::from_millis(10_500)));
    assert_eq!(headers.extra.get("x-trace").and_then(FieldValue::as_str), Some("abc"));
    assert_eq!(headers.stamps.get("m").and_then(FieldValue::as_str), Some("mine"));
    assert_eq!(headers.stamped_headers.as_deref(), Some(&["m".to_owned(), "n".to_owned()][..]));
    assert_eq!((route.exchange.as_deref(), route.routing_key.as_deref()), (Some("e"), Some("k")));
    assert_eq!(compression.as_deref(), Some("gzip"));
    assert_eq!(task.embed.callbacks.as_ref().unwrap()[0].task, "cb");
    assert!(task.ignores_result());
}

#[test]
fn nonsense_is_an_error_and_not_a_lost_task() {
    let cases = [
        Signature::new("t", vec![]).with_option("countdown", "soon"),
        Signature::new("t", vec![]).with_option("expires", json!([1])),
        Signature::new("t", vec![]).with_option("link", json!([7])),
        Signature::new("t", vec![]).with_option("chord", json!("x")),
        Signature { kwargs: Map::new(), ..Signature::chord(Signature::group(vec![]), sig("b", "b")) },
        Signature { kwargs: json!({"tasks": 7}).as_object().unwrap().clone(), ..Signature::group(vec![]) },
    ];
    for signature in cases {
        let outcome = Sender::new("s", now()).apply(&mut Plan::default(), signature.clone(), &[], "w");
        assert!(outcome.is_err(), "{signature:?}");
    }
    let mut deep = sig("t", "t");
    for _ in 0..200 {
        deep = Signature::chord(Signature::group(vec![sig("h", "h")]), deep);
    }
    let outcome = Sender::new("s", now()).apply(&mut Plan::default(), deep, &[], "w");
    assert_eq!(outcome, Err(CanvasError::TooDeep));
}

#[test]
fn the_endings_of_unsent_signatures_are_known() {
    let header = Signature::group(vec![sig("a", "a")]).with_option("task_id", "g");
    let ids = |signature: Signature| {
        let endings = signature.endings();
        endings.iter().map(|task| (task.id().to_owned(), task.reply_to().map(str::to_owned))).collect::<Vec<_>>()
    };
    let ending = |id: &str| (id.to_owned(), Some("client".to_owned()));
    assert_eq!(ids(sig("t", "t")), [ending("t")]);
    assert_eq!(ids(Signature::chord(header, sig("sum", "body"))), [ending("body")]);
    assert_eq!(ids(Signature::group(vec![sig("a", "a"), sig("b", "b")])), [ending("a"), ending("b")]);
    assert_eq!(ids(Signature::chain(vec![sig("a", "a"), sig("b", "b")])), [ending("b")]);
    assert!(ids(Signature::new("t", vec![])).is_empty());
}
