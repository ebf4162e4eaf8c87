//! `memory://`: results and chord counters in a table inside this process.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use celery_protocol::{ExceptionInfo, ResultMeta, State, TaskRequest, task::TaskIdentity};
use serde_json::Value;
use tokio::{sync::Notify, time::Instant};

use super::{
    error::BackendError,
    expectation::Expectation,
    pending::PendingResults,
    traits::{ReadyChord, ResultBackend},
};
use crate::sync::lock;

/// How many results, and how many chords and groups, are kept at most. The oldest are dropped first.
const MAX_RESULTS: usize = 100_000;
/// How long the caller that was given a ready chord may take to publish its body, before another caller is given it.
const CHORD_CLAIM: Duration = Duration::from_secs(5);

/// A table of results, shared by all clones.
///
/// For one process that hosts both sides, and for tests.
#[derive(Clone, Default)]
pub struct MemoryBackend {
    results: Arc<MemoryResults>,
}

#[derive(Default)]
struct MemoryResults {
    tables: Mutex<ResultTables>,
    pending: Arc<PendingResults>,
    /// Wakes those that wait for the claim of another caller.
    chord_done: Notify,
}

#[derive(Default)]
struct ResultTables {
    results: HashMap<String, (u64, ResultMeta)>,
    by_age: BTreeMap<u64, String>,
    chords: BTreeMap<String, ChordCount>,
    groups: BTreeMap<String, Vec<String>>,
    next: u64,
}

#[derive(Default)]
struct ChordCount {
    size: Option<u64>,
    /// The results by place in the group and task id; of a failed member, the exception of the body.
    parts: BTreeMap<(i64, String), Result<Value, ExceptionInfo>>,
    /// When a caller was given the chord.
    claimed: Option<Instant>,
    done: bool,
}

impl ResultTables {
    fn put(&mut self, meta: ResultMeta) {
        self.next += 1;
        let id = meta.task_id.clone();
        if let Some((age, _)) = self.results.insert(id.clone(), (self.next, meta)) {
            self.by_age.remove(&age);
        }
        self.by_age.insert(self.next, id);
        while self.by_age.len() > MAX_RESULTS {
            if let Some((_, oldest)) = self.by_age.pop_first() {
                self.results.remove(&oldest);
            }
        }
    }

    fn chord(&mut self, group: &str) -> &mut ChordCount {
        if !self.chords.contains_key(group) {
            while self.chords.len() >= MAX_RESULTS {
                self.chords.pop_first();
            }
        }
        self.chords.entry(group.to_owned()).or_default()
    }
}

impl MemoryBackend {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The stored state of a task.
    #[must_use]
    pub fn get(&self, task_id: &str) -> Option<ResultMeta> {
        self.lock().results.get(task_id).map(|(_, meta)| meta.clone())
    }

    /// The members of a saved group.
    #[must_use]
    pub fn group(&self, group: &str) -> Option<Vec<String>> {
        self.lock().groups.get(group).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, ResultTables> {
        lock(&self.results.tables)
    }

    fn record(&self, task: &TaskIdentity, meta: ResultMeta) {
        if task.ignore_result == Some(true) {
            return;
        }
        {
            let mut tables = self.lock();
            if tables.results.get(&meta.task_id).is_some_and(|(_, old)| old.state == State::Success) {
                return;
            }
            tables.put(meta.clone());
        }
        self.results.pending.accept(meta);
    }
}

#[async_trait]
impl ResultBackend for MemoryBackend {
    fn shown(&self) -> String {
        "memory://".to_owned()
    }

    async fn store(&self, task: &TaskIdentity, meta: ResultMeta) -> Result<(), BackendError> {
        self.record(task, meta);
        Ok(())
    }

    async fn progress(&self, task: &TaskIdentity, meta: ResultMeta) {
        self.record(task, meta);
    }

    fn supports_chords(&self) -> bool {
        true
    }

    async fn start_chord(&self, group: &str, size: u64) -> Result<(), BackendError> {
        self.lock().chord(group).size = Some(size);
        Ok(())
    }

    async fn chord_part(&self, task: &TaskRequest, meta: &ResultMeta) -> Result<Option<ReadyChord>, BackendError> {
        let (Some(body), Some(group)) = (&task.embed.chord, &task.headers.group) else {
            return Ok(None);
        };
        let part = match meta.state {
            State::Success => Ok(meta.result.clone()),
            _ => {
                let exception = meta.exception().map_or_else(|| meta.state.to_string(), |exception| exception.repr());
                let message = Value::String(format!("Dependency {} raised {exception}", meta.task_id));
                Err(ExceptionInfo::new("celery.exceptions", "ChordError", vec![message]))
            }
        };
        // A member that is counted twice keeps its first state, as in Redis.
        let member = (task.headers.group_index.unwrap_or(0), meta.task_id.clone());
        self.lock().chord(group).parts.entry(member).or_insert(part);
        loop {
            let done = self.results.chord_done.notified();
            let until = {
                let mut tables = self.lock();
                let chord = tables.chord(group);
                let all =
                    chord.size.is_some_and(|size| u64::try_from(chord.parts.len()).is_ok_and(|count| count >= size));
                if !all || chord.done {
                    return Ok(None);
                }
                match chord.claimed.map(|claimed| claimed + CHORD_CLAIM).filter(|until| *until > Instant::now()) {
                    Some(until) => until,
                    None => {
                        chord.claimed = Some(Instant::now());
                        let outcome = chord.parts.values().cloned().collect::<Result<Vec<Value>, ExceptionInfo>>();
                        return Ok(Some(ReadyChord { group: group.clone(), body: body.clone(), outcome }));
                    }
                }
            };
            // Another caller was given the chord. It ends it, or dies and leaves it to this one.
            let _ = tokio::time::timeout_at(until, done).await;
        }
    }

