//! The modules of `celery-runtime` that read bytes from outside, without the rest of it, which takes minutes to build.

#[path = "../../crates/celery-runtime/src/broker/url.rs"]
pub mod url;

pub use url::{BrokerUrl, UrlError};


