//! The shapes of signatures: chains, groups and chords.

use serde_json::{Map, Value, json};

use super::error::CanvasError;
use crate::task::{Signature, TaskRequest};

/// Signatures nest this deep at most.
pub(super) const MAX_SIGNATURE_DEPTH: usize = 32;

/// The shape of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureKind {
    Task,
    Chain,
    Group,
    Chord,
}

impl Signature {
    pub(crate) fn kind(&self) -> SignatureKind {
        match (self.subtask_type.as_deref(), self.task.as_str()) {
            (Some("chain"), _) | (None, "celery.chain") => SignatureKind::Chain,
            (Some("group"), _) | (None, "celery.group") => SignatureKind::Group,
            (Some("chord"), _) | (None, "celery.chord") => SignatureKind::Chord,
            _ => SignatureKind::Task,
        }
    }

    /// Whether this stands for a group of tasks.
    #[must_use]
    pub fn is_group(&self) -> bool {
        self.kind() == SignatureKind::Group
    }

    /// Whether sending this starts a chord: a chord, or a group in front of another step.
    #[must_use]
    pub fn has_chord(&self) -> bool {
        match self.kind() {
            SignatureKind::Task => false,
            SignatureKind::Chord => true,
            SignatureKind::Group => self.members("tasks").is_ok_and(|members| members.iter().any(Self::has_chord)),
            SignatureKind::Chain => self.members("tasks").is_ok_and(|steps| {
                let before_last = steps.len().saturating_sub(1);
                steps.iter().enumerate().any(|(at, step)| step.has_chord() || (step.is_group() && at < before_last))
            }),
        }
    }

    /// The tasks whose results are the result of this signature, with their reply queues. They get a failure if this
    /// signature is never sent.
    #[must_use]
    pub fn endings(&self) -> Vec<TaskRequest> {
        self.endings_at(0)
    }

    fn endings_at(&self, depth: usize) -> Vec<TaskRequest> {
        if depth > MAX_SIGNATURE_DEPTH {
            return Vec::new();
        }
        match self.kind() {
            SignatureKind::Task => {
                let Some(id) = self.text("task_id") else { return Vec::new() };
                let mut task = TaskRequest::builder(&self.task, id).build();
                task.properties.reply_to = self.text("reply_to").map(str::to_owned);
                task.headers.group = self.text("group_id").map(str::to_owned);
                task.headers.group_index = self.options.get("group_index").and_then(Value::as_i64);
                task.headers.ignore_result = self.options.get("ignore_result").and_then(Value::as_bool);
                task.embed.chord = self.options.get("chord").and_then(Signature::from_json);
                vec![task]
            }
            SignatureKind::Chain => {
                let steps = self.members("tasks").unwrap_or_default();
                steps.last().map(|last| last.endings_at(depth + 1)).unwrap_or_default()
            }
            SignatureKind::Group => {
                let members = self.flat_members().unwrap_or_default();
                members.iter().flat_map(|member| member.endings_at(depth + 1)).collect()
            }
            SignatureKind::Chord => self.chord_parts().map(|(_, body)| body.endings_at(depth + 1)).unwrap_or_default(),
        }
    }

    pub(crate) fn text(&self, option: &str) -> Option<&str> {
        self.options.get(option).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    pub(super) fn members(&self, key: &str) -> Result<Vec<Signature>, CanvasError> {
        match self.kwargs.get(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => {
                let read: Option<Vec<_>> = list.iter().map(Signature::from_json).collect();
                read.ok_or(CanvasError::Invalid("members that are not signatures"))
            }
            Some(_) => Err(CanvasError::Invalid("members that are not a list")),
        }
    }

    /// The members of a group, including those of groups in it.
    pub(super) fn flat_members(&self) -> Result<Vec<Signature>, CanvasError> {
        let mut open = self.members("tasks")?;
        open.reverse();
        let mut flat = Vec::with_capacity(open.len());
        while let Some(member) = open.pop() {
            if member.is_group() {
                open.extend(member.members("tasks")?.into_iter().rev());
            } else {
                flat.push(member);
            }
        }
        Ok(flat)
    }

    pub(super) fn set_members(&mut self, key: &str, members: &[Signature]) {
        self.kwargs.insert(key.to_owned(), members.iter().map(Signature::to_json).collect());
    }

    /// Header, as a group, and body of a chord.
    pub(super) fn chord_parts(&self) -> Result<(Signature, Signature), CanvasError> {
        let header = match self.kwargs.get("header") {
            Some(Value::Array(list)) => {
                let read: Option<Vec<_>> = list.iter().map(Signature::from_json).collect();
                Signature::group(read.ok_or(CanvasError::Invalid("a header that is no signature"))?)
            }
            Some(other) => {
                let header =
                    Signature::from_json(other).ok_or(CanvasError::Invalid("a header that is no signature"))?;
                if header.is_group() { header } else { Signature::group(vec![header]) }
            }
            None => return Err(CanvasError::Invalid("a chord without a header")),
        };
        let body = self.kwargs.get("body").and_then(Signature::from_json);
        Ok((header, body.ok_or(CanvasError::Invalid("a chord without a body"))?))
    }

    /// Appends to a list option, `link` or `link_error`.
    pub(super) fn extend(&mut self, option: &str, more: Value) {
        let mut list = match self.options.shift_remove(option) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(single) => vec![single],
        };
        match more {
            Value::Array(more) => list.extend(more.into_iter().filter(|one| !list.contains(one)).collect::<Vec<_>>()),
            Value::Null => {}
            single if list.contains(&single) => {}
            single => list.push(single),
        }
        self.options.insert(option.to_owned(), list.into());
    }

