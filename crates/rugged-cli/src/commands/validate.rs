//! `rugged validate`: a repository, ours or anyone's, against the repository side of the specification.

mod report;

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use durable_fs::{Fs, RealFs, durable};
use fleet::Config;
use service::clock::{Clock as _, SystemClock};
use tuf_core::audit::{self, Ceilings, Options, Progress, Report, Severity, Stage, rules};
use tuf_core::time::UtcTime;

use crate::args;
use crate::error::CliError;
use crate::exit_code;
use crate::output::Output;
use crate::verify::{self, Folder, Location};

/// What is looked at.
struct Plan {
    metadata: Location,
    targets: Option<Location>,
    /// The trusted root: where it was read, and its bytes.
    trusted_root: Option<(String, Vec<u8>)>,
    at: UtcTime,
    /// `at` is now.
    now: bool,
}

pub async fn run(config: &Config, args: args::Validate, output: Output) -> Result<u8, CliError> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let strict = args.strict;
    let plan = plan(config, args, fs.as_ref())?;
    let metadata = plan.metadata.open(&fs)?;
    let targets = plan.targets.as_ref().map(|targets| targets.open(&fs)).transpose()?;
    let mut report = look(&plan, metadata.clone(), targets.clone(), output).await?;
    if strict {
        second_opinion(&plan, metadata, targets, output, &mut report).await;
    }
    let document = report::Document::new(&plan, &report);
    output.result(&document, report::text)?;
    Ok(match (report.is_valid(), report.is_complete()) {
        (false, _) => exit_code::FINDING,
        (true, false) => exit_code::USAGE,
        (true, true) => exit_code::OK,
    })
}

fn plan(config: &Config, args: args::Validate, fs: &dyn Fs) -> Result<Plan, CliError> {
    let root_file = |path: &Path| -> Result<_, CliError> {
        // What is too large is for the audit to say.
        let bytes = durable::read_bounded(fs, path, Ceilings::default().root_bytes).map_err(|error| {
            CliError::reading(path, &error)
                .hint("trust starts from a root: name one with --trusted-root, or make one with `rugged initialize`")
        })?;
        Ok(Some((path.display().to_string(), bytes)))
    };
    let foreign = args.metadata.is_some();
    Ok(Plan {
        targets: match args.targets {
            None if !foreign && config.store_targets => Some(Location::Path(config.targets_path())),
            named => named,
        },
        // The pinned root says nothing about a repository somewhere else.
        trusted_root: match &args.trusted_root {
            Some(path) => root_file(path)?,
            None if foreign => None,
            None => root_file(&config.trusted_root)?,
        },
        metadata: args.metadata.unwrap_or_else(|| Location::Path(config.metadata_path())),
        now: args.at.is_none(),
        at: args.at.unwrap_or_else(|| SystemClock.now()),
    })
}

/// The audit, on a thread of its own: it blocks.
async fn look(plan: &Plan, metadata: Folder, targets: Option<Folder>, output: Output) -> Result<Report, CliError> {
    let mut options = Options::at(plan.at);
    options.trusted_root = plan.trusted_root.as_ref().map(|(_, bytes)| bytes.clone());
    // Elsewhere each look is a round trip.
    options.tough_names = targets.as_ref().is_some_and(Folder::is_local);
    let bar = output.count_bar("reading roots", 0);
    let audit = tokio::task::spawn_blocking(move || {
        let mut stage = Stage::Roots;
        let mut progress = |at: Progress| {
            if at.stage != stage {
                stage = at.stage;
                bar.set_message(message(stage));
            }
            bar.set_length(at.total.max(at.done));
            bar.set_position(at.done);
        };
        let targets = targets.as_ref().map(|targets| targets as &dyn tuf_core::client::Fetch);
        let report = audit::audit(&metadata, targets, &options, &mut progress);
        bar.finish_and_clear();
        report
    });
    let report = audit.await.map_err(|error| CliError::infrastructure(format!("the check ended early: {error}")))?;
    report.map_err(|error| {
        CliError::usage(format!("{}: {error}", plan.metadata))
            .hint("--metadata names the directory that holds timestamp.json and 1.root.json; nothing was looked at")
    })
}

fn message(stage: Stage) -> &'static str {
    match stage {
        Stage::Roots => "reading roots",
        Stage::Roles => "reading roles",
        Stage::Search => "finding targets",
        Stage::TargetFiles => "hashing targets",
    }
}

/// The same through the eyes of a client written by others.
async fn second_opinion(plan: &Plan, metadata: Folder, targets: Option<Folder>, output: Output, report: &mut Report) {
    const SUBJECT: &str = "the repository";
    let root = match &plan.trusted_root {
        Some((_, root)) => Ok(root.clone()),
        None => first_root(&metadata),
    };
    let bar = output.count_bar("downloading with tough", 0);
    let said = match root {
        Ok(root) => verify::download_from(&root, metadata, targets, plan.now, &bar).await.map(|_| ()),
        Err(why) => Err(format!("cannot start without a root: {why}")),
    };
    bar.finish_and_clear();
    if let Err(message) = said {
        report.add(rules::X1, Severity::Error, SUBJECT, message);
    }
}

fn first_root(metadata: &Folder) -> Result<Vec<u8>, String> {
    const PATH: &str = "1.root.json";
    let max = Ceilings::default().root_bytes;
    let file = metadata.open(PATH, max).map_err(|error| error.to_string())?;
    let file = file.ok_or_else(|| format!("{PATH} is missing; name another one with --trusted-root"))?;
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}
