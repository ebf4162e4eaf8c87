//! Messages that are to be refused, with a reason and an answer, and never with a panic.

use std::io::Write as _;

use celery_protocol::body::BodyError;
use celery_protocol::compression::{CompressionError, decompress};
use celery_protocol::json::JsonError;
use celery_protocol::{
    DecodeError, FieldTable, FieldValue, Limits, Message, Properties, Rejection, ResultMeta, TaskRequest,
};
use proptest::prelude::*;
use serde_json::json;

use crate::forms::message;

fn refused(message: &Message, limits: &Limits) -> Box<Rejection> {
    TaskRequest::decode(message, limits).unwrap_err()
}

fn refused_body(body: &str) -> Box<Rejection> {
    let mut message = message(json!({"task": "t", "id": "i", "parent_id": "p", "group": "g"}), body);
    message.properties.reply_to = Some("r".to_owned());
    let rejection = refused(&message, &Limits::default());
    let identity = &rejection.identity;
    assert_eq!(identity.id.as_deref(), Some("i"));
    assert_eq!((identity.reply_to.as_deref(), identity.correlation_id.as_deref()), (Some("r"), Some("i")));
    let meta = rejection.failure(jiff::Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!((meta.group_id.as_deref(), meta.parent_id.as_deref()), (Some("g"), Some("p")));
    assert_eq!(meta.exception().unwrap(), rejection.error.exception());
    rejection
}

fn json_error(rejection: Rejection) -> JsonError {
    assert_eq!(rejection.error.exception().exc_type, "DecodeError");
    match rejection.error {
        DecodeError::Body(BodyError::Json(error)) => error,
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn bodies_that_are_not_json_are_refused_by_kind() {
    for body in ["", "[", "[[], {}", "\"\\ud800\"", "[[1e999], {}, {}]", "[[], {}, {}] x"] {
        assert!(matches!(json_error(*refused_body(body)), JsonError::Syntax(_)), "{body}");
    }
    for body in ["[[NaN], {}, {}]", "[[Infinity], {}, {}]", "[[-Infinity], {}, {}]"] {
        assert!(matches!(json_error(*refused_body(body)), JsonError::NotFinite), "{body}");
    }
    for number in ["18446744073709551616", "-9223372036854775809", "123456789012345678901234567890"] {
        let error = json_error(*refused_body(&format!("[[{number}], {{}}, {{}}]")));
        assert!(matches!(error, JsonError::IntegerTooLarge), "{number}");
    }
    let mut binary = message(json!({"task": "t", "id": "i"}), "");
    binary.body = vec![0xff, 0xfe, 0];
    assert!(matches!(json_error(*refused(&binary, &Limits::default())), JsonError::Syntax(_)));
}

#[test]
fn numbers_of_64_bits_and_words_in_text_are_no_reason_to_refuse() {
    let body = r#"[[18446744073709551615, -9223372036854775808, 1234567890123456789012.5, "NaN \" Infinity 99999999999999999999"], {}, {}]"#;
    let request = TaskRequest::decode(&message(json!({"task": "t", "id": "i"}), body), &Limits::default()).unwrap();
    assert_eq!(request.args[0], json!(u64::MAX));
    assert_eq!(request.args[1], json!(i64::MIN));
}

#[test]
fn json_that_is_no_task_is_refused() {
    for body in [
        "[]",
        "[[]]",
        "[[], {}, {}, {}]",
        "3",
        "null",
        "[{}, {}, {}]",
        "[[], [], {}]",
        "[[], {}, 3]",
        r#"[[], {}, {"chain": [3]}]"#,
        r#"[[], {}, {"callbacks": [{"args": []}]}]"#,
        r#"[[], {}, {"chord": {"task": "t", "args": 3}}]"#,
        r#"{"args": 3}"#,
        r#"{"kwargs": []}"#,
    ] {
        let rejection = refused_body(body);
        assert!(matches!(rejection.error, DecodeError::NotATask(_)), "{body}");
        let exception = rejection.error.exception();
        assert_eq!(
            (exception.exc_module.as_deref(), &*exception.exc_type),
            (Some("celery.exceptions"), "InvalidTaskError")
        );
    }
}

#[test]
fn a_message_without_name_or_id_is_refused_and_cannot_be_answered() {
    for headers in [json!({}), json!({"task": "t"}), json!({"id": null, "task": "t"})] {
        let rejection = refused(&message(headers, "[[], {}, {}]"), &Limits::default());
        assert!(matches!(rejection.error, DecodeError::NotATask(_)));
        assert!(rejection.failure(jiff::Timestamp::UNIX_EPOCH).is_none());
    }
    let long = message(json!({"task": "t", "id": "x".repeat(256)}), "[[], {}, {}]");
    assert!(matches!(refused(&long, &Limits::default()).error, DecodeError::NotATask(_)));
}

/// Found by fuzzing: it was taken, and could then neither be tried again nor continued.
#[test]
fn what_no_message_of_amqp_could_carry_is_refused_and_answered() {
    let headers = json!({"task": "t", "id": "i", "x".repeat(256): null});
    let rejection = refused(&message(headers, "[[], {}, {}]"), &Limits::default());
    assert_eq!(rejection.failure(jiff::Timestamp::UNIX_EPOCH).unwrap().task_id, "i");
    assert_eq!(rejection.error.to_string(), "not a task message: the name of a header is longer than 255 bytes");
    let mut message = message(json!({"task": "t", "id": "i"}), "[[], {}, {}]");
    message.properties.reply_to = Some("q".repeat(256));
    let rejection = refused(&message, &Limits::default());
    assert_eq!(rejection.error.to_string(), "not a task message: its reply queue is longer than 255 bytes");
    assert_eq!((rejection.identity.id.as_deref(), rejection.identity.reply_to.as_deref()), (Some("i"), None));
}

#[test]
fn a_protocol_1_message_with_a_fault_can_be_answered() {
    let body = r#"{"task": "t", "id": "i", "args": [], "kwargs": []}"#;
    let rejection = refused(&message(json!({}), body), &Limits::default());
    assert_eq!(rejection.failure(jiff::Timestamp::UNIX_EPOCH).unwrap().task_id, "i");
    assert_eq!(rejection.error.to_string(), "not a task message: Task keyword arguments must be a mapping");
}

#[test]
fn a_protocol_1_message_in_pickle_is_answered_by_its_correlation_id() {
    let mut pickled = message(json!({}), "");
    pickled.properties.content_type = Some("application/x-python-serialize".to_owned());
    pickled.properties.correlation_id = Some("c".to_owned());
    let rejection = refused(&pickled, &Limits::default());
    assert_eq!(rejection.failure(jiff::Timestamp::UNIX_EPOCH).unwrap().task_id, "c");
}

#[test]
fn a_time_that_cannot_be_read_is_refused() {
    for (header, value) in [("eta", json!("soon")), ("expires", json!(3.5)), ("expires", json!({}))] {
        let rejection =
            refused(&message(json!({"task": "t", "id": "i", header: value}), "[[], {}, {}]"), &Limits::default());
        assert!(matches!(rejection.error, DecodeError::InvalidTime { header: found, .. } if found == header));
        assert_eq!(rejection.identity.id.as_deref(), Some("i"));
    }
}

#[test]
fn size_depth_and_number_of_values_are_bounded() {
    let limits = Limits { body_bytes: 1000, depth: 10, values: 50 };
    let with = |argument: String| message(json!({"task": "t", "id": "i"}), &format!("[[{argument}], {{}}, {{}}]"));
    let error = |argument: String| json_error(*refused(&with(argument), &limits));
    assert!(matches!(error(" ".repeat(1000)), JsonError::TooLarge { limit: 1000, .. }));
    assert!(matches!(error("[".repeat(9) + &"]".repeat(9)), JsonError::TooDeep { limit: 10 }));
    assert!(matches!(error(vec!["0"; 60].join(",")), JsonError::TooManyValues { limit: 50 }));
    assert!(TaskRequest::decode(&with("[".repeat(8) + &"]".repeat(8)), &limits).is_ok());
    assert!(TaskRequest::decode(&with(vec!["0"; 40].join(",")), &limits).is_ok());
    // However lax the limits, the parser is not driven into the ground.
    let lax = Limits { depth: usize::MAX, ..Limits::default() };
    let deep = with("[".repeat(100_000));
    assert!(matches!(json_error(*refused(&deep, &lax)), JsonError::TooDeep { .. }));
}

fn compressed(compression: &str, body: Vec<u8>) -> Message {
    let mut message = message(json!({"task": "t", "id": "i", "compression": compression}), "");
    message.body = body;
    message
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_decompression_bomb_is_refused_at_the_limit() {
    let zeros = vec![b' '; 4 << 20];
    let limits = Limits { body_bytes: 1 << 20, ..Limits::default() };
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    bzip2.write_all(&zeros).unwrap();
    for (compression, bomb) in [("application/x-gzip", zlib(&zeros)), ("application/x-bz2", bzip2.finish().unwrap())] {
        assert!(bomb.len() < 10_000);
        let rejection = refused(&compressed(compression, bomb), &limits);
        assert!(matches!(
            &rejection.error,
            DecodeError::Body(BodyError::Compression(CompressionError::TooLarge { limit })) if *limit == 1 << 20
        ));
        assert_eq!(rejection.error.exception().exc_module.as_deref(), Some("kombu.exceptions"));
        assert!(rejection.failure(jiff::Timestamp::UNIX_EPOCH).is_some());
    }
}

#[test]
fn a_body_of_exactly_the_limit_is_inflated() {
    assert_eq!(decompress("application/x-gzip", &zlib(&[7; 100]), 100).unwrap(), vec![7; 100]);
    assert!(matches!(
        decompress("application/x-gzip", &zlib(&[7; 101]), 100),
        Err(CompressionError::TooLarge { limit: 100 })
    ));
}

#[test]
fn a_real_gzip_stream_is_read_under_the_name_kombu_gives_to_zlib() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"[[1], {}, {}]").unwrap();
    let message = compressed("application/x-gzip", encoder.finish().unwrap());
    let request = TaskRequest::decode(&message, &Limits::default()).unwrap();
    assert_eq!(request.args, vec![json!(1)]);
    assert_eq!(request.to_message().unwrap().headers.get("compression"), None);
}

#[test]
fn unknown_and_corrupt_compressions_are_refused_by_kind() {
    let limits = Limits::default();
    for unknown in ["application/zstd", "application/x-brotli", "gzip", ""] {
        let error = refused(&compressed(unknown, zlib(b"[]")), &limits).error;
        assert!(
            matches!(error, DecodeError::Body(BodyError::Compression(CompressionError::Unsupported(name))) if name == unknown)
        );
    }
    for known in ["application/x-gzip", "application/x-bz2", "application/x-lzma"] {
        let error = refused(&compressed(known, b"not compressed".to_vec()), &limits).error;
        assert!(matches!(error, DecodeError::Body(BodyError::Compression(CompressionError::Corrupt { .. }))));
    }
    let mut odd = compressed("", zlib(b"[]"));
    odd.headers.insert("compression", 3);
    assert!(matches!(
        refused(&odd, &limits).error,
        DecodeError::Body(BodyError::Compression(CompressionError::Unsupported(_)))
    ));
}

#[test]
fn a_missing_content_type_is_read_as_json_and_parameters_are_ignored() {
    let mut message = message(json!({"task": "t", "id": "i"}), "[[], {}, {}]");
    for content_type in [None, Some(""), Some("application/json; charset=utf-8"), Some("Application/JSON")] {
        message.properties.content_type = content_type.map(str::to_owned);
        assert!(TaskRequest::decode(&message, &Limits::default()).is_ok(), "{content_type:?}");
    }
    message.properties.content_type = Some("text/plain".to_owned());
    let error = refused(&message, &Limits::default()).error;
    assert!(matches!(error, DecodeError::Body(BodyError::ContentDisallowed(_))));
}

#[test]
fn a_protocol_1_body_of_very_many_keys_is_read_in_reasonable_time() {
    let keys: Vec<String> = (0..200_000).map(|n| format!("\"k{n}\": 0")).collect();
    let body = format!(r#"{{"task": "t", "id": "i", {}}}"#, keys.join(", "));
    assert!(TaskRequest::decode(&message(json!({}), &body), &Limits::default()).is_ok());
}

fn field() -> impl Strategy<Value = FieldValue> {
    let leaf = prop_oneof![
        Just(FieldValue::Void),
        any::<bool>().prop_map(FieldValue::Bool),
        any::<i8>().prop_map(FieldValue::I8),
        any::<u32>().prop_map(FieldValue::U32),
        any::<i64>().prop_map(FieldValue::I64),
        any::<f32>().prop_map(FieldValue::F32),
        any::<f64>().prop_map(FieldValue::F64),
        any::<u64>().prop_map(FieldValue::Timestamp),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| FieldValue::Decimal { scale, value }),
        any::<Vec<u8>>().prop_map(FieldValue::from_long_string),
        ".{0,40}".prop_map(FieldValue::LongString),
        "[0-9T:+Z. -]{0,40}".prop_map(FieldValue::LongString),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(FieldValue::Array),
            prop::collection::vec((header_name(), inner), 0..4)
                .prop_map(|entries| FieldValue::Table(entries.into_iter().collect())),
        ]
    })
}

