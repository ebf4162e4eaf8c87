//! `rugged download`: targets of any TUF repository, through our own client.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use durable_fs::{Fs, RealFs, durable};
use serde::Serialize;
use service::clock::{Clock as _, SystemClock};
use service::exit_code::CommandExit;
use tuf_core::client::{
    Client, ClientError, ClientLimits, DownloadedTarget, StateDirectory, StateError, TargetDirectory, TargetFileNames,
};
use tuf_core::names::TargetPath;

use crate::error::CliError;
use crate::output::{Output, bytes, one_line};
use crate::verify::{RepositoryDirectory, RepositoryLocation};

type DownloadClient = Client<RepositoryDirectory, RepositoryDirectory>;

/// Longest wait for another `rugged download` with the same state.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Verify and download targets of any TUF repository
///
/// The command starts from a root that you trust, brings the metadata up to date and writes each target below --out, under its
/// own path. A file is there only whole and verified. A file of an earlier run that still has the listed length and hashes is
/// not fetched again. The command needs no configuration.
///
/// --state keeps the trusted metadata for the next run: then no version may decrease from run to run, and only new files are
/// fetched. The first run needs --root too; later runs ignore it, because the state holds a newer root. Without --state, an
/// attacker who controls the server can present an old repository that has not expired.
///
/// Exit codes: 0 all downloaded; 1 a target is not listed, or a file is missing or does not verify; 2 invalid command line or
/// trusted root; 3 the repository cannot be read; 6 the state is in use, or a file cannot be written.
///
/// --json prints {root_version, timestamp_version, targets: [{path, file, length, hashes: {ALGORITHM: HEX}, reused}]}.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged download app-1.2.tar.gz --metadata-url https://example.org/metadata --root 1.root.json --out downloads
  rugged download app-1.2.tar.gz --metadata-url https://example.org/metadata --state ~/.cache/example --out downloads
  rugged download app-1.2.tar.gz --metadata-url mirror/metadata --targets-url mirror/files --root 1.root.json --out .")]
pub struct DownloadArgs {
    /// Paths of the targets
    #[arg(value_name = "TARGET", required = true)]
    pub targets: Vec<String>,
    /// Metadata of the repository: on a server, or in a directory
    #[arg(long, value_name = "URL|DIR")]
    pub metadata_url: RepositoryLocation,
    /// Target files of the repository [default: `targets` beside `metadata`]
    #[arg(long, value_name = "URL|DIR")]
    pub targets_url: Option<RepositoryLocation>,
    /// Root metadata to trust
    #[arg(long, value_name = "FILE", required_unless_present = "state")]
    pub root: Option<PathBuf>,
    /// Directory that keeps the trusted metadata between runs; created if it is missing
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Directory to write to; created if it is missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The files of targets have no hash in their names, although the repository has consistent snapshots
    #[arg(long)]
    pub no_hash_prefix: bool,
}

/// The result, as `--json` prints it.
#[derive(Serialize)]
struct DownloadReport {
    root_version: u64,
    timestamp_version: Option<u64>,
    targets: Vec<DownloadedFile>,
}

/// A downloaded target.
#[derive(Serialize)]
struct DownloadedFile {
    path: String,
    file: PathBuf,
    length: u64,
    hashes: BTreeMap<String, String>,
    /// Whether the file was there already.
    reused: bool,
}

impl DownloadedFile {
    fn new(path: &TargetPath, DownloadedTarget { file, meta, reused }: DownloadedTarget) -> Self {
        let hashes = meta.hashes.iter().map(|(algorithm, hash)| (algorithm.to_owned(), hash)).collect();
        Self { path: path.to_string(), file, length: meta.length, hashes, reused }
    }

    fn text(&self) -> String {
        let done = if self.reused { "is up to date" } else { "downloaded" };
        format!("{} {done} ({})\n", one_line(&self.file.display().to_string()), bytes(self.length))
    }
}

/// Refuses a state within the directory of the targets, or the other way round: a target may have the name of the state's
/// `root.json`, and would then become the trusted root.
fn refuse_nested(args: &DownloadArgs) -> Result<(), CliError> {
    let Some(state) = &args.state else { return Ok(()) };
    let whole = |path: &Path| std::path::absolute(path).map_err(|error| CliError::reading(path, error));
    let (state, out) = (whole(state)?, whole(&args.out)?);
    if state.starts_with(&out) || out.starts_with(&state) {
        let cause = "--state and --out lie within each other, so that a target could replace the trusted root";
        return Err(CliError::invalid_input(cause).hint("choose two directories beside each other"));
    }
    Ok(())
}

