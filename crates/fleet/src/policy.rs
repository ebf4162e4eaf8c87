//! Patterns of target paths that may be added, or replaced.

use tuf_core::names::TargetPath;
use tuf_core::schema::PathPattern;

/// The component that stands for any number of components.
const ANY_DEPTH: &str = "**";
/// The most `**` in one pattern: more make matching slow and match no other paths.
const MAX_DEPTHS: usize = 4;

/// A list of patterns of target paths: `*`, `?` and `[…]` within one component, `**` as a component for any number of
/// components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathPatterns(Vec<Vec<Component>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Component {
    AnyDepth,
    One(PathPattern),
}

impl PathPatterns {
    /// The patterns in `patterns`. A text that is no pattern ([`PathPatterns::is_pattern`]) matches no path.
    #[must_use]
    pub fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().filter_map(|pattern| components(pattern)).collect())
    }

    /// Whether `text` is a pattern.
    #[must_use]
    pub fn is_pattern(text: &str) -> bool {
        components(text).is_some()
    }

    /// Whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the list matches every path.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.iter().any(|pattern| matches!(pattern.as_slice(), [Component::AnyDepth]))
    }

    /// Whether one of the patterns matches the whole of `path`.
    #[must_use]
    pub fn matches(&self, path: &TargetPath) -> bool {
        let parts: Vec<&str> = path.as_str().split('/').collect();
        self.is_everything() || self.0.iter().any(|pattern| walk(pattern, &parts))
    }
}

fn components(text: &str) -> Option<Vec<Component>> {
    // An empty component would be a leading, trailing or doubled slash, which no target path has.
    if text.is_empty() || text.split('/').any(str::is_empty) {
        return None;
    }
    if text.split('/').filter(|part| *part == ANY_DEPTH).count() > MAX_DEPTHS {
        return None;
    }
    let component = |part: &str| match part {
        ANY_DEPTH => Some(Component::AnyDepth),
        part => PathPattern::new(part).ok().map(Component::One),
    };
    text.split('/').map(component).collect()
}

fn walk(pattern: &[Component], parts: &[&str]) -> bool {
    match (pattern.split_first(), parts.split_first()) {
        (None, None) => true,
        (Some((Component::AnyDepth, rest)), _) => (0..=parts.len()).any(|skipped| walk(rest, &parts[skipped..])),
        (Some((Component::One(one), rest)), Some((part, below))) => {
            TargetPath::new(part).is_ok_and(|part| one.matches(&part)) && walk(rest, below)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        PathPatterns::new(&[pattern.to_owned()]).matches(&path.parse().unwrap())
    }

    #[test]
    fn a_star_stays_within_a_component_and_two_cross_them() {
        assert!(matches("**", "a") && matches("**", "a/b/c"));
        assert!(matches("*", "a") && !matches("*", "a/b"));
        assert!(matches("pkg/*/*.zip", "pkg/x/y.zip") && !matches("pkg/*/*.zip", "pkg/x/z/y.zip"));
        assert!(matches("pkg/**", "pkg/a/b") && !matches("pkg/**", "other/pkg/a"));
        assert!(matches("**/*.zip", "y.zip") && matches("**/*.zip", "a/b/y.zip") && !matches("**/*.zip", "a/y.tgz"));
        assert!(matches("a/**/z", "a/z") && matches("a/**/z", "a/b/c/z") && !matches("a/**/z", "a/b"));
    }

    #[test]
    fn what_no_path_could_match_is_no_pattern() {
        for bad in ["", "/a", "a/", "a//b", "a\nb", "**/**/**/**/**"] {
            assert!(!PathPatterns::is_pattern(bad), "{bad:?}");
        }
        assert!(PathPatterns::is_pattern("a/**") && PathPatterns::is_pattern("[ab]?*"));
    }

    #[test]
    fn without_patterns_nothing_matches() {
        assert!(PathPatterns::default().is_empty());
        assert!(!PathPatterns::default().matches(&"a".parse().unwrap()));
    }
}
