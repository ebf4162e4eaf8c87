//! `rugged revoke`.

use celery_runtime::client::Control;
use fleet::Config;

use super::inspect::ask;
use crate::args;
use crate::error::CliError;
use crate::output::Output;

pub async fn run(config: &Config, args: args::Revoke, output: Output) -> Result<u8, CliError> {
    ask(config, args.nodes, args.timeout, output, async |control: Control| {
        control.revoke(&args.ids, args.terminate).await
    })
    .await
}
