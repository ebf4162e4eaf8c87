//! The names of keys and channels.

use super::chord::ChordKeys;
use crate::topology::topic_matches;

/// The separator of compound names, as in `celery\x06\x163`.
pub const SEPARATOR: &str = "\u{6}\u{16}";
/// Messages of one queue are kept in as many lists. A priority belongs to the largest step that is not above it. **On Redis
/// the smallest is the most urgent**, on RabbitMQ the largest.
pub const PRIORITY_STEPS: [u8; 4] = [0, 3, 6, 9];
/// How long a delivered message may stay unacknowledged before any worker requeues it, in seconds.
pub const VISIBILITY_TIMEOUT_SECONDS: u64 = 3600;
/// The prefix of the delivery tags that workers of this crate write to `unacked`. They renew their tags, so a tag that was not
/// renewed for [`LEASE_SECONDS`] belongs to a dead worker and need not wait for the visibility timeout.
pub const LEASED_TAG: &str = "rust-";
/// See [`LEASED_TAG`].
pub const LEASE_SECONDS: u64 = 300;
/// How long a worker of ours may hold the mutex for requeueing, in milliseconds. kombu takes five minutes, and a worker killed
/// meanwhile blocks all others for as long. A step takes moments, and two at a time do no harm, because each message is requeued
/// once.
pub const MUTEX_MILLISECONDS: u64 = 30_000;
/// How long the binding of a transient queue holds without renewal, in milliseconds.
pub const TRANSIENT_BINDING_MILLISECONDS: u64 = 3_600_000;
/// How long results and groups are kept, in seconds: Celery's `result_expires`.
pub const RESULT_SECONDS: u64 = 86_400;

/// The names of keys, all behind kombu's `global_keyprefix`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisKeys {
    prefix: String,
}

impl RedisKeys {
    /// Keys behind `prefix`, which may be empty and is used as it is.
    #[must_use]
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// Keys of a result backend behind a `global_keyprefix`: Celery adds an underscore unless the prefix ends with `:`, `_`, `-`
    /// or `.`.
    #[must_use]
    pub fn for_results(prefix: &str) -> Self {
        let ends = prefix.is_empty() || prefix.ends_with([':', '_', '-', '.']);
        Self::new(if ends { prefix.to_owned() } else { format!("{prefix}_") })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The list that holds messages of this priority for a queue.
    #[must_use]
    pub fn queue(&self, queue: &str, priority: u8) -> String {
        match step(priority) {
            0 => self.key(queue),
            step => format!("{}{queue}{SEPARATOR}{step}", self.prefix),
        }
    }

    /// All lists of a queue in the order of consumption: the most urgent first.
    #[must_use]
    pub fn queues(&self, queue: &str) -> [String; 4] {
        PRIORITY_STEPS.map(|step| self.queue(queue, step))
    }

    /// The hash of unacknowledged messages, by delivery tag.
    #[must_use]
    pub fn unacked(&self) -> String {
        self.key("unacked")
    }

    /// The sorted set of the same delivery tags, by the time of delivery in seconds.
    #[must_use]
    pub fn unacked_index(&self) -> String {
        self.key("unacked_index")
    }

    /// The mutex of the worker that requeues messages not acknowledged in time.
    #[must_use]
    pub fn unacked_mutex(&self) -> String {
        self.key("unacked_mutex")
    }

    /// The set of an exchange's bindings; its members are [`BindingMember`]s.
    #[must_use]
    pub fn bindings(&self, exchange: &str) -> String {
        format!("{}_kombu.binding.{exchange}", self.prefix)
    }

    /// The set of permanent bindings among them, which need no renewal (kombu 5.7).
    #[must_use]
    pub fn permanent_bindings(&self, exchange: &str) -> String {
        format!("{}_kombu.binding_permanent.{exchange}", self.prefix)
    }

    /// The sorted set of exchanges with transient bindings, by the time in milliseconds until which they hold (kombu 5.7).
    #[must_use]
    pub fn binding_deadlines(&self) -> String {
        self.key("_kombu.binding_deadlines")
    }

    /// The channel of messages to a fanout exchange. Channels belong to no database, so its number is in the name.
    #[must_use]
    pub fn fanout(&self, db: i64, exchange: &str, routing_key: &str) -> String {
        match routing_key {
            "" => format!("{}/{db}.{exchange}", self.prefix),
            key => format!("{}/{db}.{exchange}/{key}", self.prefix),
        }
    }

    /// The pattern for `PSUBSCRIBE`: AMQP's `#` is any text, as `*` is.
    #[must_use]
    pub fn fanout_pattern(&self, db: i64, exchange: &str, pattern: &str) -> String {
        let glob = |text: &str| {
            text.chars().fold(String::new(), |mut out, c| {
                if matches!(c, '?' | '[' | ']' | '\\') {
                    out.push('\\');
                }
                out.push(c);
                out
            })
        };
        self.fanout(db, &glob(exchange), &glob(&pattern.replace('#', "*")))
    }

    /// The key of a task's result, which is also the channel of its announcement.
    #[must_use]
    pub fn result(&self, task_id: &str) -> String {
        format!("{}celery-task-meta-{task_id}", self.prefix)
    }

    /// The key of a saved group.
    #[must_use]
    pub fn group(&self, group_id: &str) -> String {
        format!("{}celery-taskset-meta-{group_id}", self.prefix)
    }

    /// The keys of a chord.
    #[must_use]
    pub fn chord(&self, group_id: &str) -> ChordKeys {
        ChordKeys::new(self.group(group_id))
    }
}

/// The step of a priority.
#[must_use]
pub fn step(priority: u8) -> u8 {
    PRIORITY_STEPS.into_iter().rev().find(|step| *step <= priority).unwrap_or(0)
}

/// Whether messages to this exchange are published on a channel: control requests and events, which are fanout exchanges of
/// Celery on Redis.
#[must_use]
pub fn is_fanout(exchange: &str) -> bool {
    exchange == "celeryev" || (exchange.ends_with(".pidbox") && !exchange.starts_with("reply."))
}

/// One binding of an exchange: `routing key, pattern, queue`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingMember {
    /// The routing key that was bound.
    pub routing_key: String,
    /// For topic exchanges, the same as a regular expression; otherwise empty.
    pub pattern: String,
    /// The queue that receives.
    pub queue: String,
}

