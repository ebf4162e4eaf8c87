//! A drop directory, an inbound directory, a monitor and a chain that records its calls.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use durable_fs::{FileKind, Fs};
use fleet::batch::Batch;
use fleet::contract::{AddTargetsResult, DropVerdict, DropWaits, UpdateResult};
use monitor_worker::receipt::{DropOutcome, Receipt};
use monitor_worker::{Chain, ChainError, CycleReport, Monitor, MonitorSettings, NotVisible};
use service::clock::ManualClock;
use testkit::sim_fs::SimFs;

pub const POST: &str = "/post";
pub const INBOUND: &str = "/inbound";
pub const STATE: &str = "/state";
pub const START: i64 = 1_000_000_000;

/// The state of the signing roles.
#[derive(Default)]
pub struct Books {
    /// Verdicts by drop identity, as the commit records hold them.
    pub applied: HashMap<(String, String, Option<String>), DropVerdict>,
    /// Drop names in the order of their application.
    pub order: Vec<String>,
    /// Targets in the newest record, and those clients see.
    pub signed: BTreeMap<String, Vec<u8>>,
    pub visible: BTreeMap<String, Vec<u8>>,
    pub record: u64,
    pub snapshot: u64,
    pub timestamp: u64,
    /// Drops per `add-targets` call.
    pub batches: Vec<usize>,
    /// Errors to be answered first.
    pub failures: Vec<ChainError>,
    /// What each role answers first, in place of the truth: a role that does not see the newest file, or does not know the field.
    pub snapshot_answers: Vec<UpdateResult>,
    pub timestamp_answers: Vec<UpdateResult>,
    /// Most bytes of a drop for which the targets directory has room.
    pub room: Option<u64>,
    /// Happens while the batch is signed.
    pub meanwhile: Option<Box<dyn FnOnce() + Send>>,
    /// Reasons for which the monitor waited for clients to see a batch.
    pub waited: Vec<String>,
    /// An old targets-worker names no record.
    pub names_no_record: bool,
    /// A test damages a batch; else a damaged one is a fault of the monitor.
    pub damage_expected: bool,
}

/// A chain over the same file system. A file that begins with `BAD` rejects its drop, one that begins with `POISON`
/// fails the whole batch.
pub struct FakeChain {
    fs: Arc<dyn Fs>,
    inbound: PathBuf,
    pub books: Mutex<Books>,
}

impl FakeChain {
    pub fn new(fs: Arc<dyn Fs>, inbound: &Path) -> Self {
        Self { fs, inbound: inbound.to_owned(), books: Mutex::default() }
    }

    fn files(&self, dir: &Path, prefix: &str, out: &mut BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
        for entry in self.fs.read_dir(dir)? {
            let name = format!("{prefix}{}", entry.name.to_str().unwrap());
            let path = dir.join(&entry.name);
            match entry.kind {
                FileKind::Dir => self.files(&path, &format!("{name}/"), out)?,
                FileKind::File => {
                    let mut bytes = Vec::new();
                    self.fs.open(&path)?.read_to_end(&mut bytes)?;
                    out.insert(name, bytes);
                }
                other => panic!("{other:?} in a batch"),
            }
        }
        Ok(())
    }

