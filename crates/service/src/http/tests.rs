use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;

/// Patient, for tests of one limit at a time.
const PATIENT: HttpLimits = HttpLimits {
    connections: 4,
    head: Duration::from_secs(3_600),
    stalled_write: Duration::from_secs(3_600),
    connection: Duration::from_secs(3_600),
};
/// Short enough for a test to wait for.
const SHORT: Duration = Duration::from_millis(50);

async fn served(limits: HttpLimits) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let router = Router::new()
        .route("/", get(|| async { "ok" }))
        // More than the buffers of both sockets hold.
        .route("/large", get(|| async { vec![b'x'; 64 << 20] }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, router, limits, shutdown.clone()));
    (address, shutdown, serving)
}

async fn open(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Sends a request for `/` and returns the answer up to its end.
async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        let read = stream.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap()
}

/// Waits until the server closes the connection.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset ends it too.
    let _ = stream.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn connections_that_send_nothing_or_half_a_head_make_room_for_others() {
    let (address, _shutdown, _serving) = served(HttpLimits { head: SHORT, ..PATIENT }).await;
    let mut silent = Vec::new();
    for number in 0..100 {
        let mut stream = open(address).await;
        if number % 2 == 0 {
            stream.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
        }
        silent.push(stream);
    }
    assert!(ask(&mut open(address).await).await.starts_with("HTTP/1.1 200"));
    for mut stream in silent {
        closed(&mut stream).await;
    }
}

#[tokio::test]
async fn a_new_connection_takes_the_place_of_the_one_that_has_had_no_request_for_longest() {
    let (address, _shutdown, _serving) = served(PATIENT).await;
    let mut kept = open(address).await;
    ask(&mut kept).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(open(address).await);
    }
    // No limit of time ends one of them.
    ask(&mut open(address).await).await;
    closed(&mut kept).await;
    for stream in &mut silent[..40] {
        closed(stream).await;
    }
}

#[tokio::test]
async fn a_client_that_is_being_answered_keeps_its_place() {
    let (address, _shutdown, _serving) = served(HttpLimits { connections: 2, ..PATIENT }).await;
    let mut downloading = open(address).await;
    downloading.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 1 << 10];
    downloading.read_exact(&mut answer).await.unwrap();
    for _ in 0..20 {
        ask(&mut open(address).await).await;
    }
    downloading.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() > 64 << 20, "{}", answer.len());
}

#[tokio::test]
async fn a_kept_connection_that_is_idle_for_too_long_is_closed() {
    let (address, _shutdown, _serving) = served(HttpLimits { head: SHORT, ..PATIENT }).await;
    let mut stream = open(address).await;
    ask(&mut stream).await;
    closed(&mut stream).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_left() {
    let (address, _shutdown, _serving) = served(HttpLimits { stalled_write: SHORT, connections: 1, ..PATIENT }).await;
    let mut stalled = open(address).await;
    stalled.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // The only place becomes free although the client still holds its end.
    assert!(ask(&mut open(address).await).await.starts_with("HTTP/1.1 200"));
    drop(stalled);
}

#[tokio::test]
async fn a_connection_does_not_last_for_ever() {
    let (address, _shutdown, _serving) = served(HttpLimits { connection: SHORT, ..PATIENT }).await;
    closed(&mut open(address).await).await;
}

#[tokio::test]
async fn a_kept_connection_answers_many_requests_and_a_shutdown_ends_it() {
    let (address, shutdown, serving) = served(PATIENT).await;
    let mut stream = open(address).await;
    for _ in 0..100 {
        ask(&mut stream).await;
    }
    shutdown.cancel();
    closed(&mut stream).await;
    serving.await.unwrap();
}
