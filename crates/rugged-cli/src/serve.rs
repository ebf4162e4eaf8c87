//! The repository over HTTP, for `rugged up`: `metadata/` and `targets/`, nothing else.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use durable_fs::durable::TEMP_PREFIX;
use fleet::Config;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::services::ServeDir;

use crate::error::CliError;

/// Listens on `address`.
///
/// # Errors
/// When it is taken or not ours.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        CliError::infrastructure(format!("cannot listen on {address}: {error}"))
            .hint("--http 127.0.0.1:0 takes a free port, --no-http serves nothing")
    })
}

/// Serves the repository of `config` until `shutdown`.
///
/// # Errors
/// When accepting connections fails for good.
pub async fn serve(listener: TcpListener, config: &Config, shutdown: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router(config)).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

fn router(config: &Config) -> Router {
    let consistent = config.consistent_snapshot;
    Router::new()
        .nest_service("/metadata", ServeDir::new(config.metadata_path()).append_index_html_on_directories(false))
        .nest_service("/targets", ServeDir::new(config.targets_path()).append_index_html_on_directories(false))
        .layer(middleware::from_fn(move |request, next| respond(request, next, consistent)))
}

async fn respond(request: Request, next: Next, consistent_snapshot: bool) -> Response {
    let path = percent_decode(request.uri().path()).filter(|path| !is_hidden(path));
    let (mut response, caching) = match path {
        Some(path) => (next.run(request).await, caching(&path, consistent_snapshot)),
        None => (StatusCode::NOT_FOUND.into_response(), NO_STORE),
    };
    let found = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
    // A miss must not outlive the moment: the next root or the file just signed is asked for again.
    let caching = if found { caching } else { NO_STORE };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}

/// Metadata that is not committed yet has a hidden name; temporary files have one everywhere. A target may be called
/// `.config`.
fn is_hidden(path: &str) -> bool {
    let metadata = path.starts_with("/metadata/");
    path.split('/').any(|part| {
        if metadata { part.starts_with('.') } else { part.starts_with(TEMP_PREFIX) || part.starts_with(".nfs") }
    })
}

const NO_STORE: &str = "no-store";
const REVALIDATE: &str = "no-cache";
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

fn caching(path: &str, consistent_snapshot: bool) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    let hashed = |part: &str| {
        part.split_once('.').is_some_and(|(hash, _)| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let versioned = || name.split_once('.').is_some_and(|(version, _)| version.bytes().all(|b| b.is_ascii_digit()));
    if path.starts_with("/metadata/") {
        match name {
            "timestamp.json" => NO_STORE,
            _ if versioned() && (consistent_snapshot || name.ends_with(".root.json")) => IMMUTABLE,
            _ => REVALIDATE,
        }
    } else if consistent_snapshot && path.split('/').any(hashed) {
        IMMUTABLE
    } else {
        REVALIDATE
    }
}

/// Undoes percent-encoding; `None` when the result is not UTF-8. A `%` that encodes nothing stays.
#[must_use]
pub fn percent_decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let mut byte = [0_u8];
        if pair.is_some_and(|pair| hex::decode_to_slice(pair, &mut byte).is_ok()) {
            out.push(byte[0]);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone() {
        assert_eq!(percent_decode("a%20b%2Fc").as_deref(), Some("a b/c"));
        assert_eq!(percent_decode("100%").as_deref(), Some("100%"));
        assert_eq!(percent_decode("%zz%2").as_deref(), Some("%zz%2"));
        assert_eq!(percent_decode("%ff"), None);
    }

    #[test]
    fn what_is_not_committed_is_not_served() {
        assert!(is_hidden("/metadata/.7.timestamp.json"));
        assert!(is_hidden("/targets/a/.tmp-1-2-3"));
        assert!(!is_hidden("/targets/.config/a"));
        assert!(!is_hidden("/metadata/timestamp.json"));
    }

    #[test]
    fn only_names_that_never_change_are_cached_for_good() {
        let hash = "ab".repeat(32);
        assert_eq!(caching("/metadata/timestamp.json", true), NO_STORE);
        assert_eq!(caching("/metadata/7.snapshot.json", true), IMMUTABLE);
        assert_eq!(caching("/metadata/7.snapshot.json", false), REVALIDATE);
        assert_eq!(caching("/metadata/2.root.json", false), IMMUTABLE);
        assert_eq!(caching("/metadata/snapshot.json", false), REVALIDATE);
        assert_eq!(caching(&format!("/targets/a/{hash}.b"), true), IMMUTABLE);
        assert_eq!(caching(&format!("/targets/{hash}.a/b"), true), IMMUTABLE);
        assert_eq!(caching("/targets/a/b", true), REVALIDATE);
        assert_eq!(caching(&format!("/targets/{hash}.b"), false), REVALIDATE);
    }
}
