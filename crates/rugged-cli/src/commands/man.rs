//! `rugged man`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man as Page;
use durable_fs::{RealFs, durable};
use serde::Serialize;

use crate::error::CliError;
use crate::output::Output;
use service::exit_code::CommandExit;

/// Write the manual pages
///
/// Without --dir the command prints the page of `rugged` itself. With --dir it writes one page per command.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged man | man -l -
  rugged man --dir /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Existing directory for the pages, such as rugged.1 and rugged-post.1
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// The written files, as `--json` prints them.
#[derive(Serialize)]
struct ManPagesReport {
    pages: Vec<PathBuf>,
}

/// Writes the manual pages of `cli`.
///
/// # Errors
/// When a page cannot be written.
pub fn run(args: &ManArgs, mut cli: Command, output: Output) -> Result<CommandExit, CliError> {
    // Gives every command its full name, such as `rugged post`.
    cli.build();
    let Some(dir) = &args.dir else {
        let page = render(&cli)?;
        std::io::stdout()
            .write_all(&page)
            .map_err(|error| CliError::local_failure(error).during("cannot write the manual page"))?;
        return Ok(CommandExit::Success);
    };
    let mut pages = vec![write(dir, "rugged.1", &cli)?];
    for command in cli.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        pages.push(write(dir, &format!("rugged-{}.1", command.get_name()), command)?);
    }
    output.result(&ManPagesReport { pages }, |report| {
        report.pages.iter().map(|page| format!("{}\n", page.display())).collect()
    })?;
    Ok(CommandExit::Success)
}

fn write(dir: &Path, name: &str, command: &Command) -> Result<PathBuf, CliError> {
    let path = dir.join(name);
    durable::replace(&RealFs, &path, &render(command)?, 0o644)
        .map_err(|error| CliError::writing(&path, error).hint("name an existing directory with --dir"))?;
    Ok(path)
}

fn render(command: &Command) -> Result<Vec<u8>, CliError> {
    let mut page = Vec::new();
    Page::new(command.clone())
        .render(&mut page)
        .map_err(|error| CliError::local_failure(error).during("cannot render the manual page"))?;
    Ok(page)
}
