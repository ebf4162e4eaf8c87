//! `add-targets`: a batch of drops, or loose inbound files.

use std::collections::BTreeMap;
use std::path::Path;

use durable_fs::durable;
use fleet::contract::{
    AddTargets, AddTargetsResult, BATCH_FILE, BATCH_FORMAT, BATCH_PREFIX, Batch, BatchDrop, DropVerdict, MAX_BATCH_FILE,
};
use fleet::exceptions;
use fleet::signing::SigningError;
use tuf_core::names::TargetPath;
use tuf_core::time::UtcTime;
use tuf_repository::roles::{CommitOutcome, Submission, TargetChange};

use crate::ingest::{IngestError, Taken, list_digest};
use crate::policy::Ahead;
use crate::role::Targets;

/// What is known of a drop before the commit.
enum Looked {
    /// An earlier record holds it.
    Done(u64),
    /// Its files are taken in.
    Taken(Vec<Taken>),
    /// Its producer has to change it.
    Rejected(String),
}

#[derive(serde::Deserialize)]
struct Format {
    format: u64,
}

impl Targets {
    /// Signs a batch, named loose files, or all loose files. `task_id` makes loose files idempotent; a drop is its name
    /// and digest.
    ///
    /// # Errors
    /// [`SigningError`]; nothing was signed then.
    pub fn add(&mut self, request: &AddTargets, task_id: &str, now: UtcTime) -> Result<AddTargetsResult, SigningError> {
        match (&request.batch, &request.targets) {
            (Some(_), Some(_)) => Err(SigningError::refused("give `batch` or `targets`, not both")),
            (Some(batch), None) => self.add_batch(batch, now),
            (None, targets) => self.add_loose(targets.as_deref(), task_id, now),
        }
    }

    fn add_batch(&mut self, name: &str, now: UtcTime) -> Result<AddTargetsResult, SigningError> {
        let id = name.strip_prefix(BATCH_PREFIX).filter(|id| {
            !id.is_empty()
                && id.len() <= 64
                && id.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
        });
        if id.is_none() {
            return Err(SigningError::refused("`batch` is not the name of a batch directory"));
        }
        let batch = self.read_batch(name)?;
        let mut looked = Vec::with_capacity(batch.drops.len());
        let mut ahead = Ahead::default();
        for drop in &batch.drops {
            let mut found = self.look(name, drop, now)?;
            if let Looked::Taken(files) = &found
                && let Some(reason) = self.forbidden(files, &mut ahead, now)?
            {
                found = Looked::Rejected(reason);
            }
            looked.push(found);
        }
        let mut submissions = Vec::new();
        for (drop, looked) in batch.drops.iter().zip(&looked) {
            if let Looked::Taken(files) = looked {
                submissions.push(submission(request_id(drop), files));
            }
        }
        // All of the batch at once: one sync.
        let files = looked.iter_mut().filter_map(|looked| match looked {
            Looked::Taken(files) => Some(files),
            _ => None,
        });
        self.ingest().keep(files.flatten()).map_err(kept)?;
        let commit =
            if submissions.is_empty() { CommitOutcome::default() } else { self.role.commit(&submissions, now)? };
        let drops: Vec<DropVerdict> =
            batch.drops.iter().zip(&looked).map(|(drop, looked)| verdict(drop, looked)).collect();
        Ok(AddTargetsResult { drops, ..result(&commit) })
    }

