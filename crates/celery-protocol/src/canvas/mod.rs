//! Workflows: from a signature, or what follows a task, to the messages to send (`reference §5`, continuations).
//!
//! The same code serves a client that starts a workflow and a worker that continues one. Ids that nobody gave are derived
//! from a seed and the place in the workflow, so that the same input makes the same ids: a worker that continues a chain
//! twice, because it died between publishing and acknowledging, sends the same tasks and not a second branch.
//!
//! | signature | becomes |
//! |---|---|
//! | a task | one message |
//! | `celery.chain` | its first step, with the rest in `embed.chain`, the last one to run next |
//! | `celery.group` | its members, each with the group's id and its place |
//! | `celery.chord` | the members of its header, each with the body in `embed.chord` |
//! | in a chain, a group with a step behind it | a chord, as in Celery |

mod freeze;
mod options;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use freeze::Frozen;

use crate::routing::RouteWish;
use crate::task::{Signature, TaskHeaders, TaskRequest};
use crate::value::FieldTable;

/// Why a workflow cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanvasError {
    /// Something in it is not what it should be.
    #[error("a signature has {0}")]
    Invalid(&'static str),
    /// It nests deeper than anything real.
    #[error("signatures are nested too deeply")]
    TooDeep,
}

/// Signatures nest this deep at most.
const DEEPEST: usize = 32;

/// A message to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// The task.
    pub task: TaskRequest,
    /// What was said about where it is to go.
    pub route: RouteWish,
    /// The compression asked for, by Celery's name.
    pub compression: Option<String>,
}

/// All a workflow sends now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Chords to announce before anything is sent: group and number of parts.
    pub chords: Vec<(String, u64)>,
    /// What to send, in this order.
    pub tasks: Vec<Outgoing>,
}

/// Who sends.
#[derive(Debug, Clone)]
pub struct Sender<'a> {
    /// What ids are derived from; the same seed gives the same ids.
    pub seed: String,
    /// The first task of the workflow; a task sent without is its own root.
    pub root_id: Option<&'a str>,
    /// The task that sends.
    pub parent_id: Option<&'a str>,
    /// Where results go that a signature says nothing about.
    pub reply_to: Option<&'a str>,
    /// Sent as `origin`.
    pub origin: Option<&'a str>,
    /// Marks handed on to everything; a signature's own of the same name win.
    pub stamps: Option<&'a FieldTable>,
    /// The priority of what a signature says nothing about.
    pub priority: Option<u8>,
    /// What countdowns count from.
    pub now: Timestamp,
}

impl<'a> Sender<'a> {
    /// Somebody who starts workflows.
    #[must_use]
    pub fn new(seed: impl Into<String>, now: Timestamp) -> Self {
        Self {
            seed: seed.into(),
            root_id: None,
            parent_id: None,
            reply_to: None,
            origin: None,
            stamps: None,
            priority: None,
            now,
        }
    }

    /// A task that ran, and sends what follows it.
    #[must_use]
    pub fn task(task: &'a TaskRequest, now: Timestamp) -> Self {
        let TaskHeaders { id, stamps, .. } = &task.headers;
        Self { root_id: Some(task.root_id()), parent_id: Some(id), stamps: Some(stamps), ..Self::new(id.as_str(), now) }
    }

