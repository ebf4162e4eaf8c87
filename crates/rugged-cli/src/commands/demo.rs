//! `rugged demo`: from nothing to a release that two clients have verified, in one directory.

mod release;
mod setup;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use durable_fs::{Fs, RealFs};
use fleet::Config;
use fleet::clock::{Clock as _, SystemClock};
use indicatif::ProgressBar;
use monitor_worker::drop_dir::DropName;
use monitor_worker::receipt::{DropOutcome as Outcome, Receipt};
use serde::Serialize;

use super::initialize::first_versions;
use crate::args;
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, bytes, count, one_line};
use crate::producer::{self, Awaited, Before};
use crate::reach::{Embedded, Hosted, Reach};
use crate::verify::{self, Opened, OwnClient, Place, RoleState};

/// How long anything in here may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Document {
    dir: String,
    config: String,
    release: String,
    stages: Vec<Stage>,
    /// From the rename that handed the release over to the moment clients can verify it.
    rename_to_verifiable_ms: f64,
    targets_verified: u64,
    total_ms: f64,
}

#[derive(Serialize)]
struct Stage {
    stage: &'static str,
    detail: String,
    /// Milliseconds since the start at which it was done.
    at_ms: f64,
    took_ms: f64,
}

/// Prints each stage as it ends.
struct Stages {
    output: Output,
    start: Instant,
    last: Instant,
    done: Vec<Stage>,
}

impl Stages {
    fn done(&mut self, stage: &'static str, detail: String) -> Result<(), CliError> {
        let now = Instant::now();
        let (at_ms, took_ms) = (millis(now - self.start), millis(now - self.last));
        self.output.text(&format!("{at_ms:>7.0} ms {took_ms:>8.1} ms   {stage:<11} {detail}\n"))?;
        self.done.push(Stage { stage, detail, at_ms, took_ms });
        self.last = now;
        Ok(())
    }
}

pub async fn run(args: args::Demo, output: Output) -> Result<u8, CliError> {
    let start = Instant::now();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let (dir, config) = setup::directory(fs.as_ref(), &args.dir)?;
    output.text(&format!("TUF Fleet demo in {}\n\n  since start      took   stage\n", dir.display()))?;
    let mut stages = Stages { output, start, last: start, done: Vec::new() };

    stages.done("keys", setup::keys(fs.as_ref(), &config)?)?;
    stages.done("root", setup::root(&fs, &config)?)?;
    let mut reach = match Reach::running(&config).await? {
        Some(running) => running,
        None => Reach::embedded(Embedded::start(&config, &Hosted::ALL).await?).await?,
    };
    let how = if reach.is_embedded() { "started in this process" } else { "found running" };
    stages.done("fleet", format!("monitor, targets, snapshot and timestamp worker {how}"))?;
    let released = release_and_verify(&mut reach, &fs, &config, &mut stages).await;
    reach.close().await;
    let Released { release, verifiable, targets } = released?;

    let document = Document {
        dir: dir.display().to_string(),
        config: setup::config_file(&dir).display().to_string(),
        release,
        stages: stages.done,
        rename_to_verifiable_ms: millis(verifiable),
        targets_verified: targets,
        total_ms: millis(start.elapsed()),
    };
    output.result(&document, |document| epilogue(document, &args.dir))?;
    Ok(exit_code::OK)
}

/// What was released.
struct Released {
    release: String,
    verifiable: Duration,
    targets: u64,
}

