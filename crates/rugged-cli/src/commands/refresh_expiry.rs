//! `rugged refresh-expiry`.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::Config;
use fleet::contract::{
    REFRESH_EXPIRY, RefreshExpiry, RefreshExpiryResult, SNAPSHOT_QUEUE, TARGETS_QUEUE, TIMESTAMP_QUEUE,
};
use serde::Serialize;

use crate::args;
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, count};

#[derive(Default, Serialize)]
struct Document {
    renewed: BTreeMap<String, u64>,
    bins_renewed: u64,
}

pub async fn run(config: &Arc<Config>, args: args::RefreshExpiry, output: Output) -> Result<u8, CliError> {
    let deadline = super::deadline(config, args.timeout);
    let document = super::with_signers(config, async |reach| {
        let mut document = Document::default();
        // Each role takes up what the one before it wrote.
        for queue in [TARGETS_QUEUE, SNAPSHOT_QUEUE, TIMESTAMP_QUEUE] {
            let arguments = RefreshExpiry { force: args.force };
            let result: RefreshExpiryResult = reach.call(queue, REFRESH_EXPIRY, &arguments, deadline).await?;
            document.renewed.extend(result.renewed);
            document.bins_renewed += result.bins_renewed;
        }
        Ok(document)
    })
    .await?;
    output.result(&document, |document| {
        let mut parts: Vec<String> =
            document.renewed.iter().map(|(role, version)| format!("{role} {version}")).collect();
        if document.bins_renewed > 0 {
            parts.push(count(document.bins_renewed, "bin"));
        }
        if parts.is_empty() {
            "nothing is near its expiry; --force renews all the same\n".to_owned()
        } else {
            format!("renewed {}\n", parts.join(", "))
        }
    })?;
    Ok(exit_code::OK)
}
