//! A value before and after its kind was applied.

use std::net::SocketAddr;
use std::time::Duration;

/// A value as it was written, before its kind is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrittenValue {
    /// One scalar; of a kind that takes a mapping, that mapping as JSON.
    Text(String),
    /// A list of scalars.
    List(Vec<String>),
}

/// A value after its kind was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingValue {
    /// Text, a path or a word.
    Text(String),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Count(u64),
    /// Seconds.
    Duration(Duration),
    /// A list.
    Names(Vec<String>),
    /// An address; `None` where it was left empty.
    Address(Option<SocketAddr>),
}
