//! `rugged ping`.

use std::time::{Duration, Instant};

use clap::Args;
use fleet::contract::PING;
use fleet::{Config, WorkerRole};
use futures_util::future::join_all;
use serde::Serialize;

use crate::error::CliError;
use crate::fleet_connection::{FleetConnection, explain_call_error};
use crate::output::{Output, one_line, table};
use crate::role_arguments::worker_name;
use service::exit_code::CommandExit;

/// Ping workers
///
/// The command sends each worker a task and shows the time until its answer. A busy worker answers late.
///
/// Exit codes: 0 all workers answered, 3 otherwise.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged ping
  rugged ping targets-worker --timeout 1")]
pub struct PingArgs {
    /// Workers to ping [default: all]
    #[arg(value_name = "WORKER", value_parser = worker_name())]
    pub workers: Vec<WorkerRole>,
    /// Seconds to wait for each answer
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    pub timeout: u64,
}

/// The answer of one worker, as `--json` prints it.
#[derive(Serialize)]
struct PingAnswer {
    worker: String,
    answered: bool,
    milliseconds: Option<f64>,
    problem: Option<String>,
}

/// Pings workers concurrently.
///
/// # Errors
/// When no fleet runs.
pub async fn run(config: &Config, args: PingArgs, output: Output) -> Result<CommandExit, CliError> {
    let workers = if args.workers.is_empty() { WorkerRole::ALL.to_vec() } else { args.workers };
    let fleet = FleetConnection::require_running(config).await?;
    let deadline = Duration::from_secs(args.timeout.max(1));
    let client = fleet.client().clone();
    let answers: Vec<PingAnswer> = join_all(workers.into_iter().map(WorkerRole::worker_name).map(|worker| {
        let client = &client;
        async move {
            let start = Instant::now();
            match FleetConnection::ask(client, worker, PING, deadline).await {
                Ok(_) => {
                    let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
                    PingAnswer {
                        worker: worker.into(),
                        answered: true,
                        milliseconds: Some(milliseconds),
                        problem: None,
                    }
                }
                Err(error) => {
                    let problem = Some(explain_call_error(worker, PING, error, deadline).message());
                    PingAnswer { worker: worker.into(), answered: false, milliseconds: None, problem }
                }
            }
        }
    }))
    .await;
    drop(client);
    fleet.close().await;
    output.result(&answers, |answers| {
        let row = |answer: &PingAnswer| {
            let outcome = match (answer.milliseconds, &answer.problem) {
                (Some(milliseconds), _) => format!("pong in {milliseconds:.1} ms"),
                (None, problem) => problem.as_deref().map_or_else(|| "no answer".to_owned(), one_line),
            };
            vec![answer.worker.clone(), outcome]
        };
        table(&answers.iter().map(row).collect::<Vec<_>>())
    })?;
    let all_answered = answers.iter().all(|answer| answer.answered);
    Ok(if all_answered { CommandExit::Success } else { CommandExit::NoAnswer })
}
