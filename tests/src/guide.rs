//! The commands of `docs/operations.md`, run as they stand there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use testkit::servers::{Finished, Process, workspace};

use crate::binaries::binary;
use crate::{Fleet, WORKERS};

/// Longer than any of them takes.
const DEADLINE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(10);

/// The block of commands below the line `<!-- test: NAME -->`.
///
/// # Panics
///
/// If the guide has none.
#[track_caller]
#[must_use]
pub fn commands(name: &str) -> String {
    let guide = fs::read_to_string(workspace().join("docs/operations.md")).expect("the operations guide");
    let marked = guide.split_once(&format!("<!-- test: {name} -->\n```bash\n"));
    let block = marked.and_then(|(_, rest)| rest.split_once("```\n")).map(|(block, _)| block.to_owned());
    block.unwrap_or_else(|| panic!("docs/operations.md has no block of commands marked {name}"))
}

impl Fleet {
    /// Runs the commands of the guide that are marked `name` on this fleet: its paths stand for the default ones, `runuser`
    /// stays the same user, and `systemctl restart` is done to this fleet's worker. `before` goes before them.
    ///
    /// # Panics
    ///
    /// If one of them fails.
    #[track_caller]
    pub fn follow_guide(&mut self, name: &str, before: &str) -> Finished {
        let asked = self.path("guide/asked");
        self.write_tools();
        let root = self.path("");
        let root = root.to_str().expect("a path in UTF-8").trim_end_matches('/');
        let commands = commands(name)
            .replace("/var/lib/rugged/$role-worker", &format!("{root}/$role-worker/state"))
            .replace("/var/rugged", root)
            .replace("/srv/backup", &format!("{root}/backup"));
        assert!(!commands.contains("/var/lib/rugged"), "a path that stands for nothing here: {commands}");
        let mut bash = Command::new("bash");
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".into());
        bash.env_clear()
            .env("PATH", format!("{}:{path}", self.path("guide").display()))
            .env("RUGGED_CONFIG", self.config())
            .current_dir(self.path(""))
            .args(["--norc", "-euo", "pipefail", "-c", &format!("{before}\n{commands}")]);
        let mut process = Process::spawn(&mut bash);
        let until = Instant::now() + DEADLINE;
        while process.is_running() && Instant::now() < until {
            if let Ok(words) = fs::read_to_string(&asked) {
                let worker =
                    WORKERS.into_iter().find(|worker| words == format!("restart tuf-fleet-{worker}.service\n"));
                let worker = worker.unwrap_or_else(|| panic!("the guide says `systemctl {words}`"));
                self.stop(worker);
                self.start_worker(worker);
                fs::remove_file(&asked).expect("an answer");
            }
            thread::sleep(POLL);
        }
        process.wait(POLL).success()
    }

    /// What the commands of the guide find in their PATH.
    fn write_tools(&self) {
        let directory = self.path("guide");
        fs::create_dir_all(&directory).expect("a directory");
        let rugged = format!("exec {} \"$@\"", binary("rugged").display());
        // The last name appears at once, whole; the answer is that it is gone.
        let systemctl = format!(
            "echo \"$*\" >{0}/asking && mv {0}/asking {0}/asked && while [ -e {0}/asked ]; do sleep 0.02; done",
            directory.display()
        );
        for (name, does) in
            [("rugged", rugged.as_str()), ("runuser", "shift 3; exec \"$@\""), ("systemctl", &systemctl)]
        {
            let path = directory.join(name);
            fs::write(&path, format!("#!/bin/sh\n{does}\n")).expect("a script");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        }
    }
}
