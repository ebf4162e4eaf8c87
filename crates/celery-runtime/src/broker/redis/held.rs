//! What a consumer has been delivered and has not settled.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use celery_protocol::redis::scripts;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use redis::{Script, ScriptInvocation};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{Shared, restore};
use crate::{
    broker::{AckError, Settle},
    redis::RequestError,
};

static ACK: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::ACK));

/// How many given-up requests are remembered; what an older one takes comes back when its lease ends.
const SUSPECT_REQUESTS: usize = 64;
/// Tags that could not be put back within this time are remembered like those of one request.
const TOGETHER: Duration = Duration::from_secs(1);
/// How many tags one step acknowledges at most.
const AT_ONCE: usize = 1000;
/// How many steps that acknowledge may be under way at once.
const STEPS: usize = 4;
/// How many tags make a step worth its while beside another.
const WORTH_A_STEP: usize = 32;
/// How long a consumer that ends tries to tell Redis what it could not be told before.
const LAST_TRY: Duration = Duration::from_secs(2);

/// The tags of one consumer, in the order they were taken.
#[derive(Default)]
pub(super) struct Held {
    inner: Mutex<Inner>,
    /// A delivery was settled: there may be room for another.
    pub freed: Notify,
    /// Something is to be acknowledged.
    acknowledge: Notify,
    /// The consumer has given everything back.
    ended: AtomicBool,
}

/// A tag that is to be acknowledged, and who waits to hear what came of it.
struct Asked {
    number: u64,
    tag: String,
    told: oneshot::Sender<Result<Acknowledged, RequestError>>,
}

/// What Redis said about one tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acknowledged {
    Done,
    /// It was not ours any more.
    Gone,
}

#[derive(Default)]
struct Inner {
    next: u64,
    tags: BTreeMap<u64, String>,
    /// Done with, but Redis could not be told.
    late: Vec<String>,
    /// Asked for, one request after the other, and it is not known whether they were given.
    doubtful: VecDeque<Vec<String>>,
    /// Asked for on connections that were given up, and when that was: the request may still arrive.
    suspects: VecDeque<(Instant, Vec<String>)>,
    asked: Vec<Asked>,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is one infallible operation, so a panic leaves nothing half-done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a tag; its number is what settles it.
    pub fn add(&self, tag: String) -> u64 {
        let mut inner = self.lock();
        inner.next += 1;
        let number = inner.next;
        inner.tags.insert(number, tag);
        number
    }

    fn remove(&self, number: u64) {
        self.lock().tags.remove(&number);
        self.freed.notify_one();
    }

    /// Redis could not be told that it is done with. It is renewed meanwhile, so that nobody gets it before that.
    fn remove_late(&self, number: u64) {
        let mut inner = self.lock();
        if let Some(tag) = inner.tags.remove(&number) {
            inner.late.push(tag);
        }
        drop(inner);
        self.freed.notify_one();
    }

    /// It could not be put back, which is tried again soon.
    fn remove_suspect(&self, number: u64) {
        let mut inner = self.lock();
        if let Some(tag) = inner.tags.remove(&number) {
            inner.suspect(tag);
        }
        drop(inner);
        self.freed.notify_one();
    }

    /// Whether this tag is still to be renewed.
    pub fn holds(&self, tag: &str) -> bool {
        let inner = self.lock();
        inner.tags.values().chain(&inner.late).any(|held| held == tag)
    }

    pub fn len(&self) -> usize {
        self.lock().tags.len()
    }

    /// Everything that is still to be renewed.
    pub fn tags(&self) -> Vec<String> {
        let inner = self.lock();
        inner.tags.values().chain(&inner.late).cloned().collect()
    }

    /// Notes the tags that a request asks for.
    pub fn doubt(&self, tags: Vec<String>) {
        self.lock().doubtful.push_back(tags);
    }

    /// What the oldest of the requests was given is known now.
    pub fn known(&self) {
        self.lock().doubtful.pop_front();
    }

    /// Tags that may have been given without our seeing it.
    pub fn doubtful(&self) -> Vec<String> {
        self.lock().doubtful.iter().flatten().cloned().collect()
    }

