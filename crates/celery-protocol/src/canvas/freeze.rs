//! Giving everything in a workflow its id before anything is sent, and the shapes of signatures that stand for several tasks.

use serde_json::{Map, Value, json};

use super::{CanvasError, DEEPEST, Kind, Sender};
use crate::task::{Signature, TaskRequest};

/// What the result of a workflow will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frozen {
    /// That of one task: the only one, the last of a chain, or the body of a chord.
    Task(String),
    /// Those of the members of a group.
    Group {
        /// The group's id.
        id: String,
        /// What each member will be.
        members: Vec<Frozen>,
    },
}

impl Frozen {
    /// The result tuple, as in `children`.
    #[must_use]
    pub fn to_tuple(&self) -> Value {
        match self {
            Self::Task(id) => json!([[id, null], null]),
            Self::Group { id, members } => {
                json!([[id, null], members.iter().map(Self::to_tuple).collect::<Vec<_>>()])
            }
        }
    }

    /// The ids of the tasks whose results these are.
    #[must_use]
    pub fn task_ids(&self) -> Vec<&str> {
        match self {
            Self::Task(id) => vec![id],
            Self::Group { members, .. } => members.iter().flat_map(Self::task_ids).collect(),
        }
    }
}

impl Sender<'_> {
    /// Gives `signature` and all in it ids, and everything in it a place to answer to, where that was not done before.
    pub(super) fn freeze(&self, signature: &mut Signature, path: &str, depth: usize) -> Result<Frozen, CanvasError> {
        if depth > DEEPEST {
            return Err(CanvasError::TooDeep);
        }
        match signature.kind() {
            Kind::Task => {
                let id = self.ensure_id(signature, path);
                if let Some(queue) = self.reply_to {
                    signature.options.entry("reply_to").or_insert_with(|| queue.into());
                }
                Ok(Frozen::Task(id))
            }
            Kind::Group => {
                let id = self.ensure_id(signature, path);
                // As the last step of a chain in the header of a chord its members are counted as the chord's.
                let group = signature.text("group_id").unwrap_or(&id).to_owned();
                let mut members = signature.flat_members()?;
                let mut results = Vec::with_capacity(members.len());
                for (index, member) in members.iter_mut().enumerate() {
                    member.set_group(&group, index, depth)?;
                    results.push(self.freeze(member, &format!("{path}/{index}"), depth + 1)?);
                }
                signature.set_members("tasks", &members);
                Ok(Frozen::Group { id, members: results })
            }
            Kind::Chain => {
                let mut steps = upgraded(flattened(signature.members("tasks")?, depth)?)?;
                let mut last = Frozen::Task(self.ensure_id(signature, path));
                let count = steps.len();
                for (index, step) in steps.iter_mut().enumerate() {
                    if index + 1 == count {
                        // What is said of the chain's result is said of its last step.
                        for name in ["task_id", "group_id", "group_index", "chord"] {
                            if let Some(value) = signature.options.get(name) {
                                step.options.entry(name).or_insert_with(|| value.clone());
                            }
                        }
                    }
                    last = self.freeze(step, &format!("{path}/{index}"), depth + 1)?;
                }
                signature.set_members("tasks", &steps);
                Ok(last)
            }
            Kind::Chord => {
                let (mut header, mut body) = signature.chord_parts()?;
                let id = self.ensure_id(signature, path);
                body.options.entry("task_id").or_insert_with(|| id.into());
                self.freeze(&mut header, &format!("{path}/header"), depth + 1)?;
                let result = self.freeze(&mut body, &format!("{path}/body"), depth + 1)?;
                signature.kwargs.insert("header".to_owned(), header.to_json());
                signature.kwargs.insert("body".to_owned(), body.to_json());
                Ok(result)
            }
        }
    }

    fn ensure_id(&self, signature: &mut Signature, path: &str) -> String {
        if let Some(id) = signature.text("task_id") {
            return id.to_owned();
        }
        let id = self.id(path);
        signature.options.insert("task_id".to_owned(), id.as_str().into());
        id
    }
}

/// Chains inside a chain are steps of it.
fn flattened(steps: Vec<Signature>, depth: usize) -> Result<Vec<Signature>, CanvasError> {
    if depth > DEEPEST {
        return Err(CanvasError::TooDeep);
    }
    let mut flat = Vec::with_capacity(steps.len());
    for step in steps {
        match step.kind() {
            Kind::Chain => {
                let mut inner = flattened(step.members("tasks")?, depth + 1)?;
                if let (Some(last), Some(id)) = (inner.last_mut(), step.options.get("task_id")) {
                    last.options.entry("task_id").or_insert_with(|| id.clone());
                }
                flat.extend(inner);
            }
            _ => flat.push(step),
        }
    }
    Ok(flat)
}

/// A group with a step behind it is a chord; an empty one is nothing.
fn upgraded(steps: Vec<Signature>) -> Result<Vec<Signature>, CanvasError> {
    let mut done: Vec<Signature> = Vec::with_capacity(steps.len());
    for step in steps.into_iter().rev() {
        if step.is_group()
            && let Some(body) = done.pop()
        {
            if step.members("tasks")?.is_empty() {
                done.push(body);
            } else {
                done.push(Signature::chord(step, body));
            }
        } else {
            done.push(step);
        }
    }
    done.reverse();
    Ok(done)
}

impl Signature {
    pub(crate) fn kind(&self) -> Kind {
        match (self.subtask_type.as_deref(), self.task.as_str()) {
            (Some("chain"), _) | (None, "celery.chain") => Kind::Chain,
            (Some("group"), _) | (None, "celery.group") => Kind::Group,
            (Some("chord"), _) | (None, "celery.chord") => Kind::Chord,
            _ => Kind::Task,
        }
    }

