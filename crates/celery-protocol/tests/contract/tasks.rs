//! Every captured task message, read and written back.

use crate::captures::{Publish, assert_same, capture, captures};
use celery_protocol::body::BodyError;
use celery_protocol::compression::decompress;
use celery_protocol::task::Protocol;
use celery_protocol::{DecodeError, ExceptionInfo, Limits, Message, Signature, TaskRequest, WireTime};
use serde_json::{Value, json};

fn decode(publish: &Publish) -> TaskRequest {
    TaskRequest::decode(&publish.message, &Limits::default())
        .unwrap_or_else(|error| panic!("{}: {error}", publish.label))
}

/// The captured message as it would be without compression.
fn plain(message: &Message) -> Message {
    let mut plain = message.clone();
    if let Some(compression) = plain.headers.remove("compression") {
        plain.body = decompress(compression.as_str().unwrap(), &message.body, 1 << 20).unwrap();
    }
    plain
}

/// Files whose client serialised with something other than JSON.
fn refused_type(file: &str) -> Option<&'static str> {
    match file {
        "amqp-ser_msgpack" => Some("application/x-msgpack"),
        "amqp-ser_pickle" => Some("application/x-python-serialize"),
        "amqp-ser_yaml" => Some("application/x-yaml"),
        _ => None,
    }
}

fn accepted_tasks() -> Vec<Publish> {
    let files = captures("amqp-tasks").into_iter().filter(|(file, _)| refused_type(file).is_none());
    files.flat_map(|(_, publishes)| publishes).filter(Publish::is_task).collect()
}

#[test]
fn every_captured_task_decodes_or_is_refused_as_celery_refuses_it() {
    let (mut accepted, mut refused) = (0, 0);
    for (file, publishes) in captures("amqp-tasks") {
        let tasks: Vec<_> = publishes.iter().filter(|publish| publish.is_task()).collect();
        assert!(!tasks.is_empty(), "{file} holds no task");
        for publish in tasks {
            let decoded = TaskRequest::decode(&publish.message, &Limits::default());
            let Some(content_type) = refused_type(&file) else {
                let request = decoded.unwrap();
                assert_eq!(request.protocol, Protocol::V2);
                assert_eq!(Some(request.id()), publish.message.properties.correlation_id.as_deref());
                accepted += 1;
                continue;
            };
            let rejection = decoded.unwrap_err();
            assert!(
                matches!(&rejection.error, DecodeError::Body(BodyError::ContentDisallowed(found)) if found == content_type)
            );
            let exception = rejection.error.exception();
            assert_eq!(exception.exc_module.as_deref(), Some("kombu.exceptions"));
            assert_eq!(exception.exc_type, "ContentDisallowed");
            let properties = &publish.message.properties;
            assert_eq!(rejection.identity.id, properties.correlation_id);
            assert_eq!(rejection.identity.correlation_id, properties.correlation_id);
            assert_eq!(rejection.identity.reply_to, properties.reply_to);
            assert_eq!(rejection.identity.task.as_deref(), Some("lab.add"));
            refused += 1;
        }
    }
    assert_eq!((accepted, refused), (45, 3));
}

#[test]
fn a_decoded_task_is_written_back_as_it_came() {
    for publish in accepted_tasks() {
        let written = decode(&publish).to_message().unwrap();
        assert_same(&written, &plain(&publish.message), &publish.label);
    }
}

/// The same call from its parts: nothing but what a caller says goes in, so that representations,
/// defaults, derived properties, their order and their types are all ours.
#[test]
fn a_task_made_from_its_parts_is_what_celery_sends() {
    for publish in accepted_tasks() {
        let captured = plain(&publish.message);
        let built = from_parts(&captured);
        assert_same(&built.to_message().unwrap(), &captured, &publish.label);
    }
}

fn from_parts(captured: &Message) -> TaskRequest {
    let text = |name: &str| captured.headers.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    let number = |name: &str| captured.headers.get(name).and_then(|value| value.as_i64());
    let time = |name: &str| text(name).map(|text| WireTime::parse(&text).unwrap().timestamp());
    let body: Value = serde_json::from_slice(&captured.body).unwrap();
    let id = text("id").unwrap();
    let origin = text("origin").unwrap();
    let (pid, host) = origin.strip_prefix("gen").unwrap().split_once('@').unwrap();
    let mut builder = TaskRequest::builder(text("task").unwrap(), id.clone())
        .args(body[0].as_array().unwrap().clone())
        .kwargs(body[1].as_object().unwrap().clone())
        .reply_to(captured.properties.reply_to.clone().unwrap())
        .origin(pid.parse().unwrap(), host)
        .ignore_result(captured.headers.get("ignore_result").and_then(|flag| flag.as_i64()).map(|flag| flag != 0));
    match captured.properties.priority.unwrap() {
        0 => {}
        priority => builder = builder.priority(priority),
    }
    if let Some(eta) = time("eta") {
        builder = builder.eta(eta);
    }
    if let Some(expires) = time("expires") {
        let ms: i64 = captured.properties.expiration.as_deref().unwrap().parse().unwrap();
        builder = builder.expires(expires, expires - jiff::SignedDuration::from_millis(ms));
    }
    let limits = captured.headers.get("timelimit").unwrap().to_json();
    if limits != json!([null, null]) {
        builder = builder.time_limit(limits[0].as_number().cloned(), limits[1].as_number().cloned());
    }
    if let Some(name) = text("shadow") {
        builder = builder.shadow(name);
    }
    if let Some(parent) = text("parent_id") {
        builder = builder.sent_by(text("root_id").unwrap(), parent);
    }
    if let Some(group) = text("group") {
        builder = builder.group(group, number("group_index").unwrap());
    }
    if let Some(stamps) = captured.headers.get("stamps").and_then(|stamps| stamps.as_table()) {
        for (name, value) in stamps.iter() {
            builder = builder.stamp(name, value.clone());
        }
    }
    for name in ["x-trace", "n"] {
        if let Some(value) = captured.headers.get(name) {
            builder = builder.header(name, value.clone());
        }
    }
    let signatures = |key: &str| -> Option<Vec<Signature>> {
        let list = body[2][key].as_array()?;
        Some(list.iter().map(|signature| Signature::from_json(signature).unwrap()).collect())
    };
    for callback in signatures("callbacks").unwrap_or_default() {
        builder = builder.link(callback);
    }
    for errback in signatures("errbacks").unwrap_or_default() {
        builder = builder.link_error(errback);
    }
    if let Some(chain) = signatures("chain") {
        builder = builder.chain(chain);
    }
    let mut request = builder.build();
    request.headers.retries = number("retries").unwrap().try_into().unwrap();
    request
}

