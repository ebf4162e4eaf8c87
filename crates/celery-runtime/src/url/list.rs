//! Several URLs in one text.

use super::{
    broker_url::BrokerUrl,
    error::{UrlError, invalid},
};

/// The most servers one URL may name.
const MAX_SERVERS: usize = 32;

/// Parses one URL, or several separated by `;` as Celery writes them.
///
/// All URLs are of one kind. They may differ in server, user and password only: database and options are the same.
///
/// # Errors
/// If a URL cannot be parsed, or the URLs differ in kind, database or options.
pub fn parse_list(text: &str) -> Result<Vec<BrokerUrl>, UrlError> {
    let mut urls: Vec<BrokerUrl> = Vec::new();
    for url in text.split(';') {
        let url: BrokerUrl = url.trim().parse()?;
        let fits = match (urls.first(), &url) {
            (None, _) | (Some(BrokerUrl::Amqp(_)), BrokerUrl::Amqp(_)) => true,
            (Some(BrokerUrl::Redis(first)), BrokerUrl::Redis(url)) => first.holds_the_same_as(url),
            _ => false,
        };
        if !fits {
            return Err(invalid("list of servers", "they differ in kind, database or options"));
        }
        if urls.len() == MAX_SERVERS {
            return Err(invalid("list of servers", "there are more than 32"));
        }
        urls.push(url);
    }
    Ok(urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_servers_are_of_one_kind() {
        assert_eq!(parse_list("amqp://a; amqps://b;amqp://c/v").unwrap().len(), 3);
        assert_eq!(parse_list("redis://a/1;rediss://b/1").unwrap().len(), 2);
        for bad in ["amqp://a;", "amqp://a;redis://b", "redis://a/1;redis://b/2", "memory://;memory://", ""] {
            assert!(parse_list(bad).is_err(), "{bad}");
        }
        assert!(parse_list(&["amqp://a"; 33].join(";")).is_err());
    }
}
