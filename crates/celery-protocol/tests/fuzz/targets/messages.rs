//! Messages other than tasks: results, events, control requests and answers, members of chords.

use celery_protocol::control::{Command, ControlReply, ControlRequest};
use celery_protocol::message::Message;
use celery_protocol::redis::{ChordMember, chord};
use celery_protocol::{Limits, ResultMeta, events, json};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{LIMITS, assert_bounded, assert_same, assert_short, input};

/// The first byte says what the rest is taken for.
pub fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind {
        b'r' => result(&input::message(rest)),
        b's' => stored_result(rest),
        b'e' => event(&input::message(rest)),
        b'c' => request(&input::message(rest)),
        b'a' => answer(&input::message(rest)),
        b'm' => member(rest),
        _ => {}
    }
}

fn result(message: &Message) {
    match ResultMeta::decode(message, &LIMITS) {
        Ok(meta) => {
            let again = ResultMeta::decode(&meta.to_message(&meta.task_id), &Limits::default());
            assert_eq!(again.expect("what was written is read"), meta);
            outcome(&meta);
        }
        Err(error) => assert_short(&error),
    }
}

fn stored_result(text: &[u8]) {
    match ResultMeta::from_slice(text, &LIMITS) {
        Ok(meta) => {
            let again = ResultMeta::from_slice(meta.to_json_text().as_bytes(), &Limits::default());
            assert_eq!(again.expect("what was written is read"), meta);
            outcome(&meta);
        }
        Err(error) => assert_short(&error),
    }
}

fn outcome(meta: &ResultMeta) {
    assert_bounded(&meta.result);
    if let Some(exception) = meta.exception() {
        assert!(!exception.repr().is_empty());
    }
}

fn event(message: &Message) {
    let _ = events::sender(message);
    match events::decode(message, &LIMITS) {
        Ok(found) => {
            let body: Value = found.iter().cloned().map(Value::Object).collect();
            assert_bounded(&body);
            let again = Message::json(json::to_string(&body).into_bytes(), 1);
            assert_eq!(events::decode(&again, &Limits::default()).expect("what was written is read"), found);
        }
        Err(error) => assert_short(&error),
    }
}

fn request(message: &Message) {
    match ControlRequest::decode(message, &LIMITS) {
        Ok(request) => {
            let again = ControlRequest::decode(&request.to_message(), &Limits::default());
            assert_same(&again.expect("what was written is read"), &request);
            let _ = (request.is_for("celery@host"), request.is_for(""), request.is_expired(Timestamp::UNIX_EPOCH));
            command(&request.method, &request.arguments);
        }
        Err(error) => assert_short(&error),
    }
}

fn command(method: &str, arguments: &Map<String, Value>) {
    match Command::parse(method, arguments) {
        Ok(command) => {
            assert_same(&Command::parse(method, arguments).expect("the same twice"), &command);
            let _ = command.changes_state();
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn answer(message: &Message) {
    match ControlReply::decode(message, &LIMITS) {
        Ok(reply) => {
            let again = ControlReply::decode(&reply.to_message(), &Limits::default());
            assert_eq!(again.expect("what was written is read"), reply);
            let _ = reply.error();
        }
        Err(error) => assert_short(&error),
    }
}

fn member(text: &[u8]) {
    match ChordMember::decode(text, &LIMITS) {
        Ok(member) => {
            let again = ChordMember::decode(member.encode().as_bytes(), &Limits::default());
            assert_eq!(again.expect("what was written is read"), member);
            if let Err(exception) = chord::join(vec![member]) {
                assert!(exception.repr().starts_with("ChordError("));
            }
        }
        Err(error) => assert_short(&error),
    }
}
