//! `rugged post`.

use std::time::Duration;

use durable_fs::{Fs, RealFs};
use fleet::Config;
use monitor_worker::drop_dir::DropName;
use monitor_worker::receipt::{DropOutcome as Outcome, Receipt};
use serde::Serialize;

use crate::args::Post;
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, bytes, count, one_line};
use crate::producer::{self, Awaited, Before, Posted};

#[derive(Serialize)]
struct Document<'a> {
    posted: &'a Posted,
    receipt: Option<&'a Receipt>,
}

pub async fn run(config: &Config, args: Post, output: Output) -> Result<u8, CliError> {
    let fs: &dyn Fs = &RealFs;
    let items = producer::collect(fs, &args.sources)?;
    let name = match args.name {
        Some(name) => name,
        None => producer::new_name().map_err(|error| CliError::infrastructure(error.to_string()))?,
    };
    let name = DropName::new(&name).map_err(|reason| CliError::usage(format!("--name: {reason}")))?;
    let post = &config.post_to_tuf_path;
    let bar = output.bytes_bar("copying", items.iter().map(producer::Item::len).sum());
    let look = || Before::look(fs, post, &name);
    let (posted, before) = producer::post(fs, post, &name, items, !args.no_manifest, &bar, look)?;
    bar.finish_and_clear();
    output.text(&format!(
        "posted {} as {} ({})\n",
        count(posted.files, "file"),
        posted.path.display(),
        bytes(posted.bytes)
    ))?;
    let Some(seconds) = args.wait else {
        output.result(&Document { posted: &posted, receipt: None }, |_| String::new())?;
        return Ok(exit_code::OK);
    };
    let deadline = Duration::from_secs(seconds);
    match producer::await_receipt(fs, post, &name, &posted, &before, deadline).await? {
        Awaited::Receipt(receipt) => {
            output.result(&Document { posted: &posted, receipt: Some(&receipt) }, |_| text(&receipt))?;
            Ok(if receipt.outcome == Outcome::Published { exit_code::OK } else { exit_code::FINDING })
        }
        Awaited::Timeout { taken } => {
            output.result(&Document { posted: &posted, receipt: None }, |_| String::new())?;
            let (seen, hint) = if taken {
                (
                    "it was taken in and is not published yet",
                    "the signing workers may be down or busy: see `rugged status`",
                )
            } else {
                ("nobody has taken it in", "is a monitor-worker running on this drop directory? see `rugged status`")
            };
            Err(CliError::no_answer(format!("no receipt within {seconds} s: {seen}; it stays posted")).hint(hint))
        }
    }
}

fn text(receipt: &Receipt) -> String {
    let name = one_line(&receipt.name);
    match receipt.outcome {
        Outcome::Published => {
            let version = receipt.timestamp_version.map(|v| format!(" with timestamp {v}")).unwrap_or_default();
            format!("published {name}: {}{version}\n", count(receipt.targets, "target"))
        }
        Outcome::Rejected => {
            let reason = receipt.reason.as_deref().map_or_else(|| "no reason given".to_owned(), one_line);
            format!(
                "rejected {name}: {reason}\nhint: the files are in tuf_rejected_{name}; post it again when it is mended\n"
            )
        }
    }
}
