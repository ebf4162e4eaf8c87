//! The command line: the options of every command, and the list of commands. The arguments of a command stand beside
//! it, in [`crate::commands`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::add_targets::AddTargetsArgs;
use crate::commands::completions::CompletionsArgs;
use crate::commands::config::ConfigArgs;
use crate::commands::demo::DemoArgs;
use crate::commands::doctor::DoctorArgs;
use crate::commands::download::DownloadArgs;
use crate::commands::events::EventsArgs;
use crate::commands::exit_codes::ExitCodesArgs;
use crate::commands::generate_keys::GenerateKeysArgs;
use crate::commands::initialize::InitializeArgs;
use crate::commands::inspect::InspectArgs;
use crate::commands::man::ManArgs;
use crate::commands::pause_processing::PauseProcessingArgs;
use crate::commands::ping::PingArgs;
use crate::commands::post::PostArgs;
use crate::commands::recover::RecoverArgs;
use crate::commands::reference::ReferenceArgs;
use crate::commands::refresh_expiry::RefreshExpiryArgs;
use crate::commands::remove_targets::RemoveTargetsArgs;
use crate::commands::resume_processing::ResumeProcessingArgs;
use crate::commands::revoke::RevokeArgs;
use crate::commands::status::StatusArgs;
use crate::commands::up::UpArgs;
use crate::commands::validate::ValidateArgs;

const AFTER_HELP: &str = "\
Examples:
  rugged demo                  publish and verify a release in ./tuf-fleet-demo
  rugged up                    run all workers in this process and serve the repository
  rugged post dist/ --wait     publish the files in dist/ and wait until clients can verify them
  rugged status                show workers, roles, versions, expiries and drops

`rugged help exit-codes` lists the exit codes. `rugged config` shows every setting with its origin.";

/// Operate a TUF repository and the workers that sign it
#[derive(Debug, Parser)]
#[command(name = "rugged", version, after_help = AFTER_HELP, disable_help_subcommand = false, max_term_width = 120)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// The command to run.
    #[command(subcommand)]
    pub command: RuggedCommand,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct GlobalOptions {
    /// Configuration file [default: RUGGED_CONFIG, else /etc/rugged/config.yaml if it exists]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Set one configuration key; overrides the file and the environment; may be repeated
    #[arg(long, value_name = "KEY=VALUE", global = true, help_heading = "Global options")]
    pub set: Vec<String>,
    /// URL of the broker, without a password
    ///
    /// Other users of this machine can see the command line. Put a URL with a password in the configuration file,
    /// RUGGED_BROKER_URL or the file that RUGGED_BROKER_URL_FILE names.
    #[arg(long, value_name = "URL", global = true, help_heading = "Global options")]
    pub broker_url: Option<String>,
    /// Print JSON instead of text
    ///
    /// An error is one line of JSON on standard error, its last: {error, hint, exit_code}.
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Show the log of the workers that this command hosts
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub verbose: bool,
}

/// The commands, in the order in which the help lists them. Each takes its help from its arguments.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "documentation here would replace the help that stands beside each command")]
pub enum RuggedCommand {
    Demo(DemoArgs),
    Up(UpArgs),
    Post(PostArgs),
    Status(StatusArgs),
    Validate(ValidateArgs),
    Download(DownloadArgs),
    GenerateKeys(GenerateKeysArgs),
    Initialize(InitializeArgs),
    AddTargets(AddTargetsArgs),
    RemoveTargets(RemoveTargetsArgs),
    RefreshExpiry(RefreshExpiryArgs),
    PauseProcessing(PauseProcessingArgs),
    ResumeProcessing(ResumeProcessingArgs),
    Doctor(DoctorArgs),
    Recover(RecoverArgs),
    Ping(PingArgs),
    Inspect(InspectArgs),
    Events(EventsArgs),
    Revoke(RevokeArgs),
    Config(ConfigArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    #[command(hide = true)]
    Reference(ReferenceArgs),
    #[command(hide = true)]
    ExitCodes(ExitCodesArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_definitions_hold_together() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_has_a_summary_on_one_line() {
        for command in super::Cli::command().get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.ends_with('.') && !about.contains('\n'), "{}", command.get_name());
            for argument in command.get_arguments() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty() && !help.ends_with('.'), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }
}
