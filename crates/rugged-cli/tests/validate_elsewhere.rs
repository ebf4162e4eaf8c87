//! `rugged validate` on repositories over HTTP, and on those of others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]
#![allow(clippy::disallowed_methods, reason = "tests look at what was written from outside")]

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::num::NonZeroU64;
use std::path::Path;

use common::{Demo, Said, rugged, write};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tough::TargetName;
use tough::editor::RepositoryEditor;
use tough::editor::signed::PathExists;
use tough::key_source::KeySource;
use tough::schema::{PathPattern, PathSet};
use tough::sign::{Sign, parse_keypair};
use tuf_core::canonical::canonicalize;
use tuf_core::key::{KeyIdFormat, PublicKey};

/// A server on loopback that answers `GET PATH` with what `answer` makes of the path, whole answers, until the test
/// ends.
fn server(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let Some(request) = lines.next() else { continue };
            let _ = lines.take_while(|line| !line.is_empty()).count();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            // The reader may have had enough.
            let _ = stream.write_all(&answer(&path));
        }
    });
    url
}

fn respond(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn validate(metadata: &str, more: &[&str]) -> Said {
    rugged(["--json", "validate", "--metadata", metadata].iter().chain(more))
}

/// The rules of the findings, without the clients that every default repository excludes.
fn rules(said: &Value) -> Vec<&str> {
    let rules = said["findings"].as_array().unwrap().iter().map(|finding| finding["rule"].as_str().unwrap());
    rules.filter(|rule| !rule.starts_with('O')).collect()
}

#[test]
fn a_repository_is_checked_over_http() {
    let demo = Demo::new();
    let source = demo.path("source");
    write(&source.join("pkg/a b é%.txt"), "a name that a URL cannot hold as it is");
    let up = demo.up();
    demo.rugged(&["post", source.to_str().unwrap(), "--wait=60"]).exits(0);
    let http = up.said["http"].as_str().unwrap().trim_end_matches('/');
    let (metadata, targets) = (format!("{http}/metadata"), format!("{http}/targets/"));
    let root = demo.path("repo/metadata/1.root.json");
    let more = ["--targets", &targets, "--trusted-root", root.to_str().unwrap(), "--strict"];
    let said = validate(&metadata, &more).exits(0).json();
    // The name is not ASCII, which is a warning.
    assert_eq!(rules(&said), ["P2"], "{said}");
    assert_eq!(said["checked"]["targets"], said["checked"]["target_files"], "{said}");

    // One file less on the server.
    let name = common::files(&demo.path("repo/targets"));
    for path in name.iter().filter(|path| path.to_str().unwrap().ends_with("hello")) {
        std::fs::remove_file(path).unwrap();
    }
    let said = validate(&metadata, &["--targets", &targets]).exits(1).json();
    assert!(rules(&said).contains(&"P6"), "{said}");
}

#[test]
fn a_server_that_is_not_there_is_no_finding() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = validate(&format!("http://{gone}/metadata"), &[]).exits(2);
    assert!(said.err.contains("\"hint\":"), "{}", said.err);
}

#[test]
fn a_server_that_fails_is_no_finding() {
    let url = server(|_| respond("500 Internal Server Error", b"sorry"));
    let said = validate(&url, &[]).exits(2);
    assert!(said.err.contains("500"), "{}", said.err);
}

#[test]
fn a_server_without_a_repository_is_no_finding() {
    let url = server(|_| respond("404 Not Found", b""));
    let said = validate(&url, &[]).exits(2);
    assert!(said.err.contains("no repository"), "{}", said.err);
}

#[test]
fn redirects_do_not_go_on_for_ever() {
    let url = server(|path| {
        format!("HTTP/1.1 302 Found\r\nLocation: {path}x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .into_bytes()
    });
    validate(&url, &[]).exits(2);
}

/// A demo's repository, served by `server` as it is but for what `twist` says.
fn twisted(demo: &Demo, twist: impl Fn(&str, &[u8]) -> Option<Vec<u8>> + Send + 'static) -> String {
    let dir = demo.path("repo");
    server(move |path| match std::fs::read(dir.join(path.trim_start_matches('/'))) {
        Ok(body) => twist(path, &body).unwrap_or_else(|| respond("200 OK", &body)),
        // As Amazon answers where nothing may be listed.
        Err(_) => respond("403 Forbidden", b"<Error>"),
    })
}

#[test]
fn an_answer_that_breaks_off_leaves_the_answer_open() {
    let demo = Demo::new();
    let url = twisted(&demo, |path, body| {
        path.contains("snapshot").then(|| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            [head.as_bytes(), &body[..10]].concat()
        })
    });
    let said = validate(&format!("{url}/metadata"), &[]).exits(2).json();
    assert!(said["unread"][0]["subject"].as_str().unwrap().contains("snapshot"), "{said}");
}

#[test]
fn an_answer_without_end_is_not_read_to_its_end() {
    let demo = Demo::new();
    let url =
        twisted(&demo, |path, _| path.contains("timestamp").then(|| respond("200 OK", " ".repeat(4 << 20).as_bytes())));
    let said = validate(&format!("{url}/metadata"), &[]).exits(1).json();
    assert_eq!(rules(&said)[0], "L1", "{said}");
}

