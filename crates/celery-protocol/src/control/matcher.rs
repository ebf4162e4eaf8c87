//! Node names and patterns.

/// The largest compiled pattern, in bytes.
const MAX_PROGRAM: usize = 64 * 1024;

/// Python's `fnmatch.fnmatchcase`: `*`, `?`, `[seq]`, `[!seq]`; everything else stands for itself.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut from) = (0, 0);
    // The last star and how far it reached in the text: the only place for backtracking.
    let mut star: Option<(usize, usize)> = None;
    while let Some(&character) = text.get(from) {
        let step = match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
                continue;
            }
            Some('?') => Some(at + 1),
            Some('[') => match set(&pattern, at) {
                Some((end, negated)) => {
                    let members = pattern.get(at + 1 + usize::from(negated)..end).unwrap_or_default();
                    (contains(members, character) != negated).then_some(end + 1)
                }
                None => (character == '[').then_some(at + 1),
            },
            Some(&same) if same == character => Some(at + 1),
            _ => None,
        };
        match (step, star) {
            (Some(next), _) => (at, from) = (next, from + 1),
            (None, Some((star_at, taken))) => {
                star = Some((star_at, taken + 1));
                (at, from) = (star_at + 1, taken + 1);
            }
            (None, None) => return false,
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|rest| *rest == '*')
}

/// The end of the set that opens at `open`, and whether it is negated. A bracket at the start of a set is a member.
fn set(pattern: &[char], open: usize) -> Option<(usize, bool)> {
    let negated = pattern.get(open + 1) == Some(&'!');
    let first = open + 1 + usize::from(negated);
    let after = pattern.get(first + 1..)?;
    let length = after.iter().position(|character| *character == ']')?;
    Some((first + 1 + length, negated))
}

fn contains(members: &[char], character: char) -> bool {
    let mut at = 0;
    while let Some(&low) = members.get(at) {
        match (members.get(at + 1), members.get(at + 2)) {
            (Some('-'), Some(&high)) => {
                if (low..=high).contains(&character) {
                    return true;
                }
                at += 3;
            }
            _ => {
                if low == character {
                    return true;
                }
                at += 1;
            }
        }
    }
    false
}

/// Python's `re.match`, without look-around and back-references.
pub(super) fn pcre(pattern: &str, text: &str) -> bool {
    let anchored = format!("^(?:{pattern})");
    regex_lite::RegexBuilder::new(&anchored).size_limit(MAX_PROGRAM).build().is_ok_and(|pattern| pattern.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_pythons_fnmatch_does() {
        for (pattern, text, matches) in [
            ("w*", "w1@lab", true),
            ("*", "", true),
            ("w?@lab", "w1@lab", true),
            ("w?@lab", "w12@lab", false),
            ("*@lab", "w1@lab", true),
            ("*@lab", "w1@lab2", false),
            ("*a*b*", "xxaxxbxx", true),
            ("w[12]@lab", "w2@lab", true),
            ("w[!12]@lab", "w2@lab", false),
            ("w[0-9]@lab", "w7@lab", true),
            ("w[]]", "w]", true),
            ("w[", "w[", true),
            ("w1", "W1", false),
            ("", "w", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern:?} and {text:?}");
        }
        // Patterns made to be slow are not.
        assert!(!glob(&"*a".repeat(120), &"a".repeat(119)));
    }

    #[test]
    fn regular_expressions_match_from_the_start() {
        for (pattern, text, matches) in [
            ("w", "w1@lab", true),
            (r"w\d+@", "w12@lab", true),
            (r"@lab", "w1@lab", false),
            ("a|w1", "w1@lab", true),
            ("(w1", "w1@lab", false),
            ("(?=w)w1", "w1@lab", false),
            (r"(a{1000}){1000}", "a", false),
        ] {
            assert_eq!(pcre(pattern, text), matches, "{pattern:?} and {text:?}");
        }
    }
}
