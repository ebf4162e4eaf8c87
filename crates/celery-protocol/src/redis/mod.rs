//! Redis as kombu uses it: keys, the envelopes of messages, and atomic steps.
//!
//! kombu has no server side on Redis: queues are lists, and the clients agree on all the rest. So the names in
//! [`keys`] and the form of [`envelope`] are the contract with every Python client and worker, while the Lua texts in
//! [`scripts`] are our own: they do in one step what kombu does in several, on the same keys.

pub mod chord;
pub mod envelope;
pub mod keys;
pub mod scripts;

pub use chord::{ChordKeys, ChordMember, MemberOutcome};
pub use envelope::{Envelope, EnvelopeError};
pub use keys::{BindingMember, RedisKeys};
