//! A worker that was taken over: it tries whatever its standard input says, line by line, and prints what became of it.
//! The tests of the sandbox use it. `PRYING_ROLE` says whose worker it is; without it, it is the snapshot role's.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "an attacker does not go through durable_fs")]

use std::fs::File;
use std::io::{self, BufRead as _, Write as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::{fs, thread};

use fleet::{Context, FleetError, WorkerInfo, WorkerRole, key_files, process};
use service::health::HealthState;

/// Where Linux has the program that loads programs. It needs no other itself.
const LOADERS: [&str; 2] = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];

fn main() -> ExitCode {
    let asked = std::env::var("PRYING_ROLE").unwrap_or_default();
    let role = asked.parse().unwrap_or(WorkerRole::Snapshot);
    process::main(WorkerInfo { name: "prying-worker", role, about: "Tries what it is told" }, run)
}

async fn run(context: Context) -> Result<(), FleetError> {
    context.health.set_state(HealthState::Ready);
    if context.config.process.instance == "idle" {
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
        "sh" => shell(context, argument),
        "keys" => key_files::signers(context.fs.as_ref(), &context.config.signing_keys_path.join(argument), &[])
            .map(drop)
            .map_err(|error| match error {
                key_files::KeysError::Io { source, .. } => source,
                error => io::Error::other(error),
            }),
        "resolve" => (argument, 1).to_socket_addrs().map(drop),
        "connect" => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            TcpStream::connect(listener.local_addr()?).map(drop)
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// A shell, in spite of a sandbox that lets no program be started: the loader is started from memory, where no rule about
/// files holds, and told to load a shell that was brought into the worker's own state. It says by `Permission denied` that
/// it was kept from something. The script finds the words that start such a shell once more in `$0` and `$1`.
fn shell(context: &Context, script: &str) -> io::Result<()> {
    let brought = context.config.state_of(context.worker.role).join("sh");
    let bytes = LOADERS.iter().find_map(|path| fs::read(path).ok()).ok_or(io::ErrorKind::NotFound)?;
    // Not closed on exec: what the shell starts, starts by it too.
    let mut loader = File::from(rustix::fs::memfd_create("loader", rustix::fs::MemfdFlags::EXEC)?);
    loader.write_all(&bytes)?;
    let loader = format!("/proc/self/fd/{}", loader.as_raw_fd());
    let output = Command::new(&loader).arg(&brought).args(["-c", script, &loader]).arg(&brought).output()?;
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    match output.status.success() {
        true => Ok(()),
        false if said.contains("permission denied") || said.contains("operation not permitted") => {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        false => Err(io::Error::other(said)),
    }
}
