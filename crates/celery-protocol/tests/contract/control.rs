//! Remote control, held against what a Python worker of 5.7.0 was asked and answered.

use std::collections::BTreeSet;
use std::fs;

use celery_protocol::control::values::{self, DeliveryInfo, RequestInfo, Stats, Usage};
use celery_protocol::control::{
    Command, CommandError, ControlReply, ControlRequest, LIMITS, METHODS, RateLimit, Revocation,
};
use celery_protocol::{LamportClock, Message};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::captures::{assert_same, golden, message, read_json};

/// A captured exchange: the file's name, the request, and the answer if there was one.
struct Exchange {
    label: String,
    request: Message,
    answer: Option<Message>,
}

fn exchanges() -> Vec<Exchange> {
    let mut files: Vec<_> = fs::read_dir(golden("amqp-control")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let found = files.iter().filter_map(|path| {
        let label = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let file = read_json(&format!("amqp-control/{label}.json"));
        let frames = file["frames"].as_array().unwrap();
        let find = |method: &str, exchange: &str| {
            let mut found =
                frames.iter().filter(|frame| frame["method"] == method && frame["args"]["exchange"] == exchange);
            found.next().map(message)
        };
        // One file holds a purge, which is no broadcast.
        let request = find("basic.publish", "celery.pidbox")?;
        Some(Exchange { label, request, answer: find("basic.deliver", "reply.celery.pidbox") })
    });
    found.collect()
}

fn exchange(label: &str) -> (ControlRequest, Value) {
    let found = exchanges().into_iter().find(|exchange| exchange.label == label).unwrap();
    let request = ControlRequest::decode(&found.request, &LIMITS).unwrap();
    let answer = ControlReply::decode(&found.answer.unwrap(), &LIMITS).unwrap();
    assert_eq!(answer.node, "w1@lab");
    (request, answer.value)
}

fn command(label: &str) -> Command {
    let (request, _) = exchange(label);
    Command::parse(&request.method, &request.arguments).unwrap()
}

#[test]
fn a_destination_without_names_is_nobody_and_one_that_is_empty_everybody() {
    for (destination, is_for) in [
        (json!(null), true),
        (json!([]), true),
        (json!(""), true),
        (json!(["w@lab"]), true),
        (json!("w@lab"), true),
        (json!(["other@lab"]), false),
        (json!([null]), false),
        (json!([1, {}]), false),
    ] {
        let mut message = ControlRequest::new("shutdown").to_message();
        let mut body: Value = serde_json::from_slice(&message.body).unwrap();
        body["destination"] = destination.clone();
        message.body = serde_json::to_vec(&body).unwrap();
        let request = ControlRequest::decode(&message, &LIMITS).unwrap();
        assert_eq!(request.is_for("w@lab"), is_for, "{destination}");
    }
}

#[test]
fn every_captured_request_and_answer_is_read_and_written_back_the_same() {
    let exchanges = exchanges();
    assert_eq!(exchanges.len(), 43);
    let mut answers = 0;
    for Exchange { label, request, answer } in exchanges {
        let read = ControlRequest::decode(&request, &LIMITS).unwrap();
        assert_same(&read.to_message(), &request, &label);
        assert!(read.is_for("w1@lab"), "{label}");
        match Command::parse(&read.method, &read.arguments) {
            Ok(_) => assert!(METHODS.contains(&read.method.as_str()), "{label}"),
            Err(error) => {
                assert_eq!((label.as_str(), error), ("control-objgraph", CommandError::Unknown("nosuch".into())));
            }
        }
        if let Some(answer) = answer {
            answers += 1;
            let read_answer = ControlReply::decode(&answer, &LIMITS).unwrap();
            assert_eq!(read_answer.ticket, read.ticket, "{label}");
            assert_same(&read_answer.to_message(), &answer, &label);
        }
    }
    assert_eq!(answers, 41);
}

#[test]
fn arguments_are_typed() {
    assert_eq!(command("control-inspect_active"), Command::Active { safe: false });
    let ids = ["31f6790b-ad77-4c4a-9af9-e3d624a3c9f1", "sched-1", "nope"].map(str::to_owned).to_vec();
    assert_eq!(command("control-inspect_query_task"), Command::QueryTask { ids });
    let what = vec!["a1".to_owned(), "a2".to_owned()];
    let revoke = Revocation { what, terminate: false, signal: "SIGTERM".to_owned() };
    assert_eq!(command("control-revoke_list"), Command::Revoke(revoke));
    let hello = Command::Hello { from_node: "x@y".to_owned(), revoked: vec![] };
    assert_eq!(command("control-inspect_hello"), hello);
    let add = Command::AddConsumer {
        queue: "extra2".to_owned(),
        exchange: Some("ex2".to_owned()),
        exchange_type: "topic".to_owned(),
        routing_key: Some("r.k".to_owned()),
    };
    assert_eq!(command("control-add_consumer_full"), add);
    let limits = Command::TimeLimit { task_name: "lab.slow".to_owned(), hard: Some(120.0), soft: Some(60.0) };
    assert_eq!(command("control-time_limit"), limits);
    let Command::RateLimit { task_name, limit } = command("control-rate_limit") else { panic!("another command") };
    assert_eq!((task_name.as_str(), limit.unwrap().per_second()), ("lab.add", 10.0 / 60.0));

    let parse = |method: &str, arguments: Value| {
        let Value::Object(arguments) = arguments else { panic!("arguments") };
        Command::parse(method, &arguments)
    };
    // Other versions and other callers: ids as times, one id, `celery control terminate`, the aliases.
    let hello = parse("hello", json!({"from_node": "x@y", "revoked": {"a": 1.5, "b": 2}}));
    let known = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(hello, Ok(Command::Hello { from_node: "x@y".to_owned(), revoked: known }));
    let terminate = parse("terminate", json!({"signal": "KILL", "task_id": ["a"]}));
    let wanted = Revocation { what: vec!["a".to_owned()], terminate: true, signal: "KILL".to_owned() };
    assert_eq!(terminate, Ok(Command::Revoke(wanted)));
    for (alias, name) in [
        ("dump_active", "active"),
        ("dump_reserved", "reserved"),
        ("dump_schedule", "scheduled"),
        ("dump_tasks", "registered"),
        ("dump_revoked", "revoked"),
        ("dump_conf", "conf"),
    ] {
        assert_eq!(parse(alias, json!({})), parse(name, json!({})), "{alias}");
    }
}

#[test]
fn what_is_missing_or_wrong_is_told_as_python_tells_it() {
    let error = |method: &str, arguments: Value| {
        Command::parse(method, arguments.as_object().unwrap()).unwrap_err().to_string()
    };
    assert_eq!(error("nosuch", json!({})), "KeyError('nosuch')");
    assert_eq!(
        error("rate_limit", json!({"rate_limit": 1})),
        "TypeError(\"rate_limit() missing 1 required positional argument: 'task_name'\")"
    );
    assert_eq!(
        error("add_consumer", json!({"queue": 5})),
        "TypeError(\"add_consumer() got a value it cannot use for 'queue'\")"
    );
    let (_, captured) = exchange("control-objgraph");
    assert_eq!(captured, celery_protocol::control::error("KeyError('nosuch')"));
    assert!(RateLimit::parse(&json!("10/x")).is_err());
}

#[test]
fn what_only_looks_is_told_from_what_steers() {
    let steers: BTreeSet<&str> = METHODS
        .into_iter()
        .filter(|method| {
            let all = json!({
                "ids": [], "from_node": "x", "task_id": "a", "signal": "TERM", "headers": {}, "task_name": "t",
                "rate_limit": 1, "queue": "q",
            });
            Command::parse(method, all.as_object().unwrap()).unwrap().changes_state()
        })
        .collect();
    let wanted = [
        "add_consumer",
        "autoscale",
        "cancel_consumer",
        "pool_grow",
        "pool_restart",
        "pool_shrink",
        "rate_limit",
        "revoke",
        "revoke_by_stamped_headers",
        "shutdown",
        "terminate",
        "time_limit",
    ];
    assert_eq!(steers, BTreeSet::from(wanted));
}

#[test]
fn tasks_and_queues_are_shown_as_python_shows_them() {
    let request = |captured: &Value| RequestInfo {
        id: captured["id"].as_str().unwrap().to_owned(),
        name: captured["name"].as_str().unwrap().to_owned(),
        args: captured["args"].clone(),
        kwargs: captured["kwargs"].clone(),
        hostname: "w1@lab".to_owned(),
        time_start: captured["time_start"].as_f64(),
        acknowledged: captured["acknowledged"].as_bool().unwrap(),
        delivery_info: DeliveryInfo { routing_key: "celery".to_owned(), ..DeliveryInfo::default() },
        worker_pid: captured["worker_pid"].as_u64().map(|pid| pid.try_into().unwrap()),
    };
    let same = |ours: Value, captured: &Value| assert_eq!(ours.to_string(), captured.to_string());
    for label in ["control-inspect_active", "control-inspect_reserved"] {
        for captured in exchange(label).1.as_array().unwrap() {
            same(request(captured).to_json(), captured);
        }
    }
    for captured in exchange("control-inspect_scheduled").1.as_array().unwrap() {
        let eta = captured["eta"].as_str().unwrap().parse().unwrap();
        same(request(&captured["request"]).scheduled(eta), captured);
    }
    for captured in exchange("control-active_queues2").1.as_array().unwrap() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (exchange, kind) = (text(&captured["exchange"]["name"]), text(&captured["exchange"]["type"]));
        same(values::queue(&text(&captured["name"]), &exchange, &kind, &text(&captured["routing_key"])), captured);
    }
}

