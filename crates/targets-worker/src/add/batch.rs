//! `add-targets` for a batch: one verdict per drop, one commit record for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use durable_fs::durable;
use fleet::batch::{
    BATCH_FILE, BATCH_FORMAT, Batch, BatchDrop, MAX_BATCH_FILE, drop_digest, may_be_dir_name, may_be_post,
};
use fleet::contract::{AddTargetsResult, DropVerdict, DropWaits};
use tuf_core::store::StoreError;
use tuf_core::time::UtcTime;
use tuf_repository::roles::{AppliedRequest, CommitOutcome, RoleError, SortedApart};

use super::commit::{result, submission};
use crate::error::{RefusedRequest, TargetsError};
use crate::fault::TargetFault;
use crate::ingest::{IngestError, IngestedFile};
use crate::release_check::EarlierDrops;
use crate::role::TargetsWorker;
use crate::room::{DropWaitReason, Room};

/// The state of a drop before the commit.
enum DropState {
    /// An earlier record holds it.
    Committed(AppliedRequest),
    /// Its files are copied.
    Ingested(Vec<IngestedFile>),
    /// Its producer has to change it.
    Rejected(TargetFault),
    /// It is not added now, through no fault of its producer.
    Waits(DropWaitReason),
}

#[derive(serde::Deserialize)]
struct FormatOnly {
    format: u64,
}

impl TargetsWorker {
    pub(super) fn add_batch(&mut self, name: &str, now: UtcTime) -> Result<AddTargetsResult, TargetsError> {
        if !may_be_dir_name(name) {
            return Err(RefusedRequest::NotABatchName.into());
        }
        let batch = self.read_batch(name)?;
        let (states, commit) = self.commit_batch(name, &batch, now)?;
        let (mut drops, mut waiting) = (Vec::with_capacity(states.len()), Vec::new());
        for (drop, state) in batch.drops.iter().zip(&states) {
            match state {
                DropState::Waits(reason) => {
                    tracing::warn!(drop.name, %reason, "drop not added yet");
                    let (name, digest) = (drop.name.clone(), drop.digest.clone());
                    waiting.push(DropWaits { name, digest, reason: reason.to_string() });
                }
                DropState::Committed(applied) => drops.push(added(drop, applied.outcome.added, Some(applied.record))),
                DropState::Ingested(files) => {
                    let request = request_id(drop);
                    let applied = commit.applied.iter().find(|applied| applied.request == request);
                    drops.push(added(drop, files.len() as u64, applied.map(|applied| applied.record)));
                }
                DropState::Rejected(fault) => {
                    drops.push(DropVerdict { rejected: Some(fault.to_string()), ..added(drop, 0, None) });
                }
            }
        }
        let earlier = states.iter().filter_map(|state| match state {
            DropState::Committed(applied) => Some(applied.record),
            _ => None,
        });
        let result = result(&commit);
        let already_done = result.already_done && waiting.is_empty();
        // A repeated task is answered with the record that the first one made.
        let record = result.record.or(earlier.max());
        Ok(AddTargetsResult { drops, waiting, already_done, record, ..result })
    }

    /// Copies the drops of a batch and commits those that have no fault. The commit alone finds the drops after which tough
    /// would refuse a role. The others are judged again without them, because they may have been rejected beside them.
    fn commit_batch(
        &mut self,
        name: &str,
        batch: &Batch,
        now: UtcTime,
    ) -> Result<(Vec<DropState>, CommitOutcome), TargetsError> {
        let mut apart: Vec<SortedApart> = Vec::new();
        loop {
            let states = self.ingest_batch(name, batch, &apart, now)?;
            let mut submissions = Vec::new();
            for (drop, state) in batch.drops.iter().zip(&states) {
                if let DropState::Ingested(files) = state {
                    submissions.push(submission(request_id(drop), files));
                }
            }
            if submissions.is_empty() {
                return Ok((states, CommitOutcome::default()));
            }
            match self.role.commit(&submissions, now) {
                // Each turn rejects at least one drop more.
                Err(RoleError::SortedApart(more)) if !more.is_empty() => apart.extend(more),
                commit => return Ok((states, commit?)),
            }
        }
    }

    /// Copies the drops of a batch except those in `apart`, and keeps the copies durably. A disk may report only then that it
    /// is full (a quota, a server that allocates late): the larger drops wait then, and the copies of the others are made again.
    fn ingest_batch(
        &mut self,
        name: &str,
        batch: &Batch,
        apart: &[SortedApart],
        now: UtcTime,
    ) -> Result<Vec<DropState>, TargetsError> {
        let apart: BTreeMap<&str, &SortedApart> = apart.iter().map(|apart| (apart.request.as_str(), apart)).collect();
        let mut postponed = BTreeSet::new();
        loop {
            let mut states = Vec::with_capacity(batch.drops.len());
            let mut earlier = EarlierDrops::default();
            let mut room = Room::of(self.fs.as_ref(), self.targets_dir()).map_err(|error| {
                let path = self.targets_dir().map(Path::to_owned).unwrap_or_default();
                TargetsError::Targets { path, source: error }
            })?;
            for (index, drop) in batch.drops.iter().enumerate() {
                if let Some(apart) = apart.get(request_id(drop).as_str()) {
                    states.push(DropState::Rejected(TargetFault::from(*apart)));
                    continue;
                }
                let mut state = self.ingest_drop(name, drop, postponed.contains(&index), &mut room, now)?;
                if let DropState::Ingested(files) = &state
                    && let Some(fault) = self.check_release(files, &mut earlier, now)?
                {
                    state = DropState::Rejected(fault);
                }
                states.push(state);
            }
            // The whole batch in one call, and so with one sync.
            let files = states.iter_mut().filter_map(|state| match state {
                DropState::Ingested(files) => Some(files),
                _ => None,
            });
            match self.ingest().keep(files.flatten()) {
                Ok(()) => return Ok(states),
                Err(IngestError::Store(error @ StoreError::NoSpace { .. })) => {
                    tracing::warn!(batch = name, %error, "the targets directory is full: the larger drops of the batch wait");
                    postponed.extend(larger_half(batch, &states));
                }
                Err(error) => return Err(not_kept(error)),
            }
        }
    }

