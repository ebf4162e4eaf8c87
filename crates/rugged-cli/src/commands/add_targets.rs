//! `rugged add-targets`.

use std::sync::Arc;

use fleet::Config;
use fleet::contract::{ADD_TARGETS, AddTargets, AddTargetsResult, TARGETS_QUEUE};
use serde::Serialize;

use super::Visible;
use crate::args;
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, count};

#[derive(Serialize)]
struct Document {
    targets: AddTargetsResult,
    #[serde(flatten)]
    visible: Visible,
}

pub async fn run(config: &Arc<Config>, args: args::AddTargets, output: Output) -> Result<u8, CliError> {
    let deadline = super::deadline(config, args.timeout);
    let arguments = AddTargets { batch: None, targets: Some(args.targets).filter(|targets| !targets.is_empty()) };
    let document = super::with_signers(config, async |reach| {
        let targets = reach.call(TARGETS_QUEUE, ADD_TARGETS, &arguments, deadline).await?;
        let visible = super::publish(reach, deadline).await?;
        Ok(Document { targets, visible })
    })
    .await?;
    output.result(&document, |document| {
        let added = count(document.targets.targets_added, "target");
        let record = document.targets.record.map(|record| format!(" in record {record}")).unwrap_or_default();
        let Visible { snapshot, timestamp } = &document.visible;
        format!("added {added}{record}; visible with snapshot {}, timestamp {}\n", snapshot.version, timestamp.version)
    })?;
    Ok(exit_code::OK)
}
