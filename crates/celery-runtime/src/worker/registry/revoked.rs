//! The tasks that were revoked. In memory, as in Celery: bounded in number and in time.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use celery_protocol::TaskRequest;
use serde_json::Value;
use tokio::time::Instant;

/// The most ids kept, and the most stamps; the oldest are dropped first.
const MAX_REVOKED: usize = 50_000;
/// How long an id or a stamp is kept.
const REVOKED_LIFETIME: Duration = Duration::from_secs(3 * 3600);
/// The longest id or stamp: this worker runs no task with a longer one.
const MAX_NAME_BYTES: usize = 1024;

/// Names with the time they were added; the oldest are dropped first.
#[derive(Default)]
struct RecentNames {
    times: HashMap<String, Instant>,
    order: VecDeque<(Instant, String)>,
}

impl RecentNames {
    fn add(&mut self, name: String, now: Instant) {
        if name.len() > MAX_NAME_BYTES {
            return;
        }
        self.times.insert(name.clone(), now);
        self.order.push_back((now, name));
        while self.order.len() > MAX_REVOKED {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((at, name)) = self.order.pop_front()
            // Added again since: the newer entry stands.
            && self.times.get(&name) == Some(&at)
        {
            self.times.remove(&name);
        }
    }

    fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| now.duration_since(*at) >= REVOKED_LIFETIME) {
            self.forget_oldest();
        }
    }
}

#[derive(Default)]
pub(super) struct RevokedTasks {
    ids: RecentNames,
    stamps: RecentNames,
}

impl RevokedTasks {
    pub fn add_id(&mut self, id: String, now: Instant) {
        self.ids.add(id, now);
    }

    pub fn add_stamp(&mut self, header: &str, value: &Value, now: Instant) {
        self.stamps.add(stamp(header, value), now);
    }

    pub fn ids(&mut self, now: Instant) -> Vec<String> {
        self.ids.expire(now);
        let newest = |(at, name): &(Instant, String)| (self.ids.times.get(name) == Some(at)).then(|| name.clone());
        self.ids.order.iter().filter_map(newest).collect()
    }

    pub fn covers(&mut self, task: &TaskRequest, now: Instant) -> bool {
        if self.ids.order.is_empty() && self.stamps.order.is_empty() {
            return false;
        }
        self.ids.expire(now);
        self.stamps.expire(now);
        if self.ids.times.contains_key(task.id()) {
            return true;
        }
        let stamped = |(header, value): (&str, &celery_protocol::FieldValue)| match value.to_json() {
            Value::Array(values) => values.iter().any(|value| self.stamps.times.contains_key(&stamp(header, value))),
            value => self.stamps.times.contains_key(&stamp(header, &value)),
        };
        !self.stamps.order.is_empty() && task.headers.stamps.iter().any(stamped)
    }
}

fn stamp(header: &str, value: &Value) -> String {
    format!("{header}\0{value}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_bounded_in_number_and_time() {
        let (mut revoked, now) = (RevokedTasks::default(), Instant::now());
        revoked.add_id("again".into(), now);
        for number in 0..MAX_REVOKED {
            revoked.add_id(number.to_string(), now);
        }
        revoked.add_id("again".into(), now);
        let ids = revoked.ids(now);
        assert_eq!(ids.len(), MAX_REVOKED);
        assert_eq!((ids[0].as_str(), ids[MAX_REVOKED - 1].as_str()), ("1", "again"));
        let task = TaskRequest::builder("t", "again").build();
        assert!(revoked.covers(&task, now));
        assert!(!revoked.covers(&task, now + REVOKED_LIFETIME));
        assert!(revoked.ids(now).is_empty());
        revoked.add_id("x".repeat(MAX_NAME_BYTES + 1), now);
        assert!(revoked.ids(now).is_empty());
    }

    #[test]
    fn a_stamp_covers_tasks_that_have_it_among_their_values() {
        let (mut revoked, now) = (RevokedTasks::default(), Instant::now());
        revoked.add_stamp("release", &json!("r1"), now);
        let stamped = |value: Value| TaskRequest::builder("t", "a").stamp("release", value).build();
        assert!(revoked.covers(&stamped(json!("r1")), now));
        assert!(revoked.covers(&stamped(json!(["r0", "r1"])), now));
        assert!(!revoked.covers(&stamped(json!("r2")), now));
        assert!(!revoked.covers(&TaskRequest::builder("t", "a").stamp("other", json!("r1")).build(), now));
        assert!(!revoked.covers(&TaskRequest::builder("t", "a").build(), now));
    }
}
