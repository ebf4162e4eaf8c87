//! Typed header values.

use celery_protocol::{FieldTable, FieldValue};
use serde_json::json;

#[test]
fn integers_get_the_tag_that_py_amqp_gives_them() {
    for (value, tag) in [
        (0, 'I'),
        (86_400_000, 'I'),
        (i64::from(i32::MAX), 'I'),
        (-i64::from(i32::MAX), 'I'),
        (i64::from(i32::MAX) + 1, 'l'),
        (i64::from(i32::MIN), 'l'),
        (i64::MIN, 'l'),
    ] {
        assert_eq!(FieldValue::from(&json!(value)).tag(), tag, "{value}");
    }
}

#[test]
fn json_values_get_the_tags_that_py_amqp_gives_them_and_come_back() {
    let value = json!({"s": "x", "d": 1.5, "t": true, "n": null, "l": [1, "a", [2.0]], "f": {"k": "v", "a": 1}});
    let field = FieldValue::from(&value);
    let table = field.as_table().unwrap();
    let tags: String = table.iter().map(|(_, value)| value.tag()).collect();
    assert_eq!(tags, "SdtVAF");
    assert_eq!(field.to_json(), value);
}

#[test]
fn values_json_does_not_know_are_tagged_or_null() {
    assert_eq!(FieldValue::F64(f64::NAN).to_json(), json!(null));
    assert_eq!(
        FieldValue::Decimal { scale: 2, value: 150 }.to_json(),
        json!({"__type__": "decimal", "__value__": "1.50"})
    );
    assert_eq!(
        FieldValue::Decimal { scale: 3, value: 5 }.to_json(),
        json!({"__type__": "decimal", "__value__": "0.005"})
    );
    assert_eq!(FieldValue::Bytes(vec![0xff, 0]).to_json(), json!({"__type__": "base64", "__value__": "/wA="}));
    assert_eq!(FieldValue::from_long_string(vec![0xff]), FieldValue::Bytes(vec![0xff]));
    assert_eq!(FieldValue::from_long_string(b"x".to_vec()), FieldValue::from("x"));
}

#[test]
fn numbers_are_read_whatever_their_type() {
    assert_eq!(FieldValue::F64(3.0).as_i64(), Some(3));
    assert_eq!(FieldValue::F64(3.5).as_i64(), None);
    assert_eq!(FieldValue::F64(1e300).as_i64(), None);
    assert_eq!(FieldValue::F64(f64::NAN).as_i64(), None);
    assert_eq!(FieldValue::U8(3).as_f64(), Some(3.0));
    assert_eq!(FieldValue::Decimal { scale: 1, value: 15 }.as_f64(), Some(1.5));
    assert_eq!(FieldValue::from("3").as_i64(), None);
}

#[test]
fn a_table_keeps_order_and_replaces_in_place() {
    let mut table = FieldTable::new();
    table.insert("b", 1);
    table.insert("a", "x");
    table.insert("b", true);
    assert_eq!(table.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(table.remove("b"), Some(FieldValue::Bool(true)));
    assert_eq!((table.len(), table.get("b")), (1, None));
}
