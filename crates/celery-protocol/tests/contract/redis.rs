//! Every captured message on Redis, keys and bindings included.

use std::fs;

use crate::captures::{golden, read_json};
use celery_protocol::redis::envelope::restored;
use celery_protocol::redis::{BindingMember, ChordMember, Envelope, MemberOutcome, RedisKeys, chord, keys};
use celery_protocol::{Limits, ResultMeta, State, TaskRequest};
use serde_json::{Value, json};

/// All commands of all files: the file, and the words.
fn commands() -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for folder in ["redis-tasks", "redis-563"] {
        let mut names: Vec<_> = fs::read_dir(golden(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        for name in names {
            let file = read_json(&format!("{folder}/{name}"));
            for command in file["redis_commands"].as_array().unwrap() {
                let words = command["cmd"].as_array().unwrap();
                found.push((name.clone(), words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()));
            }
        }
    }
    found
}

/// The envelopes that were pushed or published: file, place, text.
fn envelopes() -> Vec<(String, String, String)> {
    let sent = commands().into_iter().filter(|(_, words)| ["LPUSH", "PUBLISH"].contains(&words[0].as_str()));
    sent.filter(|(_, words)| words[2].starts_with("{\"body\""))
        .map(|(file, mut words)| {
            let text = words.remove(2);
            (file, words.remove(1), text)
        })
        .collect()
}

#[test]
fn every_captured_envelope_is_written_back_as_it_came() {
    let envelopes = envelopes();
    assert!(envelopes.len() > 90, "{}", envelopes.len());
    for (file, place, text) in envelopes {
        let envelope = Envelope::decode(text.as_bytes(), &Limits::default()).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(envelope.encode(), text, "{file} to {place}");
        assert!(!envelope.redelivered);
        let keys = RedisKeys::default();
        let expected = match envelope.exchange.as_str() {
            "" => keys.queue(&envelope.routing_key, envelope.message.properties.priority.unwrap()),
            exchange if keys::is_fanout(exchange) => keys.fanout(0, exchange, &envelope.routing_key),
            exchange => format!("{}.{exchange}", envelope.routing_key),
        };
        assert_eq!(place, expected, "{file}");
    }
}

fn field_by_field(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_captured_task_decodes_and_is_made_again_from_its_parts() {
    let mut tasks = 0;
    for (file, _, text) in envelopes() {
        let envelope = Envelope::decode(text.as_bytes(), &Limits::default()).unwrap();
        if envelope.message.headers.get("task").is_none() {
            continue;
        }
        tasks += 1;
        let request =
            TaskRequest::decode(&envelope.message, &Limits::default()).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(Some(request.id()), envelope.message.properties.correlation_id.as_deref());
        let message = request.to_message().unwrap();
        let again = Envelope {
            extra: envelope.extra.clone(),
            ..Envelope::new(message, "", &envelope.routing_key, &envelope.delivery_tag)
        };
        let mut expected = field_by_field(&text);
        if envelope.message.headers.get("compression").is_some() {
            // It is written back uncompressed.
            expected["headers"].as_object_mut().unwrap().remove("compression");
            expected["body"] = field_by_field(&again.encode())["body"].clone();
        }
        assert_eq!(field_by_field(&again.encode()), expected, "{file}");
    }
    assert_eq!(tasks, 39);
}

#[test]
fn what_lies_in_unacked_goes_back_to_its_queue_marked() {
    let mut seen = 0;
    for (file, words) in commands() {
        let ["HSET", "unacked", _, held] = words.iter().map(String::as_str).collect::<Vec<_>>()[..] else { continue };
        let back = restored(held.as_bytes(), &Limits::default()).unwrap();
        let was: Value = serde_json::from_str(held).unwrap();
        let mut expected = was[0].clone();
        expected["headers"]["redelivered"] = true.into();
        expected["properties"]["delivery_info"]["redelivered"] = true.into();
        assert_eq!(serde_json::from_slice::<Value>(&back.payload).unwrap(), expected, "{file}");
        assert_eq!((json!(back.exchange), json!(back.routing_key)), (was[1].clone(), was[2].clone()));
        assert_eq!(json!(back.priority), was[0]["properties"]["priority"]);
        assert!(Envelope::decode(&back.payload, &Limits::default()).unwrap().redelivered);
        seen += 1;
    }
    assert!(seen == 39, "{seen}");
}

#[test]
fn what_is_no_envelope_goes_back_as_it_is() {
    for garbage in ["{not json", "", "\", \"", "[NaN]", "{\"a\": 123456789012345678901234567890}"] {
        let held = format!("[{garbage}, \"\", \"a \\\"queue\"]");
        let back = restored(held.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(String::from_utf8_lossy(&back.payload), garbage);
        assert_eq!((back.exchange.as_str(), back.routing_key.as_str(), back.priority), ("", "a \"queue", 0));
    }
    for other in ["", "[", "x", "[]", "[1]x"] {
        let back = restored(other.as_bytes(), &Limits::default());
        assert!(back.is_none_or(|back| back.routing_key.is_empty()), "{other}");
    }
}

#[test]
fn hostile_envelopes_are_read_as_far_as_they_go_or_refused() {
    let decode = |text: &str| Envelope::decode(text.as_bytes(), &Limits::default());
    for bad in ["", "null", "[]", "\"x\"", "{", "{\"body\": NaN}", &"[".repeat(500)] {
        assert!(decode(bad).is_err(), "{bad}");
    }
    let empty = decode("{}").unwrap();
    assert!(empty.message.body.is_empty() && empty.message.headers.is_empty());
    let odd = decode(r#"{"body": "!!!", "headers": [], "content-type": 7, "new": [1],
        "properties": {"priority": 3.0, "delivery_mode": 2.0, "correlation_id": "c", "body_encoding": "base64",
        "delivery_info": {"exchange": null, "routing_key": "q", "redelivered": 1.0}, "delivery_tag": 5, "unknown": {"a": 1}}}"#)
    .unwrap();
    assert_eq!(odd.message.body, b"!!!");
    assert_eq!((odd.message.properties.priority, odd.message.properties.delivery_mode), (Some(3), Some(2)));
    assert_eq!(odd.message.properties.correlation_id.as_deref(), Some("c"));
    assert_eq!((odd.exchange.as_str(), odd.routing_key.as_str(), odd.delivery_tag.as_str()), ("", "q", "5"));
    assert!(odd.redelivered);
    assert_eq!((&odd.extra["unknown"], &odd.unknown["new"]), (&json!({"a": 1}), &json!([1])));
    // Negative and huge priorities are the nearest there are.
    for (given, priority) in [("-5", 0), ("1000", 255), ("\"6\"", 6)] {
        let text = format!("{{\"properties\": {{\"priority\": {given}}}}}");
        assert_eq!(decode(&text).unwrap().message.properties.priority, Some(priority));
    }
    let limits = Limits { body_bytes: 10, ..Limits::default() };
    let large = "x".repeat(Envelope::max_bytes(&limits));
    assert!(Envelope::decode(format!("{{\"body\": \"{large}\"}}").as_bytes(), &limits).is_err());
}

#[test]
fn bindings_are_those_of_a_python_worker() {
    for version in ["5.7.0", "5.6.3"] {
        let boot = fs::read_to_string(golden(&format!("redis-boot/redis-boot-{version}.txt"))).unwrap();
        let shown = |text: &str| text.replace('\u{6}', "\\x06").replace('\u{16}', "\\x16");
        let keys = RedisKeys::default();
        let own = BindingMember::direct("celery", "celery");
        let bound = |key: String| format!("\"SADD\" \"{}\" \"{}\"", shown(&key), shown(&own.encode()));
        assert!(boot.contains(&bound(keys.bindings("celery"))));
        assert_eq!(boot.contains(&bound(keys.permanent_bindings("celery"))), version == "5.7.0");
        if version == "5.7.0" {
            // The other capture ends before it consumes.
            let lists = keys.queues("celery").map(|list| format!("\"{}\"", shown(&list))).join(" ");
            assert!(boot.contains(&format!("\"BRPOP\" {lists} \"1\"")), "{lists}");
            assert!(boot.contains(&format!("\"PSUBSCRIBE\" \"{}\"", keys.fanout_pattern(0, "celery.pidbox", ""))));
            assert!(boot.contains(&format!("\"PSUBSCRIBE\" \"{}\"", keys.fanout_pattern(0, "celeryev", "worker.#"))));
        }
        assert!(boot.contains(&format!("\"SET\" \"{}\"", keys.unacked_mutex())));
        let read = BindingMember::decode("worker.#\u{6}\u{16}\u{6}\u{16}celeryev.x").unwrap();
        assert_eq!((read.routing_key.as_str(), read.queue.as_str()), ("worker.#", "celeryev.x"));
    }
}

#[test]
fn results_lie_and_are_announced_under_the_captured_keys() {
    let mut seen = 0;
    for (file, words) in commands() {
        let (key, text) = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["SETEX", key, "86400", text] | ["PUBLISH", key, text] if key.starts_with("celery-task-meta-") => {
                (key, text)
            }
            _ => continue,
        };
        let meta = ResultMeta::from_slice(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(key, RedisKeys::default().result(&meta.task_id));
        // A client that revokes what nobody has run yet writes null for an empty list.
        assert_eq!(meta.to_json_text(), text.replace("\"children\": null", "\"children\": []"), "{file}");
        seen += 1;
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn members_of_captured_chords_are_read_and_joined_as_celery_does_it() {
    let (mut added, mut errors) = (0, 0);
    for (file, words) in commands() {
        let text = match words[0].as_str() {
            "ZADD" if words[1].ends_with(".j") => &words[3],
            _ => continue,
        };
        let member = ChordMember::decode(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(&member.encode(), text, "{file}");
        added += 1;
        if let MemberOutcome::Failure { state, .. } = &member.outcome {
            assert_eq!(state, "FAILURE");
            let error = chord::join(vec![member.clone()]).unwrap_err();
            let told = format!("Dependency {} raised ValueError('x')", member.task_id);
            assert_eq!(error.exc_message, vec![json!(told)]);
            let stored = commands().into_iter().filter(|(from, _)| *from == file).any(|(_, words)| {
                words[0] == "SETEX"
                    && ResultMeta::from_slice(words[3].as_bytes(), &Limits::default())
                        .is_ok_and(|meta| meta.state == State::Failure && meta.exception() == Some(error.clone()))
            });
            assert!(stored, "{file}");
            errors += 1;
        }
    }
    assert!(added >= 10 && errors >= 2, "{added} {errors}");
    let keys = RedisKeys::default().chord("g");
    assert_eq!(
        [keys.group, keys.members, keys.total_diff, keys.size, keys.seen, keys.claim],
        ["", ".j", ".t", ".s", ".d", ".c"].map(|end| format!("celery-taskset-meta-g{end}"))
    );
    assert!(ChordMember::decode(b"[1, 2]", &Limits::default()).is_err());
    assert!(ChordMember::decode(b"{}", &Limits::default()).is_err());
}
