//! Target paths that every client can fetch.

use super::target_path::TargetPath;

/// Why some clients cannot fetch or verify a target of this path, although the specification allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnportablePath {
    /// Clients put the path into a URL as it is, or decode it, and ask for another file.
    #[error("it contains `%` and two hexadecimal digits, which clients decode in a URL")]
    PercentEscape,
    /// Clients put the path into a URL as it is, which ends before this character.
    #[error("it contains `{0}`, at which a URL's path ends")]
    EndsUrlPath(char),
    /// tuf-js sorts names by UTF-16 code units. A name with such a character beside one outside the Basic Multilingual Plane is
    /// sorted differently there, and the signatures of the whole role do not verify. Names without the former are always
    /// sorted alike.
    #[error(
        "it contains a character from U+E000 to U+FFFF, which tuf-js sorts differently and so refuses the whole role"
    )]
    SortedByUtf16,
    /// tough sorts names by their escaped text, in which a quotation mark has a backslash in front.
    #[error("it contains `\"`, which tough sorts differently and so refuses the whole role")]
    SortedEscaped,
    /// A URL's parser drops spaces at both ends: at the end of the whole URL in tuf-js, and in front of a plain name in tough.
    #[error("it begins or ends with a space, which clients drop from a URL")]
    SpaceAtEnd,
    /// tough resolves `HASH.NAME` as a reference, and then has the URL of another site.
    #[error("the text before its `:` can be the scheme of a URL, and tough then asks another site")]
    LikeUrlScheme,
    /// tuf-js looks names up in plain objects, and so finds this one in every role that it searches before the right bin.
    #[error("every object of JavaScript has a member of this name, so tuf-js does not find the target in a hashed bin")]
    JavaScriptMember,
    /// php-tuf computes other canonical bytes.
    #[error("it is not ASCII, and clients that need keyid_format: legacy then refuse the whole role")]
    NotAscii,
}

/// The members of `Object.prototype`.
const JAVASCRIPT_MEMBERS: [&str; 12] = [
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
    "__proto__",
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
];

impl TargetPath {
    /// Whether every client can fetch and verify a target of this path. `legacy`: clients of the legacy profile
    /// (`keyid_format: legacy`, php-tuf) are among them.
    ///
    /// # Errors
    /// [`UnportablePath`], for the first obstacle found.
    pub fn check_portable(&self, legacy: bool) -> Result<(), UnportablePath> {
        let text = self.as_str();
        if let Some(ends) = text.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(UnportablePath::EndsUrlPath(ends));
        }
        let escape =
            |part: &[u8]| matches!(part, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
        if text.as_bytes().windows(3).any(escape) {
            return Err(UnportablePath::PercentEscape);
        }
        if text.contains('"') {
            return Err(UnportablePath::SortedEscaped);
        }
        if text.starts_with(' ') || text.ends_with(' ') {
            return Err(UnportablePath::SpaceAtEnd);
        }
        // With a hash in front even an empty text, or one that begins with a digit, is one: hashes may begin with a letter.
        let scheme = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if text.split_once(':').is_some_and(|(before, _)| scheme(before)) {
            return Err(UnportablePath::LikeUrlScheme);
        }
        if JAVASCRIPT_MEMBERS.contains(&text) {
            return Err(UnportablePath::JavaScriptMember);
        }
        if legacy && !text.is_ascii() {
            return Err(UnportablePath::NotAscii);
        }
        if text.chars().any(|c| ('\u{e000}'..='\u{ffff}').contains(&c)) {
            return Err(UnportablePath::SortedByUtf16);
        }
        Ok(())
    }
}

/// Whether tough sorts two target paths differently, and so refuses a role with both: `longer` is `shorter` and more, which
/// begins with a space, a `!` or a control character. tough sorts names with their closing quotation mark, and these come
/// before it.
///
/// Of sorted paths it is enough to compare neighbours: all that stand between such a pair begin with `shorter` and such a
/// character too.
#[must_use]
pub fn sorted_apart(shorter: &str, longer: &str) -> bool {
    longer.strip_prefix(shorter).and_then(|rest| rest.bytes().next()).is_some_and(|byte| byte < b'"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_sorted_apart_from_its_beginnings_before_a_space_or_an_exclamation_mark() {
        let path = "dir/a 2!b";
        let apart: Vec<&str> =
            (0..=path.len()).map(|end| &path[..end]).filter(|from| sorted_apart(from, path)).collect();
        assert_eq!(apart, ["dir/a", "dir/a 2"]);
        assert!(!sorted_apart(path, "dir/a"));
        assert!(!sorted_apart("dir/a", "dir/a-2"));
    }

    #[test]
    fn a_path_that_a_client_cannot_fetch_or_sort_is_named_with_its_obstacle() {
        let check = |path: &str, legacy| path.parse::<TargetPath>().unwrap().check_portable(legacy);
        for fine in ["app-1.2.tar.gz", "100%", "a%2", "a%zz", "dir/é", "dir/日本", "a b+c&d=e~f", "rocket-🚀"] {
            assert_eq!(check(fine, false), Ok(()), "{fine}");
        }
        assert_eq!(check("a%2fb", false), Err(UnportablePath::PercentEscape));
        assert_eq!(check("a%20b", true), Err(UnportablePath::PercentEscape));
        assert_eq!(check("dir/a?b", false), Err(UnportablePath::EndsUrlPath('?')));
        assert_eq!(check("c#.nupkg", false), Err(UnportablePath::EndsUrlPath('#')));
        assert_eq!(check("\u{ff21}", false), Err(UnportablePath::SortedByUtf16));
        assert_eq!(check("\u{e000}", false), Err(UnportablePath::SortedByUtf16));
        assert_eq!(check("a\"b", false), Err(UnportablePath::SortedEscaped));
        for space in ["a ", " a", " ", "dir/a "] {
            assert_eq!(check(space, false), Err(UnportablePath::SpaceAtEnd), "{space:?}");
        }
        for scheme in ["a:b", "C:/app", ":a", "git+ssh:app", "2026-01-02T03:04:05Z"] {
            assert_eq!(check(scheme, false), Err(UnportablePath::LikeUrlScheme), "{scheme}");
        }
        for member in ["__proto__", "constructor", "toString"] {
            assert_eq!(check(member, false), Err(UnportablePath::JavaScriptMember), "{member}");
        }
        for fine in ["dir/a:b", "app_1:2.0", "a b:c", "dir /a", "dir/constructor", "Constructor"] {
            assert_eq!(check(fine, false), Ok(()), "{fine}");
        }
        assert_eq!(check("é", true), Err(UnportablePath::NotAscii));
    }
}
