//! The fleet on a simulated machine.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use celery_runtime::broker::Broker;
use celery_runtime::broker::memory::{Duplicates, FaultAction, MemoryBroker};
use durable_fs::{Fs, durable};
use fleet::{Config, Context, FleetError, WorkerInfo};
use root_worker::KeyRequest;
use service::clock::{Clock, ManualClock};
use testkit::sim_fs::{CrashMode, SimFs};
use tokio_util::sync::CancellationToken;

pub const DIR: &str = "/fleet";
pub const NOW: i64 = 1_800_000_000;
const DEADLINE: Duration = Duration::from_secs(30);
/// How many milliseconds of the machine's own time a mount keeps refusing writes after the first refusal.
const REFUSED_FOR: usize = 5_000;

/// The operation at which a run stops.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// Before a file operation.
    File(usize),
    /// Before or after a publish or an acknowledgement.
    Message(usize),
}

impl Cut {
    pub fn number(self) -> usize {
        match self {
            Self::File(number) | Self::Message(number) => number,
        }
    }
}

type Files = Vec<(&'static str, &'static [u8])>;

/// The three drops of the batch: name, files.
pub fn drops() -> Vec<(&'static str, Files)> {
    vec![
        ("1", vec![("pkg/a.zip", b"first a"), ("pkg/b.zip", b"first b"), ("index.json", b"index 1")]),
        ("2", vec![("lib/deep/er/c.tar", b"second c"), ("index.json", b"index 2")]),
        ("3", vec![("d", b"third d"), ("pkg/b.zip", b"third b")]),
    ]
}

/// The files that clients get before the batch and after it.
pub fn before() -> BTreeMap<String, Vec<u8>> {
    [("index.json", "index 0"), ("old/kept.bin", "kept")].map(|(k, v)| (k.to_owned(), v.as_bytes().to_vec())).into()
}

pub fn after() -> BTreeMap<String, Vec<u8>> {
    let mut all = before();
    for (_, files) in drops() {
        all.extend(files.into_iter().map(|(path, bytes)| (path.to_owned(), bytes.to_vec())));
    }
    all
}

/// A machine with the fleet on it: its disk and its broker.
#[derive(Clone)]
pub struct Simulated {
    pub fs: SimFs,
    pub config: Arc<Config>,
    broker: MemoryBroker,
    duplicates: Duplicates,
    messages: Arc<AtomicUsize>,
}

/// The machine after a crash.
pub struct Broken {
    /// The machine, about to start again.
    pub crashed: Simulated,
    /// The files at the moment of the crash that survived it.
    pub before: BTreeMap<PathBuf, Vec<u8>>,
}

impl Simulated {
    /// A repository with one release in it, nothing running, and three drops waiting.
    pub fn new(consistent_snapshot: bool, bins: u32, duplicates: Duplicates) -> Self {
        let fs = SimFs::new();
        fs.set_time(NOW);
        let config = Config::beneath(Path::new(DIR))
            .set("consistent_snapshot", consistent_snapshot.to_string())
            .set("number_of_bins", bins.to_string())
            .set("scheduler_scan_period", "1")
            .set("publish_min_interval", "0")
            .set("reconcile_period", "3600")
            .set("instance", "simulated")
            .build()
            .unwrap();
        let machine =
            Self { fs, config: Arc::new(config), broker: MemoryBroker::new(), duplicates, messages: Arc::default() };
        let fs: Arc<dyn Fs> = Arc::new(machine.fs.clone());
        for dir in [&machine.config.post_to_tuf_path, &machine.config.inbound_targets_path, &machine.config.state_path]
        {
            durable::create_dir_all(fs.as_ref(), dir, 0o755).unwrap();
        }
        root_worker::generate_keys(fs.as_ref(), &machine.config, &KeyRequest::default()).unwrap();
        root_worker::initialize(&fs, &machine.config, ManualClock::at(NOW).now()).unwrap();
        for (path, bytes) in before() {
            machine.plant("0", &path, &bytes);
        }
        let machine = machine.run(None);
        machine.fs.remove_file(&machine.config.post_to_tuf_path.join("tuf_receipt_0.json")).unwrap();
        machine.fs.sync_everything();
        for (name, files) in drops() {
            for (path, bytes) in files {
                machine.plant(name, path, bytes);
            }
        }
        machine
    }