    /// An id for a place in the workflow.
    fn id(&self, path: &str) -> String {
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, format!("{}/{path}", self.seed).as_bytes()).to_string()
    }

    /// Everything to send for `signature`, whose first tasks get `args` in front of their own unless they are immutable.
    /// Also says what the results will be.
    ///
    /// # Errors
    /// See [`CanvasError`].
    pub fn apply(
        &self,
        plan: &mut Plan,
        signature: Signature,
        args: &[Value],
        path: &str,
    ) -> Result<Frozen, CanvasError> {
        let mut signature = signature;
        let frozen = self.freeze(&mut signature, path, 0)?;
        self.dispatch(plan, signature, args, Map::new(), 0)?;
        Ok(frozen)
    }

    /// Everything to send when `task` returned `result`: callbacks, then the next step of its chain. The second part is
    /// the `children` of its result.
    ///
    /// # Errors
    /// See [`CanvasError`].
    pub fn on_success(&self, task: &TaskRequest, result: &Value) -> Result<(Plan, Vec<Value>), CanvasError> {
        let (mut plan, mut children) = (Plan::default(), Vec::new());
        let args = std::slice::from_ref(result);
        let callbacks = task.embed.callbacks.as_deref().unwrap_or_default();
        match callbacks {
            [] => {}
            [one] => children.push(self.apply(&mut plan, one.clone(), args, "callback/0")?.to_tuple()),
            several => {
                // As Celery does: several callbacks are a group of their own, groups among them stay apart.
                let (groups, tasks): (Vec<_>, Vec<_>) = several.iter().cloned().partition(Signature::is_group);
                for (index, group) in groups.into_iter().enumerate() {
                    let path = format!("callback/group/{index}");
                    children.push(self.apply(&mut plan, group, args, &path)?.to_tuple());
                }
                if !tasks.is_empty() {
                    children.push(self.apply(&mut plan, Signature::group(tasks), args, "callback")?.to_tuple());
                }
            }
        }
        if let Some((next, rest)) = task.embed.chain.as_deref().unwrap_or_default().split_last() {
            let mut next = next.clone();
            let frozen = self.freeze(&mut next, "chain", 0)?;
            let mut rest = rest.to_vec();
            for (index, step) in rest.iter_mut().enumerate() {
                self.freeze(step, &format!("chain/rest/{index}"), 0)?;
            }
            let mut options = Map::new();
            options.insert("chain".to_owned(), rest.iter().map(Signature::to_json).collect());
            self.dispatch(&mut plan, next, args, options, 0)?;
            children.push(frozen.to_tuple());
        }
        Ok((plan, children))
    }

    /// Everything to send when `task` failed: its errbacks, each called with the id of the task. Celery calls errbacks of
    /// three arguments inside the worker, which only works for those it has the code of; these get one argument too.
    ///
    /// # Errors
    /// See [`CanvasError`].
    pub fn on_failure(&self, task: &TaskRequest) -> Result<Plan, CanvasError> {
        let mut plan = Plan::default();
        for (index, errback) in task.embed.errbacks.iter().flatten().enumerate() {
            self.apply(&mut plan, errback.clone(), &[json!(task.id())], &format!("errback/{index}"))?;
        }
        Ok(plan)
    }

    /// What to send now for a frozen signature.
    fn dispatch(
        &self,
        plan: &mut Plan,
        signature: Signature,
        args: &[Value],
        more: Map<String, Value>,
        depth: usize,
    ) -> Result<(), CanvasError> {
        if depth > DEEPEST {
            return Err(CanvasError::TooDeep);
        }
        match signature.kind() {
            Kind::Task => {
                plan.tasks.push(self.message(signature, args, more)?);
                Ok(())
            }
            Kind::Chain => {
                let mut steps = signature.members("tasks")?;
                let mut options = merged(&signature.options, more);
                for name in ["task_id", "reply_to", "group_id", "group_index", "chord", "root_id", "parent_id"] {
                    options.shift_remove(name);
                }
                if let (Some(link), Some(last)) = (options.shift_remove("link"), steps.last_mut()) {
                    last.extend("link", link);
                }
                if let Some(link_error) = options.shift_remove("link_error") {
                    for step in &mut steps {
                        step.extend("link_error", link_error.clone());
                    }
                }
                let mut steps = steps.into_iter();
                let Some(first) = steps.next() else { return Ok(()) };
                // Behind what is left of this chain comes what is left of the chain around it.
                let mut rest = match options.shift_remove("chain") {
                    Some(Value::Array(outer)) => outer,
                    _ => Vec::new(),
                };
                rest.extend(steps.rev().map(|step| step.to_json()));
                options.insert("chain".to_owned(), rest.into());
                self.dispatch(plan, first, args, options, depth + 1)
            }
            Kind::Group => {
                let mut options = merged(&signature.options, more);
                options.shift_remove("task_id");
                options.shift_remove("reply_to");
                for member in signature.flat_members()? {
                    self.dispatch(plan, member, args, options.clone(), depth + 1)?;
                }
                Ok(())
            }
            Kind::Chord => {
                let (header, mut body) = signature.chord_parts()?;
                let mut options = merged(&signature.options, more);
                options.shift_remove("task_id");
                options.shift_remove("reply_to");
                for (name, value) in &options {
                    match name.as_str() {
                        "link" | "link_error" => body.extend(name, value.clone()),
                        "countdown" | "eta" | "group_id" | "group_index" => {}
                        _ => {
                            body.options.insert(name.clone(), value.clone());
                        }
                    }
                }
                for name in ["chain", "chord", "link", "link_error", "group_id", "group_index"] {
                    options.shift_remove(name);
                }
                let members = header.flat_members()?;
                if members.is_empty() {
                    return self.dispatch(plan, body, &[json!([])], Map::new(), depth + 1);
                }
                let group = header.text("task_id").ok_or(CanvasError::Invalid("a header without an id"))?;
                let size = members.iter().map(|member| member.parts(depth)).sum::<Result<u64, _>>()?;
                plan.chords.push((group.to_owned(), size));
                for mut member in members {
                    member.set_chord(&body, depth)?;
                    self.dispatch(plan, member, args, options.clone(), depth + 1)?;
                }
                Ok(())
            }
        }
    }
}

/// What a signature stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    Chain,
    Group,
    Chord,
}

/// `more` over `options`, apart from what must not change once it was given.
fn merged(options: &Map<String, Value>, more: Map<String, Value>) -> Map<String, Value> {
    let mut merged = options.clone();
    let stamped: Vec<Value> = match options.get("stamped_headers") {
        Some(Value::Array(names)) => names.clone(),
        _ => Vec::new(),
    };
    for (name, value) in more {
        let fixed = matches!(name.as_str(), "group_id" | "group_index" | "stamped_headers")
            || stamped.iter().any(|stamp| stamp.as_str() == Some(&name));
        if !(fixed && merged.contains_key(&name)) {
            merged.insert(name, value);
        }
    }
    merged
}

#[cfg(test)]
mod tests;
