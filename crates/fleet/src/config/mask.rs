//! Showing an address without its secrets.

/// `amqp://user:secret@host/vhost?password=x` as `amqp://user:***@host/vhost?password=***`.
///
/// Everything between the first `:` of the authority and its last `@` is taken for the password, so that an unescaped
/// `@` or `/` in it does not show; so is the value of every query parameter.
#[must_use]
pub fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "***".into();
    };
    let (address, query) = match rest.rsplit_once('@') {
        // A `?` before the last `@` may be part of a password.
        Some((user_info, host)) => {
            let (host, query) = host.split_once('?').map_or((host, None), |(host, query)| (host, Some(query)));
            let user = match user_info.split_once(':') {
                Some((user, _)) => format!("{user}:***"),
                None => user_info.to_owned(),
            };
            (format!("{user}@{host}"), query)
        }
        None => match rest.split_once('?') {
            Some((host, query)) => (host.to_owned(), Some(query)),
            None => (rest.to_owned(), None),
        },
    };
    let mut shown = format!("{scheme}://{address}");
    for (index, parameter) in query.iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) => {
                shown.push_str(name);
                shown.push_str("=***");
            }
            None => shown.push_str("***"),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::mask_url;

    #[test]
    fn passwords_and_query_values_do_not_show() {
        assert_eq!(mask_url("amqp://user:s3cret@host:5672/v"), "amqp://user:***@host:5672/v");
        assert_eq!(mask_url("amqp://user:s3/c@r?t@host/v"), "amqp://user:***@host/v");
        assert_eq!(mask_url("redis://:s3cret@host/0"), "redis://:***@host/0");
        assert_eq!(mask_url("redis://host/0?password=s3cret&db"), "redis://host/0?password=***&***");
        assert_eq!(mask_url("memory://"), "memory://");
        assert_eq!(mask_url("s3cret"), "***");
    }
}