    /// The connection on which the doubtful tags were asked for was given up. What was written to it may arrive long after,
    /// because the network sends it again; so they are worth a look for a while.
    pub fn suspect(&self) {
        let mut inner = self.lock();
        let doubtful = std::mem::take(&mut inner.doubtful);
        let since = Instant::now();
        inner.suspects.extend(doubtful.into_iter().map(|tags| (since, tags)));
        inner.forget_the_oldest();
    }

    /// Tags that were asked for on connections given up since `age` ago; older ones are forgotten.
    pub fn suspects(&self, age: Duration) -> Vec<String> {
        let mut inner = self.lock();
        inner.suspects.retain(|(since, _)| since.elapsed() < age);
        inner.suspects.iter().flat_map(|(_, tags)| tags).cloned().collect()
    }

    /// What is to be acknowledged next: nothing when it is fewer than `least`.
    fn asked(&self, least: usize) -> Vec<Asked> {
        let mut inner = self.lock();
        match inner.asked.len() {
            fewer if fewer < least => Vec::new(),
            all => inner.asked.drain(..all.min(AT_ONCE)).collect(),
        }
    }

    /// Ends the consumer's hold: what it held, or may hold, is for the caller to give back. Then comes what is done
    /// with and Redis could not be told of, which is for the caller to acknowledge.
    pub fn end(&self) -> (Vec<String>, Vec<String>) {
        self.ended.store(true, Ordering::Release);
        let mut inner = self.lock();
        // Nobody is there to acknowledge them any more; who waits learns that by their end.
        inner.asked.clear();
        let doubtful = std::mem::take(&mut inner.doubtful).into_iter().flatten();
        let suspects = std::mem::take(&mut inner.suspects).into_iter().flat_map(|(_, tags)| tags);
        let late = std::mem::take(&mut inner.late);
        (std::mem::take(&mut inner.tags).into_values().chain(doubtful).chain(suspects).collect(), late)
    }

    /// Tells Redis what it could not be told before; returns whether it could be told now. The tags stay noted until it
    /// answers, as this future may be dropped.
    pub async fn acknowledge_late(&self, shared: &Shared) -> bool {
        let late = self.lock().late.clone();
        for tags in late.chunks(AT_ONCE) {
            if let Err(error) = acknowledge(shared, tags).await {
                tracing::debug!(%error, tags = late.len(), "still cannot acknowledge");
                return false;
            }
            let told: HashSet<_> = tags.iter().collect();
            self.lock().late.retain(|tag| !told.contains(tag));
        }
        true
    }
}

impl Inner {
    /// Notes that this tag has to be put back, together with others of the same moment.
    fn suspect(&mut self, tag: String) {
        if let Some((since, tags)) = self.suspects.back_mut()
            && since.elapsed() < TOGETHER
        {
            tags.push(tag);
            return;
        }
        self.suspects.push_back((Instant::now(), vec![tag]));
        self.forget_the_oldest();
    }

    fn forget_the_oldest(&mut self) {
        while self.suspects.len() > SUSPECT_REQUESTS {
            self.suspects.pop_front();
        }
    }
}

/// Acknowledges what is asked for, until the consumer has ended (its future is dropped). What was asked for while one step
/// was under way goes with the next, so that many acknowledgements cost little more than one; that next one waits for no
/// answer once it is worth a step of its own.
pub(super) async fn acknowledge_what_is_asked(shared: &Shared, held: &Held) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = held.acknowledge.notified() => {}
            Some(()) = under_way.next() => {}
        }
        while under_way.len() < STEPS {
            let asked = held.asked(if under_way.is_empty() { 1 } else { WORTH_A_STEP });
            if asked.is_empty() {
                break;
            }
            under_way.push(acknowledge_and_tell(shared, held, asked));
        }
    }
}

