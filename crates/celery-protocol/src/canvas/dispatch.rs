//! The messages to send for a signature whose tasks have ids.

use serde_json::{Map, Value, json};

use super::error::CanvasError;
use super::options::merged;
use super::plan::Plan;
use super::sender::Sender;
use super::shape::{MAX_SIGNATURE_DEPTH, SignatureKind};
use crate::task::Signature;

impl Sender<'_> {
    /// Adds the messages for a frozen signature to `plan`.
    pub(super) fn dispatch(
        &self,
        plan: &mut Plan,
        signature: Signature,
        args: &[Value],
        more: Map<String, Value>,
        depth: usize,
    ) -> Result<(), CanvasError> {
        if depth > MAX_SIGNATURE_DEPTH {
            return Err(CanvasError::TooDeep);
        }
        match signature.kind() {
            SignatureKind::Task => {
                plan.tasks.push(self.message(signature, args, more)?);
                Ok(())
            }
            SignatureKind::Chain => {
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
                // The rest of the enclosing chain follows the rest of this one.
                let mut rest = match options.shift_remove("chain") {
                    Some(Value::Array(outer)) => outer,
                    _ => Vec::new(),
                };
                rest.extend(steps.rev().map(|step| step.to_json()));
                options.insert("chain".to_owned(), rest.into());
                self.dispatch(plan, first, args, options, depth + 1)
            }
            SignatureKind::Group => {
                let mut options = merged(&signature.options, more);
                options.shift_remove("task_id");
                options.shift_remove("reply_to");
                for member in signature.flat_members()? {
                    self.dispatch(plan, member, args, options.clone(), depth + 1)?;
                }
                Ok(())
            }
            SignatureKind::Chord => {
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
