//! Waiting for a list to have an element, without taking it.

use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};

use crate::{
    connection::ConnectionError,
    redis::{FailureKind, OpenedConnection, classify, short_text},
};

/// How often the less urgent lists are checked while the first is empty.
const OTHER_LISTS_INTERVAL: Duration = Duration::from_millis(50);
/// How often the lists are checked where Redis cannot block.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long one command blocks at most.
const MAX_BLOCK: Duration = Duration::from_secs(5);

/// Waits for a list to have an element, on a connection of its own.
pub(super) struct ListWatcher {
    opened: OpenedConnection,
    /// The command under way. It is kept over several calls, because Redis ends it at its own pace.
    blocked: Option<BoxFuture<'static, redis::RedisResult<redis::Value>>>,
    can_block: bool,
    /// How long one command may block: well within the time after which a silent connection is given up.
    block_time: Duration,
}

impl ListWatcher {
    pub fn new(opened: OpenedConnection, answer_timeout: Duration) -> Self {
        Self { opened, blocked: None, can_block: true, block_time: (answer_timeout / 4).min(MAX_BLOCK) }
    }

    /// Returns when the list has an element, and at the latest when it is time to check the other lists.
    pub async fn wait(&mut self, list: &str) -> Result<(), ConnectionError> {
        if self.can_block {
            let blocked = self.blocked.get_or_insert_with(|| {
                let mut connection = self.opened.connection.clone();
                let mut command = redis::cmd("BLMOVE");
                // From the end that is taken next to the same end: nothing moves.
                command.arg(list).arg(list).arg("RIGHT").arg("RIGHT").arg(self.block_time.as_secs_f64());
                async move { command.query_async(&mut connection).await }.boxed()
            });
            let outcome = tokio::select! {
                outcome = blocked => outcome,
                () = tokio::time::sleep(OTHER_LISTS_INTERVAL) => return Ok(()),
            };
            self.blocked = None;
            match outcome {
                Ok(_) => return Ok(()),
                Err(error) if classify(&error) == FailureKind::Refused => {
                    tracing::info!(error = short_text(&error), "redis refuses BLMOVE; polling the lists instead");
                    self.can_block = false;
                }
                Err(error) => return Err(error.into()),
            }
        }
        tokio::select! {
            _ = &mut self.opened.driver => Err(ConnectionError::Ended),
            () = tokio::time::sleep(POLL_INTERVAL) => Ok(()),
        }
    }
}