/// Frees the places as well: who asked may have been dropped meanwhile.
async fn acknowledge_and_tell(shared: &Shared, held: &Held, asked: Vec<Asked>) {
    let mut tags = Vec::with_capacity(asked.len());
    let mut waiting = Vec::with_capacity(asked.len());
    for Asked { number, tag, told } in asked {
        tags.push(tag);
        waiting.push((number, told));
    }
    let outcome = acknowledge(shared, &tags).await;
    for (at, (number, told)) in waiting.into_iter().enumerate() {
        let one = outcome.as_ref().map(|gone| match gone.contains(&(at + 1)) {
            true => Acknowledged::Gone,
            false => Acknowledged::Done,
        });
        match one {
            Ok(_) => held.remove(number),
            Err(_) => held.remove_late(number),
        }
        let _ = told.send(one.map_err(Clone::clone));
    }
}

/// Returns the places, counted from 1, of tags that were not ours any more. After a lost answer a tag may be gone because it
/// was acknowledged, so none is told then.
async fn acknowledge(shared: &Shared, tags: &[String]) -> Result<Vec<usize>, RequestError> {
    let script = &to_acknowledge(shared, tags);
    let mut repeated = false;
    let gone = shared
        .redis
        .request(|mut connection, again| {
            repeated |= again;
            async move { script.invoke_async::<Vec<usize>>(&mut connection).await }
        })
        .await?;
    Ok(if repeated { Vec::new() } else { gone })
}

/// Tells Redis once more, when a consumer ends, what it could not be told before; it may be on the way to be closed.
pub(super) async fn acknowledge_at_last(shared: &Shared, late: Vec<String>) {
    let told = async {
        for tags in late.chunks(AT_ONCE) {
            let script = &to_acknowledge(shared, tags);
            shared
                .redis
                .request_even_closing(|mut connection| async move {
                    script.invoke_async::<Vec<usize>>(&mut connection).await
                })
                .await?;
        }
        Ok::<(), RequestError>(())
    };
    let reason = match tokio::time::timeout(LAST_TRY, told).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!(tags = late.len(), reason, "could not acknowledge what is done, it will be delivered again");
}

fn to_acknowledge(shared: &Shared, tags: &[String]) -> ScriptInvocation<'static> {
    let mut script = ACK.key(shared.keys.unacked_index());
    script.key(shared.keys.unacked());
    for tag in tags {
        script.arg(tag);
    }
    script
}

/// Settles one delivery. It does so over whatever connection there is: the tag is what holds the message.
pub(super) struct RedisSettle {
    pub shared: Arc<Shared>,
    pub held: Arc<Held>,
    pub number: u64,
    pub tag: String,
    pub generation: u64,
}

impl RedisSettle {
    fn stale(&self) -> AckError {
        AckError::Stale { generation: self.generation }
    }
}

#[async_trait]
impl Settle for RedisSettle {
    async fn ack(&self) -> Result<(), AckError> {
        let (told, outcome) = oneshot::channel();
        {
            let mut inner = self.held.lock();
            // Looked at under the lock, because what is asked for after the end would never be answered.
            if self.is_stale() {
                return Err(self.stale());
            }
            inner.asked.push(Asked { number: self.number, tag: self.tag.clone(), told });
        }
        self.held.acknowledge.notify_one();
        match outcome.await {
            Ok(Ok(Acknowledged::Done)) => Ok(()),
            Ok(Ok(Acknowledged::Gone)) => Err(self.stale()),
            Ok(Err(error)) => Err(AckError::Unavailable { reason: error.to_string() }),
            // The consumer has ended: it gave the message back, if Redis had not been told before.
            Err(_) => Err(self.stale()),
        }
    }

    async fn reject(&self, requeue: bool) -> Result<(), AckError> {
        if !requeue {
            return self.ack().await;
        }
        if self.is_stale() {
            return Err(self.stale());
        }
        match restore::put_back(&self.shared, vec![self.tag.clone()], restore::End::Last).await {
            Ok(_) => {
                self.held.remove(self.number);
                Ok(())
            }
            Err(error) => {
                self.held.remove_suspect(self.number);
                Err(AckError::Unavailable { reason: error.to_string() })
            }
        }
    }

    fn is_stale(&self) -> bool {
        self.held.ended.load(Ordering::Acquire)
    }
}
