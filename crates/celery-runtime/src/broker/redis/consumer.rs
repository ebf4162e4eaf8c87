//! A consumer of a task queue that takes up again after every loss.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use celery_protocol::{
    Limits, Message,
    redis::{Envelope, keys::LEASED_TAG, scripts},
};
use futures_util::{FutureExt, StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use redis::Script;
use tokio::sync::mpsc::{self, PermitIterator};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Shared,
    held::{Held, RedisSettle, acknowledge_at_last, acknowledge_what_is_asked},
    restore::{End, put_back},
    upkeep,
};
use crate::{
    broker::{Consumer, Delivery, TaskQueue, backoff::Backoff},
    redis::{Link, Opened, judge, patience, words},
};

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::TAKE));

/// How many messages one step takes at most: a step of twice as many costs Redis hardly less for each.
const AT_ONCE: usize = 128;
/// How many steps may be under way at once: with one alone each round trip to Redis would be waited for with nothing to do.
const STEPS: usize = 3;
/// How many messages may have been asked for or brought, and not taken up.
const ON_THE_WAY: usize = (STEPS + 1) * AT_ONCE;
/// How long it is waited for more room than a little, while there is work.
const GATHER: Duration = Duration::from_millis(1);
/// How many bytes one step takes, unless a single message is larger.
const BYTES_AT_ONCE: usize = 8 << 20;
/// How often the less urgent lists are looked at while the first is empty.
const LOOK: Duration = Duration::from_millis(50);
/// How long a cancel waits for what is being taken. What comes later goes back with the consumer.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// How long it is waited where Redis cannot wait for us.
const POLL: Duration = Duration::from_millis(20);

pub(super) struct RedisConsumer {
    queue: String,
    deliveries: mpsc::Receiver<Delivery>,
    cancel: CancellationToken,
    /// Nothing more comes into `deliveries`.
    idle: CancellationToken,
    /// Ends the driver, which gives back what is held.
    _end: DropGuard,
}

impl RedisConsumer {
    pub fn start(shared: Arc<Shared>, queue: TaskQueue, prefetch: u16) -> Self {
        let (sender, deliveries) = mpsc::channel(ON_THE_WAY);
        let (cancel, end, idle) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let name = queue.name.clone();
        let prefetch = if prefetch == 0 { usize::MAX } else { usize::from(prefetch) };
        let held = Arc::<Held>::default();
        shared.note(&held);
        let driver = Driver {
            shared: shared.clone(),
            queue,
            prefetch,
            sender,
            held,
            cancel: cancel.clone(),
            end: end.clone(),
            idle: idle.clone(),
        };
        shared.redis.tasks.spawn(driver.run());
        Self { queue: name, deliveries, cancel, idle, _end: end.drop_guard() }
    }
}

#[async_trait]
impl Consumer for RedisConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => None,
            delivery = self.deliveries.recv() => delivery,
        }
    }

    async fn cancel(&mut self) {
        self.cancel.cancel();
        // What was not handed out goes back at once, and what is being taken too: the consumer may stay for as long as the last
        // task that came by it.
        let _ = tokio::time::timeout(UNDER_WAY, self.idle.cancelled()).await;
        while let Ok(delivery) = self.deliveries.try_recv() {
            if let Err(error) = delivery.reject(true).await {
                tracing::debug!(queue = self.queue, %error, "what was not handed out goes back with its consumer");
            }
        }
    }
}

impl fmt::Debug for RedisConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConsumer").field("queue", &self.queue).finish_non_exhaustive()
    }
}

struct Driver {
    shared: Arc<Shared>,
    queue: TaskQueue,
    prefetch: usize,
    sender: mpsc::Sender<Delivery>,
    held: Arc<Held>,
    cancel: CancellationToken,
    end: CancellationToken,
    idle: CancellationToken,
}

/// Why one subscription ended.
enum Ended {
    /// The consumer takes nothing more.
    ForGood,
    /// The connection was lost, or could not be made.
    Lost(String),
}

impl Driver {
    async fn run(self) {
        let _idle = self.idle.clone().drop_guard();
        tokio::select! {
            () = self.finished() => {}
            // Also after a cancel, for as long as what was handed out is worked on.
            () = upkeep::renew(&self.shared, &self.held) => {}
            () = upkeep::take_back_what_came_late(&self.shared, &self.held) => {}
            () = acknowledge_what_is_asked(&self.shared, &self.held) => {}
            () = self.consume_then_idle() => {}
        }
        let (held, late) = self.held.end();
        // Nothing is handed out any more, so what waits to be handed out goes back with what was.
        drop(self.sender);
        if !late.is_empty() {
            acknowledge_at_last(&self.shared, late).await;
        }
        if held.is_empty() {
            return;
        }
        let count = held.len();
        match put_back(&self.shared, held, End::Next).await {
            Ok(returned) => tracing::debug!(queue = self.queue.name, count, returned, "gave back what was held"),
            // They come back when their lease ends.
            Err(error) => tracing::warn!(queue = self.queue.name, count, %error, "could not give back what was held"),
        }
    }

