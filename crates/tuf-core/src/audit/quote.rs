//! Examples and text from outside in messages.

/// The subject and the verb of a sentence about `count` things of which one is shown: `key id X is`, or
/// `3 key ids, such as X, are`.
pub(super) fn example(count: u64, noun: &str, shown: &str, verbs: (&str, &str)) -> String {
    let (one, many) = verbs;
    if count == 1 { format!("{noun} {shown} {one}") } else { format!("{count} {noun}s, such as {shown}, {many}") }
}

/// Text from outside, escaped and shortened for a message.
pub(super) fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        quoted.push('…');
    }
    format!("`{quoted}`")
}

#[cfg(test)]
mod tests {
    use super::example;

    #[test]
    fn one_thing_is_named_and_many_are_counted() {
        assert_eq!(example(1, "key id", "X", ("is", "are")), "key id X is");
        assert_eq!(example(3, "key id", "X", ("is", "are")), "3 key ids, such as X, are");
    }
}
