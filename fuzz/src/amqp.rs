//! The guard in front of the AMQP library.

#[path = "../../crates/celery-runtime/src/broker/amqp/guard.rs"]
mod guard;
#[path = "../../crates/celery-runtime/src/broker/amqp/guard_fuzz.rs"]
pub mod guard_fuzz;

mod supervisor {
    /// Smaller than in the crate itself, so that the fuzzer reaches it.
    pub(super) const FRAME_BYTES: u32 = 2 << 10;
}
