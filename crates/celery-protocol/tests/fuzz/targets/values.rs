//! The parts of messages: JSON, compressed bodies, envelopes on Redis, signatures, times, patterns, keys.

use celery_protocol::compression::{compress, decompress};
use celery_protocol::control::{ControlRequest, RateLimit};
use celery_protocol::python::{args_repr, kwargs_repr, repr};
use celery_protocol::redis::{BindingMember, Envelope, RedisKeys, envelope};
use celery_protocol::topology::topic_matches;
use celery_protocol::{ExceptionInfo, FieldTable, FieldValue, Limits, Routes, Signature, WireTime, json};
use serde_json::Value;

use super::{LIMITS, assert_bounded, assert_short};

/// Most characters of a shown argument: Celery's 1024, all of which may need an escape, and what closes them.
const MOST_SHOWN: usize = 2 * 1024 + 50;

/// The first byte says what the rest is taken for.
pub fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind {
        b'j' => document(rest),
        b'z' => inflated("application/x-gzip", rest),
        b'b' => inflated("application/x-bz2", rest),
        b'l' => inflated("application/x-lzma", rest),
        b'd' => deflated(rest),
        b'e' => enveloped(rest),
        b'u' => restored(rest),
        b't' => text(rest),
        _ => {}
    }
}

fn document(bytes: &[u8]) {
    let value = match json::parse(bytes, &LIMITS) {
        Ok(value) => value,
        Err(error) => return assert_short(&error),
    };
    assert_bounded(&value);
    let text = json::to_string(&value);
    assert!(text.is_ascii());
    assert_eq!(json::parse(text.as_bytes(), &Limits::default()).expect("what was written is read"), value);
    let _ = repr(&value);
    assert!(args_repr(std::slice::from_ref(&value)).chars().count() <= MOST_SHOWN);
    if let Some(map) = value.as_object() {
        assert!(kwargs_repr(map).chars().count() <= MOST_SHOWN);
        let _ = FieldTable::from(map);
    }
    // Integers beyond 63 bits become floats on the way; what came once through it stays.
    let field = FieldValue::from(&value).to_json();
    assert_eq!(FieldValue::from(&field).to_json(), field);
    if let Some(signature) = Signature::from_json(&value) {
        assert_eq!(Signature::from_json(&signature.to_json()).as_ref(), Some(&signature));
        let _ = (signature.is_group(), signature.has_chord());
        for ending in signature.endings() {
            let _ = ending.to_message();
        }
    }
    if let Some(exception) = ExceptionInfo::from_json(&value) {
        assert_eq!(ExceptionInfo::from_json(&exception.to_json()).as_ref(), Some(&exception));
        assert!(!exception.repr().is_empty());
    }
    match RateLimit::parse(&value) {
        Ok(limit) => assert!(limit.per_second() >= 0.0 && limit.per_second().is_finite(), "{}", limit.per_second()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn inflated(kind: &str, body: &[u8]) {
    match decompress(kind, body, LIMITS.body_bytes) {
        Ok(bytes) => assert!(bytes.len() <= LIMITS.body_bytes),
        Err(error) => assert_short(&error),
    }
}

fn deflated(body: &[u8]) {
    // bzip2 takes a hundred times as long, and would leave little time for all else.
    let names: &[&str] = if body.len().is_multiple_of(16) { &["gzip", "bzip2"] } else { &["gzip"] };
    for name in names {
        let (kind, small) = compress(name, body).expect("it is a known compression");
        assert_eq!(decompress(kind, &small, body.len()).expect("what was written is read"), body);
    }
}

fn enveloped(text: &[u8]) {
    let first = match Envelope::decode(text, &LIMITS) {
        Ok(envelope) => envelope,
        Err(error) => return assert_short(&error),
    };
    let written = first.encode();
    let second = Envelope::decode(written.as_bytes(), &Limits::default()).expect("what was written is read");
    assert_eq!(second.message.body, first.message.body);
    assert_eq!((&second.exchange, &second.routing_key), (&first.exchange, &first.routing_key));
    assert_eq!((&second.delivery_tag, second.redelivered), (&first.delivery_tag, first.redelivered));
    assert_eq!((&second.extra, &second.unknown), (&first.extra, &first.unknown));
    assert_eq!(second.encode(), written);
    let unacked = [b"[".as_slice(), text, b", \"exchange\", \"key\"]"].concat();
    let back = envelope::restored(&unacked, &Limits::default()).expect("an envelope can be put back");
    assert_eq!((back.exchange.as_str(), back.routing_key.as_str()), ("exchange", "key"));
    let third = Envelope::decode(&back.payload, &Limits::default()).expect("what was put back is read");
    assert_eq!(third.message.body, first.message.body);
}

fn restored(unacked: &[u8]) {
    if let Some(back) = envelope::restored(unacked, &LIMITS) {
        // Escapes make text longer, but never more than six bytes for one.
        assert!(back.payload.len() <= 6 * unacked.len() + 100);
    }
}

fn text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (left, right) = text.split_once('\n').unwrap_or((&text, ""));
    if let Some(time) = WireTime::parse(left) {
        let written = WireTime::from(time.timestamp());
        let read = WireTime::parse(written.as_str()).expect("what was written is read");
        assert_eq!(read.timestamp(), written.timestamp());
    }
    if let Some(member) = BindingMember::decode(left) {
        assert_eq!(member.encode(), left);
        let _ = member.takes(right);
    }
    if left.len() <= 200 {
        let _ = topic_matches(left, right);
        let routes = Routes::to("default").route(left, "queue");
        assert!(["default", "queue"].contains(&routes.by_name(right).routing_key.as_str()));
        for matcher in ["glob", "pcre"] {
            let mut request = ControlRequest::new("ping");
            (request.pattern, request.matcher) = (Some(left.to_owned()), Some(matcher.to_owned()));
            let _ = request.is_for(right);
        }
    }
    let keys = RedisKeys::new(left);
    assert_eq!(keys.queue(right, 0), format!("{left}{right}"));
    assert!(keys.queues(right).contains(&keys.queue(right, 255)));
    let _ = RateLimit::parse(&Value::from(left));
}
