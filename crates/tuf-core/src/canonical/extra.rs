//! Members of an object that this project does not know.

use std::collections::{BTreeMap, btree_map};

use super::json::Json;

/// Members of an object that this project does not know, kept so that signed bytes can be written again unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra(BTreeMap<String, Json>);

/// The members of an [`Extra`] in sorted order.
#[derive(Debug, Clone)]
pub struct ExtraIter<'a>(btree_map::Iter<'a, String, Json>);

impl<'a> Iterator for ExtraIter<'a> {
    type Item = (&'a str, &'a Json);
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key.as_str(), value))
    }
}

impl Extra {
    /// No unknown members.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The member called `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.0.get(key)
    }

    /// Adds or replaces a member. A member the type itself knows is written from the type, not from here.
    pub fn insert(&mut self, key: &str, value: Json) {
        self.0.insert(key.to_owned(), value);
    }

    /// Removes a member.
    pub fn remove(&mut self, key: &str) -> Option<Json> {
        self.0.remove(key)
    }

    /// The members in sorted order.
    pub fn iter(&self) -> ExtraIter<'_> {
        ExtraIter(self.0.iter())
    }
}

impl<'a> IntoIterator for &'a Extra {
    type Item = (&'a str, &'a Json);
    type IntoIter = ExtraIter<'a>;
    fn into_iter(self) -> ExtraIter<'a> {
        self.iter()
    }
}
