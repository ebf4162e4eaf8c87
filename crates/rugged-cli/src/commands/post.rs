//! `rugged post`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use durable_fs::{Fs, RealFs};
use fleet::Config;
use monitor_worker::drop_dir::DropName;
use monitor_worker::receipt::{DropOutcome, Receipt};
use serde::Serialize;

use super::held_drop::why_held;
use crate::error::CliError;
use crate::output::{Output, bytes, count, one_line};
use crate::producer::{self, DropItem, EarlierReceipt, PostedDrop, ReceiptWait};
use service::exit_code::CommandExit;

/// Post a release as a drop, without credentials
///
/// The contents of a DIR are posted with their subdirectories; a FILE is posted under its own name. Symbolic links and
/// special files are refused. The command needs only one setting: post_to_tuf_path.
///
/// The command copies the files to post_to_tuf_path/tuf_tmp_X, adds the manifest SHA256SUMS, syncs, and renames the
/// directory to tuf_ready_X.
///
/// Exit codes: 0 posted, or with --wait published; 1 rejected; 2 invalid sources or name; 3 no receipt within --wait
/// (the drop stays posted).
#[derive(Debug, Args)]
#[command(after_help = "\
A pipeline without `rugged` posts a drop like this:

  mkdir tuf_tmp_X
  cp -r dist/. tuf_tmp_X/
  mv tuf_tmp_X tuf_ready_X

Examples:
  rugged post dist/ --wait
  rugged --set post_to_tuf_path=/opt/post_to_tuf post app-1.2.tar.gz --name app-1.2 --wait=60")]
pub struct PostArgs {
    /// Directories and files to post
    #[arg(value_name = "DIR|FILE", required = true)]
    pub sources: Vec<PathBuf>,
    /// Name of the drop [default: the time and random digits]
    #[arg(long, value_name = "X")]
    pub name: Option<String>,
    /// Wait until the release is published or rejected [default: do not wait; without SECONDS: 300]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "300")]
    pub wait: Option<u64>,
    /// Do not add the manifest SHA256SUMS
    #[arg(long)]
    pub no_manifest: bool,
}

/// The result, as `--json` prints it.
#[derive(Serialize)]
struct PostReport<'a> {
    posted: &'a PostedDrop,
    receipt: Option<&'a Receipt>,
    /// The directory of a rejected drop.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<PathBuf>,
    /// Why a drop without a receipt is held, in the words of the monitor-worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<String>,
}

/// Posts a drop, and waits for its receipt if asked to.
///
/// # Errors
/// When a source cannot be posted, the drop directory cannot be written, or no receipt arrives in time.
pub async fn run(config: &Config, args: PostArgs, output: Output) -> Result<CommandExit, CliError> {
    let fs: &dyn Fs = &RealFs;
    let items = producer::collect(fs, &args.sources).map_err(|error| match seconds_for_wait(fs, &args) {
        Some(seconds) => error.hint(format!("write --wait={seconds}")),
        None => error,
    })?;
    let name = match args.name {
        Some(name) => DropName::new(&name).map_err(|error| CliError::invalid_input(error).during("invalid --name"))?,
        None => producer::new_drop_name()?,
    };
    let post = &config.post_to_tuf_path;
    let bar = output.bytes_bar("copying", items.iter().map(DropItem::len).sum());
    let look = || EarlierReceipt::look(fs, post, &name);
    let (posted, earlier) = producer::post(fs, post, &name, items, !args.no_manifest, &bar, look)?;
    bar.finish_and_clear();
    output.text(&format!(
        "posted {} as {} ({})\n",
        count(posted.files, "file"),
        posted.path.display(),
        bytes(posted.bytes)
    ))?;
    let Some(seconds) = args.wait else {
        output.result(&PostReport { posted: &posted, receipt: None, rejected: None, held: None }, |_| String::new())?;
        return Ok(CommandExit::Success);
    };
    let deadline = Duration::from_secs(seconds);
    match producer::await_receipt(fs, post, &name, &posted, &earlier, deadline).await? {
        ReceiptWait::Received(receipt) => {
            let rejected = match receipt.outcome {
                DropOutcome::Rejected => producer::rejected_dir(fs, post, &posted),
                DropOutcome::Published => None,
            };
            let report = PostReport { posted: &posted, receipt: Some(&receipt), rejected, held: None };
            output.result(&report, |report| text(&receipt, report.rejected.as_deref()))?;
            Ok(if receipt.outcome == DropOutcome::Published {
                CommandExit::Success
            } else {
                CommandExit::NegativeAnswer
            })
        }
        ReceiptWait::TimedOut { taken_in } => {
            let held = why_held(config, &name).await;
            let state = held.as_deref().map(|reason| format!("the drop is held: {}", one_line(reason)));
            output.result(&PostReport { posted: &posted, receipt: None, rejected: None, held }, |_| String::new())?;
            if let Some(state) = state {
                return Err(CliError::no_answer(format!("no receipt within {seconds} s: {state}; it stays posted"))
                    .hint("it is tried again until it can be published; `rugged status` shows the reason"));
            }
            let (state, hint) = if taken_in {
                (
                    "the monitor has taken the drop in, but it is not published yet",
                    "run `rugged status` to see whether the signing workers are down or busy",
                )
            } else {
                (
                    "no monitor has taken the drop in",
                    "`rugged status` shows whether a monitor-worker runs, and whether it waits for another worker or for an \
                     older drop",
                )
            };
            Err(CliError::no_answer(format!("no receipt within {seconds} s: {state}; it stays posted")).hint(hint))
        }
    }
}

/// The number of seconds that was written as `--wait 60` and so taken for a source, if no file has that name.
fn seconds_for_wait(fs: &dyn Fs, args: &PostArgs) -> Option<u64> {
    args.wait?;
    let numbers = args.sources.iter().filter_map(|source| source.to_str()?.parse::<u64>().ok());
    numbers.into_iter().find(|number| fs.stat(number.to_string().as_ref()).is_err())
}

fn text(receipt: &Receipt, rejected: Option<&Path>) -> String {
    let name = one_line(&receipt.name);
    match receipt.outcome {
        DropOutcome::Published => {
            let version = receipt.timestamp_version.map(|v| format!(" with timestamp {v}")).unwrap_or_default();
            format!("published {name}: {}{version}\n", count(receipt.targets, "target"))
        }
        DropOutcome::Rejected => {
            let reason = receipt.reason.as_deref().map_or_else(|| "no reason given".to_owned(), one_line);
            let files = rejected.and_then(Path::file_name).map(|dir| one_line(&dir.to_string_lossy()));
            let files = files.map(|dir| format!("; the files are in {dir}")).unwrap_or_default();
            format!("rejected {name}: {reason}\nhint: correct the release and post it again{files}\n")
        }
    }
}
