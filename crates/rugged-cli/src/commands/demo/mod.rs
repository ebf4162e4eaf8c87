//! `rugged demo`: keys, repository and a release that two clients verify, in one directory.

mod release;
mod setup;
mod stage_log;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use durable_fs::{Fs, RealFs};
use fleet::{Config, WorkerRole};
use indicatif::ProgressBar;
use monitor_worker::receipt::{DropOutcome, Receipt};
use serde::Serialize;
use service::clock::{Clock as _, SystemClock};

use self::release::next_release;
use self::stage_log::{DemoStage, StageLog, millis};
use super::initialize::sign_first_versions;
use crate::error::CliError;
use crate::fleet_connection::{EmbeddedFleet, FleetConnection};
use crate::output::{Output, bytes, count, one_line};
use crate::producer::{self, EarlierReceipt, ReceiptWait};
use crate::verify::{
    DownloadedTargets, OwnClient, RepositoryCheck, RepositoryPaths, VisibleRole, check_repository,
    download_all_with_tough,
};
use service::exit_code::CommandExit;

/// Publish a small release into a new repository and verify it
///
/// Two TUF clients, tough and our own, start from DIR/repo/metadata/1.root.json, and verify and download every target.
/// DIR holds everything: keys, repo, post_to_tuf, incoming_targets, state, and a config.yaml for other commands. Run
/// the command again on the same directory to publish the next version.
///
/// Exit codes: 0 both clients verified and downloaded every target; 1 a client found an error, or the release was
/// rejected; 5 DIR holds a repository without its keys.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged demo
  rugged --config tuf-fleet-demo/config.yaml post dist/ --wait")]
pub struct DemoArgs {
    /// Directory of the demo
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
    pub dir: PathBuf,
}

const DEFAULT_DIR: &str = "./tuf-fleet-demo";
/// Longest time to wait for a role, and for the receipt.
const DEMO_STAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// The result, as `--json` prints it.
#[derive(Serialize)]
struct DemoReport {
    dir: String,
    config: String,
    release: String,
    stages: Vec<DemoStage>,
    /// Milliseconds from the rename that posted the release until clients could verify it.
    rename_to_verifiable_ms: f64,
    targets_verified: u64,
    total_ms: f64,
}

/// Runs the demo.
///
/// # Errors
/// When the directory cannot be used, a worker fails, or a client does not accept the repository.
pub async fn run(args: DemoArgs, output: Output) -> Result<CommandExit, CliError> {
    let start = Instant::now();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    setup::refuse_other_repository(fs.as_ref(), &args.dir)?;
    let (dir, config) = setup::prepare_directory(fs.as_ref(), &args.dir)?;
    output.text(&format!("TUF Fleet demo in {}\n\n  since start      took   stage\n", dir.display()))?;
    let mut stages = StageLog::new(output, start);

    stages.finish("keys", setup::prepare_keys(fs.as_ref(), &config)?)?;
    stages.finish("root", setup::prepare_root(&fs, &config)?)?;
    let mut fleet = match FleetConnection::to_running(&config).await? {
        Some(running) => running,
        None => FleetConnection::to_embedded(EmbeddedFleet::start(&config, &WorkerRole::ALL).await?).await?,
    };
    let origin = if fleet.is_embedded() { "started in this process" } else { "found running" };
    stages.finish("fleet", format!("monitor, targets, snapshot and timestamp worker {origin}"))?;
    let released = release_and_verify(&mut fleet, &fs, &config, &mut stages).await;
    fleet.close().await;
    let VerifiedRelease { title, verifiable, targets } = released?;

    let report = DemoReport {
        dir: dir.display().to_string(),
        config: setup::config_file(&dir).display().to_string(),
        release: title,
        stages: stages.into_stages(),
        rename_to_verifiable_ms: millis(verifiable),
        targets_verified: targets,
        total_ms: millis(start.elapsed()),
    };
    output.result(&report, |report| epilogue(report, &args.dir))?;
    Ok(CommandExit::Success)
}

/// A release that both clients have verified.
struct VerifiedRelease {
    title: String,
    /// Time from the rename that posted it to its receipt.
    verifiable: Duration,
    /// Number of targets in the repository.
    targets: u64,
}

