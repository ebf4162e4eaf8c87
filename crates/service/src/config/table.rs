//! The table of settings of one system: parsing, listings and the reference are made from it.

use super::kind::SettingKind;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct SettingSpec {
    /// The dotted key, as in the file.
    pub key: &'static str,
    /// The values it takes.
    pub kind: SettingKind,
    /// The default as one would write it; empty when there is none or when it is derived (see `doc`).
    pub default: &'static str,
    /// The meaning, in one or two sentences.
    pub doc: &'static str,
}

impl SettingSpec {
    /// A setting with its kind, its default and its meaning.
    #[must_use]
    pub const fn new(key: &'static str, kind: SettingKind, default: &'static str, doc: &'static str) -> Self {
        Self { key, kind, default, doc }
    }
}

/// The settings of one system.
#[derive(Clone, Copy, Debug)]
pub struct SettingsTable {
    /// Every setting, in the order in which listings show them.
    pub rows: &'static [SettingSpec],
    /// The prefix of all environment variables, with its underscore: `RUGGED_`.
    pub variable_prefix: &'static str,
    /// The file read when neither `--config` nor `PREFIX_CONFIG` names one; it may be absent.
    pub default_file: &'static str,
}

impl SettingsTable {
    /// The entry of `key`.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<&'static SettingSpec> {
        self.rows.iter().find(|spec| spec.key == key)
    }

    /// The environment variable that sets `spec`: the prefix and the key in upper case, dots as underscores.
    #[must_use]
    pub fn variable(&self, spec: &SettingSpec) -> String {
        let mut name = String::from(self.variable_prefix);
        name.extend(spec.key.chars().map(|c| if c == '.' { '_' } else { c.to_ascii_uppercase() }));
        name
    }

    /// The environment variable that names the configuration file.
    #[must_use]
    pub fn file_variable(&self) -> String {
        format!("{}CONFIG", self.variable_prefix)
    }
}
