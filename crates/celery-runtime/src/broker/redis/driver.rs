//! The task behind a consumer of tasks: it takes messages, forwards them, and starts again after every loss.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use celery_protocol::{
    Limits, Message,
    redis::{Envelope, keys::LEASED_TAG, scripts},
};
use futures_util::{FutureExt, StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use redis::Script;
use tokio::sync::mpsc::{self, PermitIterator};
use tracing::Instrument as _;

use super::{
    abandoned,
    acknowledge::{last_pending_acks, retry_pending_acks, send_requested_acks},
    broker_state::RedisBrokerState,
    consumer::{ConsumerTokens, RedisConsumer},
    lease,
    list_watcher::ListWatcher,
    restore::{QueueEnd, requeue},
    settle::RedisSettle,
    unsettled::{RemainingTags, UnsettledDeliveries},
};
use crate::{
    broker::{delivery::Delivery, queue::TaskQueue},
    connection::{Backoff, ConnectionError},
    redis::{FailureKind, RedisLink, answer_timeout, classify, short_text},
};

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::TAKE));

/// How many messages one step takes at most: a step of twice as many costs Redis hardly less for each.
const MAX_MESSAGES_PER_STEP: usize = 128;
/// How many steps may be under way at a time: with only one, each round trip to Redis would be idle time.
const MAX_TAKE_STEPS: usize = 3;
/// How many messages may have been requested or brought, and not taken up.
const MAX_WAITING_MESSAGES: usize = (MAX_TAKE_STEPS + 1) * MAX_MESSAGES_PER_STEP;
/// How long to gather more than a little room, while there is work.
const ROOM_GATHER_TIME: Duration = Duration::from_millis(1);
/// How many bytes one step takes, unless a single message is larger.
const MAX_BYTES_PER_STEP: usize = 8 << 20;

/// Starts a consumer of a task queue.
pub(super) fn consume_tasks(state: Arc<RedisBrokerState>, queue: TaskQueue, prefetch: u16) -> RedisConsumer {
    let (sender, deliveries) = mpsc::channel(MAX_WAITING_MESSAGES);
    let tokens = ConsumerTokens::new();
    let name = queue.name.clone();
    let prefetch = if prefetch == 0 { usize::MAX } else { usize::from(prefetch) };
    let unsettled = Arc::<UnsettledDeliveries>::default();
    state.register(&unsettled);
    let span = tracing::error_span!("consumer", queue.name = name);
    let driver = TaskDriver { state: state.clone(), queue, prefetch, sender, unsettled, tokens: tokens.clone() };
    state.redis.tasks.spawn(driver.run().instrument(span.clone()));
    RedisConsumer::new(name, span, deliveries, tokens)
}

struct TaskDriver {
    state: Arc<RedisBrokerState>,
    queue: TaskQueue,
    prefetch: usize,
    sender: mpsc::Sender<Delivery>,
    unsettled: Arc<UnsettledDeliveries>,
    tokens: ConsumerTokens,
}

/// Why one subscription ended.
enum RedisSubscriptionEnd {
    /// The consumer takes nothing more.
    Final,
    /// The connection was lost, or could not be opened.
    Lost(ConnectionError),
}

impl TaskDriver {
    async fn run(self) {
        let _idle = self.tokens.idle.clone().drop_guard();
        tokio::select! {
            () = self.finished() => {}
            // Also after a cancel, as long as handed-out deliveries are worked on.
            () = lease::renew(&self.state, &self.unsettled) => {}
            () = abandoned::requeue_orphaned(&self.state, &self.unsettled) => {}
            () = send_requested_acks(&self.state, &self.unsettled) => {}
            () = self.consume_then_idle() => {}
        }
        let RemainingTags { requeue: held, acknowledge } = self.unsettled.end();
        // Ends the hand-out, so that waiting deliveries are requeued with the others.
        drop(self.sender);
        if !acknowledge.is_empty() {
            last_pending_acks(&self.state, acknowledge).await;
        }
        if held.is_empty() {
            return;
        }
        let count = held.len();
        match requeue(&self.state, held, QueueEnd::Next).await {
            Ok(requeued) => tracing::debug!(count, requeued, "prefetched messages requeued"),
            Err(error) => {
                tracing::warn!(count, %error, "failed to requeue prefetched messages; they return when their lease ends");
            }
        }
    }

