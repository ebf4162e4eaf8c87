//! The winning text of each key: defaults, overridden by the file, by the environment, by flags.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use durable_fs::Fs;

use super::error::ConfigError;
use super::kind::SettingKind;
use super::origin::Origin;
use super::sources::Sources;
use super::table::{SettingSpec, SettingsTable};
use super::value::WrittenValue;
use super::yaml::{self, YamlNode};

/// The largest configuration file that is read.
const MAX_CONFIG_FILE_BYTES: u64 = 1024 * 1024;
/// The largest file a `*_FILE` variable may name.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// The winning text of each key of one table.
#[derive(Clone)]
pub struct Layers {
    table: &'static SettingsTable,
    values: BTreeMap<&'static str, (WrittenValue, Origin)>,
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The origins alone: a value may be a secret.
        f.debug_map().entries(self.values.iter().map(|(key, (_, origin))| (key, origin))).finish()
    }
}

impl Layers {
    /// The defaults of `table`.
    #[must_use]
    pub fn defaults(table: &'static SettingsTable) -> Self {
        let default =
            |spec: &'static SettingSpec| (spec.key, (WrittenValue::Text(spec.default.to_owned()), Origin::Default));
        Self { table, values: table.rows.iter().map(default).collect() }
    }

    /// The defaults of `table`, overridden by `sources`; and the file that was read, if any.
    ///
    /// # Errors
    /// The first fault, with its origin: an unreadable file, a file that is not YAML, an unknown key, a key given twice.
    pub fn read(
        table: &'static SettingsTable,
        sources: &Sources,
        fs: &dyn Fs,
    ) -> Result<(Self, Option<PathBuf>), ConfigError> {
        let mut layers = Self::defaults(table);
        let file = layers.add_file(sources, fs)?;
        layers.add_env(&sources.env, fs)?;
        for pair in &sources.set {
            let (key, value) = pair.split_once('=').ok_or(ConfigError::NotAPair)?;
            match layers.key_of_file(key.trim()) {
                Some(spec) => {
                    let secret = read_secret(fs, value, Origin::Flag)?;
                    layers.values.insert(spec.key, secret);
                }
                None => layers.set(key.trim(), value, Origin::Flag)?,
            }
        }
        Ok((layers, file))
    }

    /// Sets `key` to `value` as one would write it in the file; lists with commas.
    ///
    /// # Errors
    /// [`ConfigError::UnknownKey`].
    pub fn set(&mut self, key: &str, value: &str, origin: Origin) -> Result<(), ConfigError> {
        let Some(spec) = self.table.find(key) else {
            return Err(self.unknown(key, origin));
        };
        self.values.insert(spec.key, (WrittenValue::Text(value.to_owned()), origin));
        Ok(())
    }