    /// The consumer is gone, or the broker was closed.
    async fn finished(&self) {
        tokio::select! {
            () = self.end.cancelled() => {}
            () = self.shared.redis.closed.cancelled() => {}
        }
    }

    async fn consume_then_idle(&self) {
        self.consume().await;
        // What is not known by now will not be asked about any more.
        self.held.suspect();
        self.idle.cancel();
        std::future::pending::<()>().await;
    }

    /// Takes messages until there is nothing more to take.
    async fn consume(&self) {
        let mut backoff = Backoff::new(&self.shared.redis.options);
        loop {
            let link = tokio::select! {
                () = self.cancel.cancelled() => return,
                link = self.shared.redis.link() => match link {
                    Some(link) => link,
                    None => return,
                },
            };
            let since = tokio::time::Instant::now();
            match self.subscribe(&link).await {
                Ended::ForGood => return,
                Ended::Lost(reason) => {
                    if since.elapsed() > self.shared.redis.options.max_retry {
                        backoff.reset();
                    }
                    tracing::debug!(queue = self.queue.name, %reason, "consumer lost its connection, taking up again");
                }
            }
            tokio::select! {
                () = self.cancel.cancelled() => return,
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    async fn subscribe(&self, link: &Link) -> Ended {
        let lost = Ended::Lost;
        self.held.acknowledge_late(&self.shared).await;
        // After an outage others may be about to put back what we still work on.
        if let Err(error) = upkeep::renew_now(&self.shared, &self.held).await {
            return lost(error.to_string());
        }
        if let Err(error) = self.shared.declare(&self.queue).await {
            tracing::debug!(queue = self.queue.name, %error, "the queue's bindings could not be made");
        }
        // Taken, it may be, by a request whose answer was lost.
        if let Err(error) = put_back(&self.shared, self.held.doubtful(), End::Next).await {
            return lost(error.to_string());
        }
        self.held.suspect();
        let mut waiting = match self.shared.redis.open().await {
            Ok(opened) => Waiting::new(opened, patience(&self.shared.redis.options)),
            Err(reason) => return lost(reason),
        };
        tracing::debug!(queue = self.queue.name, generation = link.generation, "consuming");
        let lists = self.shared.keys.queues(&self.queue.name);
        let mut steps: FuturesOrdered<BoxFuture<'_, Step<'_>>> = FuturesOrdered::new();
        // Messages asked for whose answer is awaited, and whether there was more in the queue than the last step wanted.
        let (mut asked, mut more) = (0, false);
        loop {
            let may_ask = steps.is_empty() || (more && steps.len() < STEPS && !self.cancel.is_cancelled());
            let slots = tokio::select! {
                biased;
                Some((slots, taken)) = steps.next(), if !steps.is_empty() => {
                    let taken = match taken {
                        Ok(taken) => taken,
                        Err(error) => return lost(self.reason(&error)),
                    };
                    self.held.known();
                    asked -= slots.len();
                    more = taken.len() == slots.len();
                    let nothing = taken.is_empty();
                    for (slot, message) in slots.zip(taken) {
                        slot.send(self.delivery(link, message));
                    }
                    if nothing && steps.is_empty() {
                        tokio::select! {
                            () = self.cancel.cancelled() => return Ended::ForGood,
                            () = link.lost.cancelled() => return lost("the connection was lost".to_owned()),
                            outcome = waiting.wait(&lists[0]) => if let Err(reason) = outcome {
                                return lost(reason);
                            }
                        }
                    }
                    continue;
                }
                // What is under way is waited for all the same, so that it goes back with what was not handed out.
                () = self.cancel.cancelled(), if steps.is_empty() => return Ended::ForGood,
                () = link.lost.cancelled(), if steps.is_empty() => return lost("the connection was lost".to_owned()),
                slots = self.slots(asked), if may_ask => slots,
            };
            let Some(slots) = slots else {
                return Ended::ForGood;
            };
            if self.cancel.is_cancelled() {
                continue;
            }
            let want = slots.len();
            let begins = format!("{LEASED_TAG}{}-", uuid::Uuid::new_v4());
            // Noted first: this future may be dropped, or the answer lost, when the messages are taken already.
            self.held.doubt((1..=want).map(|number| format!("{begins}{number}")).collect());
            asked += want;
            let lists = &lists;
            steps.push_back(async move { (slots, self.take(link, lists, want, &begins).await) }.boxed());
        }
    }

    /// Why a step failed.
    fn reason(&self, error: &redis::RedisError) -> String {
        if judge(error) == crate::redis::Failure::Refused {
            tracing::error!(
                queue = self.queue.name,
                error = words(error),
                "redis refuses to hand out messages, trying again"
            );
        }
        words(error)
    }

    /// Waits for places for what the next step may bring, beside what was `asked` for already. None when nobody is there to
    /// take it.
    async fn slots(&self, asked: usize) -> Option<PermitIterator<'_, Delivery>> {
        let room = self.room(asked).await;
        self.sender.reserve_many(room.min(AT_ONCE)).await.ok()
    }

    /// Waits until more may be taken; returns how much. Where many tasks end quickly a step that takes one is as dear as one
    /// that takes many, so a little room is left to grow for a moment: with all the other tasks in hand nothing waits for it.
    async fn room(&self, asked: usize) -> usize {
        let room = || self.prefetch.saturating_sub(self.held.len() + asked);
        while room() == 0 {
            self.held.freed.notified().await;
        }
        let gathered = async {
            while room() < (self.prefetch / 4).clamp(1, AT_ONCE) {
                self.held.freed.notified().await;
            }
        };
        // Nothing is amiss when there is only a little.
        let _ = tokio::time::timeout(GATHER, gathered).await;
        room()
    }

    async fn take(&self, link: &Link, lists: &[String], want: usize, begins: &str) -> redis::RedisResult<Vec<Taken>> {
        let keys = &self.shared.keys;
        let queue = serde_json::Value::from(self.queue.name.as_str());
        let mut script = TAKE.prepare_invoke();
        for list in lists {
            script.key(list);
        }
        script.key(keys.unacked_index()).key(keys.unacked());
        script.arg(want).arg(begins).arg(format!(", \"\", {queue}]"));
        script.arg(BYTES_AT_ONCE).arg(Envelope::max_bytes(&Limits::default()));
        let taken: Vec<(String, usize, Vec<u8>)> = script.invoke_async(&mut link.connection.clone()).await?;
        Ok(taken.into_iter().map(|(tag, size, envelope)| Taken { tag, size, envelope }).collect())
    }

    fn delivery(&self, link: &Link, taken: Taken) -> Delivery {
        let Taken { tag, size, envelope } = taken;
        let envelope = match Envelope::decode(&envelope, &Limits::default()) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::warn!(queue = self.queue.name, size, %error, "a message is not what kombu writes");
                // Handed out all the same, to be refused where such things are refused and counted.
                let message = Message { body: envelope, ..Message::default() };
                Envelope::new(message, "", self.queue.name.as_str(), "")
            }
        };
        let number = self.held.add(tag.clone());
        let settle = RedisSettle {
            shared: self.shared.clone(),
            held: self.held.clone(),
            number,
            tag,
            generation: link.generation,
        };
        let Envelope { message, exchange, routing_key, redelivered, .. } = envelope;
        Delivery::new(message, exchange, routing_key, redelivered, link.generation, Some(Box::new(settle)))
    }
}

