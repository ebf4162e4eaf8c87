//! Redis URLs, which broker URLs are made of.

#[path = "../../crates/celery-runtime/src/redis/url.rs"]
mod url;

pub use url::RedisUrl;
