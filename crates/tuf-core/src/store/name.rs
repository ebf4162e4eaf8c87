//! Names of files in a store.

use std::fmt;

use crate::names::MAX_COMPONENT_BYTES;

/// Longest [`FileName`], in bytes; leaves room for the store's own root below `PATH_MAX`.
pub const MAX_FILE_NAME_BYTES: usize = 2048;
/// Prefix of the store's temporary files, which no other file may have.
const TEMPORARY: &str = ".tmp-";

/// A relative file name in a store, such as `targets/dir/HASH.name`: `/`-separated components, none of
/// them empty, `.` or `..`, without control characters, each of at most 255 bytes, at most 2048 bytes in all.
/// A component never starts with `.tmp-` (the store's own temporary files) or `.nfs` (files an NFS client
/// keeps for readers of removed ones).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName(String);

/// A string that is not a [`FileName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid file name {name:?}: {reason}")]
pub struct InvalidFileName {
    /// The rejected string, cut to a bounded length.
    pub name: String,
    /// The rule that was broken.
    pub reason: &'static str,
}

impl FileName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`InvalidFileName`] with the rule that was broken.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidFileName> {
        let name = name.into();
        match fault(&name) {
            None => Ok(Self(name)),
            Some(reason) => Err(InvalidFileName { name: name.chars().take(MAX_COMPONENT_BYTES).collect(), reason }),
        }
    }

    /// The name as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory part without a trailing `/`; empty for a name at the root of the store.
    #[must_use]
    pub fn dir(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(dir, _)| dir)
    }

    /// The last component.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, base)| base)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for FileName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for FileName {
    type Error = InvalidFileName;
    fn try_from(name: &str) -> Result<Self, InvalidFileName> {
        Self::new(name)
    }
}

impl TryFrom<String> for FileName {
    type Error = InvalidFileName;
    fn try_from(name: String) -> Result<Self, InvalidFileName> {
        Self::new(name)
    }
}

fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > MAX_FILE_NAME_BYTES {
        return Some("it is longer than 2048 bytes");
    }
    if name.chars().any(char::is_control) {
        return Some("it holds a control character");
    }
    name.split('/').find_map(|component| match component {
        "" => Some("it starts or ends with `/` or holds an empty component"),
        "." | ".." => Some("it holds a `.` or `..` component"),
        c if c.len() > MAX_COMPONENT_BYTES => Some("a component is longer than 255 bytes"),
        c if c.starts_with(TEMPORARY) => Some("`.tmp-` is reserved for temporary files"),
        c if c.starts_with(".nfs") => Some("`.nfs` is reserved by NFS clients"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_accepted_and_split() {
        for (name, dir, base) in [
            ("1.root.json", "", "1.root.json"),
            ("metadata/.7.timestamp.json", "metadata", ".7.timestamp.json"),
            ("targets/a b/ä~+@%=,.tar.gz", "targets/a b", "ä~+@%=,.tar.gz"),
            ("a/..b/c..", "a/..b", "c.."),
        ] {
            let parsed = FileName::new(name).unwrap();
            assert_eq!((parsed.dir(), parsed.base(), parsed.as_str()), (dir, base, name));
        }
    }

    #[test]
    fn names_that_leave_the_store_or_hide_in_it_are_refused() {
        let long = "x".repeat(256);
        for name in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a/./b",
            "a\0b",
            "a\nb",
            "a/.tmp-1",
            ".tmp-x/a",
            ".nfs0001",
            &long,
            &"ab/".repeat(900),
        ] {
            assert!(FileName::new(name).is_err(), "{name:?}");
        }
        assert!(FileName::new(long[1..].to_owned()).is_ok());
    }
}
