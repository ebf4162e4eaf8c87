//! The monitor: one cycle takes drops in, drives the chain and ends every drop of the batch.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use durable_fs::Fs;
use fleet::contract::{AddTargetsResult, Processing, WaitingDrop};
use service::clock::Clock;
use tuf_core::time::UtcTime;

use crate::chain::{Chain, ChainError};
use crate::cycle::{CycleError, CycleReport};
use crate::file_work::FileWork;
use crate::intake::StagedBatch;
use crate::settings::MonitorSettings;
use crate::settle::SettledCounts;
use crate::visibility::{newest_record, show};

/// The answer of `add-targets` for a batch.
enum BatchAnswer {
    /// A verdict per drop.
    Verdicts(AddTargetsResult),
    /// It failed too often through no fault of the machine; the text is from the last failure.
    KeepsFailing(String),
}

/// The state machine of the monitor-worker. Cheap to clone; clones are the same monitor.
#[derive(Clone, Debug)]
pub struct Monitor {
    work: Arc<FileWork>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Monitor {
    /// Opens the private state. Blocks: it reads and writes files.
    ///
    /// # Errors
    /// The state directory cannot be used, or holds a file that this version cannot read.
    pub fn open(fs: Arc<dyn Fs>, clock: Arc<dyn Clock>, settings: MonitorSettings) -> io::Result<Self> {
        let work = FileWork::open(fs, clock, settings)?;
        Ok(Self { work: Arc::new(work), turn: Arc::default() })
    }

    /// Runs one cycle: all drops in processing, else all ready ones, as one batch through the chain. Cycles of one monitor
    /// wait for each other.
    ///
    /// # Errors
    /// [`CycleError`]; nothing is lost, and the next cycle continues where this one stopped.
    pub async fn run_cycle(&self, chain: &dyn Chain) -> Result<CycleReport, CycleError> {
        let _turn = self.turn.lock().await;
        let intake = self.blocking(FileWork::intake).await?;
        let mut report = CycleReport {
            taken: intake.taken,
            published: intake.published,
            rejected: intake.rejected,
            waiting: intake.waiting,
            held: intake.held,
            ignored: intake.ignored,
            more: intake.more,
            chain_started: false,
        };
        if let Some(staged) = intake.staged {
            report.chain_started = true;
            let settled = self.process(chain, staged, &mut report).await?;
            report.published += settled.published;
            report.rejected += settled.rejected;
            report.waiting += settled.held.len() as u64;
            report.held.extend(settled.held);
            // So that `status` shows the drops as they are after the batch.
            self.blocking(FileWork::recount).await?;
        }
        Ok(report)
    }

    /// Takes one visible batch through the chain and ends its drops.
    async fn process(
        &self,
        chain: &dyn Chain,
        staged: StagedBatch,
        report: &mut CycleReport,
    ) -> Result<SettledCounts, CycleError> {
        let drops = staged.batch.drops.len();
        let mut attempt = 1;
        let (added, versions) = loop {
            let answer = self.add_targets(chain, &staged).await;
            if let Err(CycleError::Chain(ChainError::BatchMissing(_))) = &answer {
                // Any directory of that name is not the batch: the next cycle stages the drops again.
                self.discard(&staged).await?;
            }
            let added = match answer? {
                BatchAnswer::Verdicts(added) => added,
                BatchAnswer::KeepsFailing(reason) if drops == 1 => {
                    self.widen();
                    return self.blocking(move |work| work.settle_failing(staged, reason)).await;
                }
                BatchAnswer::KeepsFailing(reason) => {
                    tracing::warn!(batch.id = staged.batch.id, drops, reason, "batch keeps failing; halving it");
                    self.work.memory().max_drops = Some(drops / 2);
                    self.discard(&staged).await?;
                    report.waiting += drops as u64;
                    report.more = true;
                    return Ok(SettledCounts::default());
                }
            };
            match show(chain, newest_record(&staged.batch, &added)?).await? {
                Ok(versions) => break (added, versions),
                // The targets-worker is asked again too: the record may be lost meanwhile, with a restored repository.
                Err(reason) => {
                    attempt += 1;
                    chain.wait_until_visible(&reason, attempt).await?;
                }
            }
        };
        self.widen();
        self.blocking(move |work| work.settle(staged, &added, versions)).await
    }

    /// Lists the drop directory, so that counts and ages are up to date. It may run during a cycle.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub async fn recount(&self) -> Result<(), CycleError> {
        self.blocking(FileWork::recount).await
    }

    async fn discard(&self, staged: &StagedBatch) -> Result<(), CycleError> {
        let dir = staged.batch.dir_name();
        self.blocking(move |work| {
            work.discard_batch(&dir);
            Ok::<(), CycleError>(())
        })
        .await
    }