#[test]
fn a_server_that_says_403_for_what_is_not_there_is_understood() {
    let demo = Demo::new();
    let url = twisted(&demo, |_, _| None);
    let said = validate(&format!("{url}/metadata"), &["--targets", &format!("{url}/targets")]).exits(0).json();
    assert_eq!(rules(&said), Vec::<&str>::new(), "{said}");
}

#[test]
fn a_url_with_a_password_is_refused_and_not_shown() {
    let said = validate("https://user:hunter2@example.org/metadata", &[]).exits(2);
    assert!(!said.out.contains("hunter2"), "{}", said.out);
}

/// A key in the form tough reads.
#[derive(Clone, Debug)]
struct Key(Vec<u8>);

#[tough::async_trait]
impl KeySource for Key {
    async fn as_sign(&self) -> Result<Box<dyn Sign>, Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok(Box::new(parse_keypair(&self.0)?))
    }

    async fn write(&self, _: &str, _: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        Err("not needed".into())
    }
}

impl Key {
    fn new() -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        Self(der.as_ref().to_vec())
    }

    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_pkcs8(&self.0).unwrap()
    }
}

/// A root in which one key holds every role, at `path`.
fn write_root(key: &Key, path: &Path) {
    let public = hex::encode(key.pair().public_key().as_ref());
    let public = json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}});
    let id = PublicKey::from_json(public.to_string().as_bytes()).unwrap().key_id(KeyIdFormat::Spec).to_string();
    let role = json!({"keyids": [id], "threshold": 1});
    let signed = json!({
        "_type": "root", "spec_version": "1.0.0", "consistent_snapshot": true, "version": 1,
        "expires": "2200-01-01T00:00:00Z", "keys": {&id: public},
        "roles": {"root": role, "targets": role, "snapshot": role, "timestamp": role},
    });
    let canonical = canonicalize(signed.to_string().as_bytes()).unwrap().into_owned();
    let sig = hex::encode(key.pair().sign(&canonical).as_ref());
    write(path, &json!({"signatures": [{"keyid": id, "sig": sig}], "signed": signed}).to_string());
}

/// A repository made with the editor of tough: two targets of its own, one of a delegated role.
async fn made_by_tough(dir: &Path) {
    let (key, team) = (Key::new(), Key::new());
    let keys: [Box<dyn KeySource>; 1] = [Box::new(key.clone())];
    let team_keys: [Box<dyn KeySource>; 1] = [Box::new(team)];
    write_root(&key, &dir.join("root.json"));
    for (name, content) in [("one.txt", "first"), ("two.txt", "second"), ("team-three.txt", "third")] {
        write(&dir.join("input").join(name), content);
    }
    let (one, expires) = (NonZeroU64::MIN, "2199-01-01T00:00:00Z".parse().unwrap());
    let input = |name: &str| dir.join("input").join(name);
    let mut editor = RepositoryEditor::new(dir.join("root.json")).await.unwrap();
    editor.targets_version(one).unwrap().targets_expires(expires).unwrap();
    editor.snapshot_version(one).snapshot_expires(expires).timestamp_version(one).timestamp_expires(expires);
    editor.add_target_paths(vec![input("one.txt"), input("two.txt")]).await.unwrap();
    let paths = PathSet::Paths(vec![PathPattern::new("team-*").unwrap()]);
    editor.delegate_role("team", &team_keys, paths, true, one, expires, one).await.unwrap();
    editor.sign_targets_editor(&keys).await.unwrap().change_delegated_targets("team").unwrap();
    editor.add_target_path(input("team-three.txt")).await.unwrap();
    editor.targets_version(one).unwrap().targets_expires(expires).unwrap();
    editor.sign_targets_editor(&team_keys).await.unwrap().change_delegated_targets("targets").unwrap();
    editor.targets_version(one).unwrap().targets_expires(expires).unwrap();
    let signed = editor.sign(&keys).await.unwrap();
    signed.write(dir.join("metadata")).await.unwrap();
    std::fs::create_dir_all(dir.join("targets")).unwrap();
    signed.copy_targets(dir.join("input"), dir.join("targets"), PathExists::Fail).await.unwrap();
    let delegated = TargetName::new("team-three.txt").unwrap();
    // Where it was not copied along.
    let _ =
        signed.copy_target(&input("team-three.txt"), &dir.join("targets"), PathExists::Skip, Some(&delegated)).await;
}

#[tokio::test]
async fn nothing_is_found_in_a_repository_of_tough() {
    let temp = tempfile::tempdir().unwrap();
    made_by_tough(temp.path()).await;
    let path = |below: &str| temp.path().join(below).to_str().unwrap().to_owned();
    let more = ["--targets", &path("targets"), "--trusted-root", &path("root.json"), "--strict"];
    let said = validate(&path("metadata"), &more).exits(0).json();
    assert_eq!(rules(&said), Vec::<&str>::new(), "{said}");
    assert_eq!((&said["checked"]["targets"], &said["checked"]["targets_roles"]), (&3.into(), &2.into()), "{said}");
}
