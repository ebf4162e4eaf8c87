//! Celery's remote control, for the commands that send a request to workers and print the answers.

use std::time::Duration;

use celery_runtime::client::{Control, ControlFailure, ControlReply};
use fleet::Config;
use serde::Serialize;
use serde_json::Value;

use crate::error::CliError;
use crate::fleet_connection::FleetConnection;
use crate::output::{Output, one_line};
use service::exit_code::CommandExit;

/// The answer of one worker, as `--json` prints it.
#[derive(Serialize)]
struct ControlAnswer {
    node: String,
    value: Value,
}

/// Sends a request to the workers `nodes`, or to all workers, and prints their answers.
///
/// # Errors
/// When no fleet runs, the broker fails, or no worker answers within `timeout` seconds.
pub async fn print_answers(
    config: &Config,
    nodes: Vec<String>,
    timeout: u64,
    output: Output,
    request: impl AsyncFnOnce(Control) -> Result<Vec<ControlReply>, ControlFailure>,
) -> Result<CommandExit, CliError> {
    let fleet = FleetConnection::require_running(config).await?;
    let mut control = fleet.client().control().timeout(Duration::from_secs(timeout.max(1)));
    if !nodes.is_empty() {
        control = control.to(nodes);
    }
    let replies = request(control).await;
    fleet.close().await;
    let replies = replies.map_err(CliError::no_answer)?;
    if replies.is_empty() {
        return Err(CliError::no_answer(format!("no worker answered within {} s", timeout.max(1)))
            .hint("raise --timeout, or use `rugged ping`, which also reaches workers without remote control"));
    }
    let refused = replies.iter().any(|reply| reply.error().is_some());
    let answers: Vec<ControlAnswer> =
        replies.into_iter().map(|reply| ControlAnswer { node: reply.node, value: reply.value }).collect();
    output.result(&answers, |answers| answers.iter().map(answer_text).collect())?;
    Ok(if refused { CommandExit::TaskFailed } else { CommandExit::Success })
}

fn answer_text(answer: &ControlAnswer) -> String {
    let node = one_line(&answer.node);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let lines: Vec<String> = match &answer.value {
        Value::Array(values) if values.is_empty() => vec!["none".to_owned()],
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
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_shown_one_item_a_line_and_without_control_characters() {
        let show = |value: Value| answer_text(&ControlAnswer { node: "w@h".to_owned(), value });
        assert_eq!(show(json!({"ok": "pong"})), "w@h\n  pong\n");
        assert_eq!(show(json!({"error": "KeyError('x')"})), "w@h\n  KeyError('x')\n");
        assert_eq!(show(json!(["a\u{1b}[2J", {"b": 1}])), "w@h\n  a\\u{1b}[2J\n  {\"b\":1}\n");
        assert_eq!(show(json!([])), "w@h\n  none\n");
        assert_eq!(show(json!({"clock": 7})), "w@h\n  clock: 7\n");
    }
}
