//! `rugged inspect`: Celery's remote control, as far as it only looks.

use std::time::Duration;

use celery_runtime::client::{Control, ControlFailure, ControlReply};
use fleet::Config;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::args;
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, one_line};
use crate::reach::Reach;

/// What one worker answered.
#[derive(Serialize)]
pub(super) struct Answer {
    node: String,
    value: Value,
}

pub async fn run(config: &Config, args: args::Inspect, output: Output) -> Result<u8, CliError> {
    let mut arguments = Map::new();
    if !args.tasks.is_empty() {
        arguments.insert("ids".to_owned(), json!(args.tasks));
    }
    ask(config, args.nodes, args.timeout, output, async |control: Control| {
        control.broadcast(&args.method, arguments).await
    })
    .await
}

/// Asks the workers named, or all, and shows what they answer.
pub(super) async fn ask(
    config: &Config,
    nodes: Vec<String>,
    timeout: u64,
    output: Output,
    question: impl AsyncFnOnce(Control) -> Result<Vec<ControlReply>, ControlFailure>,
) -> Result<u8, CliError> {
    let reach = running(config).await?;
    let mut control = reach.client().control().timeout(Duration::from_secs(timeout.max(1)));
    if !nodes.is_empty() {
        control = control.to(nodes);
    }
    let replies = question(control).await;
    reach.close().await;
    let replies = replies.map_err(|error| CliError::no_answer(error.to_string()))?;
    if replies.is_empty() {
        return Err(CliError::no_answer("no worker answered in time")
            .hint("`rugged ping` asks by tasks, which workers take that do not listen to remote control"));
    }
    let refused = replies.iter().any(|reply| reply.error().is_some());
    let answers: Vec<Answer> =
        replies.into_iter().map(|reply| Answer { node: reply.node, value: reply.value }).collect();
    output.result(&answers, |answers| answers.iter().map(shown).collect())?;
    Ok(if refused { exit_code::TASK_FAILED } else { exit_code::OK })
}

/// The fleet that runs; there is nobody to ask in one that this command would host.
pub(super) async fn running(config: &Config) -> Result<Reach, CliError> {
    Reach::running(config).await?.ok_or_else(|| {
        CliError::no_answer("no fleet is running on memory://")
            .hint("start one with `rugged up`, or set broker_url to where the workers are")
    })
}

fn shown(answer: &Answer) -> String {
    let node = one_line(&answer.node);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let lines: Vec<String> = match &answer.value {
        Value::Array(values) if values.is_empty() => vec!["nothing".to_owned()],
        Value::Array(values) => values.iter().map(text).collect(),
        Value::Object(map) => match (map.get("ok").or_else(|| map.get("error")), map.len()) {
            (Some(said), 1) => text(said).lines().map(str::to_owned).collect(),
            _ => map.iter().map(|(key, value)| format!("{key}: {}", text(value))).collect(),
        },
        other => vec![text(other)],
    };
    let indented: String = lines.iter().map(|line| format!("  {}\n", one_line(line))).collect();
    format!("{node}\n{indented}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_shown_one_thing_a_line_and_without_control_characters() {
        let show = |value: Value| shown(&Answer { node: "w@h".to_owned(), value });
        assert_eq!(show(json!({"ok": "pong"})), "w@h\n  pong\n");
        assert_eq!(show(json!({"error": "KeyError('x')"})), "w@h\n  KeyError('x')\n");
        assert_eq!(show(json!(["a\u{1b}[2J", {"b": 1}])), "w@h\n  a\\u{1b}[2J\n  {\"b\":1}\n");
        assert_eq!(show(json!([])), "w@h\n  nothing\n");
        assert_eq!(show(json!({"clock": 7})), "w@h\n  clock: 7\n");
    }
}
