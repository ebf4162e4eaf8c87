//! The check of a repository with tough, a client of another project.

use std::io::{self, Read as _};

use serde::Serialize;
use tuf_core::audit::{AuditCeilings, Report, Severity, rules};

use super::plan::ValidationPlan;
use crate::error::describe;
use crate::output::{Output, count};
use crate::verify::{RepositoryDirectory, ToughError, download_with_tough};

const FIRST_ROOT: &str = "1.root.json";

/// Why the second client does not accept a repository.
#[derive(Debug, thiserror::Error)]
enum SecondOpinionError {
    #[error("cannot read {FIRST_ROOT}, which tough starts from")]
    UnreadableRoot(#[source] io::Error),
    #[error("{FIRST_ROOT}, which tough starts from, is missing; name another root with --trusted-root")]
    MissingRoot,
    #[error("tough refuses it")]
    Tough(#[from] ToughError),
}

/// The result of the second client.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SecondOpinion {
    /// Whether it accepts the repository; if not, the finding X1 has the reason.
    pub accepted: bool,
    /// The number of targets that it verified and downloaded.
    pub downloaded: u64,
}

impl SecondOpinion {
    /// The result in one line.
    pub fn text(self, with_targets: bool) -> String {
        match self {
            Self { accepted: false, .. } => "tough refused the repository: see X1".to_owned(),
            Self { downloaded, .. } if with_targets => {
                format!("tough verified and downloaded {}", count(downloaded, "target"))
            }
            Self { .. } => "tough verified the metadata and downloaded no target: there is no --targets".to_owned(),
        }
    }
}

/// Verifies and downloads everything with tough, adds its error, if any, to the report, and returns the result.
pub async fn add_second_opinion(
    plan: &ValidationPlan,
    metadata: RepositoryDirectory,
    targets: Option<RepositoryDirectory>,
    output: Output,
    report: &mut Report,
) -> SecondOpinion {
    const SUBJECT: &str = "the repository";
    match check(plan, metadata, targets, output).await {
        Ok(downloaded) => SecondOpinion { accepted: true, downloaded },
        Err(error) => {
            report.add(rules::X1, Severity::Error, SUBJECT, describe(&error));
            SecondOpinion { accepted: false, downloaded: 0 }
        }
    }
}

async fn check(
    plan: &ValidationPlan,
    metadata: RepositoryDirectory,
    targets: Option<RepositoryDirectory>,
    output: Output,
) -> Result<u64, SecondOpinionError> {
    let root = match &plan.trusted_root {
        Some((_, root)) => root.clone(),
        None => first_root(&metadata)?,
    };
    let with_targets = targets.is_some();
    let bar = output.count_bar("downloading with tough", 0);
    let downloaded = download_with_tough(&root, metadata, targets, plan.at_now, &bar).await;
    bar.finish_and_clear();
    // Without target files it counts the listed ones.
    Ok(if with_targets { downloaded?.targets } else { downloaded.map(|_| 0)? })
}

fn first_root(metadata: &RepositoryDirectory) -> Result<Vec<u8>, SecondOpinionError> {
    let max = AuditCeilings::default().root_bytes;
    let file = metadata.open(FIRST_ROOT, max).map_err(SecondOpinionError::UnreadableRoot)?;
    let file = file.ok_or(SecondOpinionError::MissingRoot)?;
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes).map_err(SecondOpinionError::UnreadableRoot)?;
    Ok(bytes)
}
