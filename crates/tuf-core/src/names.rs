//! Names that came from outside, validated once: target paths, role names and key ids.
//!
//! Each type is a cheap-to-clone string that cannot hold a dangerous value, so code that receives one never has to look
//! at it again. Ordering is by UTF-8 bytes, which is also the order of canonical JSON.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest component of a target path in bytes (`NAME_MAX` of every common file system).
pub const MAX_COMPONENT_BYTES: usize = 255;
/// Longest target path in bytes.
pub const MAX_TARGET_PATH_BYTES: usize = 4096;
/// Longest role name in bytes: leaves room for a version prefix and `.json` in one file name.
pub const MAX_ROLE_NAME_BYTES: usize = 200;
/// Longest key id in bytes.
pub const MAX_KEY_ID_BYTES: usize = 128;

/// Why a name was refused. The message quotes the name with control characters escaped, shortened to 80 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{name}` {reason}")]
pub struct NameError {
    kind: &'static str,
    name: String,
    reason: &'static str,
}

impl NameError {
    fn new(kind: &'static str, name: &str, reason: &'static str) -> Self {
        let mut quoted: String = name.chars().take(80).flat_map(char::escape_debug).collect();
        if name.chars().nth(80).is_some() {
            quoted.push('…');
        }
        Self { kind, name: quoted, reason }
    }

    /// What is wrong, without the name: for callers that show the name themselves.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

macro_rules! name_type {
    ($type:ident, $kind:literal) => {
        impl $type {
            /// Validates `name`.
            ///
            /// # Errors
            /// [`NameError`] with the rule that was broken.
            pub fn new(name: &str) -> Result<Self, NameError> {
                match Self::check(name) {
                    Ok(()) => Ok(Self(Arc::from(name))),
                    Err(reason) => Err(NameError::new($kind, name, reason)),
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(&name)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = NameError;
            fn try_from(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $type {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $type {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a valid ", $kind))
                    }
                    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<$type, E> {
                        $type::new(name).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

/// The path of a target below the targets directory (TUF specification §4.5 TARGETPATH), safe on every file system.
///
/// Relative, `/`-separated, without empty, `.` or `..` components, without control characters or backslashes, in Unicode
/// normalization form C; at most [`MAX_COMPONENT_BYTES`] a component and [`MAX_TARGET_PATH_BYTES`] in all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetPath(Arc<str>);

name_type!(TargetPath, "target path");

impl TargetPath {
    fn check(name: &str) -> Result<(), &'static str> {
        if name.is_empty() {
            return Err("is empty");
        }
        if name.len() > MAX_TARGET_PATH_BYTES {
            return Err("is longer than 4096 bytes");
        }
        if name.starts_with('/') {
            return Err("is absolute");
        }
        check_text(name)?;
        for component in name.split('/') {
            match component {
                "" => return Err("has an empty component"),
                "." | ".." => return Err("has a `.` or `..` component"),
                _ if component.len() > MAX_COMPONENT_BYTES => {
                    return Err("has a component longer than 255 bytes");
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The directory part without the last `/`, or `None` for a path of one component.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(dir, _)| dir)
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// The path under which a client asks for this target with consistent snapshots: `dir/HASH.name`
    /// (specification §6.2.3).
    #[must_use]
    pub fn hash_prefixed(&self, hash: &str) -> String {
        match self.0.rsplit_once('/') {
            Some((dir, name)) => format!("{dir}/{hash}.{name}"),
            None => format!("{hash}.{}", self.0),
        }
    }
}

/// The name of a role, safe as a file name (specification §4.5 ROLENAME).
///
/// Any text without `/`, `\` and control characters that does not begin with a dot, in Unicode normalization form C and
/// at most [`MAX_ROLE_NAME_BYTES`]. That is what is needed to read metadata of others; names this project gives are
/// narrower: [`RoleName::is_ours`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(Arc<str>);

name_type!(RoleName, "role name");

impl RoleName {
    fn check(name: &str) -> Result<(), &'static str> {
        if name.is_empty() {
            return Err("is empty");
        }
        if name.len() > MAX_ROLE_NAME_BYTES {
            return Err("is longer than 200 bytes");
        }
        if name.starts_with('.') {
            return Err("begins with a dot");
        }
        if name.contains('/') {
            return Err("contains `/`");
        }
        check_text(name)
    }

    /// Whether this project would give the name to a role: a letter, then letters, digits, `_` and `-`.
    ///
    /// php-tuf strips leading digits and dots from names, and some clients percent-encode everything else.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let mut bytes = self.0.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    }

    /// Whether this is one of the four roles listed in root metadata.
    #[must_use]
    pub fn is_top_level(&self) -> bool {
        matches!(&*self.0, "root" | "targets" | "snapshot" | "timestamp")
    }

    /// The role `root`.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::from("root"))
    }

    /// The role `targets`.
    #[must_use]
    pub fn targets() -> Self {
        Self(Arc::from("targets"))
    }

    /// The role `snapshot`.
    #[must_use]
    pub fn snapshot() -> Self {
        Self(Arc::from("snapshot"))
    }

    /// The role `timestamp`.
    #[must_use]
    pub fn timestamp() -> Self {
        Self(Arc::from("timestamp"))
    }
}

/// The identifier of a key (specification §4.2 KEYID): 1 to [`MAX_KEY_ID_BYTES`] ASCII letters and digits, usually the
/// hexadecimal sha256 of the key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

name_type!(KeyId, "key id");

impl KeyId {
    /// The key id that is this digest in hexadecimal.
    #[must_use]
    pub fn from_digest(digest: &[u8; 32]) -> Self {
        Self(Arc::from(hex::encode(digest)))
    }

    fn check(name: &str) -> Result<(), &'static str> {
        if name.is_empty() {
            return Err("is empty");
        }
        if name.len() > MAX_KEY_ID_BYTES {
            return Err("is longer than 128 bytes");
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err("has characters other than ASCII letters and digits");
        }
        Ok(())
    }
}

/// What no name may contain, whatever it names.
fn check_text(name: &str) -> Result<(), &'static str> {
    if name.is_ascii() {
        for byte in name.bytes() {
            if byte.is_ascii_control() {
                return Err("contains a control character");
            }
            if byte == b'\\' {
                return Err("contains a backslash");
            }
        }
        return Ok(());
    }
    if name.chars().any(char::is_control) {
        return Err("contains a control character");
    }
    if name.contains('\\') {
        return Err("contains a backslash");
    }
    if !unicode_normalization::is_nfc(name) {
        return Err("is not in Unicode normalization form C");
    }
    Ok(())
}