    fn read_batch(&self, name: &str) -> Result<Batch, TargetsError> {
        let path = self.inbound.join(name).join(BATCH_FILE);
        let bytes = match durable::read_bounded(self.fs.as_ref(), &path, MAX_BATCH_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing(name)),
            Err(source) => return Err(TargetsError::Inbound { path, source }),
        };
        let malformed = |source| RefusedRequest::MalformedBatchFile { batch: name.to_owned(), source };
        // The format version is read first, because the file of a newer monitor may have a different structure.
        let FormatOnly { format } = serde_json::from_slice(&bytes).map_err(malformed)?;
        if format > BATCH_FORMAT {
            return Err(TargetsError::NewerBatchFormat { batch: name.to_owned(), format });
        }
        Ok(serde_json::from_slice(&bytes).map_err(malformed)?)
    }

    /// Copies the files of a drop, unless a record holds it already, or it has no room, or it is postponed.
    fn ingest_drop(
        &mut self,
        batch: &str,
        drop: &BatchDrop,
        postponed: bool,
        room: &mut Room,
        now: UtcTime,
    ) -> Result<DropState, TargetsError> {
        if let Some(post) = drop.post.as_ref().filter(|post| !may_be_post(post)) {
            return Err(RefusedRequest::NotAPost { post: post.clone() }.into());
        }
        if let Some(applied) = self.role.outcome_of(&request_id(drop), now)? {
            return Ok(DropState::Committed(applied));
        }
        if drop.dir.is_empty() || !drop.dir.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(RefusedRequest::NotADropDir { dir: drop.dir.clone() }.into());
        }
        let dir = Path::new(batch).join(&drop.dir);
        let ingest = self.ingest();
        let paths = match ingest.list(&dir) {
            Ok(paths) => paths,
            Err(error) => return not_taken(batch, error),
        };
        if let Some(older) = room.older(&paths) {
            room.wait(drop, paths);
            return Ok(DropState::Waits(older));
        }
        let no_room = if postponed { Some(Room::full(drop)) } else { room.take(drop) };
        if let Some(reason) = no_room {
            room.wait(drop, paths);
            return Ok(DropState::Waits(reason));
        }
        let mut files = Vec::with_capacity(paths.len());
        for path in &paths {
            match ingest.take(&dir, path.clone()) {
                Ok(file) => files.push(file),
                Err(IngestError::Store(StoreError::NoSpace { .. })) => {
                    let reason = room.filled_by(drop);
                    room.wait(drop, paths);
                    return Ok(DropState::Waits(reason));
                }
                Err(error) => return not_taken(batch, error),
            }
        }
        if digest(&files) != drop.digest {
            // The monitor copied and hashed the same files: other bytes mean that its copy is damaged.
            return Err(missing(batch));
        }
        Ok(if files.is_empty() { DropState::Rejected(TargetFault::NoFiles) } else { DropState::Ingested(files) })
    }
}

/// The larger half of the copied drops, by their bytes; never none of them.
fn larger_half(batch: &Batch, states: &[DropState]) -> Vec<usize> {
    let copied = states.iter().enumerate().filter(|(_, state)| matches!(state, DropState::Ingested(_)));
    let mut copied: Vec<usize> = copied.map(|(index, _)| index).collect();
    copied.sort_by_key(|&index| std::cmp::Reverse(batch.drops.get(index).map_or(0, |drop| drop.bytes)));
    copied.truncate(copied.len().div_ceil(2));
    copied
}

fn not_taken(batch: &str, error: IngestError) -> Result<DropState, TargetsError> {
    match error {
        IngestError::Rejected(fault) => Ok(DropState::Rejected(fault)),
        IngestError::Missing { .. } => Err(missing(batch)),
        error => Err(TargetsError::Ingest(error)),
    }
}

/// The id under which a record remembers a drop. The same files posted again are another request: what the earlier one signed
/// may have been replaced or removed since. An attempt at the same post is the same request.
fn request_id(drop: &BatchDrop) -> String {
    match &drop.post {
        Some(post) => format!("post:{}:{post}:{}", drop.digest, drop.name),
        None => format!("drop:{}:{}", drop.digest, drop.name),
    }
}

fn digest(files: &[IngestedFile]) -> String {
    drop_digest(files.iter().map(|file| (file.path.as_str(), file.entry.sha256, file.entry.length)))
}

fn added(drop: &BatchDrop, targets: u64, record: Option<u64>) -> DropVerdict {
    DropVerdict { name: drop.name.clone(), digest: drop.digest.clone(), rejected: None, targets, record }
}

fn missing(batch: &str) -> TargetsError {
    TargetsError::BatchMissing { batch: batch.to_owned() }
}

/// Files that can never have their names are refused, so that the monitor finds their drop.
fn not_kept(error: IngestError) -> TargetsError {
    match error {
        IngestError::Rejected(fault) => RefusedRequest::NotKept(fault).into(),
        error => TargetsError::Ingest(error),
    }
}
