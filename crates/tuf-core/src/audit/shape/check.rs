//! The findings of one file, and the shape that every kind of metadata has.

use serde_json::{Map, Value};

use super::super::report::Severity;
use super::super::rules::{self, Rule};
use crate::names::TopRole;

pub(super) type Object = Map<String, Value>;

/// Findings about one file.
#[derive(Default)]
pub(in super::super) struct ShapeCheck {
    pub(in super::super) findings: Vec<(&'static Rule, Severity, String)>,
}

impl ShapeCheck {
    pub(in super::super) fn error(&mut self, rule: &'static Rule, message: impl Into<String>) {
        self.findings.push((rule, Severity::Error, message.into()));
    }

    /// Checks the signed part of a file of this kind.
    pub(in super::super) fn metadata(&mut self, kind: TopRole, value: &mut Value) {
        let Value::Object(signed) = value else {
            self.error(rules::C7, "`signed` is not an object");
            return;
        };
        self.header(kind, signed);
        match kind {
            TopRole::Root => self.root(signed),
            TopRole::Timestamp => self.timestamp(signed),
            TopRole::Snapshot => self.snapshot(signed),
            TopRole::Targets => self.targets(signed),
        }
    }
}
