//! Celery's native delayed delivery: delayed tasks that wait in the broker instead of in a worker.
//!
//! A Python worker with a quorum queue declares 28 levels of exchanges and queues, one for each bit of a delay in seconds. A task
//! enters at the top, with the bits in front of its routing key, waits at each level whose bit is set, and leaves through
//! [`DELIVERY_EXCHANGE`]. Each queue for such tasks is bound to that exchange by [`binding_key`].

use std::time::Duration;

/// The exchange to which a delayed task is published.
pub const DELAYED_EXCHANGE: &str = "celery_delayed_27";
/// The durable topic exchange from which a delayed task reaches its queue.
pub const DELIVERY_EXCHANGE: &str = "celery_delayed_delivery";
/// The number of bits of a delay.
const BITS: usize = 28;

/// The routing key of a task for `routing_key` after `delay`.
///
/// The delay is cut to whole seconds, so that the task comes early rather than late: its `eta` says when it is due. `None` for less
/// than a second, which needs no delay. The longest delay is about eight and a half years; a longer one is cut to that.
#[must_use]
pub fn delayed_key(delay: Duration, routing_key: &str) -> Option<String> {
    let seconds = delay.as_secs().min((1 << BITS) - 1);
    if seconds == 0 {
        return None;
    }
    let bits = (0..BITS).rev().map(|bit| if seconds >> bit & 1 == 1 { "1." } else { "0." });
    Some(bits.chain([routing_key]).collect())
}

/// The key that binds a queue to [`DELIVERY_EXCHANGE`].
#[must_use]
pub fn binding_key(routing_key: &str) -> String {
    format!("#.{routing_key}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::topic_matches;

    #[test]
    fn the_key_has_the_bits_of_the_delay_as_kombu_writes_them() {
        let key = delayed_key(Duration::from_millis(5_900), "q").unwrap();
        assert_eq!(key, "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.1.q");
        assert!(topic_matches(&binding_key("q"), &key));
        assert_eq!(delayed_key(Duration::from_millis(999), "q"), None);
        let longest = delayed_key(Duration::MAX, "a.b").unwrap();
        assert_eq!(longest, format!("{}a.b", "1.".repeat(28)));
    }
}
