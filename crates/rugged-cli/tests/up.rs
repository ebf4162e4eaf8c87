//! `rugged up`, and other commands reaching it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]
#![allow(clippy::disallowed_methods, reason = "tests look at what was written from outside")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use common::{Demo, write};

/// Status line and headers, then the body.
fn get(url: &str, path: &str) -> (String, Vec<u8>) {
    get_with(url, path, "")
}

/// As [`get`], with further headers.
fn get_with(url: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
    let host = host(url);
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase(), answer[end + 4..].to_vec())
}

fn host(url: &str) -> &str {
    url.strip_prefix("http://").unwrap().trim_end_matches('/')
}

#[test]
fn a_second_process_reaches_the_fleet_and_a_browser_the_repository() {
    let demo = Demo::new();
    let up = demo.up();

    let status = demo.rugged(&["--json", "status"]).exits(0).json();
    assert_eq!(status["ok"], true, "{status}");
    assert_eq!(status["workers"][1]["status"]["role"], "targets", "{status}");
    assert_eq!(demo.rugged(&["--json", "ping"]).exits(0).json().as_array().unwrap().len(), 4);
    assert_eq!(demo.rugged(&["--json", "ping", "targets-worker"]).exits(0).json().as_array().unwrap().len(), 1);

    // Remote control reaches them to look; what would change them is refused.
    let queues = demo.rugged(&["--json", "inspect", "active_queues"]).exits(0).json();
    let named: Vec<&str> = queues.as_array().unwrap().iter().filter_map(|a| a["value"][0]["name"].as_str()).collect();
    assert_eq!(named, ["monitor-worker", "snapshot-worker", "targets-worker", "timestamp-worker"], "{queues}");
    let refused = demo.rugged(&["--json", "revoke", "--terminate", "some-id"]).exits(4).json();
    assert!(refused[0]["value"]["error"].as_str().unwrap().starts_with("PermissionError"), "{refused}");
    demo.rugged(&["inspect", "ping", "--node", "nobody@nowhere"]).exits(3);
    let event = demo.rugged(&["--json", "events", "--workers", "--count", "1"]).exits(0).json();
    assert_eq!(event["type"], "worker-heartbeat", "{event}");

    let source = demo.path("source");
    write(&source.join("app/1.0/app.txt"), "released");
    let posted = demo.rugged(&["--json", "post", source.to_str().unwrap(), "--wait=60"]).exits(0).json();
    assert_eq!(posted["receipt"]["outcome"], "published", "{posted}");
    let status = demo.rugged(&["--json", "status"]).exits(0).json();
    for worker in status["workers"].as_array().unwrap() {
        assert!(worker["status"]["last_work"].is_string(), "{worker}");
    }
    assert!(status["workers"][1]["status"]["also_expire"]["root"].is_string(), "{status}");

    let http = up.said["http"].as_str().unwrap();
    let (head, body) = get(http, "/metadata/timestamp.json");
    assert!(head.starts_with("http/1.1 200") && head.contains("cache-control: no-store"), "{head}");
    assert_eq!(body, std::fs::read(demo.path("repo/metadata/timestamp.json")).unwrap());
    let (head, part) = get_with(http, "/metadata/timestamp.json", "Range: bytes=2-5\r\n");
    assert!(head.starts_with("http/1.1 206") && head.contains("content-range: bytes 2-5/"), "{head}");
    assert_eq!(part, body[2..6]);
    let (head, _) = get(http, "/metadata/1.root.json");
    assert!(head.contains("immutable"), "{head}");
    let (head, _) = get(http, "/metadata/2.root.json");
    assert!(head.starts_with("http/1.1 404") && head.contains("cache-control: no-store"), "{head}");
    for hidden in
        ["/metadata/.1.timestamp.json", "/metadata/%2e1.timestamp.json", "/log/", "/metadata/../log/", "/keys/"]
    {
        let (head, _) = get(http, hidden);
        assert!(head.starts_with("http/1.1 404") || head.starts_with("http/1.1 400"), "{hidden}: {head}");
    }

    // Operators' tasks go the operators' way.
    let paused = demo.rugged(&["--json", "pause-processing", "--reason", "maintenance"]).exits(0).json();
    assert_eq!(paused["paused"], true);
    let status = demo.rugged(&["--json", "status"]).json();
    assert_eq!(status["workers"][0]["status"]["processing"]["reason"], "maintenance", "{status}");
    assert_eq!(demo.rugged(&["--json", "resume-processing"]).exits(0).json()["paused"], false);
    demo.rugged(&["remove-targets", "app/1.0/app.txt", "--yes"]).exits(0);

    // The demo uses the fleet it finds.
    let said = demo.again().exits(0).json();
    assert!(said["stages"][2]["detail"].as_str().unwrap().contains("found running"), "{said}");

    assert_eq!(up.interrupt(), 0);
    assert!(!demo.path("state/broker.sock").exists());
    demo.rugged(&["validate", "--strict"]).exits(0);
}

