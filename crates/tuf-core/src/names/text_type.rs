//! The traits that every validated name has.

/// Implements construction, text, comparison and serde for a tuple struct around `Arc<str>` with a function `check`.
macro_rules! name_type {
    ($type:ident, $kind:literal) => {
        impl $type {
            /// Validates `name`.
            ///
            /// # Errors
            /// [`NameError`](crate::names::NameError) with the rule that was broken.
            pub fn new(name: &str) -> Result<Self, $crate::names::NameError> {
                match Self::check(name) {
                    Ok(()) => Ok(Self(std::sync::Arc::from(name))),
                    Err(reason) => Err($crate::names::NameError::new($kind, name, reason)),
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::names::NameError;
            fn from_str(name: &str) -> Result<Self, $crate::names::NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $type {
            type Error = $crate::names::NameError;
            fn try_from(name: String) -> Result<Self, $crate::names::NameError> {
                Self::new(&name)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = $crate::names::NameError;
            fn try_from(name: &str) -> Result<Self, $crate::names::NameError> {
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

        impl std::borrow::Borrow<str> for $type {
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

        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl ::serde::de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a valid ", $kind))
                    }
                    fn visit_str<E: ::serde::de::Error>(self, name: &str) -> Result<$type, E> {
                        $type::new(name).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

pub(super) use name_type;