    /// Whether this stands for a group of tasks.
    #[must_use]
    pub fn is_group(&self) -> bool {
        self.kind() == Kind::Group
    }

    /// Whether sending this starts a chord: a chord, or a group in front of another step.
    #[must_use]
    pub fn has_chord(&self) -> bool {
        match self.kind() {
            Kind::Task => false,
            Kind::Chord => true,
            Kind::Group => self.members("tasks").is_ok_and(|members| members.iter().any(Self::has_chord)),
            Kind::Chain => self.members("tasks").is_ok_and(|steps| {
                let before_last = steps.len().saturating_sub(1);
                steps.iter().enumerate().any(|(at, step)| step.has_chord() || (step.is_group() && at < before_last))
            }),
        }
    }

    /// The tasks whose results are the result of this, with the addresses they were given: what has to be told when this will
    /// never be sent.
    #[must_use]
    pub fn endings(&self) -> Vec<TaskRequest> {
        self.endings_at(0)
    }

    fn endings_at(&self, depth: usize) -> Vec<TaskRequest> {
        if depth > DEEPEST {
            return Vec::new();
        }
        match self.kind() {
            Kind::Task => {
                let Some(id) = self.text("task_id") else { return Vec::new() };
                let mut task = TaskRequest::builder(&self.task, id).build();
                task.properties.reply_to = self.text("reply_to").map(str::to_owned);
                task.headers.group = self.text("group_id").map(str::to_owned);
                task.headers.group_index = self.options.get("group_index").and_then(Value::as_i64);
                task.headers.ignore_result = self.options.get("ignore_result").and_then(Value::as_bool);
                task.embed.chord = self.options.get("chord").and_then(Signature::from_json);
                vec![task]
            }
            Kind::Chain => {
                let steps = self.members("tasks").unwrap_or_default();
                steps.last().map(|last| last.endings_at(depth + 1)).unwrap_or_default()
            }
            Kind::Group => {
                let members = self.flat_members().unwrap_or_default();
                members.iter().flat_map(|member| member.endings_at(depth + 1)).collect()
            }
            Kind::Chord => self.chord_parts().map(|(_, body)| body.endings_at(depth + 1)).unwrap_or_default(),
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

    /// The members of a group; those of groups in it are its own.
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

    /// Makes this the member of a group: of a chain, its last step.
    fn set_group(&mut self, id: &str, index: usize, depth: usize) -> Result<(), CanvasError> {
        let (id, index) = (json!(id), json!(index));
        self.at_the_end(depth, false, &mut |sig| {
            sig.options.entry("group_id").or_insert_with(|| id.clone());
            sig.options.entry("group_index").or_insert_with(|| index.clone());
        })
    }

    /// Makes this a part of the chord with that body: of a chain, its last step; of a group, all in it, also those that will
    /// never be sent because a step before them failed.
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
        if depth > DEEPEST {
            return Err(CanvasError::TooDeep);
        }
        match self.kind() {
            Kind::Task => change(self),
            Kind::Group => {
                change(self);
                if in_groups {
                    let mut members = self.flat_members()?;
                    for member in &mut members {
                        member.at_the_end(depth + 1, in_groups, change)?;
                    }
                    self.set_members("tasks", &members);
                }
            }
            Kind::Chain => {
                let mut steps = self.members("tasks")?;
                if let Some(last) = steps.last_mut() {
                    last.at_the_end(depth + 1, in_groups, change)?;
                }
                self.set_members("tasks", &steps);
            }
            Kind::Chord => {
                let (_, mut body) = self.chord_parts()?;
                body.at_the_end(depth + 1, in_groups, change)?;
                self.kwargs.insert("body".to_owned(), body.to_json());
            }
        }
        Ok(())
    }

    /// How many parts this gives the chord it is in the header of.
    pub(super) fn parts(&self, depth: usize) -> Result<u64, CanvasError> {
        if depth > DEEPEST {
            return Err(CanvasError::TooDeep);
        }
        match self.kind() {
            Kind::Task => Ok(1),
            Kind::Group => self.flat_members()?.iter().map(|member| member.parts(depth + 1)).sum(),
            Kind::Chain => self.members("tasks")?.last().map_or(Ok(0), |last| last.parts(depth + 1)),
            Kind::Chord => self.chord_parts()?.1.parts(depth + 1),
        }
    }

    fn composed(task: &str, kind: &str, kwargs: Value) -> Self {
        let kwargs = match kwargs {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        Self { kwargs, subtask_type: Some(kind.to_owned()), ..Self::new(task, Vec::new()) }
    }

    /// Tasks that run one after the other, each with the result of the one before as its first argument.
    #[must_use]
    pub fn chain(steps: Vec<Signature>) -> Self {
        let steps: Vec<_> = steps.iter().map(Signature::to_json).collect();
        Self::composed("celery.chain", "chain", json!({ "tasks": steps }))
    }

    /// Tasks that run beside each other.
    #[must_use]
    pub fn group(members: Vec<Signature>) -> Self {
        let members: Vec<_> = members.iter().map(Signature::to_json).collect();
        Self::composed("celery.group", "group", json!({ "tasks": members }))
    }

    /// A group, `header`, and a task that runs with the list of its results once all have ended.
    #[must_use]
    pub fn chord(header: Signature, body: Signature) -> Self {
        Self::composed(
            "celery.chord",
            "chord",
            json!({"header": header.to_json(), "body": body.to_json(), "kwargs": {}}),
        )
    }
}