    fn add(&self, batch: &str) -> std::io::Result<Result<AddTargetsResult, ChainError>> {
        let dir = self.inbound.join(batch);
        let mut bytes = Vec::new();
        self.fs.open(&dir.join("BATCH.json"))?.read_to_end(&mut bytes)?;
        let described: Batch = serde_json::from_slice(&bytes).expect("a visible batch is described whole");
        assert_eq!(batch, described.dir_name());
        let mut books = self.books.lock().unwrap();
        books.batches.push(described.drops.len());
        let mut result = AddTargetsResult::default();
        for drop in &described.drops {
            let key = (drop.name.clone(), drop.digest.clone(), drop.post.clone());
            if let Some(verdict) = books.applied.get(&key) {
                result.drops.push(verdict.clone());
                continue;
            }
            if books.room.is_some_and(|room| drop.bytes > room) {
                let reason = format!("it needs {} bytes in the targets directory", drop.bytes);
                result.waiting.push(DropWaits { name: drop.name.clone(), digest: drop.digest.clone(), reason });
                continue;
            }
            let mut files = BTreeMap::new();
            self.files(&dir.join(&drop.dir), "", &mut files)?;
            assert_eq!(drop.files, files.len() as u64, "a visible batch is whole");
            if books.damage_expected && drop.digest != digest(&files) {
                return Ok(Err(ChainError::BatchMissing(batch.to_owned())));
            }
            assert_eq!(drop.digest, digest(&files), "a visible batch is whole");
            if files.values().any(|bytes| bytes.starts_with(b"POISON")) {
                let failed = ChainError::Failed { task: "add-targets", reason: "the poison works".into() };
                return Ok(Err(failed));
            }
            let bad = files.iter().find(|(_, bytes)| bytes.starts_with(b"BAD")).map(|(name, _)| name.clone());
            let verdict = DropVerdict {
                name: drop.name.clone(),
                digest: drop.digest.clone(),
                targets: if bad.is_some() { 0 } else { files.len() as u64 },
                record: bad.is_none().then_some(books.record + 1),
                rejected: bad.map(|name| format!("{name:?} is bad")),
            };
            if verdict.rejected.is_none() {
                books.signed.extend(files);
                books.order.push(drop.name.clone());
                books.record += 1;
                books.applied.insert(key, verdict.clone());
            }
            result.drops.push(verdict);
        }
        result.record = Some(books.record);
        if books.names_no_record {
            result.record = None;
            result.drops.iter_mut().for_each(|verdict| verdict.record = None);
        }
        Ok(Ok(result))
    }
}

/// The digest that the documentation promises.
pub fn digest(files: &BTreeMap<String, Vec<u8>>) -> String {
    let hash = |bytes: &[u8]| hex::encode(ring::digest::digest(&ring::digest::SHA256, bytes));
    let lines: String = files.iter().map(|(name, bytes)| format!("{} {} {name}\n", hash(bytes), bytes.len())).collect();
    hash(lines.as_bytes())
}

#[async_trait]
impl Chain for FakeChain {
    async fn add_targets(&self, batch: &str) -> Result<AddTargetsResult, ChainError> {
        if let Some(failure) = self.books.lock().unwrap().failures.pop() {
            return Err(failure);
        }
        match self.add(batch) {
            Ok(result) => result,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(ChainError::BatchMissing(batch.to_owned())),
            Err(_) => Err(ChainError::Stopped("add-targets")),
        }
    }

    async fn update_snapshot(&self) -> Result<UpdateResult, ChainError> {
        let mut books = self.books.lock().unwrap();
        if let Some(meanwhile) = books.meanwhile.take() {
            meanwhile();
        }
        if let Some(answer) = books.snapshot_answers.pop() {
            return Ok(answer);
        }
        books.snapshot = books.record;
        let (version, record) = (books.snapshot, Some(books.record));
        Ok(UpdateResult { version, changed: true, record, snapshot: None })
    }

    async fn update_timestamp(&self) -> Result<UpdateResult, ChainError> {
        let mut books = self.books.lock().unwrap();
        if let Some(answer) = books.timestamp_answers.pop() {
            return Ok(answer);
        }
        assert_eq!(books.snapshot, books.record, "the snapshot is updated before the timestamp");
        books.timestamp = books.snapshot;
        books.visible = books.signed.clone();
        Ok(UpdateResult { version: books.timestamp, changed: true, record: None, snapshot: Some(books.snapshot) })
    }

    async fn wait_until_visible(&self, reason: &NotVisible, _attempt: u32) -> Result<(), ChainError> {
        let mut books = self.books.lock().unwrap();
        books.waited.push(reason.to_string());
        if books.waited.len() < 10 { Ok(()) } else { Err(ChainError::Stopped("update-timestamp")) }
    }
}

