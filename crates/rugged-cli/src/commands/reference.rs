//! `rugged reference`: Markdown made of the definitions themselves, so that it cannot say anything else.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};
use fleet::config::{KEYS, SETTINGS};
use service::config::KeySpec;

use crate::args::{Cli, Reference, Referenced};
use crate::error::CliError;
use crate::exit_code;
use crate::output::Output;

pub fn run(args: &Reference, output: Output) -> Result<u8, CliError> {
    output.text(&match args.what {
        Referenced::Cli => cli(),
        Referenced::Configuration => configuration(),
    })?;
    Ok(exit_code::OK)
}

fn cli() -> String {
    let mut cli = Cli::command();
    cli.build();
    let mut text = String::from(
        "# Command line\n\nMade by `rugged reference cli`. `rugged COMMAND --help` says the same, `rugged man` makes \
         manual pages, `rugged completions` scripts for shells.\n\n## Options of every command\n\n",
    );
    let global = |argument: &&Arg| argument.is_global_set();
    for argument in cli.get_arguments().filter(global) {
        option(&mut text, argument);
    }
    for command in cli.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        let _ = write!(text, "\n## rugged {}\n\n{}\n\n", command.get_name(), sentence(command.get_about()));
        let usage = command.clone().render_usage().to_string();
        let _ = write!(text, "```\n{}\n```\n\n", usage.trim_start_matches("Usage: "));
        let own = |argument: &&Arg| !argument.is_global_set() && argument.get_id() != "help";
        for argument in command.get_arguments().filter(own) {
            option(&mut text, argument);
        }
        after_help(&mut text, command);
    }
    text.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (code, meaning) in exit_code::ALL {
        let _ = writeln!(text, "| {code} | {meaning} |");
    }
    text
}

fn option(text: &mut String, argument: &Arg) {
    let long = argument.get_long().map(|long| format!("--{long}"));
    let short = argument.get_short().map(|short| format!("-{short}"));
    let mut name = [long, short].into_iter().flatten().collect::<Vec<_>>().join(", ");
    if argument.get_action().takes_values() {
        let values = argument.get_value_names().unwrap_or_default().join(" ");
        name = if name.is_empty() { values } else { format!("{name} {values}") };
    }
    let _ = write!(text, "- `{name}`: {}", sentence(argument.get_help()));
    let words: Vec<String> =
        argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if argument.get_action().takes_values() && !words.is_empty() {
        let _ = write!(text, " One of {}.", words.join(", "));
    }
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        let _ = write!(text, " Default: {}.", defaults.join(", "));
    }
    text.push('\n');
}

/// Paragraphs as they are, examples as code.
fn after_help(text: &mut String, command: &Command) {
    let Some(after) = command.get_after_help().map(ToString::to_string) else { return };
    let (before, examples) = match after.split_once("Examples:\n") {
        Some((before, examples)) => (before.to_owned(), Some(examples.to_owned())),
        None => (after, None),
    };
    for paragraph in before.split("\n\n").map(str::trim_end).filter(|paragraph| !paragraph.trim().is_empty()) {
        if paragraph.starts_with("  ") {
            let _ = write!(text, "\n```sh\n{}\n```\n", unindented(paragraph));
        } else {
            let _ = write!(text, "\n{paragraph}\n");
        }
    }
    if let Some(examples) = examples {
        let _ = write!(text, "\n```sh\n{}\n```\n", unindented(examples.trim_end()));
    }
}

fn unindented(lines: &str) -> String {
    lines.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn sentence(help: Option<&clap::builder::StyledStr>) -> String {
    let help = help.map(ToString::to_string).unwrap_or_default();
    if help.is_empty() || help.ends_with('.') { help } else { format!("{help}.") }
}

fn configuration() -> String {
    let mut text = String::from(
        "# Configuration\n\nMade by `rugged reference configuration`. Defaults are overridden by the file (`--config`, \
         else `RUGGED_CONFIG`, else `/etc/rugged/config.yaml`), the file by the variables, those by `--set KEY=VALUE`. \
         `rugged config` shows every value with its origin.\n",
    );
    let mut part = "";
    for key in KEYS {
        let this = key.key.split_once('.').map_or("", |(part, _)| part);
        if this != part {
            let _ = write!(text, "\n# {this}\n");
            part = this;
        }
        entry(&mut text, key);
    }
    text
}

fn entry(text: &mut String, key: &KeySpec) {
    let _ = write!(text, "\n## {}\n\n{}\n\n- Takes {}.\n", key.key, key.doc, key.kind.expected());
    if !key.default.is_empty() {
        let _ = writeln!(text, "- Default: `{}`.", key.default);
    }
    let file = if key.kind.is_secret() {
        format!(", or `{}_FILE`: a file that holds it", SETTINGS.variable(key))
    } else {
        String::new()
    };
    let _ = writeln!(text, "- Variable: `{}`{file}.", SETTINGS.variable(key));
}
