//! Configurations made in code, for hosted workers and tests.

use std::fmt;
use std::path::Path;

use service::config::{ConfigError, Layers, Origin};

use super::settings::Config;
use super::settings_table::SETTINGS;

impl Config {
    /// A configuration made in code, from the defaults.
    #[must_use]
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder { pairs: Vec::new() }
    }

    /// A configuration made in code with every path beneath `dir`: `post_to_tuf`, `incoming_targets`, `repo`,
    /// `keys/signing`, `keys/verification` and `state`. For embedded fleets and tests.
    #[must_use]
    pub fn beneath(dir: &Path) -> ConfigBuilder {
        let at = |below: &str| dir.join(below).to_string_lossy().into_owned();
        Self::builder()
            .set("post_to_tuf_path", at("post_to_tuf"))
            .set("inbound_targets_path", at("incoming_targets"))
            .set("repo_path", at("repo"))
            .set("signing_keys_path", at("keys/signing"))
            .set("verification_keys_path", at("keys/verification"))
            .set("state_path", at("state"))
    }
}

/// Makes a [`Config`] in code.
#[derive(Clone)]
pub struct ConfigBuilder {
    pairs: Vec<(String, String)>,
}

impl ConfigBuilder {
    /// Sets a key to a value as one would write it in the file; lists with commas. Later ones win.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.pairs.push((key.into(), value.into()));
        self
    }

    /// The configuration.
    ///
    /// # Errors
    /// An unknown key, or a value that is not of its kind.
    pub fn build(self) -> Result<Config, ConfigError> {
        let mut layers = Layers::defaults(&SETTINGS);
        for (key, value) in &self.pairs {
            layers.set(key, value, Origin::Code)?;
        }
        Config::resolve(&layers, None)
    }
}

impl fmt::Debug for ConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pairs.iter().map(|(key, _)| key)).finish()
    }
}
