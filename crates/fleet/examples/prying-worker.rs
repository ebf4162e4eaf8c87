//! A worker of the snapshot role that was taken over: it tries whatever its standard input says, line by line, and
//! prints what became of it. The tests of the sandbox use it.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "an attacker does not go through durable_fs")]

use std::io::{self, BufRead as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::{fs, thread};

use fleet::health::State;
use fleet::{Context, FleetError, WorkerInfo, keys, process};

const WORKER: WorkerInfo = WorkerInfo { name: "prying-worker", role: "snapshot", about: "Tries what it is told" };

fn main() -> ExitCode {
    process::main(WORKER, run)
}

async fn run(context: Context) -> Result<(), FleetError> {
    context.health.set_state(State::Ready);
    if context.config.instance == "idle" {
        context.shutdown.cancelled().await;
        return Ok(());
    }
    println!("ready");
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        // On a thread of its own: the sandbox must hold every one.
        let (context, words) = (context.clone(), line.clone());
        let outcome = thread::spawn(move || attempt(&context, &words)).join();
        match outcome {
            Ok(Ok(())) => println!("{line}: done"),
            Ok(Err(error)) => println!("{line}: {}", error.kind()),
            Err(_) => println!("{line}: panicked"),
        }
    }
    Ok(())
}

fn attempt(context: &Context, line: &str) -> io::Result<()> {
    let (what, argument) = line.split_once(' ').unwrap_or((line, ""));
    let path = Path::new(argument);
    match what {
        "read" => fs::read(path).map(drop),
        "list" => fs::read_dir(path).map(drop),
        "write" => fs::write(path, "x"),
        "append" => fs::OpenOptions::new().append(true).open(path).map(drop),
        "remove" => fs::remove_file(path),
        "link" => fs::hard_link(path, path.with_extension("linked")),
        "symlink" => std::os::unix::fs::symlink("/etc/passwd", path),
        "run" => Command::new(path).status().map(drop),
        "keys" => keys::signers(context.fs.as_ref(), &context.config.signing_keys_of(argument), &[]).map(drop).map_err(
            |error| match error {
                keys::KeysError::Io { source, .. } => source,
                error => io::Error::other(error),
            },
        ),
        "resolve" => (argument, 1).to_socket_addrs().map(drop),
        "connect" => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            TcpStream::connect(listener.local_addr()?).map(drop)
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}
