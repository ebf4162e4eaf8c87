//! The file, the variables and the flags a process was started with.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::table::SettingsTable;

/// The file, the variables and the flags a process was started with. Its `Debug` shows no value.
#[derive(Clone, Default)]
pub struct Sources {
    /// `--config`. Without it: the variable `PREFIX_CONFIG`, else the table's default file if that exists.
    pub file: Option<PathBuf>,
    /// Environment variables; those without the table's prefix are ignored.
    pub env: BTreeMap<String, String>,
    /// `--set KEY=VALUE`, later ones winning.
    pub set: Vec<String>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("set", &self.set.len())
            .finish()
    }
}

impl Sources {
    /// The given flags, and the variables of this process that begin with the prefix of `table`.
    #[must_use]
    pub fn from_process(table: &SettingsTable, file: Option<PathBuf>, set: Vec<String>) -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| {
                let name = name.into_string().ok().filter(|name| name.starts_with(table.variable_prefix))?;
                Some((name, value.to_string_lossy().into_owned()))
            })
            .collect();
        Self { file, env, set }
    }
}