/// The same members in the same order, of the same types.
fn assert_same_shape(ours: &Value, captured: &Value, at: &str) {
    match (ours, captured) {
        (Value::Object(ours), Value::Object(captured)) => {
            let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(ours), keys(captured), "{at}");
            for (key, value) in ours {
                assert_same_shape(value, &captured[key], &format!("{at}.{key}"));
            }
        }
        (Value::Array(ours), Value::Array(captured)) => {
            if let (Some(one), Some(other)) = (ours.first(), captured.first()) {
                assert_same_shape(one, other, &format!("{at}[]"));
            }
        }
        _ => assert_eq!(std::mem::discriminant(ours), std::mem::discriminant(captured), "{at}: {ours} and {captured}"),
    }
}

#[test]
fn stats_have_the_shape_of_pythons() {
    let (_, captured) = exchange("control-inspect_stats");
    let stats = Stats {
        total: vec![("lab.add".to_owned(), 31)],
        pid: 30_906,
        clock: 761,
        uptime: 560,
        implementation: "celery_runtime.worker:Worker".to_owned(),
        max_concurrency: 2,
        broker: values::broker("amqp", "127.0.0.1", Some(25_673), "guest", "/", 120.0),
        prefetch_count: 10,
        usage: Usage { utime: 0.5, ..Usage::default() },
    };
    let ours = stats.to_json();
    assert_eq!(ours["broker"].to_string(), captured["broker"].to_string());
    let mut captured = captured;
    captured["total"] = json!({"lab.add": 31});
    assert_same_shape(&ours, &captured, "stats");
}

