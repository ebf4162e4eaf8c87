//! `rugged validate`: any TUF repository against the repository side of the specification.

mod args;
mod plan;
mod report;
mod second_opinion;

use std::sync::Arc;

use durable_fs::{Fs, RealFs};
use fleet::Config;
use tuf_core::audit::{self, AuditOptions, AuditProgress, AuditStage, Report};

use self::plan::ValidationPlan;
use self::report::ValidateReport;
use crate::error::CliError;
use crate::output::Output;
use crate::verify::RepositoryDirectory;
use service::exit_code::CommandExit;

pub use args::ValidateArgs;

/// Checks a repository and prints the report.
///
/// # Errors
/// When the trusted root cannot be read, or the repository cannot be checked at all.
pub async fn run(config: &Config, args: ValidateArgs, output: Output) -> Result<CommandExit, CliError> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let strict = args.strict;
    let plan = ValidationPlan::new(config, args, fs.as_ref())?;
    let metadata = plan.metadata.open(&fs)?;
    let targets = plan.targets.as_ref().map(|targets| targets.open(&fs)).transpose()?;
    let mut report = audit_repository(&plan, metadata.clone(), targets.clone(), output).await?;
    let tough = if strict {
        Some(second_opinion::add_second_opinion(&plan, metadata, targets, output, &mut report).await)
    } else {
        None
    };
    output.result(&ValidateReport::new(&plan, &report, tough), report::text)?;
    Ok(match (report.is_valid(), report.is_complete()) {
        (false, _) => CommandExit::NegativeAnswer,
        (true, false) => CommandExit::InvalidInput,
        (true, true) => CommandExit::Success,
    })
}

/// Runs the audit on a thread of its own, because it blocks.
async fn audit_repository(
    plan: &ValidationPlan,
    metadata: RepositoryDirectory,
    targets: Option<RepositoryDirectory>,
    output: Output,
) -> Result<Report, CliError> {
    let mut options = AuditOptions::at(plan.at);
    options.trusted_root = plan.trusted_root.as_ref().map(|(_, bytes)| bytes.clone());
    // On a server each name would cost a round trip.
    options.tough_names = targets.as_ref().is_some_and(RepositoryDirectory::is_local);
    let bar = output.count_bar(progress_label(AuditStage::Roots), 0);
    let audit = tokio::task::spawn_blocking(move || {
        let mut stage = AuditStage::Roots;
        let mut progress = |at: AuditProgress| {
            if at.stage != stage {
                stage = at.stage;
                bar.set_message(progress_label(stage));
            }
            bar.set_length(at.total.max(at.done));
            bar.set_position(at.done);
        };
        let targets = targets.as_ref().map(|targets| targets as &dyn tuf_core::client::Fetch);
        let report = audit::audit(&metadata, targets, &options, &mut progress);
        bar.finish_and_clear();
        report
    });
    let report = audit.await.map_err(|error| CliError::local_failure(error).during("the audit ended early"))?;
    report.map_err(|error| {
        CliError::invalid_input(error)
            .during(format!("cannot check {}", plan.metadata))
            .hint("name the directory that holds timestamp.json and 1.root.json with --metadata")
    })
}

fn progress_label(stage: AuditStage) -> &'static str {
    match stage {
        AuditStage::Roots => "reading roots",
        AuditStage::Roles => "reading roles",
        AuditStage::Search => "finding targets",
        AuditStage::TargetFiles => "hashing targets",
    }
}