async fn release_and_verify(
    fleet: &mut FleetConnection,
    fs: &Arc<dyn Fs>,
    config: &Arc<Config>,
    stages: &mut StageLog,
) -> Result<VerifiedRelease, CliError> {
    let roles = sign_first_versions(fleet, fs, config, DEMO_STAGE_TIMEOUT).await?;
    stages.finish("metadata", format!("clients verify {}", versions_text(&roles)))?;

    let post = &config.post_to_tuf_path;
    let release = next_release(&mut *verified_client(fs, &RepositoryPaths::of(config))?)?;
    let name = producer::new_drop_name()?;
    let look = || Ok((EarlierReceipt::look(fs.as_ref(), post, &name)?, Instant::now()));
    let bar = ProgressBar::hidden();
    let (posted, (earlier, renamed)) = producer::post(fs.as_ref(), post, &name, release.items, true, &bar, look)?;
    let size = bytes(posted.bytes);
    stages.finish(
        "post",
        format!("{}: {}, {size}, renamed to tuf_ready_{name}", release.title, count(posted.files, "file")),
    )?;

    let waiting = producer::await_receipt(fs.as_ref(), post, &name, &posted, &earlier, DEMO_STAGE_TIMEOUT);
    let receipt = match fleet.guard(waiting).await? {
        ReceiptWait::Received(receipt) => published(receipt)?,
        ReceiptWait::TimedOut { .. } => {
            let seconds = DEMO_STAGE_TIMEOUT.as_secs();
            return Err(CliError::no_answer(format!("the release was not published within {seconds} s"))
                .hint("run the demo again with --verbose to see the workers' log"));
        }
    };
    let verifiable = renamed.elapsed();
    let versions = [
        receipt.snapshot_version.map(|version| format!("snapshot {version}")),
        receipt.timestamp_version.map(|version| format!("timestamp {version}")),
    ];
    let versions = versions.into_iter().flatten().collect::<Vec<_>>().join(", ");
    stages.finish("publish", format!("{} signed, {versions}", count(receipt.targets, "target")))?;

    // Clients ship with the first root.
    let paths =
        RepositoryPaths { trusted_root: config.metadata_path().join("1.root.json"), ..RepositoryPaths::of(config) };
    let root = paths.read_root(fs.as_ref())?;
    let DownloadedTargets { targets: by_tough, bytes: read } =
        download_all_with_tough(fs, &paths, &root, &bar)
            .await
            .map_err(|error| CliError::negative_answer(error).during("tough does not accept the repository"))?;
    stages.finish(
        "verify",
        format!("tough, from 1.root.json: {} downloaded, {}", count(by_tough, "target"), bytes(read)),
    )?;
    let by_us = download_all(&mut *verified_client(fs, &paths)?, posted.files)?;
    stages.finish("verify", format!("our own client: {} downloaded", count(by_us, "target")))?;
    if by_tough != by_us {
        return Err(CliError::negative_answer(format!(
            "tough found {by_tough} targets, but our own client found {by_us}"
        )));
    }
    Ok(VerifiedRelease { title: release.title, verifiable, targets: by_us })
}

fn verified_client(fs: &Arc<dyn Fs>, paths: &RepositoryPaths) -> Result<Box<OwnClient>, CliError> {
    match check_repository(fs, paths, SystemClock.now())? {
        RepositoryCheck::Verified(client) => Ok(client),
        RepositoryCheck::Failed(_, error) | RepositoryCheck::BadRoot(error) => {
            Err(CliError::negative_answer(error).during("the repository does not verify"))
        }
    }
}

fn published(receipt: Box<Receipt>) -> Result<Box<Receipt>, CliError> {
    match receipt.outcome {
        DropOutcome::Published => Ok(receipt),
        DropOutcome::Rejected => {
            let reason = receipt.reason.as_deref().map_or_else(|| "no reason given".to_owned(), one_line);
            Err(CliError::negative_answer(format!("the release was rejected: {reason}")))
        }
    }
}

/// Downloads every target with our own client, and checks that there are at least `posted`.
fn download_all(client: &mut OwnClient, posted: u64) -> Result<u64, CliError> {
    let failed = |error: tuf_core::client::ClientError| {
        CliError::negative_answer(error).during("our own client does not accept the repository")
    };
    let listed = client.all_targets().map_err(failed)?;
    for path in listed.keys() {
        client.download_to(path, &mut std::io::sink()).map_err(failed)?;
    }
    let found = listed.len() as u64;
    if found < posted {
        return Err(CliError::negative_answer(format!("{posted} targets were posted, but only {found} are listed")));
    }
    Ok(found)
}

fn versions_text(roles: &[VisibleRole]) -> String {
    roles.iter().map(|role| format!("{} {}", role.role, role.version)).collect::<Vec<_>>().join(", ")
}

fn epilogue(report: &DemoReport, dir: &Path) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "rugged".to_owned());
    let with = format!("{program} --config {}", dir.join(setup::CONFIG_FILE).display());
    format!(
        "\nClients could verify {} {:.0} ms after the rename. Two clients verified {}. Total: {:.0} ms.\n\n\
         Next:\n  \
           {with} up                    # keep the fleet running and serve the repository\n  \
           {with} post DIR --wait       # release your own files, from another terminal\n  \
           {with} status\n  \
           {with} validate --strict\n  \
           {program} demo{}   # publish the next version\n",
        report.release,
        report.rename_to_verifiable_ms,
        count(report.targets_verified, "target"),
        report.total_ms,
        if dir == Path::new(DEFAULT_DIR) { String::new() } else { format!(" --dir {}", dir.display()) },
    )
}
