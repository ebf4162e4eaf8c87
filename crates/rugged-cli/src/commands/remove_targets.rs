//! `rugged remove-targets`.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;

use fleet::Config;
use fleet::contract::{REMOVE_TARGETS, RemoveTargets, RemoveTargetsResult, TARGETS_QUEUE};
use serde::Serialize;
use tuf_core::names::TargetPath;

use super::Visible;
use crate::args;
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, count, one_line};

#[derive(Serialize)]
struct Document {
    request_id: String,
    targets: RemoveTargetsResult,
    #[serde(flatten)]
    visible: Visible,
}

pub async fn run(config: &Arc<Config>, args: args::RemoveTargets, output: Output) -> Result<u8, CliError> {
    for target in &args.targets {
        TargetPath::new(target).map_err(|error| CliError::usage(error.to_string()))?;
    }
    let expected = expected(&args.targets, &args.expect)?;
    if !args.yes {
        confirm(&args.targets)?;
    }
    let deadline = super::deadline(config, args.timeout);
    let request_id = args.request_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let arguments = RemoveTargets { targets: args.targets, request_id: request_id.clone(), expected };
    let (targets, visible) = super::with_signers(config, async |reach| {
        let targets: RemoveTargetsResult =
            reach.call_as_operator(TARGETS_QUEUE, REMOVE_TARGETS, &arguments, deadline).await?;
        Ok((targets, super::publish(reach, deadline).await?))
    })
    .await
    .map_err(|error| match error.code {
        exit_code::NO_ANSWER => CliError {
            hint: Some(format!("repeat it with --request-id {request_id}: what was done is not done twice")),
            ..error
        },
        _ => error,
    })?;
    let code = if targets.not_found == 0 { exit_code::OK } else { exit_code::FINDING };
    let document = Document { request_id, targets, visible };
    output.result(&document, |document| {
        let RemoveTargetsResult { removed, not_found, .. } = &document.targets;
        let missing = if *not_found == 0 { String::new() } else { format!(", {not_found} not found") };
        let Visible { snapshot, timestamp } = &document.visible;
        let versions = format!("visible with snapshot {}, timestamp {}", snapshot.version, timestamp.version);
        format!("removed {}{missing}; {versions}\n", count(*removed, "target"))
    })?;
    Ok(code)
}

fn expected(targets: &[String], hashes: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    if !hashes.is_empty() && hashes.len() != targets.len() {
        let (given, needed) = (count(hashes.len() as u64, "--expect"), count(targets.len() as u64, "target"));
        return Err(CliError::usage(format!("{given} for {needed}"))
            .hint("give --expect once per target, in the same order, or not at all"));
    }
    if let Some(bad) = hashes.iter().find(|hash| hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return Err(CliError::usage(format!("`{}` is not a sha256 of 64 hexadecimal digits", one_line(bad))));
    }
    Ok(targets.iter().cloned().zip(hashes.iter().map(|hash| hash.to_ascii_lowercase())).collect())
}

fn confirm(targets: &[String]) -> Result<(), CliError> {
    let refusal = |message: &str| CliError::usage(message).hint("--yes removes without asking");
    if !io::stdin().is_terminal() {
        return Err(refusal("removing targets has to be confirmed, and there is no terminal to ask at"));
    }
    let mut question = String::new();
    for target in targets {
        question.push_str(&format!("  {}\n", one_line(target)));
    }
    question
        .push_str(&format!("remove {} from what clients can verify? [y/N] ", count(targets.len() as u64, "target")));
    let mut stderr = io::stderr();
    let mut answer = String::new();
    let asked = stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush());
    asked
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|_| refusal("the question could not be asked"))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refusal("nothing was removed")) }
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
        assert_eq!(expected(&targets, std::slice::from_ref(&hash)).unwrap_err().code, exit_code::USAGE);
        assert!(expected(&targets[..1], &["ab".to_owned()]).is_err());
    }
}
