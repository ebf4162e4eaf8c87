//! `rugged remove-targets`.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;

use clap::Args;
use fleet::Config;
use fleet::contract::{REMOVE_TARGETS, RemoveTargets, RemoveTargetsResult, TARGETS_QUEUE};
use serde::Serialize;
use tuf_core::names::TargetPath;

use super::signing_chain::{PublishedVersions, publish, task_deadline, with_signing_workers};
use crate::error::CliError;
use crate::output::{Output, count, one_line};
use service::exit_code::CommandExit;

/// Remove targets from the repository's metadata
///
/// Clients can no longer verify a removed target. Its file stays in the repository until retention deletes it. The
/// command asks for confirmation, and needs an operator's broker user.
///
/// Exit codes: 0 all targets removed, 1 some targets not found, 3 no answer (repeat with the --request-id that the
/// command prints), 4 refused by the targets-worker, for example because --expect does not match.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged remove-targets app/1.2/app.tar.gz
  rugged remove-targets app.tar.gz --expect 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --yes")]
pub struct RemoveTargetsArgs {
    /// Target paths
    #[arg(value_name = "TARGET", required = true)]
    pub targets: Vec<String>,
    /// Remove only if the target has this SHA-256; give it once per target, in the same order
    #[arg(long, value_name = "SHA256")]
    pub expect: Vec<String>,
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub yes: bool,
    /// Id of the request; a repeated request returns the first result and removes nothing [default: a random id]
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Seconds to wait for each role [default: task_timeout]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// The result, as `--json` prints it.
#[derive(Serialize)]
struct RemoveTargetsReport {
    request_id: String,
    targets: RemoveTargetsResult,
    #[serde(flatten)]
    published: PublishedVersions,
}

/// Removes targets and makes the removal visible.
///
/// # Errors
/// When a path or hash is invalid, the user does not confirm, or a worker does not answer or refuses.
pub async fn run(config: &Arc<Config>, args: RemoveTargetsArgs, output: Output) -> Result<CommandExit, CliError> {
    for target in &args.targets {
        TargetPath::new(target).map_err(CliError::invalid_input)?;
    }
    let expected = expected(&args.targets, &args.expect)?;
    if !args.yes {
        confirm(&args.targets)?;
    }
    let deadline = task_deadline(config, args.timeout);
    let request_id = args.request_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let arguments = RemoveTargets { targets: args.targets, request_id: request_id.clone(), expected };
    let (targets, published) = with_signing_workers(config, async |fleet| {
        let targets: RemoveTargetsResult =
            fleet.call_as_operator(TARGETS_QUEUE, REMOVE_TARGETS, &arguments, deadline).await?;
        let published = publish(fleet, targets.record, deadline).await?;
        Ok((targets, published))
    })
    .await
    .map_err(|error| match error.exit_code() {
        CommandExit::NoAnswer => error.hint(format!(
            "repeat the command with --request-id {request_id}: the same request never removes a target twice"
        )),
        _ => error,
    })?;
    let exit = if targets.not_found == 0 { CommandExit::Success } else { CommandExit::NegativeAnswer };
    let report = RemoveTargetsReport { request_id, targets, published };
    output.result(&report, |report| {
        let RemoveTargetsResult { removed, not_found, .. } = &report.targets;
        let missing = if *not_found == 0 { String::new() } else { format!(", {not_found} not found") };
        let PublishedVersions { snapshot, timestamp } = &report.published;
        let versions = format!("visible since snapshot {}, timestamp {}", snapshot.version, timestamp.version);
        format!("removed {}{missing}; {versions}\n", count(*removed, "target"))
    })?;
    Ok(exit)
}

fn expected(targets: &[String], hashes: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    if !hashes.is_empty() && hashes.len() != targets.len() {
        let (given, needed) = (count(hashes.len() as u64, "time"), count(targets.len() as u64, "target"));
        return Err(CliError::invalid_input(format!("--expect is given {given} for {needed}"))
            .hint("give --expect once per target, in the same order, or not at all"));
    }
    if let Some(bad) = hashes.iter().find(|hash| hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return Err(CliError::invalid_input(format!(
            "invalid --expect `{}`: a SHA-256 has 64 hexadecimal digits",
            one_line(bad)
        )));
    }
    Ok(targets.iter().cloned().zip(hashes.iter().map(|hash| hash.to_ascii_lowercase())).collect())
}

fn confirm(targets: &[String]) -> Result<(), CliError> {
    let refusal = |message: &str| CliError::invalid_input(message).hint("confirm with --yes");
    if !io::stdin().is_terminal() {
        return Err(refusal("removing targets needs a confirmation, and standard input is not a terminal"));
    }
    let mut question = String::new();
    for target in targets {
        question.push_str(&format!("  {}\n", one_line(target)));
    }
    question
        .push_str(&format!("Remove {} from the repository's metadata? [y/N] ", count(targets.len() as u64, "target")));
    let mut stderr = io::stderr();
    let mut answer = String::new();
    let asked = stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush());
    asked.and_then(|()| io::stdin().lock().read_line(&mut answer)).map_err(|error| {
        CliError::invalid_input(error).during("cannot ask for confirmation").hint("confirm with --yes")
    })?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(refusal("removal not confirmed; nothing was removed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_belongs_to_each_target_or_to_none() {
        let targets = ["a".to_owned(), "b".to_owned()];
        let hash = "AB".repeat(32);
        assert!(expected(&targets, &[]).unwrap().is_empty());
        assert_eq!(expected(&targets, &[hash.clone(), hash.clone()]).unwrap()["b"], "ab".repeat(32));
        assert_eq!(expected(&targets, std::slice::from_ref(&hash)).unwrap_err().exit_code(), CommandExit::InvalidInput);
        assert!(expected(&targets[..1], &["ab".to_owned()]).is_err());
    }
}