    /// The table the keys are of.
    #[must_use]
    pub fn table(&self) -> &'static SettingsTable {
        self.table
    }

    pub(super) fn get(&self, key: &'static str) -> Result<&(WrittenValue, Origin), ConfigError> {
        self.values.get(key).ok_or(ConfigError::NotInTable(key))
    }

    fn add_file(&mut self, sources: &Sources, fs: &dyn Fs) -> Result<Option<PathBuf>, ConfigError> {
        let named = sources.file.clone().or_else(|| {
            sources.env.get(&self.table.file_variable()).filter(|path| !path.is_empty()).map(PathBuf::from)
        });
        let optional = named.is_none();
        let path = named.unwrap_or_else(|| PathBuf::from(self.table.default_file));
        let text = match read_text(fs, &path, MAX_CONFIG_FILE_BYTES) {
            Ok(text) => text,
            Err(error) if optional && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        };
        match yaml::parse(&path, &text)? {
            YamlNode::Empty => {}
            YamlNode::Map(entries) => self.add_map(fs, &path, "", entries)?,
            YamlNode::Scalar(_) | YamlNode::List(_) => {
                let message = "a configuration is a mapping of keys to values".into();
                return Err(ConfigError::Yaml { path, line: None, message });
            }
        }
        Ok(Some(path))
    }

    fn add_map(
        &mut self,
        fs: &dyn Fs,
        path: &Path,
        prefix: &str,
        entries: Vec<(serde_saphyr::Spanned<String>, YamlNode)>,
    ) -> Result<(), ConfigError> {
        for (name, node) in entries {
            let origin = Origin::File { path: path.to_owned(), line: name.referenced.line() };
            let key = if prefix.is_empty() { name.value } else { format!("{prefix}.{}", name.value) };
            if let Some(spec) = self.table.find(&key) {
                let raw = match spec.kind {
                    SettingKind::Custom(custom) if custom.takes_mapping => {
                        Some(WrittenValue::Text(as_json(node).to_string()))
                    }
                    _ => leaf(node),
                };
                let raw = raw.ok_or_else(|| ConfigError::invalid(spec, origin.clone(), "a mapping"))?;
                let before = self.values.insert(spec.key, (raw, origin.clone()));
                if before.is_some_and(|(_, before)| before != Origin::Default) {
                    return Err(ConfigError::Twice { key, origin });
                }
            } else if let Some(spec) = self.key_of_file(&key) {
                let named = match leaf(node) {
                    Some(WrittenValue::Text(named)) if !named.is_empty() => named,
                    _ => return Err(ConfigError::invalid(spec, origin, "not the path of a file")),
                };
                let before = self.values.insert(spec.key, read_secret(fs, &named, origin.clone())?);
                if before.is_some_and(|(_, before)| before != Origin::Default) {
                    return Err(ConfigError::Twice { key: spec.key.into(), origin });
                }
            } else if self
                .table
                .rows
                .iter()
                .any(|spec| spec.key.strip_prefix(&key).is_some_and(|rest| rest.starts_with('.')))
            {
                match node {
                    YamlNode::Map(entries) => self.add_map(fs, path, &key, entries)?,
                    YamlNode::Empty => {}
                    YamlNode::Scalar(_) | YamlNode::List(_) => {
                        let expected = "a mapping of further keys".into();
                        return Err(ConfigError::Invalid { key, origin, value: "a value".into(), expected });
                    }
                }
            } else {
                return Err(self.unknown(&key, origin));
            }
        }
        Ok(())
    }

    fn add_env(&mut self, env: &BTreeMap<String, String>, fs: &dyn Fs) -> Result<(), ConfigError> {
        for (variable, value) in env {
            if !variable.starts_with(self.table.variable_prefix) || *variable == self.table.file_variable() {
                continue;
            }
            if let Some(spec) = self.table.rows.iter().find(|spec| self.table.variable(spec) == *variable) {
                self.values.insert(spec.key, (WrittenValue::Text(value.clone()), Origin::Env(variable.clone())));
                continue;
            }
            let secret = self.table.rows.iter().find(|spec| {
                let named = variable.strip_suffix("_FILE");
                spec.kind.is_secret() && named.is_some_and(|name| name == self.table.variable(spec))
            });
            if let Some(spec) = secret {
                // As with the variable of the file: where a variable cannot be taken out of an environment, it can be emptied.
                if value.is_empty() {
                    continue;
                }
                let secret = read_secret(fs, value, Origin::Env(variable.clone()))?;
                if env.contains_key(&self.table.variable(spec)) {
                    return Err(ConfigError::Twice { key: spec.key.into(), origin: secret.1 });
                }
                self.values.insert(spec.key, secret);
            } else if !is_service_link(variable) {
                let suggestion = closest(variable, self.table.rows.iter().map(|spec| self.table.variable(spec)));
                return Err(ConfigError::UnknownVariable { variable: variable.clone(), suggestion });
            }
        }
        Ok(())
    }

    /// The key whose value is in the file that `KEY_file` names.
    fn key_of_file(&self, key: &str) -> Option<&'static SettingSpec> {
        self.table.find(key.strip_suffix("_file")?).filter(|spec| spec.kind.is_secret())
    }

    fn unknown(&self, key: &str, origin: Origin) -> ConfigError {
        let suggestion = closest(key, self.table.rows.iter().map(|spec| spec.key.to_owned()));
        // An unknown key may be anything, a secret pasted into the wrong place included.
        let key = key.chars().filter(|c| !c.is_control()).take(64).collect();
        ConfigError::UnknownKey { key, origin, suggestion }
    }
}

fn read_secret(fs: &dyn Fs, path: &str, named_by: Origin) -> Result<(WrittenValue, Origin), ConfigError> {
    let path = PathBuf::from(path);
    let text = read_text(fs, &path, MAX_SECRET_BYTES)
        .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
    let origin = Origin::NamedFile { named_by: named_by.to_string(), path };
    Ok((WrittenValue::Text(text.trim_end_matches(['\r', '\n']).to_owned()), origin))
}

/// Kubernetes gives every container variables for every service of its namespace. A service whose name begins like the
/// variables' prefix makes some that look like settings and are none.
fn is_service_link(variable: &str) -> bool {
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.ends_with("_PORT")
        || variable.contains("_TCP")
        || variable.contains("_UDP")
}

/// Follows links first, unlike every other read: mounted configurations and secrets are links in Kubernetes, and a user
/// who may place the link may as well place the file.
fn read_text(fs: &dyn Fs, path: &Path, max: u64) -> std::io::Result<String> {
    let path = path.canonicalize()?;
    let bytes = durable_fs::durable::read_bounded(fs, &path, max)?;
    String::from_utf8(bytes).map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "not UTF-8 text"))
}

fn leaf(node: YamlNode) -> Option<WrittenValue> {
    match node {
        YamlNode::Empty => Some(WrittenValue::Text(String::new())),
        YamlNode::Scalar(text) => Some(WrittenValue::Text(text)),
        YamlNode::List(items) => {
            let texts = items.into_iter().map(|item| match item {
                YamlNode::Scalar(text) => Some(text),
                _ => None,
            });
            texts.collect::<Option<Vec<_>>>().map(WrittenValue::List)
        }
        YamlNode::Map(_) => None,
    }
}

/// A mapping as JSON; every scalar is text.
fn as_json(node: YamlNode) -> serde_json::Value {
    match node {
        YamlNode::Empty => serde_json::Value::Object(serde_json::Map::new()),
        YamlNode::Scalar(text) => text.into(),
        YamlNode::List(items) => items.into_iter().map(as_json).collect(),
        YamlNode::Map(entries) => entries.into_iter().map(|(name, node)| (name.value, as_json(node))).collect(),
    }
}

fn closest(given: &str, known: impl Iterator<Item = String>) -> Option<String> {
    if given.len() > 256 {
        return None;
    }
    known
        .map(|name| (strsim::normalized_damerau_levenshtein(given, &name), name))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}