pub struct Scene {
    pub fs: SimFs,
    pub clock: Arc<ManualClock>,
    pub chain: FakeChain,
    pub settings: MonitorSettings,
}

impl Scene {
    pub fn new() -> Self {
        let fs = SimFs::new();
        for dir in [POST, INBOUND, STATE] {
            fs.plant_dir(dir);
        }
        fs.set_time(START);
        let settings = MonitorSettings::new(POST.into(), INBOUND.into(), STATE.into(), "one");
        let chain = FakeChain::new(Arc::new(fs.clone()), Path::new(INBOUND));
        Self { fs, clock: Arc::new(ManualClock::at(START)), chain, settings }
    }

    /// Posts `tuf_ready_NAME`, a second after the drop before.
    pub fn post(&self, name: &str, files: &[(&str, &str)]) {
        self.fs.set_time(self.fs.time() + 1);
        let dir = format!("{POST}/tuf_ready_{name}");
        self.fs.plant_dir(&dir);
        for (path, text) in files {
            self.fs.plant(format!("{dir}/{path}"), *text);
        }
    }

    /// Lets the next `add-targets` fail through a fault of the machine.
    pub fn make_unavailable_once(&self) {
        self.chain.books.lock().unwrap().failures.push(ChainError::Stopped("add-targets"));
    }

    /// Lets time pass, here and on the mounts.
    pub fn later(&self, seconds: i64) {
        self.clock.advance(seconds);
        self.fs.set_time(self.fs.time() + seconds);
    }

    pub fn open(&self) -> std::io::Result<Monitor> {
        Monitor::open(Arc::new(self.fs.clone()), self.clock.clone(), self.settings.clone())
    }

    /// Runs cycles until nothing is left that need not wait, then tidies up.
    pub async fn drain(&self, monitor: &Monitor) -> CycleReport {
        let mut sum = CycleReport::default();
        for _ in 0..100 {
            let report = monitor.run_cycle(&self.chain).await.expect("cycle");
            sum.taken += report.taken;
            sum.published += report.published;
            sum.rejected += report.rejected;
            sum.waiting = report.waiting;
            sum.held = report.held;
            if !report.more {
                monitor.tidy().await.expect("tidy");
                return sum;
            }
        }
        panic!("the monitor finds no rest");
    }

    pub async fn run(&self) -> CycleReport {
        let monitor = self.open().expect("open");
        self.drain(&monitor).await
    }

    pub fn receipt(&self, name: &str) -> Option<Receipt> {
        let bytes = self.fs.contents(format!("{POST}/tuf_receipt_{name}.json"))?;
        Some(serde_json::from_slice(&bytes).expect("a receipt is whole"))
    }

    pub fn outcome(&self, name: &str) -> Option<DropOutcome> {
        self.receipt(name).map(|r| r.outcome)
    }

    /// Why the drop was rejected.
    pub fn reason(&self, name: &str) -> String {
        let receipt = self.receipt(name).expect("a receipt");
        assert_eq!(receipt.outcome, DropOutcome::Rejected);
        receipt.reason.expect("a reason")
    }

    pub fn visible(&self, path: &str) -> Option<String> {
        let books = self.chain.books.lock().unwrap();
        books.visible.get(path).map(|bytes| String::from_utf8(bytes.clone()).unwrap())
    }

    /// Names in the drop directory. Receipts are left out, and so are temporary files, which are collected by age.
    pub fn in_post(&self) -> Vec<String> {
        let names = self.fs.read_dir(Path::new(POST)).unwrap();
        let mut names: Vec<_> = names.into_iter().map(|e| e.name.into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with("tuf_receipt_") && !name.starts_with(".tmp-"));
        names.sort();
        names
    }

    /// Names in the inbound directory, without temporary files.
    pub fn in_inbound(&self) -> Vec<String> {
        let names = self.fs.read_dir(Path::new(INBOUND)).unwrap();
        let names = names.into_iter().map(|e| e.name.into_string().unwrap());
        names.filter(|name| !name.starts_with(".tmp-")).collect()
    }
}
