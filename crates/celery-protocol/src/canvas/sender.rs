//! The sender of a workflow: a client that starts one, or a task that continues one.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::error::CanvasError;
use super::frozen::Frozen;
use super::plan::Plan;
use crate::task::{Signature, TaskHeaders, TaskRequest};
use crate::value::FieldTable;

/// The sender of a workflow.
#[derive(Debug, Clone)]
pub struct Sender<'a> {
    /// The seed of derived ids; the same seed gives the same ids.
    pub seed: String,
    /// The first task of the workflow; without it a sent task is its own root.
    pub root_id: Option<&'a str>,
    /// The task that sends.
    pub parent_id: Option<&'a str>,
    /// The queue for results of signatures that name none.
    pub reply_to: Option<&'a str>,
    /// Sent as `origin`.
    pub origin: Option<&'a str>,
    /// Stamps that all sent tasks inherit; a signature's own stamps of the same name win.
    pub stamps: Option<&'a FieldTable>,
    /// The priority of signatures that have none.
    pub priority: Option<u8>,
    /// The start of countdowns.
    pub now: Timestamp,
}

impl<'a> Sender<'a> {
    /// A client that starts workflows.
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

    /// A task that ran, and sends the tasks that follow it.
    #[must_use]
    pub fn task(task: &'a TaskRequest, now: Timestamp) -> Self {
        let TaskHeaders { id, stamps, .. } = &task.headers;
        Self { root_id: Some(task.root_id()), parent_id: Some(id), stamps: Some(stamps), ..Self::new(id.as_str(), now) }
    }

    /// An id for a place in the workflow.
    pub(super) fn id(&self, path: &str) -> String {
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, format!("{}/{path}", self.seed).as_bytes()).to_string()
    }

    /// Adds all messages for `signature` to `plan`. Its first tasks get `args` in front of their own, unless they are
    /// immutable. Returns the results to expect.
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

    /// All messages to send when `task` returned `result`: callbacks, then the next step of its chain. The second part is
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
                // As in Celery: several callbacks form a group, and groups among them stay apart.
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

    /// All messages to send when `task` failed: its errbacks, each with the id of the task. Celery calls errbacks of three
    /// arguments inside the worker, which only works where it has their code; here these get one argument too.
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
}
