//! Which tasks are not to be run any more. In memory, as in Celery: bounded in number and in time.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use celery_protocol::TaskRequest;
use serde_json::Value;
use tokio::time::Instant;

/// The newest so many are kept, of ids and of stamps each.
const KEPT: usize = 50_000;
/// For so long.
const EXPIRES: Duration = Duration::from_secs(3 * 3600);
/// An id or a stamp longer than this is nothing we would ever run.
const MAX_BYTES: usize = 1024;

/// Names with the time they were added, the oldest first out.
#[derive(Default)]
struct Recent {
    times: HashMap<String, Instant>,
    order: VecDeque<(Instant, String)>,
}

impl Recent {
    fn add(&mut self, name: String, now: Instant) {
        if name.len() > MAX_BYTES {
            return;
        }
        self.times.insert(name.clone(), now);
        self.order.push_back((now, name));
        while self.order.len() > KEPT {
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
        while self.order.front().is_some_and(|(at, _)| now.duration_since(*at) >= EXPIRES) {
            self.forget_oldest();
        }
    }
}

#[derive(Default)]
pub(super) struct Revoked {
    ids: Recent,
    stamps: Recent,
}

impl Revoked {
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
        let (mut revoked, now) = (Revoked::default(), Instant::now());
        revoked.add_id("again".into(), now);
        for number in 0..KEPT {
            revoked.add_id(number.to_string(), now);
        }
        revoked.add_id("again".into(), now);
        let ids = revoked.ids(now);
        assert_eq!(ids.len(), KEPT);
        assert_eq!((ids[0].as_str(), ids[KEPT - 1].as_str()), ("1", "again"));
        let task = TaskRequest::builder("t", "again").build();
        assert!(revoked.covers(&task, now));
        assert!(!revoked.covers(&task, now + EXPIRES));
        assert!(revoked.ids(now).is_empty());
        revoked.add_id("x".repeat(MAX_BYTES + 1), now);
        assert!(revoked.ids(now).is_empty());
    }

    #[test]
    fn a_stamp_covers_tasks_that_have_it_among_their_values() {
        let (mut revoked, now) = (Revoked::default(), Instant::now());
        revoked.add_stamp("release", &json!("r1"), now);
        let stamped = |value: Value| TaskRequest::builder("t", "a").stamp("release", value).build();
        assert!(revoked.covers(&stamped(json!("r1")), now));
        assert!(revoked.covers(&stamped(json!(["r0", "r1"])), now));
        assert!(!revoked.covers(&stamped(json!("r2")), now));
        assert!(!revoked.covers(&TaskRequest::builder("t", "a").stamp("other", json!("r1")).build(), now));
        assert!(!revoked.covers(&TaskRequest::builder("t", "a").build(), now));
    }
}
