use proptest::prelude::*;
use tuf_core::time::UtcTime;

#[test]
fn known_moments_are_written_and_read() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_750_799_283, "2025-06-24T21:08:03Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (-62_167_219_200, "0000-01-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
    ] {
        assert_eq!(UtcTime::from_unix(seconds).to_string(), text);
        assert_eq!(UtcTime::parse(text).unwrap().unix(), seconds);
    }
}

#[test]
fn other_forms_are_refused() {
    for text in [
        "",
        "2025-06-24",
        "2025-06-24T21:08:03",
        "2025-06-24T21:08:03.5Z",
        "2025-06-24T21:08:03+00:00",
        "2025-06-24t21:08:03Z",
        "2025-06-24 21:08:03Z",
        "2025-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2025-13-01T00:00:00Z",
        "2025-00-01T00:00:00Z",
        "2025-01-00T00:00:00Z",
        "2025-01-01T24:00:00Z",
        "2025-01-01T00:60:00Z",
        "2016-12-31T23:59:60Z",
        "+025-01-01T00:00:00Z",
        "２025-01-01T00:00Z",
    ] {
        assert!(UtcTime::parse(text).is_err(), "{text}");
    }
}

#[test]
fn arithmetic_stays_within_the_years_that_can_be_written() {
    let end = UtcTime::from_unix(i64::MAX);
    assert_eq!(end.to_string(), "9999-12-31T23:59:59Z");
    assert_eq!(end.plus_seconds(i64::MAX), end);
    assert_eq!(UtcTime::from_unix(i64::MIN).plus_seconds(-1).to_string(), "0000-01-01T00:00:00Z");
    assert_eq!(UtcTime::from_unix(10).seconds_since(UtcTime::from_unix(15)), -5);
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(seconds in -62_167_219_200i64..=253_402_300_799) {
        let time = UtcTime::from_unix(seconds);
        prop_assert_eq!(UtcTime::parse(&time.to_string()).unwrap(), time);
    }

    #[test]
    fn text_orders_as_time_does(a in -62_167_219_200i64..=253_402_300_799, b in -62_167_219_200i64..=253_402_300_799) {
        let (a, b) = (UtcTime::from_unix(a), UtcTime::from_unix(b));
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }
}
