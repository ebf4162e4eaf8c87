//! The members of targets metadata.

use serde_json::Value;

use super::super::quote::quote;
use super::super::rules;
use super::check::{Object, ShapeCheck};
use crate::names::TargetPath;

impl ShapeCheck {
    pub(super) fn targets(&mut self, signed: &mut Object) {
        if let Some(targets) = self.object(signed, "targets", "") {
            let listed = targets.len();
            targets.retain(|path, target| self.target(path, target));
            self.unchecked_targets += (listed - targets.len()) as u64;
        }
        match signed.get_mut("delegations") {
            None => {}
            Some(Value::Object(delegations)) => self.delegations(delegations),
            Some(_) => {
                self.error(rules::C7, "`delegations` is not an object");
                signed.remove("delegations");
            }
        }
    }

    pub(super) fn target(&mut self, path: &str, target: &mut Value) -> bool {
        let shown = quote(path);
        if let Err(error) = TargetPath::new(path) {
            let reason = error.reason();
            if unicode_normalization::is_nfc(path) {
                let message = format!(
                    "target path {shown} {reason}: clients differ in where they fetch it from and write it to; the audit \
                     does not check its file"
                );
                self.warn(rules::P1, message);
            } else {
                self.warn(rules::J2, format!("target path {shown} {reason}; the audit does not check its file"));
            }
            return false;
        }
        let Value::Object(target) = target else {
            self.error(rules::P5, format!("the entry of target {shown} is not an object"));
            return false;
        };
        let mut good = true;
        if !target.get("length").is_some_and(Value::is_u64) {
            self.error(rules::P5, format!("target {shown} has no length that is a whole number"));
            good = false;
        }
        match target.get_mut("hashes") {
            Some(hashes) => good &= self.hashes(hashes, &format!("target {shown}"), rules::P5),
            None => {
                self.error(rules::P5, format!("target {shown} has no hashes; list sha256"));
                good = false;
            }
        }
        good
    }
}