fn header_name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "lang",
        "task",
        "id",
        "shadow",
        "eta",
        "expires",
        "group",
        "group_index",
        "retries",
        "timelimit",
        "root_id",
        "parent_id",
        "argsrepr",
        "kwargsrepr",
        "origin",
        "ignore_result",
        "replaced_task_nesting",
        "stamped_headers",
        "stamps",
        "redelivered",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => ".{0,20}"]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let json = prop::string::string_regex(r#"[\[\]{},:"\\0-9eE.+ntrufalsNI -]{0,80}"#).unwrap().boxed();
    let task = (json.clone(), json.clone(), json.clone())
        .prop_map(|(args, kwargs, embed)| format!("[[{args}], {{{kwargs}}}, {{{embed}}}]"));
    prop_oneof![
        any::<Vec<u8>>(),
        json.prop_map(String::into_bytes),
        task.prop_map(String::into_bytes),
        Just(b"[[1, \"x\"], {\"k\": 2.5}, {\"chain\": null}]".to_vec()),
    ]
}

fn anything() -> impl Strategy<Value = Message> {
    let headers = prop::collection::vec((header_name(), field()), 0..12);
    let named = any::<bool>();
    let compression = prop::option::weighted(
        0.2,
        prop::sample::select(vec!["application/x-gzip", "application/x-bz2", "application/x-lzma", "?"]),
    );
    let text = prop::option::of(".{0,20}");
    (headers, named, compression, text.clone(), text, body()).prop_map(
        |(headers, named, compression, reply_to, expiration, body)| {
            let mut headers: FieldTable = headers.into_iter().collect();
            if named {
                headers.insert("task", "t");
                headers.insert("id", "i");
            }
            if let Some(compression) = compression {
                headers.insert("compression", compression);
            }
            let properties = Properties { reply_to, expiration, ..Properties::default() };
            Message { properties, headers, body }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn whatever_arrives_is_a_task_or_a_refusal(message in anything()) {
        match TaskRequest::decode(&message, &Limits::default()) {
            Ok(request) => {
                let written = request.to_message();
                prop_assert!(written.is_ok(), "{written:?}");
                let again = TaskRequest::decode(&written.unwrap(), &Limits::default());
                prop_assert!(again.is_ok(), "what was accepted once is accepted again: {again:?}");
            }
            Err(rejection) => {
                let answer = rejection.failure(jiff::Timestamp::UNIX_EPOCH);
                prop_assert_eq!(answer.is_some(), rejection.identity.id.is_some());
            }
        }
    }

    #[test]
    fn whatever_arrives_is_a_result_or_a_refusal(message in anything()) {
        if let Ok(meta) = ResultMeta::decode(&message, &Limits::default()) {
            let again = ResultMeta::decode(&meta.to_message(&meta.task_id), &Limits::default());
            prop_assert_eq!(again.unwrap(), meta);
        }
    }

    #[test]
    fn damaged_streams_inflate_to_the_bound_or_not_at_all(
        kind in prop::sample::select(vec!["application/x-gzip", "application/x-bz2", "application/x-lzma"]),
        start in prop::sample::select(vec![&b""[..], b"\x78\x9c", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46"]),
        rest in any::<Vec<u8>>(),
    ) {
        let body = [start, &rest].concat();
        if let Ok(inflated) = decompress(kind, &body, 1000) {
            prop_assert!(inflated.len() <= 1000);
        }
    }

    #[test]
    fn json_written_is_json_read(field in field()) {
        let value = field.to_json();
        let text = celery_protocol::json::to_string(&value);
        prop_assert!(text.is_ascii());
        prop_assert_eq!(celery_protocol::json::parse(text.as_bytes(), &Limits::default()).unwrap(), value);
    }
}