#[test]
fn a_signature_made_from_its_parts_is_what_celery_sends() {
    let publishes = capture("amqp-tasks", "amqp-chain");
    let request = decode(&publishes[0]);
    let reply_to = request.reply_to().unwrap();
    let step = |task: &str, args: Vec<Value>, id: &str| {
        Signature::new(task, args).with_option("task_id", id).with_option("reply_to", reply_to)
    };
    let expected = vec![
        step("lab.cb", vec![], "d0bbe30c-024a-4376-b50e-18d748e22d33"),
        step("lab.add", vec![json!(3)], "75e6a609-81b3-409d-a5a9-dd42edbc71dd"),
    ];
    assert_eq!(request.embed.chain, Some(expected));
}

#[test]
fn a_retried_task_is_what_a_python_worker_sends_again() {
    for file in ["amqp-retry", "amqp-autoretry"] {
        let tasks: Vec<_> = capture("amqp-tasks", file).into_iter().filter(Publish::is_task).collect();
        assert_eq!(tasks.len(), 3, "{file} tries three times");
        for pair in tasks.windows(2) {
            let (before, after) = (decode(&pair[0]), decode(&pair[1]));
            let eta = after.headers.eta.as_ref().unwrap().timestamp();
            let again = before.retried(Some(eta)).to_message().unwrap();
            assert_same(&again, &pair[1].message, &pair[1].label);
        }
    }
}

#[test]
fn every_captured_protocol_1_task_is_read() {
    for (file, publishes) in captures("amqp-v1") {
        let first = publishes.iter().find(|publish| publish.is_task()).unwrap();
        assert_eq!(first.seen_at, "client");
        assert!(first.message.headers.is_empty());
        let request = decode(first);
        let body: Value = serde_json::from_slice(&first.message.body).unwrap();
        assert_eq!(request.protocol, Protocol::V1, "{file}");
        assert_eq!(request.id(), body["id"]);
        assert_eq!(request.root_id(), body["id"]);
        assert_eq!(request.name(), "lab.add");
        assert_eq!(json!(request.args), body["args"]);
        assert_eq!(request.embed.callbacks.is_some(), !body["callbacks"].is_null());
        assert_eq!(request.embed.errbacks.is_some(), !body["errbacks"].is_null());
        assert_eq!(request.reply_to(), first.message.properties.reply_to.as_deref());
        assert_eq!(request.headers.eta.as_ref().map(WireTime::as_str), body["eta"].as_str());
        assert_eq!(request.headers.expires.as_ref().map(WireTime::as_str), body["expires"].as_str());
        assert_eq!(request.headers.timelimit.hard.clone().map(Value::Number).unwrap_or_default(), body["timelimit"][0]);
        assert_eq!(request.headers.timelimit.soft.clone().map(Value::Number).unwrap_or_default(), body["timelimit"][1]);
        // Written again it is the protocol 2 message of the same call, with nothing lost.
        let second = TaskRequest::decode(&request.to_message().unwrap(), &Limits::default()).unwrap();
        assert_eq!(second.protocol, Protocol::V2);
        assert_eq!((second.args, second.kwargs, second.embed), (request.args, request.kwargs, request.embed));
    }
}

#[test]
fn tasks_a_worker_sends_on_behalf_of_protocol_1_clients_are_written_back_as_they_came() {
    let publishes = captures("amqp-v1").into_iter().flat_map(|(_, publishes)| publishes);
    for publish in publishes.filter(|publish| publish.is_task() && publish.seen_at == "worker") {
        assert_same(&decode(&publish).to_message().unwrap(), &publish.message, &publish.label);
    }
}

#[test]
fn the_refusal_of_pickle_answers_the_task_it_came_in() {
    let publish = &capture("amqp-tasks", "amqp-ser_pickle")[0];
    let rejection = TaskRequest::decode(&publish.message, &Limits::default()).unwrap_err();
    let meta = rejection.failure(jiff::Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(Some(meta.task_id.clone()), publish.message.properties.correlation_id);
    let expected = ExceptionInfo::new(
        "kombu.exceptions",
        "ContentDisallowed",
        vec![json!("Refusing to deserialize untrusted content of type pickle (application/x-python-serialize)")],
    );
    assert_eq!(meta.exception(), Some(expected));
}
