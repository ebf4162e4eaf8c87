//! Typed reading of the winning values.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::error::ConfigError;
use super::layers::Layers;
use super::mask::mask_url;
use super::origin::Origin;
use super::value::{SettingValue, WrittenValue};

/// One value as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// The value, secrets masked, derived defaults resolved.
    pub value: String,
    /// Its origin.
    pub origin: Origin,
}

/// Reads the winning values of `Layers` by key and type.
///
/// Every method gives [`ConfigError::Invalid`] for a value that is not of its key's kind, and
/// [`ConfigError::NotInTable`] for a key that the table does not have or has with another type.
#[derive(Clone, Copy, Debug)]
pub struct SettingsReader<'a>(&'a Layers);

impl<'a> SettingsReader<'a> {
    /// A reader of `layers`.
    #[must_use]
    pub fn new(layers: &'a Layers) -> Self {
        Self(layers)
    }

    fn value(&self, key: &'static str) -> Result<SettingValue, ConfigError> {
        let spec = self.0.table().find(key).ok_or(ConfigError::NotInTable(key))?;
        let (written, origin) = self.0.get(key)?;
        spec.kind.parse(written).ok_or_else(|| {
            let shown = match written {
                _ if spec.kind.is_secret() => "not an address (it is not shown, as it may hold a password)".to_owned(),
                WrittenValue::List(_) => "a list".to_owned(),
                WrittenValue::Text(text) if text.is_empty() => "empty".to_owned(),
                // An address in the wrong place may hold a password all the same.
                WrittenValue::Text(text) if text.contains("://") => {
                    let text: String = mask_url(text).chars().filter(|c| !c.is_control()).take(64).collect();
                    format!("`{text}`")
                }
                WrittenValue::Text(text) => {
                    let text: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
                    format!("`{text}`")
                }
            };
            ConfigError::invalid(spec, origin.clone(), &shown)
        })
    }

    /// Where the value comes from.
    ///
    /// # Errors
    /// See [`SettingsReader`].
    pub fn origin(&self, key: &'static str) -> Result<&'a Origin, ConfigError> {
        self.0.get(key).map(|(_, origin)| origin)
    }

    /// Text, a word or a path.
    ///
    /// # Errors
    /// See [`SettingsReader`].
    pub fn text(&self, key: &'static str) -> Result<String, ConfigError> {
        match self.value(key)? {
            SettingValue::Text(text) => Ok(text),
            _ => Err(ConfigError::NotInTable(key)),
        }
    }

    /// Text; `None` where it is empty.
    ///
    /// # Errors
    /// See [`SettingsReader`].
    pub fn optional_text(&self, key: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(Some(self.text(key)?).filter(|text| !text.is_empty()))
    }

    /// A path.
    ///
    /// # Errors
    /// See [`SettingsReader`].
    pub fn path(&self, key: &'static str) -> Result<PathBuf, ConfigError> {
        self.text(key).map(PathBuf::from)
    }

    /// A path; `None` where it is empty.
    ///
    /// # Errors
    /// See [`SettingsReader`].
    pub fn optional_path(&self, key: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        Ok(self.optional_text(key)?.map(PathBuf::from))
    }

    /// True or false.
    ///
    /// # Errors
    /// See [`SettingsReader`].
    pub fn bool(&self, key: &'static str) -> Result<bool, ConfigError> {
        match self.value(key)? {
            SettingValue::Bool(value) => Ok(value),
            _ => Err(ConfigError::NotInTable(key)),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// See [`SettingsReader`].
    pub fn count(&self, key: &'static str) -> Result<u64, ConfigError> {
        match self.value(key)? {
            SettingValue::Count(count) => Ok(count),
            _ => Err(ConfigError::NotInTable(key)),
        }
    }

    /// Seconds, with decimals.
    ///
    /// # Errors
    /// See [`SettingsReader`].
    pub fn duration(&self, key: &'static str) -> Result<Duration, ConfigError> {
        match self.value(key)? {
            SettingValue::Duration(duration) => Ok(duration),
            _ => Err(ConfigError::NotInTable(key)),
        }
    }

    /// A list.
    ///
    /// # Errors
    /// See [`SettingsReader`].
    pub fn names(&self, key: &'static str) -> Result<Vec<String>, ConfigError> {
        match self.value(key)? {
            SettingValue::Names(names) => Ok(names),
            _ => Err(ConfigError::NotInTable(key)),
        }
    }

    /// An address and a port; `None` where it is empty.
    ///
    /// # Errors
    /// See [`SettingsReader`].
    pub fn address(&self, key: &'static str) -> Result<Option<SocketAddr>, ConfigError> {
        match self.value(key)? {
            SettingValue::Address(address) => Ok(address),
            _ => Err(ConfigError::NotInTable(key)),
        }
    }

    /// Every value with its origin, in the order of the table, secrets masked. `derived` gives the value of a key whose
    /// default is derived from others.
    ///
    /// # Errors
    /// See [`SettingsReader`].
    pub fn settings(&self, derived: &[(&str, String)]) -> Result<Vec<Setting>, ConfigError> {
        let table = self.0.table();
        let mut settings = Vec::with_capacity(table.rows.len());
        for spec in table.rows {
            let own = match self.value(spec.key)? {
                SettingValue::Text(url) if spec.kind.is_secret() => mask_url(&url),
                SettingValue::Text(text) => text,
                SettingValue::Bool(value) => value.to_string(),
                SettingValue::Count(count) => count.to_string(),
                SettingValue::Duration(duration) => duration.as_secs_f64().to_string(),
                SettingValue::Names(names) => names.join(","),
                SettingValue::Address(address) => address.map(|address| address.to_string()).unwrap_or_default(),
            };
            let derived = derived.iter().find(|(key, _)| *key == spec.key).map(|(_, value)| value.clone());
            settings.push(Setting {
                key: spec.key,
                value: derived.unwrap_or(own),
                origin: self.origin(spec.key)?.clone(),
            });
        }
        Ok(settings)
    }
}
