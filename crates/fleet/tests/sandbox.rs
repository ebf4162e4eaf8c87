//! A real worker process in its sandbox, taken over.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use fleet::WorkerRole::{Monitor, Snapshot, Targets};
use fleet::{Config, KeyRole, WorkerRole};
use service::exit_code::WorkerExit;

fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(|deps| deps.parent()).unwrap().join("examples/prying-worker")
}

/// Whether this kernel has Landlock. Read where the kernel itself says so, not from what is tested.
fn kernel_has_landlock() -> bool {
    use landlock::{ABI, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _};
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(<AccessFs as landlock::Access>::from_all(ABI::V6))
        .and_then(Ruleset::create)
        .is_ok()
}

struct Scene {
    dir: tempfile::TempDir,
    config: Config,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::beneath(dir.path()).build().unwrap();
        for below in ["repo/metadata", "repo/log", "repo/targets", "keys/verification", "post_to_tuf", "state"] {
            fs::create_dir_all(dir.path().join(below)).unwrap();
        }
        fs::create_dir_all(&config.inbound_targets_path).unwrap();
        for role in KeyRole::ALL {
            fs::create_dir_all(config.signing_keys_of(role)).unwrap();
        }
        Self { dir, config }
    }

    fn at(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn key(&self, role: KeyRole) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let pair = tuf_core::key::ed25519(&ring::rand::SystemRandom::new()).unwrap();
        let path = self.config.signing_keys_of(role).join(role.as_str());
        fs::write(&path, pair.private_pem.as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        path
    }

    fn command(&self, mode: &str) -> Command {
        let file = self.at("config.yaml");
        let mut yaml = String::new();
        for setting in self.config.settings().iter().filter(|setting| setting.key.ends_with("_path")) {
            yaml.push_str(&format!("{}: {}\n", setting.key, setting.value));
        }
        yaml.push_str(&format!("sandbox: {mode}\n"));
        fs::write(&file, yaml).unwrap();
        let mut command = Command::new(example());
        command.env_clear().arg("--config").arg(file);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, mode: &str) -> Taken {
        self.start_as(WorkerRole::Snapshot, mode)
    }

    fn start_as(&self, role: WorkerRole, mode: &str) -> Taken {
        let mut child = self.command(mode).env("PRYING_ROLE", role.as_str()).stderr(Stdio::inherit()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut taken = Taken { child, answers };
        assert_eq!(taken.answers.next().unwrap().unwrap(), "ready");
        taken
    }
}

struct Taken {
    child: Child,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Taken {
    fn attempt(&mut self, what: &str, path: &Path) -> String {
        let line = format!("{what} {}", path.display());
        let line = line.trim();
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        let answer = self.answers.next().expect("the worker ended").unwrap();
        answer.strip_prefix(line).unwrap().trim_start_matches(": ").to_owned()
    }

    fn end(mut self) -> i32 {
        drop(self.child.stdin.take());
        self.child.wait().unwrap().code().unwrap()
    }
}

const DENIED: &str = "permission denied";
const SIGNING: &[WorkerRole] = &WorkerRole::SIGNING;

#[test]
fn a_worker_that_was_taken_over_reaches_its_own_places_only() {
    if !kernel_has_landlock() {
        // What is promised then is the next test's.
        return;
    }
    let scene = Scene::new();
    scene.key(KeyRole::Snapshot);
    for file in ["repo/log/1.record.json", "repo/targets/a", "post_to_tuf/x", "secret"] {
        fs::write(scene.at(file), "x").unwrap();
    }
    let mut taken = scene.start("required");
    // Mounted after the start, where the check at the start could not see it.
    let other = scene.key(KeyRole::Targets);
    let config = scene.at("config.yaml");
    for (what, path) in [
        ("read", other.as_path()),
        ("list", other.parent().unwrap()),
        ("read", Path::new("/etc/passwd")),
        ("list", Path::new("/")),
        ("read", &scene.at("secret")),
        ("read", &config),
        ("append", &config),
        ("read", &scene.at("repo/targets/a")),
        ("remove", &scene.at("repo/targets/a")),
        ("write", &scene.at("repo/targets/b")),
        ("write", &scene.at("repo/log/2.record.json")),
        ("append", &scene.at("repo/log/1.record.json")),
        ("remove", &scene.at("repo/log/1.record.json")),
        ("write", &scene.at("post_to_tuf/y")),
        ("write", &scene.at("keys/verification/root.json")),
        ("write", &scene.at("keys/signing/snapshot/more")),
        ("symlink", &scene.at("repo/metadata/link")),
        ("run", Path::new("/bin/sh")),
        ("run", Path::new("/bin/true")),
    ] {
        assert_eq!(taken.attempt(what, path), DENIED, "{what} {}", path.display());
    }
    assert_eq!(taken.attempt("keys", Path::new("targets")), DENIED);
    assert_eq!(taken.end(), 0);
    assert!(other.exists() && scene.at("repo/log/1.record.json").exists());
}

#[test]
fn a_shell_in_a_workers_sandbox_and_whatever_it_starts_reach_only_what_the_role_needs() {
    if !kernel_has_landlock() {
        return;
    }
    for role in WorkerRole::ALL {
        let scene = Scene::new();
        for each in WorkerRole::ALL {
            fs::create_dir_all(scene.config.state_of(each)).unwrap();
            fs::write(scene.config.state_of(each).join("floor.json"), "x").unwrap();
        }
        // The attacker brings it; the system's own cannot even be read.
        fs::copy("/bin/sh", scene.config.state_of(role).join("sh")).unwrap();
        if let Some(role) = role.key_role() {
            scene.key(role);
        }
        // File, whose worker may read it, whose may write it and make others beside it.
        let mut files: Vec<(PathBuf, &[WorkerRole], &[WorkerRole])> = vec![
            (scene.at("repo/metadata/1.root.json"), SIGNING, SIGNING),
            (scene.at("repo/log/1.record.json"), &[Targets, Snapshot], &[Targets]),
            (scene.at("repo/targets/a"), &[Targets], &[Targets]),
            (scene.at("keys/verification/root.json"), SIGNING, &[]),
            (scene.at("incoming_targets/a"), &[Monitor, Targets], &[Monitor, Targets]),
            (scene.at("post_to_tuf/a"), &[Monitor], &[Monitor]),
            (scene.at("secret"), &[], &[]),
        ];
        for (file, ..) in &files {
            fs::write(file, "x").unwrap();
        }
        let mut taken = scene.start_as(role, "required");
        let states = WorkerRole::ALL.map(|each| (each, scene.config.state_of(each).join("floor.json")));
        let keys = KeyRole::ALL.map(|each| {
            // Another's is put there only now: the worker would not have started.
            let own = Some(each) == role.key_role();
            let path = scene.config.signing_keys_of(each).join(each.as_str());
            (own, if own { path } else { scene.key(each) })
        });
        for (each, path) in &states {
            files.push((path.clone(), std::slice::from_ref(each), std::slice::from_ref(each)));
        }
        for (own, path) in &keys {
            files.push((path.clone(), if *own { std::slice::from_ref(&role) } else { &[] }, &[]));
        }
        for system in ["/etc/passwd", "/etc/shadow", "/etc/hostname", "/usr/bin/env"] {
            files.push((system.into(), &[], &[]));
        }
        files.push((scene.at("config.yaml"), &[], &[]));
        // Of a process that is not the worker.
        files.push((format!("/proc/{}/environ", std::process::id()).into(), &[], &[]));

        let mut shell = |script: &str, may: bool| {
            let answer = taken.attempt("sh", Path::new(script));
            assert_eq!(answer, if may { "done" } else { DENIED }, "the {role}-worker's shell: {script}");
        };
        for (file, readers, writers) in &files {
            let (path, may_read, may_write) = (file.display(), readers.contains(&role), writers.contains(&role));
            shell(&format!(": <{path}"), may_read);
            shell(&format!("\"$0\" \"$1\" -c ': <{path}'"), may_read);
            shell(&format!(": >>{path}"), may_write);
            shell(&format!("\"$0\" \"$1\" -c ': >>{path}'"), may_write);
            if file.starts_with(scene.dir.path()) {
                shell(&format!(": >{path}.made"), may_write);
                assert_eq!(file.with_file_name(name_of(file) + ".made").exists(), may_write, "{path}");
            }
        }
        // Neither started by its name nor reached by a signal.
        shell("/bin/true", false);
        shell(&format!("kill -0 {}", std::process::id()), false);
        // Only now is it sure that a shell that was kept from nothing says so.
        shell("exit 0", true);
        assert_eq!(taken.end(), 0);
    }
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_sandboxed_worker_can_still_do_its_work() {
    let scene = Scene::new();
    scene.key(KeyRole::Snapshot);
    fs::write(scene.at("repo/log/1.record.json"), "x").unwrap();
    fs::write(scene.at("keys/verification/root.json"), "x").unwrap();
    let mut taken = scene.start("auto");
    for (what, path) in [
        // As a role opened anew after a panic does.
        ("keys", Path::new("snapshot")),
        ("read", &scene.at("keys/verification/root.json")),
        ("read", &scene.at("repo/log/1.record.json")),
        ("list", &scene.at("repo/log")),
        ("write", &scene.at("repo/metadata/1.snapshot.json")),
        ("link", &scene.at("repo/metadata/1.snapshot.json")),
        ("remove", &scene.at("repo/metadata/1.snapshot.json")),
        ("list", &scene.at("repo/metadata")),
        ("write", &scene.at("state/snapshot/floor.json")),
        ("read", Path::new("/proc/self/mountinfo")),
        ("read", Path::new("/proc/self/status")),
        // As a reconnect does.
        ("resolve", Path::new("localhost")),
        ("connect", Path::new("")),
    ] {
        assert_eq!(taken.attempt(what, path), "done", "{what} {}", path.display());
    }
    assert_eq!(taken.end(), 0);
}

#[test]
fn without_a_sandbox_the_worker_says_so() {
    let scene = Scene::new();
    scene.key(KeyRole::Snapshot);
    let run = |mode: &str| scene.command(mode).stdin(Stdio::null()).output().unwrap();
    let off = run("off");
    assert!(String::from_utf8_lossy(&off.stderr).contains("sandbox not entered: `sandbox` is off"));
    assert_eq!(off.status.code(), Some(0));
    let auto = String::from_utf8_lossy(&run("auto").stderr).into_owned();
    let required = run("required").status.code();
    if kernel_has_landlock() {
        assert!(auto.contains("sandbox entered"), "{auto}");
        assert_eq!(required, Some(0));
    } else {
        assert!(auto.contains("sandbox incomplete"), "{auto}");
        assert_eq!(required, Some(WorkerExit::Refused.code().into()));
    }
}

#[test]
fn a_worker_that_starts_before_its_directories_sandboxes_itself_when_they_are_there() {
    if !kernel_has_landlock() {
        return;
    }
    let scene = Scene::new();
    scene.key(KeyRole::Snapshot);
    fs::remove_dir(scene.at("repo/log")).unwrap();
    let mut child = scene.command("auto").args(["--set", "instance=idle"]).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut until = |text: &str| log.by_ref().map(Result::unwrap).find(|line| line.contains(text)).expect(text);
    until("sandbox postponed");
    fs::create_dir(scene.at("repo/log")).unwrap();
    until("restarts in place");
    until("sandbox entered");
    until("process started");
    // The same process all the time.
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    until("process ended");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
