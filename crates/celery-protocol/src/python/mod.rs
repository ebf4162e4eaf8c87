//! Python's `repr`, which some headers and all tracebacks contain.

mod saferepr;
mod tagged;

pub use saferepr::{args_repr, kwargs_repr};

use serde_json::Value;

/// `repr(x)` of a float: the shortest text that reads back equal, in exponent form below 1e-4 and
/// from 1e16.
#[must_use]
pub fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

/// `repr(x)` of the Python value this JSON decodes to, uncut. The choice of printable
/// non-ASCII characters is approximate, because the exact one needs Unicode tables.
#[must_use]
pub fn repr(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let items: Vec<String> = values.iter().map(repr).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => tagged::repr(map).unwrap_or_else(|| {
            let items: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", text_repr(key), repr(value))).collect();
            format!("{{{}}}", items.join(", "))
        }),
        Value::String(text) => text_repr(text),
        scalar => scalar_text(scalar),
    }
}

/// `str(x)` of a number, boolean or `None`.
fn scalar_text(value: &Value) -> String {
    match value {
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) if number.is_f64() => float_repr(number.as_f64().unwrap_or_default()),
        Value::Number(number) => number.to_string(),
        _ => "None".to_owned(),
    }
}

/// `repr(x)` of a `str`: single quotes unless there are only single quotes inside.
fn text_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            same if same == quote => out.extend(['\\', same]),
            other if is_printable(other) => out.push(other),
            other => out.push_str(&match u32::from(other) {
                code @ 0..=0xff => format!("\\x{code:02x}"),
                code @ 0x100..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    out.push(quote);
    out
}

fn is_printable(character: char) -> bool {
    match character {
        ' ' => true,
        other if other.is_control() || other.is_whitespace() => false,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}' => false,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => false,
        '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' => false,
        '\u{e0000}'..='\u{10ffff}' => false,
        _ => true,
    }
}
