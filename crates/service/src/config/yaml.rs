//! A YAML document as keys with their lines.

use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::error::ConfigError;
use super::origin::Origin;

/// The content of a configuration file: scalars as text, each key with its line.
pub(super) enum YamlNode {
    Empty,
    Scalar(String),
    List(Vec<YamlNode>),
    Map(Vec<(Spanned<String>, YamlNode)>),
}

/// Parses one document within bounds that no configuration needs to exceed.
pub(super) fn parse(path: &Path, text: &str) -> Result<YamlNode, ConfigError> {
    let mut options = serde_saphyr::Options::default();
    options.with_snippet = false;
    options.strict_booleans = true;
    options.budget = serde_saphyr::budget! {
        max_events: 20_000,
        max_nodes: 10_000,
        max_aliases: 64,
        max_anchors: 64,
        max_depth: 16,
        max_documents: 1,
        max_merge_keys: 64,
    };
    if text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(YamlNode::Empty);
    }
    serde_saphyr::from_str_with_options(text, options).map_err(|error| fault(path, &error))
}

/// The fault, with its line once, in front of it.
fn fault(path: &Path, error: &serde_saphyr::Error) -> ConfigError {
    let error = error.without_snippet();
    let location = error.location().filter(|location| location.line() > 0);
    let line = location.map(|location| location.line());
    if let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error {
        return ConfigError::Twice {
            key: key.clone(),
            origin: Origin::File { path: path.to_owned(), line: line.unwrap_or(0) },
        };
    }
    let text = error.to_string();
    let place = location.map(|location| format!(" at line {}, column {}", location.line(), location.column()));
    let message = place.and_then(|place| text.strip_suffix(&place).map(str::to_owned)).unwrap_or(text);
    ConfigError::Yaml { path: path.to_owned(), line, message }
}

impl<'de> Deserialize<'de> for YamlNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlNodeVisitor)
    }
}

struct YamlNodeVisitor;

impl<'de> Visitor<'de> for YamlNodeVisitor {
    type Value = YamlNode;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value, a list or a mapping")
    }

    fn visit_bool<E>(self, value: bool) -> Result<YamlNode, E> {
        Ok(YamlNode::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<YamlNode, E> {
        Ok(YamlNode::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<YamlNode, E> {
        Ok(YamlNode::Scalar(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<YamlNode, E> {
        Ok(YamlNode::Scalar(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<YamlNode, E> {
        Ok(YamlNode::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<YamlNode, E> {
        Ok(YamlNode::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<YamlNode, E> {
        Ok(YamlNode::Scalar(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<YamlNode, E> {
        Ok(YamlNode::Empty)
    }

    fn visit_none<E>(self) -> Result<YamlNode, E> {
        Ok(YamlNode::Empty)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<YamlNode, D::Error> {
        YamlNode::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<YamlNode, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(YamlNode::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<YamlNode, A::Error> {
        let mut entries: Vec<(Spanned<String>, YamlNode)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, YamlNode>()? {
            entries.push((key, value));
        }
        Ok(YamlNode::Map(entries))
    }
}
