//! The deliveries of one consumer that are not settled.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use crate::{redis::RequestError, sync::lock};

/// How many orphaned requests are remembered. Messages taken by an older one return when their lease ends.
const MAX_ORPHANED_REQUESTS: usize = 64;
/// Tags whose requeueing failed within this time are remembered as one request.
const REQUEUE_GROUP_TIME: Duration = Duration::from_secs(1);

/// The tags of one consumer, in the order they were taken.
#[derive(Default)]
pub(super) struct UnsettledDeliveries {
    tags: Mutex<DeliveryTags>,
    /// A delivery was settled: there may be room for another.
    pub freed: Notify,
    /// An acknowledgement was requested.
    pub ack_requested: Notify,
    /// The consumer has requeued everything.
    ended: AtomicBool,
}

/// A tag to acknowledge, and where to hand the outcome.
pub(super) struct AckRequest {
    pub number: u64,
    pub tag: String,
    pub reply: oneshot::Sender<Result<TagStatus, RequestError>>,
}

/// Redis's answer about one tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagStatus {
    Acknowledged,
    /// The tag was no longer ours.
    Missing,
}

/// The tags left over when a consumer ends.
pub(super) struct RemainingTags {
    /// To requeue: held, or perhaps held.
    pub requeue: Vec<String>,
    /// To acknowledge: done, but Redis does not know it yet.
    pub acknowledge: Vec<String>,
}

#[derive(Default)]
struct DeliveryTags {
    next_number: u64,
    /// Held, by number.
    held: BTreeMap<u64, String>,
    /// Done, but the acknowledgement failed; it is retried.
    ack_pending: Vec<String>,
    /// The tags of each request that is under way, oldest first. Redis may have handed them out already.
    requested: VecDeque<Vec<String>>,
    /// The tags of requests on connections that were given up, and since when. Such a request may still arrive.
    orphaned: VecDeque<(Instant, Vec<String>)>,
    ack_requests: Vec<AckRequest>,
}

impl UnsettledDeliveries {
    fn tags(&self) -> MutexGuard<'_, DeliveryTags> {
        lock(&self.tags)
    }

    /// Adds a delivery; its number settles it.
    pub fn add(&self, tag: String) -> u64 {
        let mut tags = self.tags();
        tags.next_number += 1;
        let number = tags.next_number;
        tags.held.insert(number, tag);
        number
    }

    /// Removes a settled delivery.
    pub fn remove(&self, number: u64) {
        self.tags().held.remove(&number);
        self.freed.notify_one();
    }

    /// The delivery is done, but its acknowledgement failed. It is renewed until the retry, so that no worker gets it before.
    pub fn ack_pending(&self, number: u64) {
        let mut tags = self.tags();
        if let Some(tag) = tags.held.remove(&number) {
            tags.ack_pending.push(tag);
        }
        drop(tags);
        self.freed.notify_one();
    }

    /// The delivery could not be requeued, which is retried soon.
    pub fn requeue_pending(&self, number: u64) {
        let mut tags = self.tags();
        if let Some(tag) = tags.held.remove(&number) {
            tags.add_orphaned(tag);
        }
        drop(tags);
        self.freed.notify_one();
    }

    /// Whether this tag has to be renewed.
    pub fn holds(&self, tag: &str) -> bool {
        self.tags().to_renew().any(|held| held == tag)
    }

    /// How many deliveries are held.
    pub fn len(&self) -> usize {
        self.tags().held.len()
    }

    /// All tags that have to be renewed.
    pub fn to_renew(&self) -> Vec<String> {
        self.tags().to_renew().cloned().collect()
    }

    /// A request for messages under these tags starts.
    pub fn request_started(&self, tags: Vec<String>) {
        self.tags().requested.push_back(tags);
    }

    /// The oldest request was answered, so its tags are known.
    pub fn request_answered(&self) {
        self.tags().requested.pop_front();
    }

    /// The tags of requests under way: Redis may have handed them out without an answer that arrived.
    pub fn requested_tags(&self) -> Vec<String> {
        self.tags().requested.iter().flatten().cloned().collect()
    }

    /// The connection of the requests under way was given up. The network may still deliver them, long after; so their tags are
    /// checked for a while.
    pub fn requests_orphaned(&self) {
        let mut tags = self.tags();
        let requested = std::mem::take(&mut tags.requested);
        let since = Instant::now();
        tags.orphaned.extend(requested.into_iter().map(|request| (since, request)));
        tags.limit_orphaned();
    }

    /// The tags of requests that were orphaned less than `age` ago; older ones are forgotten.
    pub fn orphaned_tags(&self, age: Duration) -> Vec<String> {
        let mut tags = self.tags();
        tags.orphaned.retain(|(since, _)| since.elapsed() < age);
        tags.orphaned.iter().flat_map(|(_, request)| request).cloned().collect()
    }

    /// Requests an acknowledgement. Returns `false` if the consumer has ended.
    pub fn request_ack(&self, request: AckRequest) -> bool {
        {
            let mut tags = self.tags();
            // Checked under the lock, because a request after the end would never be answered.
            if self.has_ended() {
                return false;
            }
            tags.ack_requests.push(request);
        }
        self.ack_requested.notify_one();
        true
    }

    /// Takes up to `most` requested acknowledgements; none if there are fewer than `least`.
    pub fn take_ack_requests(&self, least: usize, most: usize) -> Vec<AckRequest> {
        let mut tags = self.tags();
        match tags.ack_requests.len() {
            fewer if fewer < least => Vec::new(),
            all => tags.ack_requests.drain(..all.min(most)).collect(),
        }
    }

    /// The tags whose acknowledgement failed.
    pub fn ack_pending_tags(&self) -> Vec<String> {
        self.tags().ack_pending.clone()
    }

    /// The retried acknowledgement of these tags succeeded.
    pub fn ack_retried(&self, acknowledged: &[String]) {
        let acknowledged: HashSet<_> = acknowledged.iter().collect();
        self.tags().ack_pending.retain(|tag| !acknowledged.contains(tag));
    }

    /// Whether the consumer has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Ends the consumer. The caller requeues and acknowledges the remaining tags.
    pub fn end(&self) -> RemainingTags {
        self.ended.store(true, Ordering::Release);
        let mut tags = self.tags();
        // Dropping the requests ends the requesters' waits.
        tags.ack_requests.clear();
        let requested = std::mem::take(&mut tags.requested).into_iter().flatten();
        let orphaned = std::mem::take(&mut tags.orphaned).into_iter().flat_map(|(_, request)| request);
        let acknowledge = std::mem::take(&mut tags.ack_pending);
        let requeue = std::mem::take(&mut tags.held).into_values().chain(requested).chain(orphaned).collect();
        RemainingTags { requeue, acknowledge }
    }
}

impl DeliveryTags {
    fn to_renew(&self) -> impl Iterator<Item = &String> {
        self.held.values().chain(&self.ack_pending)
    }

    /// Adds a tag to requeue, together with others of the same moment.
    fn add_orphaned(&mut self, tag: String) {
        if let Some((since, tags)) = self.orphaned.back_mut()
            && since.elapsed() < REQUEUE_GROUP_TIME
        {
            tags.push(tag);
            return;
        }
        self.orphaned.push_back((Instant::now(), vec![tag]));
        self.limit_orphaned();
    }

    fn limit_orphaned(&mut self) {
        while self.orphaned.len() > MAX_ORPHANED_REQUESTS {
            self.orphaned.pop_front();
        }
    }
}