    fn plant(&self, drop: &str, path: &str, bytes: &[u8]) {
        let dir = self.config.post_to_tuf_path.join(format!("tuf_ready_{drop}"));
        let path = dir.join(path);
        for parent in path.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
            if parent.starts_with(&dir) && self.fs.stat(parent).is_err() {
                self.fs.plant_dir(parent);
            }
        }
        self.fs.plant(path, bytes);
    }

    /// File operations and broker operations so far.
    pub fn operations(&self) -> (usize, usize) {
        (self.fs.operations(), self.messages.load(Ordering::SeqCst))
    }

    /// Runs a copy of the machine until its drops are done, or until the cut.
    pub fn run(&self, cut: Option<Cut>) -> Self {
        let machine = self.run_copy();
        machine.go(cut, "run");
        machine
    }

    fn run_copy(&self) -> Self {
        Self {
            fs: self.fs.fork(),
            broker: MemoryBroker::new(),
            messages: Arc::default(),
            config: Arc::clone(&self.config),
            duplicates: self.duplicates,
        }
    }

    /// Runs a copy of the machine, with faults planted on its disk, until its drops are done.
    pub fn run_with(&self, context: &str, plant: impl FnOnce(&SimFs)) -> Self {
        let machine = self.run_copy();
        plant(&machine.fs);
        machine.go(None, context);
        machine
    }

    /// The machine after a crash at the present point.
    ///
    /// The broker keeps its messages as RabbitMQ does, or loses them as `memory://` does.
    pub fn crash(self, mode: CrashMode, broker_survives: bool) -> Broken {
        // A fork: threads of the old machine that have not ended yet use the old, stopped disk.
        let fs = self.fs.fork();
        fs.crash(mode);
        self.broker.crash();
        if !broker_survives {
            self.broker.lose_everything();
        }
        let before = fs.files();
        Broken { crashed: Self { fs, messages: Arc::default(), ..self }, before }
    }

    /// Starts everything again and waits until the drops are done.
    pub fn resume(self, context: &str) -> Self {
        self.go(None, context);
        self
    }

    /// Runs a copy of the machine on which `mount` refuses writes with `kind`. Some seconds after the first refusal `check`
    /// inspects the machine and the mount accepts writes again. The machine then runs until the drops are done.
    pub fn run_refusing(&self, mount: &Path, kind: ErrorKind, context: &str, check: impl FnOnce(&Self)) -> Self {
        let machine = self.run_copy();
        machine.fs.refuse_writes(mount, kind);
        let (mut check, mut turns) = (Some(check), 0);
        machine.go_until(None, context, |machine| {
            turns += usize::from(machine.fs.refusals() > 0);
            if turns > REFUSED_FOR
                && let Some(check) = check.take()
            {
                check(machine);
                machine.fs.heal();
            }
            check.is_none() && machine.is_done()
        });
        machine
    }

    fn go(&self, cut: Option<Cut>, context: &str) {
        self.go_until(cut, context, Self::is_done);
    }

    fn go_until(&self, cut: Option<Cut>, context: &str, mut is_done: impl FnMut(&Self) -> bool) {
        if let Some(Cut::File(number)) = cut {
            self.fs.stop_at(number);
        }
        let (fs, messages) = (self.fs.clone(), Arc::clone(&self.messages));
        self.broker.set_duplicates(self.duplicates);
        self.broker.set_fault_hook(Some(Arc::new(move |_| {
            let number = messages.fetch_add(1, Ordering::SeqCst);
            if matches!(cut, Some(Cut::Message(at)) if number >= at) {
                fs.stop();
            }
            if fs.is_stopped() { FaultAction::Stop } else { FaultAction::Continue }
        })));
        // Paused time: pauses pass immediately whenever no task runs.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let shutdown = CancellationToken::new();
            let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
            let worker = |worker: WorkerInfo| {
                let broker: Arc<dyn Broker> = Arc::new(self.broker.connect());
                let fs: Arc<dyn Fs> = Arc::new(self.fs.clone());
                Context::new(worker, Arc::clone(&self.config), fs, broker, Arc::clone(&clock), shutdown.clone())
            };
            let workers: [tokio::task::JoinHandle<Result<(), FleetError>>; 4] = [
                tokio::spawn(targets_worker::run(worker(targets_worker::WORKER))),
                tokio::spawn(snapshot_worker::run(worker(snapshot_worker::WORKER))),
                tokio::spawn(timestamp_worker::run(worker(timestamp_worker::WORKER))),
                tokio::spawn(monitor_worker::run(worker(monitor_worker::WORKER))),
            ];
            let until = Instant::now() + DEADLINE;
            while !self.fs.is_stopped() && !is_done(self) {
                assert!(
                    Instant::now() < until,
                    "{context}: not done in {DEADLINE:?}\n{:#?}\n{:#?}",
                    self.fs.paths(),
                    self.fs.log()
                );
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if !self.fs.is_stopped() {
                shutdown.cancel();
                for worker in workers {
                    worker.await.unwrap().unwrap();
                }
            }
        });
        runtime.shutdown_background();
        self.broker.set_fault_hook(None);
    }

    /// Every drop has a receipt and the monitor is free.
    fn is_done(&self) -> bool {
        let mut receipts = 0;
        // Not listed: a list leaves hidden names out.
        for path in self.fs.paths() {
            let path = path.trim_end_matches('/');
            let Some(name) = Path::new(path).strip_prefix(&self.config.post_to_tuf_path).ok().and_then(Path::to_str)
            else {
                continue;
            };
            if name.starts_with("tuf_ready_") || name.starts_with("tuf_processing_") {
                return false;
            }
            receipts += usize::from(name.starts_with("tuf_receipt_"));
        }
        receipts > 0
    }
}
