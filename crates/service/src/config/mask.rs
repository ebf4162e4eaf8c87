//! Addresses without their secrets.

/// `amqp://user:secret@host/vhost?password=x` as `amqp://user:***@host/vhost?password=***`.
///
/// Everything between the first `:` of the authority and its last `@` is taken for the password, so that an unescaped
/// `@` or `/` in it does not show; so is the value of every query parameter.
///
/// Of several separated by `;` each is shown so. A `;` that no address follows may be part of a password.
#[must_use]
pub fn mask_url(urls: &str) -> String {
    let mut each: Vec<String> = Vec::new();
    for part in urls.split(';') {
        match each.last_mut() {
            Some(last) if !starts_as_url(part) => {
                last.push(';');
                last.push_str(part);
            }
            _ => each.push(part.to_owned()),
        }
    }
    each.iter().map(|url| mask_one(url)).collect::<Vec<_>>().join(";")
}

fn starts_as_url(text: &str) -> bool {
    text.trim().split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}

fn mask_one(url: &str) -> String {
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
        assert_eq!(mask_url("amqp://u:a@h/v; amqps://u:b@i/v"), "amqp://u:***@h/v; amqps://u:***@i/v");
        assert_eq!(mask_url("amqp://u:s3;cret@h/v"), "amqp://u:***@h/v");
    }
}