    fn read_batch(&self, name: &str) -> Result<Batch, SigningError> {
        let path = self.inbound.join(name).join(BATCH_FILE);
        let bytes = match durable::read_bounded(self.fs.as_ref(), &path, MAX_BATCH_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing(name)),
            Err(error) => return Err(SigningError::infrastructure(format!("{}: {error}", path.display()))),
        };
        let unreadable =
            |error: serde_json::Error| SigningError::refused(format!("{name}/{BATCH_FILE} cannot be read: {error}"));
        // The format comes first: what a newer monitor wrote may not look like anything known here. It is not the drop's
        // fault, so it is no refusal: the monitor asks again until this worker is upgraded.
        let Format { format } = serde_json::from_slice(&bytes).map_err(unreadable)?;
        if format > BATCH_FORMAT {
            return Err(SigningError::alarm(format!(
                "{name}/{BATCH_FILE} has format {format}, this version reads up to {BATCH_FORMAT}: upgrade the targets-worker"
            )));
        }
        let batch: Batch = serde_json::from_slice(&bytes).map_err(unreadable)?;
        Ok(batch)
    }

    fn look(&mut self, batch: &str, drop: &BatchDrop, now: UtcTime) -> Result<Looked, SigningError> {
        if let Some(applied) = self.role.outcome_of(&request_id(drop), now)? {
            return Ok(Looked::Done(applied.outcome.added));
        }
        if drop.dir.is_empty() || !drop.dir.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SigningError::refused(format!("`{}` is not a drop's directory", drop.dir)));
        }
        let dir = Path::new(batch).join(&drop.dir);
        let ingest = self.ingest();
        let taken = ingest
            .list(&dir)
            .and_then(|paths| paths.into_iter().map(|path| ingest.take(&dir, path)).collect::<Result<Vec<_>, _>>());
        match taken {
            // The monitor copied and hashed the same files: other bytes mean that the copy is not the drop.
            Ok(files) if digest(&files) != drop.digest => Err(missing(batch)),
            Ok(files) if files.is_empty() => Ok(Looked::Rejected("it holds no files".into())),
            Ok(files) => Ok(Looked::Taken(files)),
            Err(IngestError::Rejected(reason)) => Ok(Looked::Rejected(reason)),
            Err(IngestError::Missing(_)) => Err(missing(batch)),
            Err(error) => Err(infrastructure(error)),
        }
    }

    fn add_loose(
        &mut self,
        names: Option<&[String]>,
        task_id: &str,
        now: UtcTime,
    ) -> Result<AddTargetsResult, SigningError> {
        let ingest = self.ingest();
        let refused = |error: IngestError| match error {
            IngestError::Infrastructure(_) => infrastructure(error),
            error => SigningError::refused(format!("{error}; nothing was signed")),
        };
        let paths = match names {
            Some(names) => names
                .iter()
                .map(|name| TargetPath::new(name).map_err(|error| SigningError::refused(error.to_string())))
                .collect::<Result<Vec<_>, _>>()?,
            None => self.loose_files()?,
        };
        let mut taken = paths
            .into_iter()
            .map(|path| ingest.take(Path::new(""), path).map_err(refused))
            .collect::<Result<Vec<_>, _>>()?;
        if taken.is_empty() {
            return Ok(AddTargetsResult::default());
        }
        if let Some(reason) = self.forbidden(&taken, &mut Ahead::default(), now)? {
            return Err(SigningError::refused(format!("{reason}; nothing was signed")));
        }
        let ingest = self.ingest();
        ingest.keep(taken.iter_mut()).map_err(kept)?;
        let commit = self.role.commit(&[submission(format!("task:{task_id}"), &taken)], now)?;
        if self.keeps_files() {
            self.remove_loose(&taken);
        }
        Ok(result(&commit))
    }

    /// Every loose inbound file: not in a batch, not a dot name.
    fn loose_files(&self) -> Result<Vec<TargetPath>, SigningError> {
        let inbound =
            |error: std::io::Error| SigningError::infrastructure(format!("{}: {error}", self.inbound.display()));
        let ingest = self.ingest();
        let mut found = Vec::new();
        for entry in self.fs.read_dir(&self.inbound).map_err(inbound)? {
            let Some(name) = entry.name.to_str() else {
                return Err(SigningError::refused(format!(
                    "the name of {} is not UTF-8",
                    Path::new(&entry.name).display()
                )));
            };
            if name.starts_with('.') || name.starts_with(BATCH_PREFIX) {
                continue;
            }
            let path = |name: &str| TargetPath::new(name).map_err(|error| SigningError::refused(error.to_string()));
            match entry.kind {
                durable_fs::FileKind::File => found.push(path(name)?),
                durable_fs::FileKind::Dir => {
                    let below = ingest.list(Path::new(name)).map_err(|error| match error {
                        IngestError::Infrastructure(_) => infrastructure(error),
                        error => SigningError::refused(error.to_string()),
                    })?;
                    for inner in below {
                        found.push(path(&format!("{name}/{inner}"))?);
                    }
                }
                _ => return Err(SigningError::refused(format!("{name} is not a regular file"))),
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Removes loose files that are signed and kept now, unless somebody replaced one meanwhile.
    fn remove_loose(&self, taken: &[Taken]) {
        for taken in taken {
            let path = self.inbound.join(taken.path.as_str());
            let same = self.fs.stat(&path).is_ok_and(|now| {
                now.id == taken.source.id && now.len == taken.source.len && now.mtime == taken.source.mtime
            });
            if same && let Err(error) = self.fs.remove_file(&path) {
                tracing::warn!("{} is signed but cannot be removed: {error}", path.display());
            }
        }
    }
}

fn request_id(drop: &BatchDrop) -> String {
    format!("drop:{}:{}", drop.digest, drop.name)
}

fn digest(files: &[Taken]) -> String {
    list_digest(files.iter().map(|taken| (&taken.path, taken.entry)))
}

fn submission(request: String, files: &[Taken]) -> Submission {
    Submission {
        request,
        changes: files.iter().map(|taken| (taken.path.clone(), TargetChange::Put(taken.entry))).collect(),
    }
}

fn verdict(drop: &BatchDrop, looked: &Looked) -> DropVerdict {
    let (rejected, targets) = match looked {
        Looked::Done(targets) => (None, *targets),
        Looked::Taken(files) => (None, files.len() as u64),
        Looked::Rejected(reason) => (Some(reason.clone()), 0),
    };
    DropVerdict { name: drop.name.clone(), digest: drop.digest.clone(), rejected, targets }
}

fn result(commit: &CommitOutcome) -> AddTargetsResult {
    AddTargetsResult {
        record: commit.record.or_else(|| commit.applied.iter().map(|applied| applied.record).max()),
        versions: BTreeMap::clone(&commit.versions),
        bins_changed: commit.bins_changed,
        targets_added: commit.applied.iter().filter(|applied| !applied.earlier).map(|a| a.outcome.added).sum(),
        drops: Vec::new(),
        already_done: commit.record.is_none(),
    }
}

/// The batch directory is not there, or not whole: the monitor makes it again.
fn missing(batch: &str) -> SigningError {
    let message = format!("{batch} is not in the inbound directory, or not whole");
    SigningError::Refused(exceptions::exception(exceptions::BATCH_MISSING, message))
}

/// Files that can never have their names are refused, so that the monitor finds the drop they are of.
fn kept(error: IngestError) -> SigningError {
    match error {
        IngestError::Rejected(reason) => SigningError::refused(reason),
        error => infrastructure(error),
    }
}

fn infrastructure(error: IngestError) -> SigningError {
    SigningError::infrastructure(error)
}
