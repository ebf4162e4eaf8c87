//! The monitor: one cycle takes drops in, drives the chain and ends every drop of the batch.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use durable_fs::Fs;
use fleet::contract::{AddTargetsResult, Processing};
use service::clock::Clock;

use crate::batch;
use crate::chain::{Chain, ChainError};
use crate::core::Core;
use crate::intake::Staged;
use crate::settings::Settings;
use crate::settle::{Settled, Versions, verdicts};

/// Why a cycle ended early. Running the next one is always safe: it goes on from what is on disk.
#[derive(Debug, thiserror::Error)]
pub enum CycleError {
    /// A directory of ours cannot be worked in.
    #[error("file system: {0}")]
    Io(#[from] io::Error),
    /// A step of the chain has no result.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// `add-targets` answered without a verdict for a drop of the batch.
    #[error("add-targets gave no verdict for drop {0}")]
    NoVerdict(String),
    /// The thread doing file work is gone: the process is stopping, or there is a bug.
    #[error("file work was interrupted: {0}")]
    Interrupted(String),
}

/// What a cycle did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CycleReport {
    /// Drops renamed from ready to processing.
    pub taken: u64,
    /// Drops published, those included that only needed their receipt again.
    pub published: u64,
    /// Drops rejected.
    pub rejected: u64,
    /// Drops left waiting, those held back included.
    pub waiting: u64,
    /// Drops held back (name, reason).
    pub held: Vec<(String, String)>,
    /// Whether the next cycle has work that need not wait for anything.
    pub more: bool,
    /// Whether the chain was started: the next batch keeps its distance from this one.
    pub chain_started: bool,
}

impl CycleReport {
    /// Whether anything ended or is on its way.
    pub fn did_something(&self) -> bool {
        self.taken + self.published + self.rejected > 0
    }
}

/// The state machine of the monitor-worker. Cheap to clone; clones are the same monitor.
#[derive(Clone, Debug)]
pub struct Monitor {
    core: Arc<Core>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Monitor {
    /// Opens the private state. Blocks: it reads and writes files.
    ///
    /// # Errors
    /// When the state directory cannot be used, or the pause switch cannot be understood.
    pub fn open(fs: Arc<dyn Fs>, clock: Arc<dyn Clock>, settings: Settings) -> io::Result<Self> {
        let core = Core::open(fs, clock, settings)?;
        Ok(Self { core: Arc::new(core), turn: Arc::default() })
    }

    /// Runs one cycle: everything in processing, else what is ready, as one batch through the chain. Cycles of one monitor
    /// wait for each other.
    ///
    /// # Errors
    /// [`CycleError`]; nothing is lost, and the next cycle goes on where this one stopped.
    pub async fn run_cycle(&self, chain: &dyn Chain) -> Result<CycleReport, CycleError> {
        let _turn = self.turn.lock().await;
        let intake = self.blocking(Core::intake).await?;
        let mut report = CycleReport {
            taken: intake.taken,
            published: intake.published,
            rejected: intake.rejected,
            waiting: intake.waiting,
            held: intake.held.into_iter().map(|(name, reason)| (name.to_string(), reason)).collect(),
            more: intake.more,
            chain_started: false,
        };
        if let Some(staged) = intake.staged {
            report.chain_started = true;
            let settled = self.process(chain, staged, &mut report).await?;
            report.published += settled.published;
            report.rejected += settled.rejected;
            // What `status` says next is how things stand now, not how they stood before the batch.
            self.blocking(Core::recount).await?;
        }
        Ok(report)
    }

    /// Takes one visible batch through the chain and ends its drops.
    async fn process(
        &self,
        chain: &dyn Chain,
        staged: Staged,
        report: &mut CycleReport,
    ) -> Result<Settled, CycleError> {
        let drops = staged.batch.drops.len();
        let answer = self.add_targets(chain, &staged).await;
        if let Err(CycleError::Chain(ChainError::BatchMissing(_))) = &answer {
            // What is there, if anything, is not what it should be: the next cycle stages the drops again.
            self.discard(&staged).await?;
        }
        let added = match answer? {
            Ok(added) => added,
            Err(reason) if drops == 1 => {
                self.widen();
                return self.blocking(move |core| core.settle_failing(staged, &reason)).await;
            }
            Err(reason) => {
                tracing::warn!(drops, reason, "batch {} keeps failing and is halved", staged.batch.id);
                self.core.memory().cap = Some(drops / 2);
                self.discard(&staged).await?;
                report.waiting += drops as u64;
                report.more = true;
                return Ok(Settled::default());
            }
        };
        let mut any_in = false;
        {
            let verdicts = verdicts(&added);
            for drop in &staged.batch.drops {
                let verdict = verdicts.get(&(drop.name.as_str(), drop.digest.as_str()));
                let verdict = verdict.ok_or_else(|| CycleError::NoVerdict(drop.name.clone()))?;
                any_in |= verdict.rejected.is_none();
            }
        }
        let mut versions = Versions::default();
        if any_in {
            versions.snapshot = Some(chain.update_snapshot().await?.version);
            versions.timestamp = Some(chain.update_timestamp().await?.version);
        }
        self.widen();
        self.blocking(move |core| core.settle(staged, &added, versions)).await
    }

    /// Lists the drop directory, so that counts and ages are told as they are now. It may run beside a cycle.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub async fn recount(&self) -> Result<(), CycleError> {
        self.blocking(Core::recount).await
    }