/// Downloads targets.
///
/// # Errors
/// When the repository cannot be read, something in it does not verify, or a file cannot be written.
pub fn run(args: DownloadArgs, output: Output) -> Result<CommandExit, CliError> {
    let targets: Vec<TargetPath> = args.targets.iter().map(|text| target_path(text)).collect::<Result<_, _>>()?;
    refuse_nested(&args)?;
    let mut client = open_client(&args)?;
    client.refresh(SystemClock.now()).map_err(failed)?;
    // All names first, so that a wrong one downloads nothing.
    let mut length = 0u64;
    for path in &targets {
        let listed = client.find_target(path).map_err(failed)?;
        let meta = listed.ok_or_else(|| failed(ClientError::UnknownTarget { path: path.clone() }))?;
        length = length.saturating_add(meta.length);
    }
    let directory = TargetDirectory::new(Arc::new(RealFs), args.out, TargetFileNames::Paths);
    let bar = output.bytes_bar("downloading", length);
    let (mut report, mut before) = (Vec::with_capacity(targets.len()), 0u64);
    for path in &targets {
        let mut progress = |received: u64| bar.set_position(before.saturating_add(received));
        let downloaded = client.download_into(path, &directory, &mut progress).map_err(failed)?;
        before = before.saturating_add(downloaded.meta.length);
        bar.set_position(before);
        let file = DownloadedFile::new(path, downloaded);
        bar.suspend(|| output.text(&file.text()))?;
        report.push(file);
    }
    bar.finish_and_clear();
    let timestamp_version = client.timestamp().map(|timestamp| timestamp.version);
    let report = DownloadReport { root_version: client.root().version, timestamp_version, targets: report };
    output.result(&report, |_| String::new())?;
    Ok(CommandExit::Success)
}

fn target_path(text: &str) -> Result<TargetPath, CliError> {
    TargetPath::new(text).map_err(|error| {
        CliError::invalid_input(error)
            .hint("a target with such a path cannot be downloaded, even if a repository lists it")
    })
}

fn open_client(args: &DownloadArgs) -> Result<DownloadClient, CliError> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let limits = ClientLimits::default();
    let files = args.targets_url.clone().or_else(|| args.metadata_url.targets_beside()).ok_or_else(|| {
        CliError::invalid_input(format!("{} is not called `metadata`", args.metadata_url))
            .hint("name the target files with --targets-url")
    })?;
    let (metadata, files) = (args.metadata_url.open(&fs)?, files.open(&fs)?);
    let root = args.root.as_ref().map(|path| {
        durable::read_bounded(fs.as_ref(), path, limits.root_bytes).map_err(|error| CliError::reading(path, error))
    });
    let client = match &args.state {
        None => Client::new(&root.transpose()?.unwrap_or_default(), metadata, files, limits),
        Some(dir) => {
            let state = StateDirectory::open(Arc::clone(&fs), dir, LOCK_WAIT).map_err(state_failed)?;
            if let Some(root) = root {
                state.initialize(&root?, limits.root_bytes).map_err(state_failed)?;
            }
            Client::open(state, metadata, files, limits)
        }
    };
    let client = client.map_err(|error| match error {
        ClientError::Root(error) => CliError::invalid_input(error).during("the trusted root is invalid"),
        other => failed(other),
    })?;
    Ok(client.with_hash_prefixes(!args.no_hash_prefix))
}

fn failed(error: ClientError) -> CliError {
    match error {
        ClientError::State(error) => state_failed(error),
        ClientError::Fetch { .. } | ClientError::Read { .. } => {
            CliError::no_answer(error).hint("check the URL, and that the server or directory can be reached")
        }
        ClientError::Write { .. } => CliError::local_failure(error),
        ClientError::UnknownTarget { .. } => {
            CliError::negative_answer(error).hint("check the path; it is the one that the publisher gave the file")
        }
        ClientError::Rollback { .. } | ClientError::Vanished { .. } => CliError::negative_answer(error).hint(
            "the server offers something older than this state has seen: an attack, or a repository that was restored",
        ),
        _ => CliError::negative_answer(error)
            .hint("the target of this error was not written; those that were downloaded before it are verified"),
    }
}

fn state_failed(error: StateError) -> CliError {
    match error {
        StateError::NoRoot { .. } => CliError::invalid_input(error).hint("name a root that you trust with --root"),
        StateError::InvalidRoot(_) => CliError::invalid_input(error),
        _ => CliError::local_failure(error),
    }
}
