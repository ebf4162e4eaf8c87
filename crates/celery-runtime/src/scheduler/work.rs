//! Doing the runs that are due.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::{
    periodic_scheduler::Scheduler,
    replica::RETRY_INTERVAL,
    schedule_entry::{EntryAction, ScheduleEntry, TaskToSend},
};
use crate::broker::{Lock, PublishError};

/// The longest sleep, so that a clock that is set is noticed.
const MAX_SLEEP: Duration = Duration::from_secs(60);

impl Scheduler {
    /// Does the runs that are due, until the lock is lost.
    pub(super) async fn work(&self, last: &mut HashMap<String, Timestamp>, lock: Option<&Lock>) {
        let mut running = JoinSet::new();
        let mut busy: HashMap<tokio::task::Id, &str> = HashMap::new();
        loop {
            let now = self.clock.now();
            let mut wake = now.checked_add(MAX_SLEEP).unwrap_or(Timestamp::MAX);
            for entry in &self.entries {
                if busy.values().any(|name| *name == entry.name) {
                    continue;
                }
                if is_lost(lock) {
                    return;
                }
                let since = last.entry(entry.name.clone()).or_insert(now);
                // Where the clock was set back, that time is not waited for again.
                *since = (*since).min(now);
                let Some(due) = entry.schedule.next_after(*since) else { continue };
                let at = entry.delayed(&self.name, due);
                if at > now {
                    wake = wake.min(at);
                    continue;
                }
                let done = match &entry.action {
                    EntryAction::Send(sent) => {
                        let done = tokio::select! {
                            biased;
                            () = lost(lock) => return,
                            done = self.send(entry, sent, due, now) => done,
                        };
                        // The turn is another replica's now, so the run is not noted. It may be sent again, under the same id.
                        if is_lost(lock) {
                            return;
                        }
                        done
                    }
                    EntryAction::Run(work) => {
                        busy.insert(running.spawn(work(due).in_current_span()).id(), entry.name.as_str());
                        true
                    }
                };
                if done {
                    let at = entry.schedule.last_run_after(due, now);
                    *since = at;
                    self.save(entry, at).await;
                    if let Some(next) = entry.schedule.next_after(at) {
                        wake = wake.min(entry.delayed(&self.name, next));
                    }
                } else {
                    wake = wake.min(now.checked_add(RETRY_INTERVAL).unwrap_or(Timestamp::MAX));
                }
            }
            tokio::select! {
                () = self.clock.sleep_until(wake) => {}
                ended = running.join_next_with_id(), if !running.is_empty() => match ended {
                    Some(Ok((id, ()))) => drop(busy.remove(&id)),
                    Some(Err(error)) => {
                        let name = busy.remove(&error.id());
                        tracing::error!(entry = name, %error, "scheduled work failed");
                    }
                    None => {}
                },
                () = lost(lock) => return,
            }
        }
    }

    /// Sends the task of an entry; `false` if it is to be tried again.
    async fn send(&self, entry: &ScheduleEntry, sent: &TaskToSend, due: Timestamp, now: Timestamp) -> bool {
        let Some(client) = &self.client else { return false };
        let mut options = sent.options.clone();
        options.task_id = Some(entry.id(&self.name, due).to_string());
        if options.expires_in.is_none() {
            let next = entry.schedule.next_after(now);
            options.expires_in = next.and_then(|next| Duration::try_from(next.duration_since(now)).ok());
        }
        match client.send(&sent.queue, &sent.task, sent.args.clone(), sent.kwargs.clone(), options).await {
            Ok(_) => {
                tracing::debug!(entry = entry.name, "scheduled task sent");
                true
            }
            Err(
                error @ (PublishError::Unroutable { .. } | PublishError::Refused { .. } | PublishError::Invalid { .. }),
            ) => {
                tracing::warn!(entry = entry.name, %error, "cannot send the scheduled task; skipping this run");
                true
            }
            Err(error) => {
                tracing::warn!(entry = entry.name, %error, "scheduled task not sent; trying again");
                false
            }
        }
    }
}

fn is_lost(lock: Option<&Lock>) -> bool {
    lock.is_some_and(|lock| !lock.is_held())
}

async fn lost(lock: Option<&Lock>) {
    match lock {
        Some(lock) => lock.lost().await,
        None => std::future::pending().await,
    }
}
