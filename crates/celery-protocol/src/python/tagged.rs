//! Kombu's tagged JSON objects, `{"__type__": …, "__value__": …}`, shown as the Python values they
//! decode to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::{Date, Time};
use serde_json::{Map, Value};

/// The `repr` of the tagged value; `None` if kombu does not decode `map`.
pub(super) fn repr(map: &Map<String, Value>) -> Option<String> {
    if map.len() != 2 {
        return None;
    }
    let (kind, value) = (map.get("__type__")?.as_str()?, map.get("__value__")?);
    match kind {
        "datetime" => datetime(value.as_str()?),
        "date" => {
            let date: Date = value.as_str()?.get(..10)?.parse().ok()?;
            Some(format!("datetime.date({}, {}, {})", date.year(), date.month(), date.day()))
        }
        "time" => {
            let time: Time = value.as_str()?.parse().ok()?;
            Some(format!("datetime.time({}, {}{})", time.hour(), time.minute(), seconds(time)))
        }
        "decimal" => Some(format!("Decimal('{}')", value.as_str()?)),
        "uuid" => uuid(value.get("hex")?.as_str()?),
        "bytes" => Some(format!("b'{}'", value.as_str()?)),
        "base64" => {
            let bytes = STANDARD.decode(value.as_str()?).ok()?;
            Some(match std::str::from_utf8(&bytes) {
                Ok(text) => format!("b'{text}'"),
                Err(_) => format!("b'{}'", hex(&bytes)),
            })
        }
        _ => None,
    }
}

fn datetime(text: &str) -> Option<String> {
    let (at, zone) = match text.rfind(['+', '-', 'Z']).filter(|at| *at > 10) {
        Some(split) => (text.get(..split)?, zone(text.get(split..)?)?),
        None => (text, String::new()),
    };
    let at: jiff::civil::DateTime = at.parse().ok()?;
    let (date, time) = (at.date(), at.time());
    Some(format!(
        "datetime.datetime({}, {}, {}, {}, {}{}{zone})",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        seconds(time),
    ))
}

/// Seconds and microseconds, each left out when nothing but zeros follows.
fn seconds(time: Time) -> String {
    match (time.second(), time.subsec_nanosecond() / 1000) {
        (0, 0) => String::new(),
        (second, 0) => format!(", {second}"),
        (second, micros) => format!(", {second}, {micros}"),
    }
}

fn zone(text: &str) -> Option<String> {
    if text == "Z" {
        return Some(", tzinfo=datetime.timezone.utc".to_owned());
    }
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    // As Python writes and reads it; anything longer is no offset.
    let below = |text: &str, end: u32| text.parse::<u32>().ok().filter(|number| *number < end && text.len() == 2);
    let total = below(hours, 24)? * 3600 + below(minutes, 60)? * 60;
    // A negative timedelta is shown as a day back and the rest of that day forward.
    let offset = match (total, text.starts_with('-')) {
        (0, _) => return Some(", tzinfo=datetime.timezone.utc".to_owned()),
        (total, false) => format!("seconds={total}"),
        (total, true) => format!("days=-1, seconds={}", 86_400 - total),
    };
    Some(format!(", tzinfo=datetime.timezone(datetime.timedelta({offset}))"))
}

fn uuid(hex: &str) -> Option<String> {
    if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let hex = hex.to_ascii_lowercase();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Some(format!("UUID('{}-{}-{}-{}-{}')", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
