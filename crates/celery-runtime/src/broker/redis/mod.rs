//! Redis, on the keys that kombu uses, so that Python clients and workers share queues with ours.
//!
//! Differences from kombu, unnoticed by Python peers:
//!
//! - **A taken message is never lost.** kombu pops a message and records it as unacknowledged in a second round trip; a crash
//!   between the two loses it. Here one script does both ([`scripts::TAKE`]).
//! - **An idle consumer costs nothing and takes nothing.** It blocks on `BLMOVE queue queue RIGHT RIGHT`, which moves the next
//!   message to its own place and returns as soon as there is one; then the script takes it. Less urgent priorities are other
//!   lists, which are checked twenty times a second while the first is empty. Measured on a busy two-core machine over
//!   loopback, unoptimised: a millisecond from before the publish to the delivery (15 at the 99th percentile), 11,000 tasks a
//!   second when there are many, and less than 1 % of a core when there are none. Polling as quickly would take a thousand
//!   commands a second; keyspace notifications are off on most servers, and are lost with a connection. Without `BLMOVE` (Redis
//!   before 6.2, or no permission) the lists are checked every 20 ms.
//! - **Deliveries outlive their connection.** A message is held by its tag in `unacked`, not by a connection. So after a
//!   reconnect running tasks continue and are acknowledged, and no task runs twice because a cable was pulled. A delivery is
//!   stale only when another worker has requeued it. The network may deliver a request again after its connection was given up;
//!   the messages that such a request takes are requeued within seconds.
//! - **Messages being worked on stay with their worker.** Tags are renewed every minute, and as soon as Redis returns after an
//!   outage, so that no worker, Python's included, requeues a slow task after the visibility timeout (an hour). A tag of ours
//!   that was not renewed for five minutes belongs to a dead worker. Any worker of ours requeues it, except the process that
//!   holds it; Python's workers wait for the visibility timeout.
//! - **One step settles many deliveries.** Acknowledgements requested while another is under way go with the next, and free room
//!   is gathered for a moment while there is other work; so many tasks share a round trip. While the queue holds more, several
//!   steps take from it at a time, and no round trip is waited for.
//! - **A publish is confirmed** by the reply to it. `mandatory` asks for more than kombu, for which every name is a queue: the
//!   queue must be known, by a binding (of any worker or client that declared it) or by a list that exists.
//! - **A reply that no one reads expires**: a list that a message other than a task created, for an undeclared queue, is deleted
//!   after a day.
//!
//! Limits of Redis: it does not know who sent a message, so a delivery's exchange is the claim of its sender; and it does
//! not drop expired messages, so an expired task reaches a worker, which answers it as revoked.
//!
//! Redis must keep what it confirms: without `appendonly yes` a restart forgets messages, and with `maxmemory` its policy must
//! be `noeviction`. A user with an ACL needs scripts (`EVALSHA`, `EVAL`, `SCRIPT|LOAD`) and the commands that [`scripts`] call.

mod abandoned;
mod acknowledge;
mod broker_state;
mod consumer;
mod driver;
mod fanout;
mod lease;
mod list_watcher;
mod lock;
mod publisher;
mod redis_broker;
mod replies;
mod restore;
mod settle;
mod unsettled;

pub use redis_broker::RedisBroker;

#[allow(unused_imports, reason = "named in the documentation")]
use celery_protocol::redis::scripts;
