//! The HTTP server of `rugged up`: it serves `metadata/` and `targets/` of the repository, nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use durable_fs::durable::TEMP_PREFIX;
use fleet::Config;
use service::http::{self, HttpLimits};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::services::ServeDir;

use crate::error::CliError;
use crate::percent::percent_decode;

/// Listens on `address`.
///
/// # Errors
/// [`CommandExit::LocalFailure`](service::exit_code::CommandExit::LocalFailure) when the address is in use or not an
/// address of this machine.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        CliError::local_failure(error)
            .during(format!("cannot listen on {address} (--http)"))
            .hint("use a free port with --http 127.0.0.1:0, or serve nothing with --no-http")
    })
}

/// Downloads may be long, and clients keep connections for a while. With a file open for each, the connections stay far
/// below the 1024 descriptors that a process commonly has, because the roles in this process need theirs.
const REPOSITORY_LIMITS: HttpLimits = HttpLimits {
    connections: 128,
    head: Duration::from_secs(15),
    stalled_write: Duration::from_secs(30),
    connection: Duration::from_secs(3_600),
};

/// Serves the repository of `config` until `shutdown` is cancelled.
pub async fn serve(listener: TcpListener, config: &Config, shutdown: CancellationToken) {
    http::serve(listener, router(config), REPOSITORY_LIMITS, shutdown).await;
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
    // A cached 404 would hide the next root, or a file that was just signed.
    let caching = if found { caching } else { NO_STORE };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}

/// Whether a path is never served: uncommitted metadata has a hidden name, and so do temporary files everywhere. A
/// target may be called `.config`.
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

#[cfg(test)]
mod tests {
    use super::*;

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