#[test]
fn revocations_are_answered_in_pythons_words() {
    let ids = |label: &str| match command(label) {
        Command::Revoke(revocation) => revocation.what,
        other => panic!("{other:?}"),
    };
    assert_eq!(values::flagged_as_revoked(&ids("control-revoke")), exchange("control-revoke").1);
    assert_eq!(values::flagged_as_revoked(&ids("control-revoke_list")), exchange("control-revoke_list").1);
    assert_eq!(values::terminated(&[]), exchange("control-terminate").1);
    let Command::RevokeByStampedHeaders(by) = command("control-revoke_by_stamped_headers") else {
        panic!("another command")
    };
    let answer = values::revoked_by_stamps(&by.what, by.terminate, &Map::new());
    assert_eq!(answer, exchange("control-revoke_by_stamped_headers").1);
}

#[test]
fn requests_are_for_those_they_name_or_match() {
    let to = |destination: Option<&str>, pattern: Option<&str>, matcher: Option<&str>| ControlRequest {
        destination: destination.map(|node| vec!["x@y".to_owned(), node.to_owned()]),
        pattern: pattern.map(str::to_owned),
        matcher: matcher.map(str::to_owned),
        ..ControlRequest::new("ping")
    };
    assert!(to(None, None, None).is_for("w1@lab"));
    assert!(to(Some("w1@lab"), Some("nobody"), Some("glob")).is_for("w1@lab"));
    assert!(!to(Some("w2@lab"), None, None).is_for("w1@lab"));
    assert!(to(None, Some("w*"), Some("glob")).is_for("w1@lab"));
    assert!(!to(None, Some("w$"), Some("pcre")).is_for("w1@lab"));
    assert!(!to(None, Some("w*"), Some("other")).is_for("w1@lab"));
    // As in Python, a pattern without a matcher is none.
    assert!(to(None, Some("nobody"), None).is_for("w1@lab"));
    let late = ControlRequest { expires: 100.0, ..ControlRequest::new("ping") };
    assert!(late.is_expired(jiff::Timestamp::from_second(101).unwrap()));
    assert!(!late.is_expired(jiff::Timestamp::from_second(99).unwrap()));
    assert!(!ControlRequest::new("ping").is_expired(jiff::Timestamp::MAX));
}

#[test]
fn the_clock_is_ahead_of_all_it_has_seen_and_of_nothing_absurd() {
    let clock = LamportClock::default();
    assert_eq!((clock.forward(), clock.adjust(41), clock.forward(), clock.adjust(7)), (1, 42, 43, 44));
    clock.adjust(u64::MAX);
    assert_eq!(clock.now(), 45);
}

proptest! {
    #[test]
    fn no_bytes_are_a_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let message = Message::json(body, 1);
        let _ = ControlRequest::decode(&message, &LIMITS);
        let _ = ControlReply::decode(&message, &LIMITS);
        let _ = celery_protocol::events::decode(&message, &LIMITS);
    }

    #[test]
    fn no_arguments_are_a_panic(method in 0..METHODS.len(), key in "[a-z_]{1,12}", value in json_value()) {
        let names = ["ids", "task_id", "headers", "signal", "queue", "n", "hard", "rate_limit", "revoked", &key];
        for name in names {
            let arguments = Map::from_iter([(name.to_owned(), value.clone()), ("task_name".to_owned(), json!("t"))]);
            let _ = Command::parse(METHODS[method], &arguments);
        }
    }

    #[test]
    fn no_pattern_is_a_panic(pattern in ".{0,40}", text in ".{0,40}") {
        for matcher in ["glob", "pcre"] {
            let request = ControlRequest {
                pattern: Some(pattern.clone()),
                matcher: Some(matcher.to_owned()),
                ..ControlRequest::new("ping")
            };
            let _ = request.is_for(&text);
        }
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,4}", inner), 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}
