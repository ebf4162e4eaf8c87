//! `rugged inspect`: the read-only methods of Celery's remote control.

use celery_runtime::client::Control;
use clap::Args;
use fleet::Config;
use serde_json::{Map, json};

use super::remote_control::print_answers;
use crate::error::CliError;
use crate::output::Output;
use service::exit_code::CommandExit;

/// Inspect workers through Celery's remote control
///
/// Every worker that listens to Celery's remote control answers, whether Rust or Python. The number of workers is
/// unknown, so without --node the command waits for the whole timeout. `query_task` needs --task.
///
/// Exit codes: 0 at least one worker answered and none reported an error, 3 no worker answered, 4 a worker reported an
/// error.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged inspect active
  rugged inspect query_task --task 3d4a7e06-3c53-4a3f-9d3f-1b1ad7f0c0de
  rugged --json inspect stats --node targets-worker@host1 | jq '.[].value.total'")]
pub struct InspectArgs {
    /// The method to call
    #[arg(value_name = "METHOD", value_parser = [
        "active", "active_queues", "clock", "conf", "ping", "query_task", "registered", "report", "reserved", "revoked",
        "scheduled", "stats",
    ])]
    pub method: String,
    /// Node name of a worker to inspect; may be repeated [default: all workers]
    #[arg(long = "node", value_name = "NAME@HOST")]
    pub nodes: Vec<String>,
    /// Task id for query_task; may be repeated
    #[arg(long = "task", value_name = "ID", required_if_eq("method", "query_task"))]
    pub tasks: Vec<String>,
    /// Seconds to wait for answers
    #[arg(long, value_name = "SECONDS", default_value = "1")]
    pub timeout: u64,
}

/// Calls the method on the workers and prints their answers.
///
/// # Errors
/// When no worker answers.
pub async fn run(config: &Config, args: InspectArgs, output: Output) -> Result<CommandExit, CliError> {
    let mut arguments = Map::new();
    if !args.tasks.is_empty() {
        arguments.insert("ids".to_owned(), json!(args.tasks));
    }
    print_answers(config, args.nodes, args.timeout, output, async |control: Control| {
        control.broadcast(&args.method, arguments).await
    })
    .await
}
