//! Redis as kombu uses it: keys, the envelope a message travels in, and what has to happen there at once.
//!
//! kombu has no server side on Redis; queues are lists and everything else is agreed upon between clients. So the names in
//! [`keys`] and the form of [`envelope`] are the contract with every Python client and worker, while the Lua texts in
//! [`scripts`] are our own: they do in one step what kombu does in several, on the same keys.

pub mod chord;
pub mod envelope;
pub mod keys;
pub mod scripts;

pub use chord::{ChordKeys, ChordMember, MemberOutcome};
pub use envelope::{Envelope, EnvelopeError};
pub use keys::{BindingMember, Keys};
