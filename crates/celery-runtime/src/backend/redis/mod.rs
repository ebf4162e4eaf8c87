//! The backend `redis://`: a result is the value of a key, announced on a channel of the same name.
//!
//! A Python client listens before it sends and waits for the announcement; a stored result that is not announced does not reach
//! a `.get()`. So one script stores and announces, and never overwrites a SUCCESS.
//!
//! Chords are counted in the keys of Celery 5.7. Their members may run on Python workers of 5.7 and, with the guarantees those
//! give, of 5.6. One guarantee is stronger than in Python: a worker that finds a chord complete while another holds the claim to
//! publish its body waits for the outcome before it acknowledges its own task. If the holder dies, the waiting worker publishes
//! the body.

mod chord;
mod listener;
mod redis_backend;
mod results;

pub use redis_backend::RedisBackend;
