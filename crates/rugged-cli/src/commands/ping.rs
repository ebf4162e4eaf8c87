//! `rugged ping`.

use std::time::{Duration, Instant};

use fleet::Config;
use fleet::contract::PING;
use futures_util::future::join_all;
use serde::Serialize;

use crate::args;
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, one_line, table};
use crate::reach::{Reach, WORKER_NAMES, explain};

#[derive(Serialize)]
struct Answer {
    worker: String,
    answered: bool,
    milliseconds: Option<f64>,
    problem: Option<String>,
}

pub async fn run(config: &Config, args: args::Ping, output: Output) -> Result<u8, CliError> {
    let all = || WORKER_NAMES.map(str::to_owned).to_vec();
    let workers = if args.workers.is_empty() { all() } else { args.workers };
    let Some(reach) = Reach::running(config).await? else {
        return Err(CliError::no_answer("no fleet is running on memory://")
            .hint("start one with `rugged up`, or set broker_url to where the workers are"));
    };
    let deadline = Duration::from_secs(args.timeout.max(1));
    let client = reach.client().clone();
    let answers: Vec<Answer> = join_all(workers.into_iter().map(|worker| {
        let client = &client;
        async move {
            let start = Instant::now();
            match Reach::ask(client, &worker, PING, deadline).await {
                Ok(_) => {
                    let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
                    Answer { worker, answered: true, milliseconds: Some(milliseconds), problem: None }
                }
                Err(error) => {
                    let problem = Some(explain(&worker, PING, &error, deadline).message);
                    Answer { worker, answered: false, milliseconds: None, problem }
                }
            }
        }
    }))
    .await;
    drop(client);
    reach.close().await;
    output.result(&answers, |answers| {
        let row = |answer: &Answer| {
            let said = match (answer.milliseconds, &answer.problem) {
                (Some(milliseconds), _) => format!("pong in {milliseconds:.1} ms"),
                (None, problem) => problem.as_deref().map_or_else(|| "no answer".to_owned(), one_line),
            };
            vec![answer.worker.clone(), said]
        };
        table(&answers.iter().map(row).collect::<Vec<_>>())
    })?;
    Ok(if answers.iter().all(|answer| answer.answered) { exit_code::OK } else { exit_code::NO_ANSWER })
}
