//! The configuration engine: defaults, overridden by one YAML file, by environment variables, by flags.
//!
//! A system describes its settings in one [`SettingsTable`]: the keys, the prefix of their variables and the default
//! file. [`Layers`] collects the winning text of each key with its [`Origin`]; [`SettingsReader`] gives it its type.
//! Unknown keys are errors with a suggestion, and values of secret kinds are masked wherever they are shown.

mod error;
mod kind;
mod layers;
mod mask;
mod origin;
mod reader;
mod sources;
mod table;
mod value;
mod yaml;

pub use error::ConfigError;
pub use kind::{CustomKind, SettingKind};
pub use layers::Layers;
pub use mask::mask_url;
pub use origin::Origin;
pub use reader::{Setting, SettingsReader};
pub use sources::Sources;
pub use table::{SettingSpec, SettingsTable};
pub use value::{SettingValue, WrittenValue};