    /// Makes this a member of a group; of a chain, its last step.
    pub(super) fn set_group(&mut self, id: &str, index: usize, depth: usize) -> Result<(), CanvasError> {
        let (id, index) = (json!(id), json!(index));
        self.at_the_end(depth, false, &mut |sig| {
            sig.options.entry("group_id").or_insert_with(|| id.clone());
            sig.options.entry("group_index").or_insert_with(|| index.clone());
        })
    }

    /// Makes this a member of the chord with that body: of a chain, its last step; of a group, all its members, also those
    /// that are never sent because an earlier step failed.
    pub(super) fn set_chord(&mut self, body: &Signature, depth: usize) -> Result<(), CanvasError> {
        let body = body.to_json();
        self.at_the_end(depth, true, &mut |sig| {
            sig.options.insert("chord".to_owned(), body.clone());
        })
    }

    fn at_the_end(
        &mut self,
        depth: usize,
        in_groups: bool,
        change: &mut dyn FnMut(&mut Signature),
    ) -> Result<(), CanvasError> {
        if depth > MAX_SIGNATURE_DEPTH {
            return Err(CanvasError::TooDeep);
        }
        match self.kind() {
            SignatureKind::Task => change(self),
            SignatureKind::Group => {
                change(self);
                if in_groups {
                    let mut members = self.flat_members()?;
                    for member in &mut members {
                        member.at_the_end(depth + 1, in_groups, change)?;
                    }
                    self.set_members("tasks", &members);
                }
            }
            SignatureKind::Chain => {
                let mut steps = self.members("tasks")?;
                if let Some(last) = steps.last_mut() {
                    last.at_the_end(depth + 1, in_groups, change)?;
                }
                self.set_members("tasks", &steps);
            }
            SignatureKind::Chord => {
                let (_, mut body) = self.chord_parts()?;
                body.at_the_end(depth + 1, in_groups, change)?;
                self.kwargs.insert("body".to_owned(), body.to_json());
            }
        }
        Ok(())
    }

    /// How many members this adds to the chord whose header it is in.
    pub(super) fn parts(&self, depth: usize) -> Result<u64, CanvasError> {
        if depth > MAX_SIGNATURE_DEPTH {
            return Err(CanvasError::TooDeep);
        }
        match self.kind() {
            SignatureKind::Task => Ok(1),
            SignatureKind::Group => self.flat_members()?.iter().map(|member| member.parts(depth + 1)).sum(),
            SignatureKind::Chain => self.members("tasks")?.last().map_or(Ok(0), |last| last.parts(depth + 1)),
            SignatureKind::Chord => self.chord_parts()?.1.parts(depth + 1),
        }
    }

    fn composed(task: &str, kind: &str, kwargs: Value) -> Self {
        let kwargs = match kwargs {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        Self { kwargs, subtask_type: Some(kind.to_owned()), ..Self::new(task, Vec::new()) }
    }

    /// Tasks that run one after the other. Each gets the result of the previous one as its first argument.
    #[must_use]
    pub fn chain(steps: Vec<Signature>) -> Self {
        let steps: Vec<_> = steps.iter().map(Signature::to_json).collect();
        Self::composed("celery.chain", "chain", json!({ "tasks": steps }))
    }

    /// Tasks that run in parallel.
    #[must_use]
    pub fn group(members: Vec<Signature>) -> Self {
        let members: Vec<_> = members.iter().map(Signature::to_json).collect();
        Self::composed("celery.group", "group", json!({ "tasks": members }))
    }

    /// A group, `header`, and a task that runs with the list of its results once all its tasks have ended.
    #[must_use]
    pub fn chord(header: Signature, body: Signature) -> Self {
        Self::composed(
            "celery.chord",
            "chord",
            json!({"header": header.to_json(), "body": body.to_json(), "kwargs": {}}),
        )
    }
}
