//! What runs in a process of its own: making repositories, and adding to them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::repository::{self, additions, now};
use crate::samples::Samples;

/// How much a child adds.
#[derive(Clone, Copy, Debug)]
pub struct Adding {
    /// Commits before those that count.
    pub warm: usize,
    /// Commits that count.
    pub count: usize,
    /// Targets of each commit.
    pub targets: usize,
    /// Whether snapshot and timestamp follow each commit.
    pub chain: bool,
}

/// What a child measured: seconds per commit and role, peak memory.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Added {
    targets: Vec<f64>,
    snapshot: Vec<f64>,
    timestamp: Vec<f64>,
    peak_kib: u64,
}

impl Added {
    /// The targets role.
    pub fn targets(&self) -> Samples {
        Samples::new(self.targets.clone())
    }

    /// The snapshot role.
    pub fn snapshot(&self) -> Samples {
        Samples::new(self.snapshot.clone())
    }

    /// The timestamp role.
    pub fn timestamp(&self) -> Samples {
        Samples::new(self.timestamp.clone())
    }

    /// All three, one after the other.
    pub fn chain(&self) -> Samples {
        let pairs = self.targets.iter().zip(&self.snapshot).zip(&self.timestamp);
        Samples::new(pairs.map(|((targets, snapshot), timestamp)| targets + snapshot + timestamp).collect())
    }

    /// Peak resident memory in MiB.
    pub fn peak_mib(&self) -> f64 {
        self.peak_kib as f64 / 1024.0
    }
}

/// Makes a repository of `targets` targets in `bins` bins (0: flat), published.
///
/// # Errors
/// Whatever the child said.
pub fn make(dir: &Path, targets: usize, bins: u32) -> Result<()> {
    start(&["make", &dir.to_string_lossy(), &targets.to_string(), &bins.to_string()]).map(drop)
}

/// Adds to it, in a process of its own. Also the time from before the process was started until it had committed.
///
/// # Errors
/// Whatever the child said.
pub fn add(dir: &Path, bins: u32, adding: Adding) -> Result<(Added, Duration)> {
    let Adding { warm, count, targets, chain } = adding;
    let numbers = [bins as usize, warm, count, targets, usize::from(chain)].map(|number| number.to_string());
    let mut words = vec!["add".to_owned(), dir.to_string_lossy().into_owned()];
    words.extend(numbers);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let began = Instant::now();
    let printed = start(&words)?;
    let took = began.elapsed();
    Ok((serde_json::from_str(&printed)?, took))
}

fn start(words: &[&str]) -> Result<String> {
    let child = Command::new(std::env::current_exe()?).arg("child").args(words).stderr(Stdio::inherit()).output()?;
    if !child.status.success() {
        return Err(format!("child {} failed: {}", words.join(" "), child.status).into());
    }
    Ok(String::from_utf8(child.stdout)?)
}

/// The child's side.
///
/// # Errors
/// Whatever went wrong.
pub fn run(words: Vec<String>) -> Result<()> {
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok()).ok_or("a number is missing");
    let dir = Path::new(words.get(1).ok_or("a directory is missing")?);
    match words.first().map(String::as_str) {
        Some("make") => run_make(dir, number(2)?, u32::try_from(number(3)?)?),
        Some("add") => {
            let adding = Adding { warm: number(3)?, count: number(4)?, targets: number(5)?, chain: number(6)? == 1 };
            run_add(dir, u32::try_from(number(2)?)?, adding)
        }
        _ => Err("no such child".into()),
    }
}

fn run_make(dir: &Path, targets: usize, bins: u32) -> Result<()> {
    let config = repository::config(dir, bins)?;
    repository::initialize(&config)?;
    let mut roles = repository::roles(&config)?;
    roles.targets.reconcile(now(), false)?;
    roles.targets.commit(&[additions("packages", targets)?], now())?;
    roles.snapshot.update(now(), false)?;
    roles.timestamp.update(now(), false)?;
    Ok(())
}

fn run_add(dir: &Path, bins: u32, adding: Adding) -> Result<()> {
    let config = repository::config(dir, bins)?;
    let mut added = Added::default();
    let since = |began: Instant| began.elapsed().as_secs_f64();
    let mut targets = repository::targets(&config)?;
    let mut others = if adding.chain { Some(repository::roles(&config)?) } else { None };
    for round in 0..adding.warm + adding.count {
        let request = additions(&format!("{:x}", std::process::id() as usize * 0x1000 + round), adding.targets)?;
        let began = Instant::now();
        targets.commit(std::slice::from_ref(&request), now())?;
        let targets = since(began);
        let (mut snapshot, mut timestamp) = (0.0, 0.0);
        if let Some(roles) = &mut others {
            let began = Instant::now();
            roles.snapshot.update(now(), false)?;
            snapshot = since(began);
            let began = Instant::now();
            roles.timestamp.update(now(), false)?;
            timestamp = since(began);
        }
        if round >= adding.warm {
            added.targets.push(targets);
            added.snapshot.push(snapshot);
            added.timestamp.push(timestamp);
        }
    }
    added.peak_kib = memory_kib("self", "VmHWM:")?;
    println!("{}", serde_json::to_string(&added)?);
    Ok(())
}

/// One line of `/proc/PROCESS/status`, in KiB.
///
/// # Errors
/// When there is no such process or line.
pub fn memory_kib(process: &str, line: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let text = status.lines().find_map(|text| text.strip_prefix(line)).ok_or("no such line")?;
    Ok(text.trim().trim_end_matches(" kB").trim().parse()?)
}