impl BindingMember {
    /// A binding by an equal routing key.
    #[must_use]
    pub fn direct(routing_key: &str, queue: &str) -> Self {
        Self { routing_key: routing_key.to_owned(), pattern: String::new(), queue: queue.to_owned() }
    }

    /// The text in the set.
    #[must_use]
    pub fn encode(&self) -> String {
        [self.routing_key.as_str(), &self.pattern, &self.queue].join(SEPARATOR)
    }

    /// Reads a member; `None` if it does not have three parts.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split(SEPARATOR);
        let (routing_key, pattern, queue) = (parts.next()?, parts.next()?, parts.next()?);
        let member = Self { routing_key: routing_key.to_owned(), pattern: pattern.to_owned(), queue: queue.to_owned() };
        parts.next().is_none().then_some(member)
    }

    /// Whether a message with this routing key goes to the queue. A topic's key is compared word by word, `*` being one word
    /// and `#` any number of them; for a direct exchange no key has such words.
    #[must_use]
    pub fn takes(&self, routing_key: &str) -> bool {
        if self.pattern.is_empty() {
            return self.routing_key == routing_key;
        }
        topic_matches(&self.routing_key, routing_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_belongs_to_the_step_below() {
        let keys = RedisKeys::default();
        for (priority, key) in [(0, "q"), (2, "q"), (3, "q\u{6}\u{16}3"), (5, "q\u{6}\u{16}3"), (255, "q\u{6}\u{16}9")]
        {
            assert_eq!(keys.queue("q", priority), key);
        }
        assert_eq!(keys.queues("q"), ["q", "q\u{6}\u{16}3", "q\u{6}\u{16}6", "q\u{6}\u{16}9"]);
    }

    #[test]
    fn every_key_and_channel_is_behind_the_prefix() {
        let keys = RedisKeys::new("p:");
        let all = [
            keys.queue("q", 9),
            keys.unacked(),
            keys.unacked_index(),
            keys.unacked_mutex(),
            keys.bindings("e"),
            keys.permanent_bindings("e"),
            keys.binding_deadlines(),
            keys.fanout(0, "e", "k"),
            keys.fanout_pattern(0, "e", "k.#"),
            keys.result("t"),
            keys.group("g"),
        ];
        assert!(all.iter().all(|key| key.starts_with("p:")), "{all:?}");
        assert_eq!(RedisKeys::for_results("p").result("t"), "p_celery-task-meta-t");
        assert_eq!(RedisKeys::for_results("p:").result("t"), "p:celery-task-meta-t");
        assert_eq!(RedisKeys::for_results("").result("t"), "celery-task-meta-t");
    }

    #[test]
    fn topics_match_word_by_word() {
        let topic = |key: &str| BindingMember { pattern: "x".into(), ..BindingMember::direct(key, "q") };
        for (pattern, key, takes) in [
            ("#", "", true),
            ("#", "a.b", true),
            ("worker.#", "worker.online", true),
            ("worker.#", "worker", true),
            ("worker.*", "worker", false),
            ("*.b.#.d", "a.b.d", true),
            ("*.b.#.d", "a.b.c.c.d", true),
            ("*.b.#.d", "a.b.c", false),
            ("a", "a.b", false),
        ] {
            assert_eq!(topic(pattern).takes(key), takes, "{pattern} {key}");
        }
        assert!(!BindingMember::direct("#", "q").takes("a"));
    }
}
