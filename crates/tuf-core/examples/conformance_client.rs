//! A client that speaks the command line of the public conformance suite, `theupdateframework/tuf-conformance`:
//!
//! ```text
//! conformance_client --metadata-dir DIR init TRUSTED_ROOT
//! conformance_client --metadata-dir DIR --metadata-url URL refresh
//! conformance_client --metadata-dir DIR --metadata-url URL --target-name NAME… --target-base-url URL --target-dir DIR download
//! ```
//!
//! Exit code 0 if everything succeeded, otherwise 1. Build it with `cargo build -p tuf-core --features http --example
//! conformance_client`, then run the suite with `pytest tuf_conformance --entrypoint target/debug/examples/conformance_client`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a program of its own: it reads the clock and its arguments"
)]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durable_fs::RealFs;
use tuf_core::client::{Client, ClientLimits, HttpDirectory, StateDirectory, TargetDirectory, TargetFileNames};
use tuf_core::names::TargetPath;
use tuf_core::time::UtcTime;

const USER_AGENT: &str = concat!("tuf-core-conformance/", env!("CARGO_PKG_VERSION"));
/// Longest wait for another client that uses the same directory.
const LOCK_WAIT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Arguments {
    metadata_dir: Option<String>,
    metadata_url: Option<String>,
    target_names: Vec<String>,
    target_base_url: Option<String>,
    target_dir: Option<String>,
    /// The command and what follows it.
    command: Vec<String>,
}

impl Arguments {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut read = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--metadata-dir" => read.metadata_dir = Some(value()?),
                "--metadata-url" => read.metadata_url = Some(value()?),
                "--target-name" => read.target_names.push(value()?),
                "--target-base-url" => read.target_base_url = Some(value()?),
                "--target-dir" => read.target_dir = Some(value()?),
                _ => read.command.push(argument),
            }
        }
        Ok(read)
    }
}

fn needed(value: Option<String>, option: &str) -> Result<String, Box<dyn Error>> {
    value.ok_or_else(|| format!("{option} is needed").into())
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let limits = ClientLimits::default();
    let state = StateDirectory::open(Arc::new(RealFs), needed(arguments.metadata_dir, "--metadata-dir")?, LOCK_WAIT)?;
    let command: Vec<&str> = arguments.command.iter().map(String::as_str).collect();
    if let ["init", trusted_root] = command[..] {
        state.initialize(&std::fs::read(trusted_root)?, limits.root_bytes)?;
        return Ok(());
    }
    let metadata = HttpDirectory::new(&needed(arguments.metadata_url, "--metadata-url")?, USER_AGENT)?;
    let targets = match &arguments.target_base_url {
        Some(url) => HttpDirectory::new(url, USER_AGENT)?,
        None => metadata.clone(),
    };
    let mut client = Client::open(state, metadata, targets, limits)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    client.refresh(UtcTime::from_unix(i64::try_from(now)?))?;
    match command[..] {
        ["refresh"] => Ok(()),
        ["download"] => {
            let dir = PathBuf::from(needed(arguments.target_dir, "--target-dir")?);
            let directory = TargetDirectory::new(Arc::new(RealFs), dir, TargetFileNames::Paths);
            for name in &arguments.target_names {
                let target = client.download_into(&TargetPath::new(name)?, &directory, &mut |_| ())?;
                eprintln!("{name}: {}, {} bytes", target.file.display(), target.meta.length);
            }
            Ok(())
        }
        _ => Err("the command is `init TRUSTED_ROOT`, `refresh` or `download`".into()),
    }
}

fn main() -> ExitCode {
    let done = Arguments::read(std::env::args().skip(1)).and_then(run);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Serves the repository of the tests (made by python-tuf) on loopback. Returns its URL and the paths that were asked for.
    fn server() -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foundations/fixtures/repo");
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let Some(request) = lines.next() else { continue };
                let _ = lines.take_while(|line| !line.is_empty()).count();
                let path = request.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
                let (status, body) = match fs::read(dir.join(&path)) {
                    Ok(body) => ("200 OK", body),
                    Err(_) => ("404 Not Found", Vec::new()),
                };
                log.lock().unwrap().push(path);
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        (url, asked)
    }

    fn call(arguments: &[&str]) -> Result<(), String> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        Arguments::read(arguments).and_then(run).map_err(|error| error.to_string())
    }

    #[test]
    fn the_three_commands_do_as_the_suite_documents() {
        let (url, asked) = server();
        let temp = tempfile::tempdir().unwrap();
        let dir = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
        let (state, out) = (dir("metadata"), dir("targets"));
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foundations/fixtures/repo/metadata/1.root.json");
        let (metadata, targets) = (format!("{url}/metadata/"), format!("{url}/targets/"));
        let asked = || std::mem::take(&mut *asked.lock().unwrap());

        call(&["--metadata-dir", &state, "init", root]).unwrap();
        assert!(asked().is_empty(), "init asks for nothing");
        assert_eq!(fs::read(dir("metadata/root.json")).unwrap(), fs::read(root).unwrap());

        call(&["--metadata-url", &metadata, "--metadata-dir", &state, "refresh"]).unwrap();
        let expected = ["2.root.json", "3.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]
            .map(|name| format!("metadata/{name}"));
        assert_eq!(asked(), expected);
        for role in ["root", "timestamp", "snapshot", "targets"] {
            assert!(Path::new(&dir(&format!("metadata/{role}.json"))).exists(), "{role}");
        }

        let download = |names: &[&str]| {
            let mut arguments = vec!["--metadata-url", &metadata, "--metadata-dir", &state];
            names.iter().for_each(|name| arguments.extend(["--target-name", name]));
            arguments.extend(["--target-dir", &out, "--target-base-url", &targets, "download"]);
            call(&arguments)
        };
        download(&["top.txt", "pkg/a.zip"]).unwrap();
        assert_eq!(fs::read_to_string(dir("targets/pkg/a.zip")).unwrap(), "content of pkg/a.zip\n");
        assert!(asked().iter().any(|path| path.starts_with("targets/")));
        download(&["top.txt", "pkg/a.zip"]).unwrap();
        assert_eq!(asked(), ["metadata/3.root.json", "metadata/timestamp.json"], "the rest is kept");

        // The command stops at the first target that fails.
        assert!(download(&["missing", "binned/1"]).unwrap_err().contains("no role lists the target missing"));
        assert!(!Path::new(&dir("targets/binned")).exists());
        assert!(call(&["--metadata-dir", &state, "--metadata-url", &metadata, "no-command"]).is_err());
        assert!(call(&["--metadata-dir", &dir("empty"), "--metadata-url", &metadata, "refresh"]).is_err());
    }
}