/// What one step brought, and the places that were kept for it.
type Step<'a> = (PermitIterator<'a, Delivery>, redis::RedisResult<Vec<Taken>>);

struct Taken {
    tag: String,
    size: usize,
    envelope: Vec<u8>,
}

/// Waits for a list to have something in it, without taking it.
pub(super) struct Waiting {
    opened: Opened,
    /// The command under way. It is kept over several calls, because Redis ends it at its own pace.
    blocked: Option<BoxFuture<'static, redis::RedisResult<redis::Value>>>,
    can_block: bool,
    /// How long one command may block: well within the time after which a silent connection is given up.
    longest: Duration,
}

impl Waiting {
    pub fn new(opened: Opened, patience: Duration) -> Self {
        Self { opened, blocked: None, can_block: true, longest: (patience / 4).min(Duration::from_secs(5)) }
    }

    /// Returns when there is something in the list, and at the latest when it is time to look at the others.
    pub async fn wait(&mut self, list: &str) -> Result<(), String> {
        if self.can_block {
            let blocked = self.blocked.get_or_insert_with(|| {
                let mut connection = self.opened.connection.clone();
                let mut command = redis::cmd("BLMOVE");
                // From the end that is taken next to the same end: nothing moves.
                command.arg(list).arg(list).arg("RIGHT").arg("RIGHT").arg(self.longest.as_secs_f64());
                async move { command.query_async(&mut connection).await }.boxed()
            });
            let outcome = tokio::select! {
                outcome = blocked => outcome,
                () = tokio::time::sleep(LOOK) => return Ok(()),
            };
            self.blocked = None;
            match outcome {
                // Only that it came is of interest.
                Ok(_) => return Ok(()),
                Err(error) if judge(&error) == crate::redis::Failure::Refused => {
                    tracing::info!(error = words(&error), "redis cannot wait for us, looking at the lists instead");
                    self.can_block = false;
                }
                Err(error) => return Err(words(&error)),
            }
        }
        tokio::select! {
            _ = &mut self.opened.driver => Err("the connection ended".to_owned()),
            () = tokio::time::sleep(POLL) => Ok(()),
        }
    }
}
