//! The configuration and the log of a command, from its global options.

use std::sync::Arc;

use durable_fs::RealFs;
use fleet::Config;
use service::config::Sources;
use service::telemetry;

use crate::cli::GlobalOptions;
use crate::error::CliError;

/// Loads the configuration from the file, the environment and the options.
///
/// # Errors
/// When a source cannot be read or a value is invalid.
pub fn load(global: &GlobalOptions) -> Result<Arc<Config>, CliError> {
    let mut set = global.set.clone();
    set.extend(global.broker_url.iter().map(|url| format!("broker_url={url}")));
    Ok(Arc::new(Config::load(&Sources::from_process(&fleet::config::SETTINGS, global.config.clone(), set), &RealFs)?))
}

/// Starts the log of a command: errors of hosted workers always, all their lines with `--verbose`.
pub fn start_log(global: &GlobalOptions, config: &Config) {
    let level = if global.verbose { config.process.log_level.as_str() } else { "error" };
    telemetry::init(level, config.process.log_json);
}