    async fn chord_done(&self, group: &str) -> Result<(), BackendError> {
        let mut tables = self.lock();
        let chord = tables.chord(group);
        chord.done = true;
        chord.parts.clear();
        drop(tables);
        self.results.chord_done.notify_waiters();
        Ok(())
    }

    fn reply_to(&self) -> &str {
        "memory"
    }

    async fn expect(&self, task_id: &str) -> Result<Expectation, BackendError> {
        let expectation = self.results.pending.expect(task_id);
        if let Some(known) = self.get(task_id) {
            self.results.pending.accept(known);
        }
        Ok(expectation)
    }

    async fn save_group(&self, group: &str, members: &[String]) -> Result<(), BackendError> {
        let mut tables = self.lock();
        while tables.groups.len() >= MAX_RESULTS {
            tables.groups.pop_first();
        }
        tables.groups.insert(group.to_owned(), members.to_vec());
        Ok(())
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend").field("results", &self.lock().results.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use celery_protocol::Signature;
    use serde_json::json;

    use super::*;
    use crate::clock;

    fn member(id: &str, index: i64) -> TaskRequest {
        let mut task = TaskRequest::builder("t", id).group("g", index).build();
        task.embed.chord = Some(Signature::new("body", vec![]));
        task
    }

    #[tokio::test]
    async fn a_success_is_never_overwritten() {
        let backend = MemoryBackend::new();
        let who = TaskIdentity::default();
        backend.store(&who, ResultMeta::success("a", json!(1), clock::now())).await.unwrap();
        let late = ResultMeta::failure("a", &ExceptionInfo::builtin("ValueError", "x"), None, clock::now());
        backend.store(&who, late).await.unwrap();
        assert_eq!(backend.get("a").unwrap().result, 1);
        let mut expected = backend.expect("a").await.unwrap();
        assert_eq!(expected.newest().borrow().as_ref().unwrap().result, 1, "a result that came before is found");
    }

    #[tokio::test(start_paused = true)]
    async fn a_chord_is_ready_once_with_its_results_in_order_despite_repeated_members() {
        let backend = MemoryBackend::new();
        backend.start_chord("g", 2).await.unwrap();
        let late = ResultMeta::success("b", json!("late"), clock::now());
        assert_eq!(backend.chord_part(&member("b", 1), &late).await.unwrap(), None);
        assert_eq!(backend.chord_part(&member("b", 1), &late).await.unwrap(), None);
        let early = ResultMeta::success("a", json!("early"), clock::now());
        let ready = backend.chord_part(&member("a", 0), &early).await.unwrap().unwrap();
        assert_eq!(ready.outcome, Ok(vec![json!("early"), json!("late")]));
        // The caller that got it may have died: if the body does not count as published in time, it is handed out again.
        assert!(backend.chord_part(&member("a", 0), &early).await.unwrap().is_some());
        backend.chord_done("g").await.unwrap();
        assert_eq!(backend.chord_part(&member("a", 0), &early).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_ready_chord_is_given_to_one_caller_at_a_time() {
        let backend = MemoryBackend::new();
        backend.start_chord("g", 1).await.unwrap();
        let ended = ResultMeta::success("a", json!(1), clock::now());
        assert!(backend.chord_part(&member("a", 0), &ended).await.unwrap().is_some());
        // A duplicate of the member ends while the body is published.
        let duplicate = tokio::spawn({
            let (backend, ended) = (backend.clone(), ended.clone());
            async move { backend.chord_part(&member("a", 0), &ended).await.unwrap() }
        });
        tokio::task::yield_now().await;
        assert!(!duplicate.is_finished(), "it waits");
        backend.chord_done("g").await.unwrap();
        assert_eq!(duplicate.await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_member_that_failed_makes_the_chord_an_error() {
        let backend = MemoryBackend::new();
        backend.start_chord("g", 1).await.unwrap();
        let failed = ResultMeta::failure("a", &ExceptionInfo::builtin("ValueError", "x"), None, clock::now());
        let ready = backend.chord_part(&member("a", 0), &failed).await.unwrap().unwrap();
        let error = ready.outcome.unwrap_err();
        assert_eq!(error.exc_type, "ChordError");
        assert_eq!(error.exc_message, vec![json!("Dependency a raised ValueError('x')")]);
    }
}
