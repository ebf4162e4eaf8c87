//! The parts that `amqp://` and `redis://` URLs have in common.

use super::error::{UrlError, invalid};

/// The credentials in front of the last `@`, if any, and the rest. The last `@` ends the credentials, as in Celery.
pub(super) fn split_credentials(text: &str) -> (Option<&str>, &str) {
    match text.rsplit_once('@') {
        Some((credentials, rest)) => (Some(credentials), rest),
        None => (None, text),
    }
}

/// The text in front of the first `?`, and the query behind it.
pub(super) fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

/// The name and the decoded value of each option of a query.
pub(super) fn query_options(query: &str) -> impl Iterator<Item = Result<(&str, String), UrlError>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((name, decode(value, "query")?))
    })
}

/// Refuses a host that a name in the DNS cannot have.
pub(super) fn check_host(host: &str) -> Result<(), UrlError> {
    if host.len() > 255 || host.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/') {
        return Err(invalid("host", "it holds characters a host name cannot"));
    }
    Ok(())
}

/// Host and port of `host:port`, `[host]:port` or `host`.
pub(super) fn split_port(authority: &str, default: u16) -> Result<(&str, u16), UrlError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(invalid("host", "a [ has no ]"))?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(invalid("port", "expected : after ]")),
        }
    } else {
        match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    match port {
        None | Some("") => Ok((host, default)),
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port != 0 => Ok((host, port)),
            _ => Err(invalid("port", "it is not a number between 1 and 65535")),
        },
    }
}

/// Decodes `%` followed by two hexadecimal digits.
pub(super) fn decode(text: &str, part: &'static str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => {
                return Err(invalid(part, "a % is not followed by two hexadecimal digits"));
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| invalid(part, "it is not UTF-8"))
}

/// A host as a URL writes it: an IPv6 address in brackets.
pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
