//! Gives every task of a workflow its id before any is sent.

use super::error::CanvasError;
use super::frozen::Frozen;
use super::sender::Sender;
use super::shape::{MAX_SIGNATURE_DEPTH, SignatureKind};
use crate::task::Signature;

impl Sender<'_> {
    /// Gives `signature` and all its parts ids and a reply queue, where they have none.
    pub(super) fn freeze(&self, signature: &mut Signature, path: &str, depth: usize) -> Result<Frozen, CanvasError> {
        if depth > MAX_SIGNATURE_DEPTH {
            return Err(CanvasError::TooDeep);
        }
        match signature.kind() {
            SignatureKind::Task => {
                let id = self.ensure_id(signature, path);
                if let Some(queue) = self.reply_to {
                    signature.options.entry("reply_to").or_insert_with(|| queue.into());
                }
                Ok(Frozen::Task(id))
            }
            SignatureKind::Group => {
                let id = self.ensure_id(signature, path);
                // As the last step of a chain in the header of a chord, its members count as the chord's.
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
            SignatureKind::Chain => {
                let mut steps = upgraded(flattened(signature.members("tasks")?, depth)?)?;
                let mut last = Frozen::Task(self.ensure_id(signature, path));
                let count = steps.len();
                for (index, step) in steps.iter_mut().enumerate() {
                    if index + 1 == count {
                        // The options about the result of the chain apply to its last step.
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
            SignatureKind::Chord => {
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

/// Replaces chains inside a chain by their steps.
fn flattened(steps: Vec<Signature>, depth: usize) -> Result<Vec<Signature>, CanvasError> {
    if depth > MAX_SIGNATURE_DEPTH {
        return Err(CanvasError::TooDeep);
    }
    let mut flat = Vec::with_capacity(steps.len());
    for step in steps {
        match step.kind() {
            SignatureKind::Chain => {
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

/// Replaces a group with a step behind it by a chord; drops an empty group.
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