async fn release_and_verify(
    reach: &mut Reach,
    fs: &Arc<dyn Fs>,
    config: &Arc<Config>,
    stages: &mut Stages,
) -> Result<Released, CliError> {
    let roles = first_versions(reach, fs, config, PATIENCE).await?;
    stages.done("metadata", format!("{} can be verified", shown(&roles)))?;

    let post = &config.post_to_tuf_path;
    let release = release::next(&mut *client(fs, &Place::of(config))?)?;
    let name = producer::new_name().map_err(|error| CliError::infrastructure(error.to_string()))?;
    let name = DropName::new(&name).map_err(|error| CliError::infrastructure(error.to_string()))?;
    let look = || Ok((Before::look(fs.as_ref(), post, &name)?, Instant::now()));
    let bar = ProgressBar::hidden();
    let (posted, (before, renamed)) = producer::post(fs.as_ref(), post, &name, release.items, true, &bar, look)?;
    let size = bytes(posted.bytes);
    stages.done(
        "post",
        format!("{}: {}, {size}, renamed to tuf_ready_{name}", release.title, count(posted.files, "file")),
    )?;

    let waiting = producer::await_receipt(fs.as_ref(), post, &name, &posted, &before, PATIENCE);
    let receipt = match reach.guard(waiting).await? {
        Awaited::Receipt(receipt) => published(receipt)?,
        Awaited::Timeout { .. } => {
            return Err(CliError::no_answer(format!("the release was not published within {} s", PATIENCE.as_secs()))
                .hint("run it again with --verbose to see what the workers say"));
        }
    };
    let verifiable = renamed.elapsed();
    let versions = [
        receipt.snapshot_version.map(|version| format!("snapshot {version}")),
        receipt.timestamp_version.map(|version| format!("timestamp {version}")),
    ];
    let versions = versions.into_iter().flatten().collect::<Vec<_>>().join(", ");
    stages.done("publish", format!("{} signed, {versions}", count(receipt.targets, "target")))?;

    // From the first root in the repository, as a client that ships it would.
    let place = Place { trusted_root: config.metadata_path().join("1.root.json"), ..Place::of(config) };
    let (by_tough, read) = verify::download_all(fs, &place, &bar)
        .await?
        .map_err(|error| CliError::finding(format!("tough does not accept the repository: {error}")))?;
    stages.done(
        "verify",
        format!("tough, from 1.root.json: {} downloaded, {}", count(by_tough, "target"), bytes(read)),
    )?;
    let by_us = download(&mut *client(fs, &place)?, &posted.files)?;
    stages.done("verify", format!("our own client: {} downloaded", count(by_us, "target")))?;
    if by_tough != by_us {
        return Err(CliError::finding(format!("tough finds {by_tough} targets and our client {by_us}")));
    }
    Ok(Released { release: release.title, verifiable, targets: by_us })
}

fn client(fs: &Arc<dyn Fs>, place: &Place) -> Result<Box<OwnClient>, CliError> {
    match verify::open(fs, place, SystemClock.now())? {
        Opened::Verified(client) => Ok(client),
        Opened::Failed(_, error) | Opened::BadRoot(error) => {
            Err(CliError::finding(format!("the repository does not verify: {error}")))
        }
    }
}

fn published(receipt: Box<Receipt>) -> Result<Box<Receipt>, CliError> {
    match receipt.outcome {
        Outcome::Published => Ok(receipt),
        Outcome::Rejected => {
            let reason = receipt.reason.as_deref().map_or_else(|| "no reason given".to_owned(), one_line);
            Err(CliError::finding(format!("the release was rejected: {reason}")))
        }
    }
}

/// Downloads every target; at least as many as were just posted must be there.
fn download(client: &mut OwnClient, posted: &u64) -> Result<u64, CliError> {
    let failed = |error: tuf_core::client::ClientError| CliError::finding(format!("our client: {error}"));
    let listed = client.all_targets().map_err(failed)?;
    for path in listed.keys() {
        client.download_to(path, &mut std::io::sink()).map_err(failed)?;
    }
    let found = listed.len() as u64;
    if found < *posted {
        return Err(CliError::finding(format!("{posted} targets were posted, and only {found} are listed")));
    }
    Ok(found)
}

fn shown(roles: &[RoleState]) -> String {
    roles.iter().map(|role| format!("{} {}", role.role, role.version)).collect::<Vec<_>>().join(", ")
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn epilogue(document: &Document, dir: &Path) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "rugged".to_owned());
    let with = format!("{program} --config {}", dir.join(setup::CONFIG_FILE).display());
    format!(
        "\n{} went from rename to verifiable in {:.0} ms; {} verified by two clients, {:.0} ms in all.\n\n\
         Go on:\n  \
           {with} up                    # keep the fleet running and serve the repository\n  \
           {with} post DIR --wait       # release files of your own, from another terminal\n  \
           {with} status\n  \
           {with} validate --strict\n  \
           {program} demo{}   # the next version\n",
        document.release,
        document.rename_to_verifiable_ms,
        count(document.targets_verified, "target"),
        document.total_ms,
        if dir == Path::new("./tuf-fleet-demo") { String::new() } else { format!(" --dir {}", dir.display()) },
    )
}
