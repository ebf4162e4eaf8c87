use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};
use tuf_core::canonical::{CanonicalError, Extra, Json, canonicalize, is_canonical, to_json, value_to_canonical};

fn canonical(json: &str) -> String {
    String::from_utf8(canonicalize(json.as_bytes()).unwrap().into_owned()).unwrap()
}

#[test]
fn keys_are_sorted_by_code_point_and_space_goes_away() {
    assert_eq!(
        canonical(" { \"b\" : [ 1 , true , null ] ,\r\n\t\"a\" : { } , \"\" : -5 } "),
        r#"{"":-5,"a":{},"b":[1,true,null]}"#
    );
    // U+1F600 is after U+FFFD by code point, before it by UTF-16.
    assert_eq!(canonical("{\"\u{1f600}\":1,\"\u{fffd}\":2}"), "{\"\u{fffd}\":2,\"\u{1f600}\":1}");
}

#[test]
fn keys_are_sorted_by_what_they_say_not_by_how_they_are_escaped() {
    // `"` is 0x22, `#` 0x23, `[` 0x5b, `\` 0x5c, `]` 0x5d.
    assert_eq!(canonical(r##"{"a#":1,"a\"":2}"##), r##"{"a\"":2,"a#":1}"##);
    assert_eq!(canonical(r#"{"]":1,"\\":2,"[":3}"#), r#"{"[":3,"\\":2,"]":1}"#);
    assert_eq!(canonical(r#"{"\\\"":1,"\\\\":2,"\\a":3}"#), r#"{"\\\"":1,"\\\\":2,"\\a":3}"#);
    assert!(is_canonical(r##"{"a\"":2,"a#":1}"##.as_bytes()));
    assert!(!is_canonical(r##"{"a#":2,"a\"":1}"##.as_bytes()));
}

#[test]
fn strings_keep_two_escapes_and_lose_all_others() {
    assert_eq!(canonical(r#""\"\\\/\u0041\u00e9\ud83d\ude00\u0022\u005C""#), "\"\\\"\\\\/Aé😀\\\"\\\\\"");
    assert_eq!(canonical(r#""\b\f\n\r\t\u0000""#), "\"\u{8}\u{c}\n\r\t\u{0}\"");
}

#[test]
fn control_characters_are_escaped_in_files_alone() {
    let bytes = canonicalize(br#"{"k":"a\nb\u0001\t"}"#).unwrap().into_owned();
    assert_eq!(bytes, b"{\"k\":\"a\nb\x01\t\"}");
    assert!(is_canonical(&bytes));
    assert_eq!(&*to_json(&bytes), br#"{"k":"a\nb\u0001\t"}"#);
    assert!(canonicalize(&bytes).is_err(), "not JSON as it is");
    assert!(matches!(to_json(b"{}"), Cow::Borrowed(_)));
}

#[test]
fn canonical_bytes_are_borrowed() {
    let bytes = br#"{"a":[{"b":"\"x\\"}],"c":12}"#;
    assert!(matches!(canonicalize(bytes).unwrap(), Cow::Borrowed(_)));
}

#[test]
fn what_has_no_canonical_form_is_refused() {
    for json in [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "01",
        "-",
        "-01",
        "+1",
        "tru",
        "nulll",
        "1 2",
        "{}{}",
        "\"a\nb\"",
        "{\"a\" 1}",
        "[1 2]",
        "NaN",
    ] {
        assert!(matches!(canonicalize(json.as_bytes()), Err(CanonicalError::Syntax { .. })), "{json}");
    }
    for json in ["1.0", "[1e3]", "-0.5", "1E2"] {
        assert!(matches!(canonicalize(json.as_bytes()), Err(CanonicalError::Float { .. })), "{json}");
    }
    for json in ["9007199254740992", "-9007199254740992", "99999999999999999999999"] {
        assert!(matches!(canonicalize(json.as_bytes()), Err(CanonicalError::Integer { .. })), "{json}");
    }
    assert_eq!(canonical("[9007199254740991,-9007199254740991,-0]"), "[9007199254740991,-9007199254740991,0]");
    assert!(matches!(canonicalize(b"\"\xff\""), Err(CanonicalError::Utf8 { at: 1 })));
    assert!(
        matches!(canonicalize(br#"{"a":1,"b":2,"\u0061":3}"#), Err(CanonicalError::DuplicateKey { key }) if key == "a")
    );
    assert!(matches!(canonicalize(br#"{"a":1,"a":3}"#), Err(CanonicalError::DuplicateKey { .. })));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(canonicalize(nested(64).as_bytes()).is_ok());
    assert_eq!(canonicalize(nested(65).as_bytes()), Err(CanonicalError::TooDeep));
    assert_eq!(canonicalize(&b"[".repeat(1_000_000)), Err(CanonicalError::TooDeep));
    let value = (0..100).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(value_to_canonical(&value), Err(CanonicalError::TooDeep));
}

#[test]
fn values_with_floats_are_refused() {
    assert!(matches!(Json::from_value(&json!({"a": 1.5})), Err(CanonicalError::Float { at: None })));
    assert!(matches!(Json::from_value(&json!(1u64 << 53)), Err(CanonicalError::Integer { at: None })));
    assert_eq!(Json::from_value(&json!({"b": -1, "a": []})).unwrap().as_canonical(), r#"{"a":[],"b":-1}"#);
}

#[test]
fn unknown_members_can_be_kept_looked_up_and_taken_out() {
    let mut extra = Extra::new();
    assert!(extra.is_empty());
    extra.insert("x-b", Json::parse(b"[1, 2]").unwrap());
    extra.insert("x-a", Json::parse(b"true").unwrap());
    assert_eq!(extra.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["x-a", "x-b"]);
    assert_eq!(extra.get("x-b").unwrap().to_value(), json!([1, 2]));
    assert!(extra.remove("x-a").is_some() && extra.remove("x-b").is_some());
    assert_eq!(extra, Extra::new());
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1i64 << 53) + 1..1i64 << 53).prop_map(Value::from),
        "[\\PC\"\\\\/\n\t\u{0}é😀]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[ab\"\\\\#\\[\n😀]{0,3}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_layout_of_a_value_has_the_same_canonical_bytes(value in any_value()) {
        let canonical = value_to_canonical(&value).unwrap();
        prop_assert!(is_canonical(&canonical));
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        prop_assert_eq!(&*canonicalize(&pretty).unwrap(), &canonical[..]);
        let compact = serde_json::to_vec(&value).unwrap();
        prop_assert_eq!(&*canonicalize(&compact).unwrap(), &canonical[..]);
    }

    #[test]
    fn the_file_form_reads_back_as_the_same_value_and_bytes(value in any_value()) {
        let canonical = value_to_canonical(&value).unwrap();
        let file = to_json(&canonical);
        prop_assert_eq!(&serde_json::from_slice::<Value>(&file).unwrap(), &value);
        prop_assert_eq!(&*canonicalize(&file).unwrap(), &canonical[..]);
        prop_assert_eq!(Json::parse(&file).unwrap().to_value(), value);
    }

    #[test]
    fn what_serde_json_refuses_is_refused_and_nothing_panics(bytes in "[\\[\\]{}\",:0-9a-u\\\\ .-]{0,24}") {
        match canonicalize(bytes.as_bytes()) {
            Ok(canonical) => {
                prop_assert!(is_canonical(&canonical));
                prop_assert!(serde_json::from_str::<Value>(&bytes).is_ok());
            }
            Err(CanonicalError::Syntax { .. }) => prop_assert!(serde_json::from_str::<Value>(&bytes).is_err()),
            Err(_) => {}
        }
    }
}
