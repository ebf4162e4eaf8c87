//! `rugged man`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man as Page;
use durable_fs::{RealFs, durable};
use serde::Serialize;

use crate::args::{Cli, Man};
use crate::error::CliError;
use crate::exit_code;
use crate::output::Output;

#[derive(Serialize)]
struct Document {
    pages: Vec<PathBuf>,
}

pub fn run(args: &Man, output: Output) -> Result<u8, CliError> {
    let mut cli = Cli::command();
    // Gives every command its whole name, `rugged post`.
    cli.build();
    let Some(dir) = &args.dir else {
        let page = render(&cli)?;
        std::io::stdout()
            .write_all(&page)
            .map_err(|error| CliError::infrastructure(format!("writing the manual page: {error}")))?;
        return Ok(exit_code::OK);
    };
    let mut pages = vec![write(dir, "rugged.1", &cli)?];
    for command in cli.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        pages.push(write(dir, &format!("rugged-{}.1", command.get_name()), command)?);
    }
    output.result(&Document { pages }, |document| {
        document.pages.iter().map(|page| format!("{}\n", page.display())).collect()
    })?;
    Ok(exit_code::OK)
}

fn write(dir: &Path, name: &str, command: &Command) -> Result<PathBuf, CliError> {
    let path = dir.join(name);
    durable::replace(&RealFs, &path, &render(command)?, 0o644)
        .map_err(|error| CliError::infrastructure(format!("writing {}: {error}", path.display())))?;
    Ok(path)
}

fn render(command: &Command) -> Result<Vec<u8>, CliError> {
    let mut page = Vec::new();
    Page::new(command.clone())
        .render(&mut page)
        .map_err(|error| CliError::infrastructure(format!("rendering the manual page: {error}")))?;
    Ok(page)
}
