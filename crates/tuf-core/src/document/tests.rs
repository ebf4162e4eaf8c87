use std::collections::BTreeMap;

use super::{Document, DocumentType};
use crate::time::UtcTime;

fn time(text: &str) -> UtcTime {
    text.parse().unwrap()
}

fn entry(number: u64) -> Option<Vec<u8>> {
    Some(format!("{{\"length\":{number}}}").into_bytes())
}

fn small() -> Document {
    let empty = Document::empty(DocumentType::Targets, 1, time("2030-01-01T00:00:00Z"), BTreeMap::new());
    let changes = [("b", 2), ("a", 1), ("d", 4)].map(|(key, number)| (key.to_owned(), entry(number)));
    empty.edit(&changes.into(), 2, time("2030-01-02T00:00:00Z"))
}

#[test]
fn an_edit_keeps_entries_sorted_and_every_other_byte() {
    let document = small();
    assert_eq!(
        std::str::from_utf8(document.signed()).unwrap(),
        r#"{"_type":"targets","expires":"2030-01-02T00:00:00Z","spec_version":"1.0.31","targets":{"a":{"length":1},"b":{"length":2},"d":{"length":4}},"version":2}"#
    );
    let changes = [("a".to_owned(), None), ("c".to_owned(), entry(3)), ("d".to_owned(), entry(5))];
    let edited = document.edit(&changes.into(), 3, time("2030-01-03T00:00:00Z"));
    assert_eq!(edited.get("a"), None);
    assert_eq!(edited.get("d"), entry(5).as_deref());
    assert_eq!(edited.len(), 3);
    let parsed = Document::parse(DocumentType::Targets, edited.signed().to_vec()).unwrap();
    assert_eq!(parsed.version(), 3);
    assert_eq!(parsed.expires(), time("2030-01-03T00:00:00Z"));
    assert_eq!(
        parsed.iter().map(|(key, value)| (key.into_owned(), value.to_vec())).collect::<Vec<_>>(),
        edited.iter().map(|(key, value)| (key.into_owned(), value.to_vec())).collect::<Vec<_>>()
    );
}

#[test]
fn names_with_quotes_sort_by_their_unescaped_form() {
    let empty = Document::empty(DocumentType::Targets, 1, time("2030-01-01T00:00:00Z"), BTreeMap::new());
    let changes = ["a\"b", "a#b", "a!b"].map(|key| (key.to_owned(), entry(1)));
    let document = empty.edit(&changes.into(), 2, time("2030-01-01T00:00:00Z"));
    let parsed = Document::parse(DocumentType::Targets, document.into_signed()).unwrap();
    assert!(parsed.get("a\"b").is_some() && parsed.get("a!b").is_some() && parsed.get("a#b").is_some());
}

#[test]
fn unknown_members_and_entries_survive() {
    let signed = br#"{"_type":"targets","expires":"2030-01-02T00:00:00Z","spec_version":"1.0.31","targets":{"a":{"custom":{"x":[1,{"y":null}]},"length":1}},"version":2,"x-other":[true,"\""]}"#;
    let parsed = Document::parse(DocumentType::Targets, signed.to_vec()).unwrap();
    let same = parsed.edit(&BTreeMap::new(), 2, parsed.expires());
    assert_eq!(same.signed(), signed);
}

#[test]
fn what_is_not_a_canonical_document_is_refused() {
    let good = small().into_signed();
    for cut in 0..good.len() {
        assert!(Document::parse(DocumentType::Targets, good[..cut].to_vec()).is_err(), "cut at {cut}");
    }
    let text = String::from_utf8(good).unwrap();
    for (from, to) in [
        ("\"version\":2", "\"version\":0"),
        ("\"version\":2", "\"version\":\"2\""),
        ("targets\",\"expires", "snapshot\",\"expires"),
        ("2030-01-02T00:00:00Z", "2030-01-02"),
        ("\"a\":", "\"c\":"),
        ("{\"length\":1}", "{\"length\": 1}"),
    ] {
        let bad = text.replacen(from, to, 1);
        assert_ne!(bad, text);
        assert!(Document::parse(DocumentType::Targets, bad.clone().into_bytes()).is_err(), "{bad}");
    }
}
