//! The check of a repository with tough, a client of another project.

use std::io::{self, Read as _};

use tuf_core::audit::{AuditCeilings, Report, Severity, rules};

use super::plan::ValidationPlan;
use crate::error::describe;
use crate::output::Output;
use crate::verify::{RepositoryDirectory, ToughError, download_with_tough};

const FIRST_ROOT: &str = "1.root.json";

/// Why the second client does not accept a repository.
#[derive(Debug, thiserror::Error)]
enum SecondOpinionError {
    #[error("cannot read {FIRST_ROOT}, which tough starts from")]
    UnreadableRoot(#[source] io::Error),
    #[error("{FIRST_ROOT}, which tough starts from, is missing; name another root with --trusted-root")]
    MissingRoot,
    #[error(transparent)]
    Tough(#[from] ToughError),
}

/// Verifies and downloads everything with tough, and adds its error, if any, to the report.
pub async fn add_second_opinion(
    plan: &ValidationPlan,
    metadata: RepositoryDirectory,
    targets: Option<RepositoryDirectory>,
    output: Output,
    report: &mut Report,
) {
    const SUBJECT: &str = "the repository";
    if let Err(error) = check(plan, metadata, targets, output).await {
        report.add(rules::X1, Severity::Error, SUBJECT, describe(&error));
    }
}

async fn check(
    plan: &ValidationPlan,
    metadata: RepositoryDirectory,
    targets: Option<RepositoryDirectory>,
    output: Output,
) -> Result<(), SecondOpinionError> {
    let root = match &plan.trusted_root {
        Some((_, root)) => root.clone(),
        None => first_root(&metadata)?,
    };
    let bar = output.count_bar("downloading with tough", 0);
    let downloaded = download_with_tough(&root, metadata, targets, plan.at_now, &bar).await;
    bar.finish_and_clear();
    downloaded?;
    Ok(())
}

fn first_root(metadata: &RepositoryDirectory) -> Result<Vec<u8>, SecondOpinionError> {
    let max = AuditCeilings::default().root_bytes;
    let file = metadata.open(FIRST_ROOT, max).map_err(SecondOpinionError::UnreadableRoot)?;
    let file = file.ok_or(SecondOpinionError::MissingRoot)?;
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes).map_err(SecondOpinionError::UnreadableRoot)?;
    Ok(bytes)
}