    async fn discard(&self, staged: &Staged) -> Result<(), CycleError> {
        let dir = batch::dir_name(&staged.batch);
        self.blocking(move |core| {
            core.discard_batch(&dir);
            Ok(())
        })
        .await
    }

    /// Asks for the batch until there is an answer, or until it failed often enough for a reason of its own (the inner
    /// error).
    async fn add_targets(
        &self,
        chain: &dyn Chain,
        staged: &Staged,
    ) -> Result<Result<AddTargetsResult, String>, CycleError> {
        let dir = batch::dir_name(&staged.batch);
        let mut attempt = 1;
        loop {
            match chain.add_targets(&dir).await {
                Ok(added) => return Ok(Ok(added)),
                Err(ChainError::Failed { task, reason }) => {
                    tracing::warn!(attempt, reason, "{task} failed for batch {}", staged.batch.id);
                    if attempt >= self.core.settings.attempts.max(1) {
                        return Ok(Err(reason));
                    }
                    attempt += 1;
                    chain.backoff(attempt).await?;
                }
                Err(other) => return Err(other.into()),
            }
        }
    }

    /// A batch ended: while a bad drop is looked for, the next one may be twice as large.
    fn widen(&self) {
        let mut memory = self.core.memory();
        memory.cap = memory.cap.map(|cap| cap.saturating_mul(2)).filter(|cap| *cap < self.core.settings.limits.drops);
    }

    /// Removes what is no longer needed: published directories, used batches, and what interrupted processes left behind
    /// more than a day ago. It may run beside a cycle, blocks none, and only logs what it cannot remove.
    ///
    /// # Errors
    /// When a directory cannot be listed or synced.
    pub async fn tidy(&self) -> Result<(), CycleError> {
        self.blocking(Core::tidy).await
    }

    /// Has `beat` called again and again while files are copied; when it says `false`, the cycle ends with an error. Only
    /// the first call counts.
    pub fn on_progress(&self, beat: impl Fn() -> bool + Send + Sync + 'static) {
        self.core.beat.set(Box::new(beat));
    }

    /// How long the oldest drop that has not ended, taken in or not, has been waiting; zero when none was there when last
    /// listed.
    pub fn oldest_waiting(&self) -> Duration {
        let now = self.core.clock.now().unix();
        let oldest = self.core.memory().oldest_waiting;
        let seconds = oldest.map_or(0, |mtime| now.saturating_sub(mtime));
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// Whether drops are taken in.
    pub fn processing(&self) -> Processing {
        self.core.pause.get()
    }

    /// Stops or resumes intake, durably.
    ///
    /// # Errors
    /// When the state directory cannot be written; the switch then stands as before.
    pub async fn set_paused(&self, paused: bool, reason: Option<String>) -> Result<Processing, CycleError> {
        self.blocking(move |core| core.pause.set(&*core.fs, paused, reason, core.now())).await
    }

    /// Drops `ready`, `processing` and `rejected` when last listed, and how many are `held` back.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let memory = self.core.memory();
        let mut counts = memory.counts.clone();
        counts.insert("held".to_owned(), memory.held.len() as u64);
        counts
    }

    /// Why drops are held back, by drop name.
    pub fn held(&self) -> BTreeMap<String, String> {
        self.core.memory().held.iter().map(|(name, reason)| (name.to_string(), reason.clone())).collect()
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> io::Result<T> + Send + 'static,
    ) -> Result<T, CycleError> {
        let core = Arc::clone(&self.core);
        match tokio::task::spawn_blocking(move || work(&core)).await {
            Ok(result) => Ok(result?),
            Err(e) => Err(CycleError::Interrupted(e.to_string())),
        }
    }
}
