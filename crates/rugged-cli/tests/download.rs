//! `rugged download`: our own client on repositories in directories and over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]
#![allow(clippy::disallowed_methods, reason = "tests look at what was written from outside")]

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::{Demo, Said, files, rugged};

const HELLO: &str = "hello/1.0.0/bin/hello";

/// A server on loopback that serves a directory and remembers the paths that it was asked for.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn of(dir: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let Some(request) = lines.next() else { continue };
                let _ = lines.take_while(|line| !line.is_empty()).count();
                let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
                let (status, body) = match fs::read(dir.join(&path)) {
                    Ok(body) => ("200 OK", body),
                    Err(_) => ("404 Not Found", Vec::new()),
                };
                log.lock().unwrap().push(path);
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                // The reader may have had enough.
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        Self { url, asked }
    }

    /// The paths that it was asked for since the last call.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs `rugged --json download` with these targets and options.
fn download(metadata: &str, out: &Path, more: &[&str]) -> Said {
    rugged(["--json", "download", "--metadata-url", metadata, "--out", text(out)].iter().chain(more))
}

#[test]
fn targets_of_a_directory_are_verified_and_written_under_their_paths() {
    let demo = Demo::new();
    let (metadata, root, out) = (demo.path("repo/metadata"), demo.path("repo/metadata/1.root.json"), demo.path("out"));
    let targets = [HELLO, "index.json", "--root", text(&root)];
    let said = download(text(&metadata), &out, &targets).exits(0).json();
    assert_eq!(said["root_version"], 1);
    assert_eq!(said["targets"][0]["path"], HELLO);
    assert_eq!(said["targets"][0]["file"], text(&out.join(HELLO)));
    assert_eq!(said["targets"][0]["hashes"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(said["targets"][0]["reused"], false);
    assert!(fs::read_to_string(out.join(HELLO)).unwrap().contains("hello 1.0.0"));
    assert_eq!(files(&out).len(), 2);
    // Another run finds them there; a damaged one is replaced.
    fs::write(out.join("index.json"), "damage").unwrap();
    let said = download(text(&metadata), &out, &targets).exits(0).json();
    assert_eq!((&said["targets"][0]["reused"], &said["targets"][1]["reused"]), (&true.into(), &false.into()));
    assert_ne!(fs::read_to_string(out.join("index.json")).unwrap(), "damage");
    let shown =
        rugged(["download", HELLO, "--metadata-url", text(&metadata), "--root", text(&root), "--out", text(&out)]);
    assert!(shown.exits(0).out.contains("hello is up to date"));
}

#[test]
fn a_state_in_the_directory_of_the_targets_is_refused_because_a_target_could_replace_its_root() {
    let demo = Demo::new();
    let (metadata, root) = (demo.path("repo/metadata"), demo.path("repo/metadata/1.root.json"));
    let (outer, inner) = (demo.path("outer"), demo.path("outer/inner"));
    for (state, out) in [(&outer, &outer), (&inner, &outer), (&outer, &inner)] {
        let said = download(text(&metadata), out, &[HELLO, "--state", text(state), "--root", text(&root)]).exits(2);
        assert!(said.err.contains("lie within each other"), "{}", said.err);
    }
    assert!(!outer.exists());
}

#[test]
fn a_state_directory_saves_requests_and_guards_against_older_metadata() {
    let demo = Demo::new();
    let server = Server::of(demo.path("repo"));
    let metadata = format!("{}/metadata", server.url);
    let (root, state, out) = (demo.path("repo/metadata/1.root.json"), demo.path("client state"), demo.path("out"));
    let started = [HELLO, "--state", text(&state), "--root", text(&root)];
    download(&metadata, &out, &started).exits(0);
    assert!(server.asked().iter().any(|path| path.starts_with("targets/hello/")), "targets are beside metadata");
    let old = fs::read(demo.path("repo/metadata/timestamp.json")).unwrap();
    // The trusted root is in the state now.
    let later = [HELLO, "--state", text(&state)];
    download(&metadata, &out, &later).exits(0);
    assert_eq!(server.asked(), ["metadata/2.root.json", "metadata/timestamp.json"]);
    demo.again().exits(0);
    download(&metadata, &out, &["hello/1.1.0/bin/hello", "--state", text(&state)]).exits(0);
    let new = fs::read(demo.path("repo/metadata/timestamp.json")).unwrap();
    fs::write(demo.path("repo/metadata/timestamp.json"), old).unwrap();
    let said = download(&metadata, &out, &later).exits(1);
    assert!(said.err.contains("rollback") && said.err.contains("\"exit_code\":1"), "{}", said.err);
    fs::write(demo.path("repo/metadata/timestamp.json"), new).unwrap();
    download(&metadata, &out, &later).exits(0);
}

#[test]
fn nothing_is_written_if_one_target_does_not_exist() {
    let demo = Demo::new();
    let (metadata, root, out) = (demo.path("repo/metadata"), demo.path("repo/metadata/1.root.json"), demo.path("out"));
    let said = download(text(&metadata), &out, &[HELLO, "hello/9.0.0", "--root", text(&root)]).exits(1);
    assert!(said.err.contains("no role lists the target hello/9.0.0"), "{}", said.err);
    for odd in ["../up", "/etc/passwd", "a//b"] {
        let said = download(text(&metadata), &out, &[odd, "--root", text(&root)]).exits(2);
        assert!(said.err.contains("target path"), "{}", said.err);
    }
    assert!(!out.exists());
}

#[test]
fn a_file_that_does_not_verify_is_not_written() {
    let demo = Demo::new();
    let (metadata, root, out) = (demo.path("repo/metadata"), demo.path("repo/metadata/1.root.json"), demo.path("out"));
    for path in files(&demo.path("repo/targets")).iter().filter(|path| text(path).ends_with(".hello")) {
        let length = fs::metadata(path).unwrap().len() as usize;
        fs::remove_file(path).unwrap();
        fs::write(path, "x".repeat(length)).unwrap();
    }
    let said = download(text(&metadata), &out, &[HELLO, "--root", text(&root)]).exits(1);
    assert!(said.err.contains("sha256"), "{}", said.err);
    assert!(files(&out).is_empty());
}

#[test]
fn a_start_without_trust_is_refused() {
    let demo = Demo::new();
    let (metadata, out, state) = (demo.path("repo/metadata"), demo.path("out"), demo.path("empty state"));
    let said = download(text(&metadata), &out, &[HELLO]).exits(2);
    assert!(said.err.contains("--root"), "{}", said.err);
    let said = download(text(&metadata), &out, &[HELLO, "--state", text(&state)]).exits(2);
    assert!(said.err.contains("no trusted root") && said.err.contains("--root"), "{}", said.err);
    let garbage = demo.path("garbage.json");
    fs::write(&garbage, "{}").unwrap();
    for more in [&[HELLO, "--root", text(&garbage)][..], &[HELLO, "--root", text(&garbage), "--state", text(&state)]] {
        let said = download(text(&metadata), &out, more).exits(2);
        assert!(said.err.contains("trusted root"), "{}", said.err);
    }
    // A root that was refused is not kept.
    let root = demo.path("repo/metadata/1.root.json");
    download(text(&metadata), &out, &[HELLO, "--root", text(&root), "--state", text(&state)]).exits(0);
}

#[test]
fn a_server_that_is_not_there_is_no_answer() {
    let demo = Demo::new();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let root = demo.path("repo/metadata/1.root.json");
    let url = format!("http://{gone}/metadata");
    download(&url, &demo.path("out"), &[HELLO, "--root", text(&root)]).exits(3);
    let said = download(&format!("http://{gone}/"), &demo.path("out"), &[HELLO, "--root", text(&root)]).exits(2);
    assert!(said.err.contains("--targets-url"), "{}", said.err);
}
