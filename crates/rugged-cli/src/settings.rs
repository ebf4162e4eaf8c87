//! From the global flags to a configuration.

use std::sync::Arc;

use durable_fs::RealFs;
use fleet::Config;
use service::config::Sources;
use service::telemetry;

use crate::args::Global;
use crate::error::CliError;

/// The configuration that file, environment and flags make.
///
/// # Errors
/// What is wrong with it.
pub fn load(global: &Global) -> Result<Arc<Config>, CliError> {
    let mut set = global.set.clone();
    set.extend(global.broker_url.iter().map(|url| format!("broker_url={url}")));
    Ok(Arc::new(Config::load(&Sources::from_process(&fleet::config::SETTINGS, global.config.clone(), set), &RealFs)?))
}

/// Starts the log of a command: what workers in this process say is shown when asked for, their errors always.
pub fn start_log(global: &Global, config: &Config) {
    let level = if global.verbose { config.process.log_level.as_str() } else { "error" };
    telemetry::init(level, config.process.log_json);
}