    /// Asks for the batch until there is an answer, or until it has failed `MonitorSettings::attempts` times through no fault
    /// of the machine.
    async fn add_targets(&self, chain: &dyn Chain, staged: &StagedBatch) -> Result<BatchAnswer, CycleError> {
        let dir = staged.batch.dir_name();
        let mut attempt = 1;
        loop {
            match chain.add_targets(&dir).await {
                Ok(added) => return Ok(BatchAnswer::Verdicts(added)),
                Err(ChainError::Failed { task, reason }) => {
                    tracing::warn!(batch.id = staged.batch.id, step = task, attempt, reason, "batch failed");
                    if attempt >= self.work.settings.attempts.max(1) {
                        return Ok(BatchAnswer::KeepsFailing(reason));
                    }
                    attempt += 1;
                    chain.backoff(attempt).await?;
                }
                Err(other) => return Err(other.into()),
            }
        }
    }

    /// Doubles the bound of the next batch after one that ended, while a bad drop is searched for.
    fn widen(&self) {
        let most = self.work.settings.limits.drops;
        let mut memory = self.work.memory();
        memory.max_drops = memory.max_drops.map(|drops| drops.saturating_mul(2)).filter(|drops| *drops < most);
    }

    /// Removes published directories, used batches, and files that interrupted processes left behind more than a day ago. It
    /// may run during a cycle and blocks none. A directory that cannot be removed is only logged.
    ///
    /// # Errors
    /// A directory cannot be listed or synced.
    pub async fn tidy(&self) -> Result<(), CycleError> {
        self.blocking(FileWork::tidy).await
    }

    /// Sets a function that is called for each name of a drop that is listed, and between two reads while files are copied; if
    /// it returns `false`, the cycle ends with an error. Only the first function that is set is called.
    pub fn on_progress(&self, hook: impl Fn() -> bool + Send + Sync + 'static) {
        self.work.progress.set(Box::new(hook));
    }

    /// How long the oldest drop that has not ended, taken in or not, has been waiting; zero if there was none when last
    /// listed.
    pub fn oldest_waiting(&self) -> Duration {
        let now = self.work.clock.now().unix();
        let oldest = self.work.memory().oldest_waiting;
        let seconds = oldest.map_or(0, |since| now.saturating_sub(since));
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// The state of the pause switch.
    pub fn processing(&self) -> Processing {
        self.work.pause.get()
    }

    /// Pauses or resumes intake, durably.
    ///
    /// # Errors
    /// The state directory cannot be written; the switch is then unchanged.
    pub async fn set_paused(&self, paused: bool, reason: Option<String>) -> Result<Processing, CycleError> {
        self.blocking(move |work| work.pause.set(&*work.fs, paused, reason, work.now())).await
    }

    /// Number of drops `ready`, `processing` and `rejected` when last listed, of published directories with `late` files, of
    /// entries that look like a drop and are `ignored`, and of drops `held` in the last cycle. Each counts once.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.work.memory().counts()
    }

    /// The conditions of the drop directory that an operator has to look at.
    pub fn notices(&self) -> Vec<String> {
        self.work.memory().notice.iter().cloned().collect()
    }

    /// The oldest drops that wait, at most [`MAX_NAMED_DROPS`](crate::MAX_NAMED_DROPS), and as many ignored entries, each with
    /// its reason.
    pub fn waiting(&self) -> Vec<WaitingDrop> {
        let memory = self.work.memory();
        let named = memory.waiting.iter().map(|drop| {
            let reason = memory.held.get(&drop.name).cloned();
            WaitingDrop {
                name: drop.name.to_string(),
                stage: if reason.is_some() { "held" } else { drop.stage }.to_owned(),
                since: Some(UtcTime::from_unix(drop.since).to_string()),
                reason,
            }
        });
        named.chain(memory.ignored.iter().cloned()).collect()
    }

    async fn blocking<T, E>(
        &self,
        step: impl FnOnce(&FileWork) -> Result<T, E> + Send + 'static,
    ) -> Result<T, CycleError>
    where
        T: Send + 'static,
        E: Into<CycleError> + Send + 'static,
    {
        let work = Arc::clone(&self.work);
        // Log lines of the file work belong to the worker's span, which a thread of its own does not inherit.
        let span = tracing::Span::current();
        match tokio::task::spawn_blocking(move || span.in_scope(|| step(&work))).await {
            Ok(result) => result.map_err(Into::into),
            Err(error) => Err(CycleError::Interrupted(error)),
        }
    }
}