#[test]
fn half_open_connections_do_not_use_up_the_descriptors_of_the_roles() {
    let demo = Demo::new();
    let up = demo.up();
    let http = up.said["http"].as_str().unwrap();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", up.id())).unwrap().count();
    let before = open();
    let half: Vec<TcpStream> = (0..600)
        .map(|_| {
            let mut stream = TcpStream::connect(host(http)).unwrap();
            write!(stream, "GET /metadata/timestamp.json HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    // A release needs descriptors in every role, and is made meanwhile.
    let source = demo.path("source");
    write(&source.join("app"), "released");
    demo.rugged(&["post", source.to_str().unwrap(), "--wait=60"]).exits(0);
    let more = open().saturating_sub(before);
    assert!(more < 300, "{more} more descriptors for {} connections", half.len());
    drop(half);
    assert!(get(http, "/metadata/timestamp.json").0.starts_with("http/1.1 200"));
    assert_eq!(up.interrupt(), 0);
}

#[test]
fn one_state_has_one_fleet() {
    let demo = Demo::new();
    let up = demo.up();
    let second = demo.rugged(&["up", "--no-http"]).exits(5);
    assert!(second.err.contains("another process"), "{}", second.err);
    assert_eq!(up.interrupt(), 0);
}

#[test]
fn production_is_refused() {
    let demo = Demo::new();
    for command in [
        &["up", "--no-http"][..],
        &["add-targets"],
        &["remove-targets", "app/1.0/app.txt", "--yes"],
        &["refresh-expiry"],
        &["pause-processing"],
        &["resume-processing"],
        &["revoke", "some-id"],
    ] {
        let said = demo.rugged(&[&["--set", "environment=production"], command].concat()).exits(5);
        assert!(said.err.contains("production") && said.err.contains("hint: "), "{command:?}: {}", said.err);
        assert_eq!(said.out, "", "{command:?}");
    }
}

#[test]
fn a_command_without_the_fleets_broker_never_says_that_it_paused_the_fleet() {
    let demo = Demo::new();
    let switch = demo.path("state/monitor/pause.json");
    assert!(!switch.exists());
    let said = demo.rugged(&["--set", "environment=production", "pause-processing", "--reason", "x"]).exits(5);
    assert!(said.err.contains("found no fleet") && said.err.contains("broker_url"), "{}", said.err);
    assert!(!switch.exists());
    // A trial on this machine may prepare its next start, and hears that this is all that happened.
    let said = demo.rugged(&["pause-processing", "--reason", "x"]).exits(0);
    assert!(said.err.contains("no fleet is running") && switch.exists(), "{said:?}");
}

#[test]
fn a_pause_without_a_fleet_is_kept_for_the_next_one() {
    let demo = Demo::new();
    demo.rugged(&["pause-processing", "--reason", "moving house"]).exits(0);
    let up = demo.up();
    let status = demo.rugged(&["--json", "status"]).json();
    assert_eq!(status["workers"][0]["status"]["processing"]["paused"], true, "{status}");
    drop(up);
}
