//! `rugged config`.

use clap::Args;
use durable_fs::RealFs;
use fleet::Config;
use fleet::preflight::{self, PreflightFinding};
use serde::Serialize;

use crate::error::CliError;
use crate::output::{Output, one_line, table};
use service::exit_code::CommandExit;

/// Show every setting with its origin
///
/// Later sources override earlier ones: defaults, the configuration file, RUGGED_* variables, --set. The variable of a
/// key is RUGGED_ and the key in upper case, with `_` for `.`: RUGGED_ROLES_ROOT_EXPIRY sets roles.root.expiry.
/// RUGGED_BROKER_URL_FILE names a file that holds the broker URL. Secrets are masked.
///
/// Below the settings, one line for each group of clients that cannot read the repository, or a new one with these settings,
/// and one for each setting that the existing repository does not follow.
///
/// --json prints {file, settings: [{key, value, origin}], warnings: [{severity, check, role, subject, message, advice}]}.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged config
  rugged --set number_of_bins=256 --json config")]
pub struct ConfigArgs {}

/// The result, as `--json` prints it.
#[derive(Serialize)]
struct ConfigReport {
    file: Option<String>,
    settings: Vec<ShownSetting>,
    /// The clients that the repository locks out, and the settings that it does not follow.
    warnings: Vec<PreflightFinding>,
}

/// A setting with its masked value.
#[derive(Serialize)]
struct ShownSetting {
    key: &'static str,
    value: String,
    origin: String,
}

/// Prints the settings.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(config: &Config, output: Output) -> Result<CommandExit, CliError> {
    let settings = config.settings().iter();
    let report = ConfigReport {
        file: config.file().map(|path| path.display().to_string()),
        settings: settings
            .map(|setting| ShownSetting {
                key: setting.key,
                value: setting.value.clone(),
                origin: setting.origin.to_string(),
            })
            .collect(),
        warnings: preflight::clients(&RealFs, config),
    };
    output.result(&report, |report| {
        let row =
            |setting: &ShownSetting| vec![setting.key.to_owned(), or_dash(&setting.value), setting.origin.clone()];
        let head = vec!["KEY".to_owned(), "VALUE".to_owned(), "ORIGIN".to_owned()];
        let mut out = table(&std::iter::once(head).chain(report.settings.iter().map(row)).collect::<Vec<_>>());
        for warning in &report.warnings {
            out.push_str(&format!("warning: {}\n", one_line(&warning.to_string())));
        }
        out
    })?;
    Ok(CommandExit::Success)
}

fn or_dash(value: &str) -> String {
    if value.is_empty() { "-".to_owned() } else { one_line(value) }
}