    /// The consumer is gone, or the broker was closed.
    async fn finished(&self) {
        tokio::select! {
            () = self.tokens.end.cancelled() => {}
            () = self.state.redis.closed().cancelled() => {}
        }
    }

    async fn consume_then_idle(&self) {
        self.consume().await;
        self.unsettled.requests_orphaned();
        self.tokens.idle.cancel();
        std::future::pending::<()>().await;
    }

    /// Takes messages until there is nothing more to take.
    async fn consume(&self) {
        let mut backoff = Backoff::new(self.state.redis.options());
        loop {
            let link = tokio::select! {
                () = self.tokens.cancel.cancelled() => return,
                link = self.state.redis.link() => match link {
                    Some(link) => link,
                    None => return,
                },
            };
            let since = tokio::time::Instant::now();
            match self.subscribe(&link).await {
                RedisSubscriptionEnd::Final => return,
                RedisSubscriptionEnd::Lost(error) => {
                    if since.elapsed() > self.state.redis.options().max_retry {
                        backoff.reset();
                    }
                    tracing::debug!(%error, "consumer lost its connection; consuming again");
                }
            }
            tokio::select! {
                () = self.tokens.cancel.cancelled() => return,
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    async fn subscribe(&self, link: &RedisLink) -> RedisSubscriptionEnd {
        let lost = RedisSubscriptionEnd::Lost;
        retry_pending_acks(&self.state, &self.unsettled).await;
        // After an outage other workers may be about to requeue deliveries that are still worked on here.
        if let Err(error) = lease::renew_now(&self.state, &self.unsettled).await {
            return lost(error.into());
        }
        if let Err(error) = self.state.declare(&self.queue).await {
            tracing::debug!(%error, "queue not bound");
        }
        // A request whose answer was lost may have taken messages.
        if let Err(error) = requeue(&self.state, self.unsettled.requested_tags(), QueueEnd::Next).await {
            return lost(error.into());
        }
        self.unsettled.requests_orphaned();
        let mut watcher = match self.state.redis.open_own().await {
            Ok(opened) => ListWatcher::new(opened, answer_timeout(self.state.redis.options())),
            Err(error) => return lost(error),
        };
        tracing::debug!(generation = link.generation, "consuming");
        let lists = self.state.keys.queues(&self.queue.name);
        let mut steps: FuturesOrdered<BoxFuture<'_, TakeStep<'_>>> = FuturesOrdered::new();
        // How many messages are requested and not answered, and whether the queue held more than the last step wanted.
        let (mut requested, mut more) = (0, false);
        loop {
            let may_request =
                steps.is_empty() || (more && steps.len() < MAX_TAKE_STEPS && !self.tokens.cancel.is_cancelled());
            let slots = tokio::select! {
                biased;
                Some((slots, taken)) = steps.next(), if !steps.is_empty() => {
                    let taken = match taken {
                        Ok(taken) => taken,
                        Err(error) => return lost(logged_if_refused(error)),
                    };
                    self.unsettled.request_answered();
                    requested -= slots.len();
                    more = taken.len() == slots.len();
                    let nothing = taken.is_empty();
                    for (slot, message) in slots.zip(taken) {
                        slot.send(self.delivery(link, message));
                    }
                    if nothing && steps.is_empty() {
                        tokio::select! {
                            () = self.tokens.cancel.cancelled() => return RedisSubscriptionEnd::Final,
                            () = link.lost.cancelled() => return lost(ConnectionError::Ended),
                            outcome = watcher.wait(&lists[0]) => if let Err(error) = outcome {
                                return lost(error);
                            }
                        }
                    }
                    continue;
                }
                // Steps under way are awaited first, so that their messages are requeued with the others.
                () = self.tokens.cancel.cancelled(), if steps.is_empty() => return RedisSubscriptionEnd::Final,
                () = link.lost.cancelled(), if steps.is_empty() => return lost(ConnectionError::Ended),
                slots = self.slots(requested), if may_request => slots,
            };
            let Some(slots) = slots else {
                return RedisSubscriptionEnd::Final;
            };
            if self.tokens.cancel.is_cancelled() {
                continue;
            }
            let want = slots.len();
            let prefix = format!("{LEASED_TAG}{}-", uuid::Uuid::new_v4());
            // Noted first: when the messages are taken already, this future may be dropped, or the answer lost.
            self.unsettled.request_started((1..=want).map(|number| format!("{prefix}{number}")).collect());
            requested += want;
            let lists = &lists;
            steps.push_back(async move { (slots, self.take(link, lists, want, &prefix).await) }.boxed());
        }
    }

    /// Waits for room for the messages of the next step, beside those `requested` already. `None` when the consumer is gone.
    async fn slots(&self, requested: usize) -> Option<PermitIterator<'_, Delivery>> {
        let room = self.room(requested).await;
        self.sender.reserve_many(room.min(MAX_MESSAGES_PER_STEP)).await.ok()
    }

    /// Waits until more messages may be taken; returns how many.
    ///
    /// Where many tasks end quickly a step that takes one message costs as much as one that takes many. So a little room is left
    /// to grow for a moment: with all the other tasks in hand nothing waits for it.
    async fn room(&self, requested: usize) -> usize {
        let room = || self.prefetch.saturating_sub(self.unsettled.len() + requested);
        while room() == 0 {
            self.unsettled.freed.notified().await;
        }
        let gathered = async {
            while room() < (self.prefetch / 4).clamp(1, MAX_MESSAGES_PER_STEP) {
                self.unsettled.freed.notified().await;
            }
        };
        // Little room is no error.
        let _ = tokio::time::timeout(ROOM_GATHER_TIME, gathered).await;
        room()
    }

    async fn take(
        &self,
        link: &RedisLink,
        lists: &[String],
        want: usize,
        prefix: &str,
    ) -> redis::RedisResult<Vec<TakenMessage>> {
        let keys = &self.state.keys;
        let queue = serde_json::Value::from(self.queue.name.as_str());
        let mut script = TAKE.prepare_invoke();
        for list in lists {
            script.key(list);
        }
        script.key(keys.unacked_index()).key(keys.unacked());
        script.arg(want).arg(prefix).arg(format!(", \"\", {queue}]"));
        script.arg(MAX_BYTES_PER_STEP).arg(Envelope::max_bytes(&Limits::default()));
        let taken: Vec<(String, usize, Vec<u8>)> = script.invoke_async(&mut link.connection.clone()).await?;
        Ok(taken.into_iter().map(|(tag, size, envelope)| TakenMessage { tag, size, envelope }).collect())
    }

    fn delivery(&self, link: &RedisLink, taken: TakenMessage) -> Delivery {
        let TakenMessage { tag, size, envelope } = taken;
        let envelope = match Envelope::decode(&envelope, &Limits::default()) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::warn!(size, %error, "message envelope unreadable");
                // Handed out as it is, to be refused and counted with other unreadable messages.
                let message = Message { body: envelope, ..Message::default() };
                Envelope::new(message, "", self.queue.name.as_str(), "")
            }
        };
        let number = self.unsettled.add(tag.clone());
        let settle = RedisSettle {
            state: self.state.clone(),
            unsettled: self.unsettled.clone(),
            number,
            tag,
            generation: link.generation,
        };
        let Envelope { message, exchange, routing_key, redelivered, .. } = envelope;
        Delivery::new(message, exchange, routing_key, redelivered, link.generation, Some(Box::new(settle)))
    }
}

/// The answer of one step, and the room reserved for it.
type TakeStep<'a> = (PermitIterator<'a, Delivery>, redis::RedisResult<Vec<TakenMessage>>);

/// A message, as the script hands it out.
struct TakenMessage {
    tag: String,
    size: usize,
    envelope: Vec<u8>,
}

/// Logs a refusal, which an administrator has to mend.
fn logged_if_refused(error: redis::RedisError) -> ConnectionError {
    if classify(&error) == FailureKind::Refused {
        tracing::error!(error = short_text(&error), "redis refuses to hand out messages; retrying");
    }
    error.into()
}
