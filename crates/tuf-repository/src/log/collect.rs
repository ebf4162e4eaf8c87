//! Which files of the log retention may delete.

use tuf_core::store::FileName;
use tuf_core::time::UtcTime;

use super::base::base_name;
use super::error::LogError;
use super::reader::Log;
use super::record::record_name;
use super::signed::Verify;
use crate::numbered::number_of;

impl Log {
    /// The records and bases that no reader needs, oldest first: those before the newest valid base that is older than
    /// `before`. That base and its record stay, so that no number becomes free again.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn collectable(&mut self, before: UtcTime, verify: Verify<'_>) -> Result<Vec<FileName>, LogError> {
        let mut files = Vec::new();
        for name in self.store.list("")? {
            if let Some(number) = number_of(&name, ".record.json") {
                files.push((number, record_name(number)?, false));
            } else if let Some(number) = number_of(&name, ".base.json") {
                files.push((number, base_name(number)?, true));
            }
        }
        files.sort_unstable();
        let mut first = None;
        let head = self.head;
        for (number, ..) in files.iter().rev().filter(|(number, _, is_base)| *is_base && *number <= head) {
            let base = self.read_base(*number, verify)?;
            if base.is_some_and(|base| base.time <= before) && self.store.stat(&record_name(*number)?)?.is_some() {
                first = Some(*number);
                break;
            }
        }
        let Some(first) = first else { return Ok(Vec::new()) };
        Ok(files.into_iter().filter(|(number, ..)| *number < first).map(|(_, file, _)| file).collect())
    }
}
