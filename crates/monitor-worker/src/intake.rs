//! The first half of a cycle: from the drop directory to a batch the targets-worker can see.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use durable_fs::durable;
use fleet::contract::{BATCH_FILE, Batch, BatchDrop};

use crate::batch;
use crate::core::Core;
use crate::drop_dir::{self, DropDir, DropName};
use crate::receipt::Receipt;
use crate::staging::{self, Contents, DIR_MODE, Examined};

/// How often a drop may be found changing before it is rejected.
const MAX_CHANGING: u32 = 3;
/// Prefix of a directory in which a batch is put together.
pub(crate) const STAGING: &str = ".staging_";

/// What the first half of a cycle did.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// The batch to be signed.
    pub(crate) staged: Option<Staged>,
    /// Drops renamed from ready to processing.
    pub(crate) taken: u64,
    /// Drops that had been published before and only needed their receipt again.
    pub(crate) published: u64,
    /// Drops rejected.
    pub(crate) rejected: u64,
    /// Drops left waiting, those held back included.
    pub(crate) waiting: u64,
    /// Drops held back, and why.
    pub(crate) held: Vec<(DropName, String)>,
    /// Whether drops were left out that could be taken at once by a further batch.
    pub(crate) more: bool,
    /// Target paths of drops held back: a younger drop with one of them waits too, because of two drops with the same
    /// path the later one has to win.
    blocked: HashMap<String, DropName>,
}

/// A batch that is visible to the targets-worker.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) batch: Batch,
    /// The processing directories, in the order of the batch's drops.
    pub(crate) dirs: Vec<DropDir>,
}

impl Core {
    /// Takes in what is to be done next: what was taken in before, else what is ready.
    pub(crate) fn intake(&self) -> io::Result<Intake> {
        self.collect_own_staging();
        // Whatever the cycle before was working on, it is over.
        self.memory().in_flight = None;
        let mut out = Intake::default();
        let mut found = drop_dir::list(&*self.fs, &self.settings.post, self.settings.any_case)?;
        let paused = self.pause.get().paused;
        self.count(&found);

        let busy: HashSet<DropName> = found.processing.iter().map(|d| d.name.clone()).collect();
        let stuck = self.memory().take_stuck(&mut found.processing);
        self.last_names(stuck);
        let present = (found.processing.len() + found.ready.len()) as u64;

        self.finish_noted_rejections(&mut found.processing, &mut out)?;
        self.refuse_bad_names(&mut found.processing, &mut out)?;
        let picked = self.pick(found.processing, &mut out)?;
        out.staged = self.stage(picked, &mut out)?;
        if paused {
            // Intake is stopped; what was taken in is finished.
        } else if out.staged.is_some() {
            out.more |= !found.ready.is_empty();
        } else {
            self.refuse_bad_names(&mut found.ready, &mut out)?;
            // The name is needed for the processing directory: the one before it ends first.
            found.ready.retain(|d| !busy.contains(&d.name));
            let picked = self.pick(found.ready, &mut out)?;
            let claimed = self.claim(picked, &mut out)?;
            out.staged = self.stage(claimed, &mut out)?;
        }
        let in_batch = out.staged.as_ref().map_or(0, |s| s.dirs.len() as u64);
        out.waiting = present.saturating_sub(out.published + out.rejected + in_batch);
        self.memory().held = out.held.iter().cloned().collect();
        Ok(out)
    }

    /// A rejection noted in the state whose directory still has its processing name was interrupted: it is finished
    /// without another look, so that nobody who was told "rejected" sees the drop published.
    fn finish_noted_rejections(&self, processing: &mut Vec<DropDir>, out: &mut Intake) -> io::Result<()> {
        let mut noted = Vec::new();
        processing.retain(|d| match self.memory().rejections.get(d.name.as_str()) {
            Some(receipt) => {
                noted.push((d.clone(), receipt.clone()));
                false
            }
            None => true,
        });
        out.rejected += noted.len() as u64;
        self.finish_rejected(noted)
    }

    fn refuse_bad_names(&self, drops: &mut Vec<DropDir>, out: &mut Intake) -> io::Result<()> {
        let mut refused = Vec::new();
        drops.retain(|d| match d.bad_name {
            Some(reason) => {
                refused.push((d.clone(), Receipt::rejected(&d.name, None, reason.to_owned(), self.now())));
                false
            }
            None => true,
        });
        out.rejected += refused.len() as u64;
        self.finish_rejected(refused)
    }

    /// The drops of the next batch: oldest first, within the bounds. What does not fit the free space is held back, and
    /// others pass it; what exceeds the bounds of a batch by itself goes alone.
    fn pick(&self, candidates: Vec<DropDir>, out: &mut Intake) -> io::Result<Vec<DropDir>> {
        let limits = &self.settings.limits;
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let max_drops = self.memory().cap.unwrap_or(limits.drops).min(limits.drops).max(1);
        let inbound = &self.settings.inbound;
        let space =
            self.fs.space(inbound).map_err(|error| drop_dir::unusable("inbound_targets_path", inbound, &error))?;
        let mut free_bytes = space.bytes.saturating_sub(limits.reserve_bytes);
        let mut free_inodes = space.inodes.saturating_sub(limits.reserve_inodes);
        let (mut files, mut bytes) = (0_u64, 0_u64);
        let mut picked: Vec<DropDir> = Vec::new();
        let mut names = HashSet::new();
        for drop in candidates {
            if picked.len() >= max_drops {
                out.more = true;
                break;
            }
            if names.contains(&drop.name) {
                out.more = true;
                continue;
            }
            let path = self.settings.post.join(&drop.dir);
            let size = match staging::measure(&*self.fs, &path, limits.files_per_drop) {
                Ok(size) => size,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                // Whose fault it is shows when the drop is read.
                Err(_) => staging::Size::default(),
            };
            let inodes = size.files + size.dirs + 1;
            let needed = size.bytes.saturating_add(inodes.saturating_mul(4096));
            if needed > free_bytes || inodes > free_inodes {
                let reason = format!(
                    "needs {needed} bytes and {inodes} inodes in the inbound directory, {free_bytes} and {free_inodes} are free"
                );
                self.hold(&drop, reason, out);
                continue;
            }
            if self.must_wait(&drop, out) {
                continue;
            }
            let within = files + size.files <= limits.files && bytes.saturating_add(size.bytes) <= limits.bytes;
            if !within && !picked.is_empty() {
                out.more = true;
                break;
            }
            free_bytes -= needed;
            free_inodes -= inodes;
            files += size.files;
            bytes = bytes.saturating_add(size.bytes);
            names.insert(drop.name.clone());
            picked.push(drop);
        }
        Ok(picked)
    }

    /// Holds a drop back, and what would overtake it.
    fn hold(&self, drop: &DropDir, reason: String, out: &mut Intake) {
        // What cannot be listed cannot be compared; nobody else has to wait for it.
        let paths = staging::paths(&*self.fs, &self.settings.post.join(&drop.dir), self.settings.limits.files_per_drop);
        out.blocked.extend(paths.unwrap_or_default().into_iter().map(|path| (path, drop.name.clone())));
        out.held.push((drop.name.clone(), reason));
    }

    /// Whether `drop` has to wait for an older one that is held back; if so it is held back too.
    fn must_wait(&self, drop: &DropDir, out: &mut Intake) -> bool {
        if out.blocked.is_empty() {
            return false;
        }
        let paths = staging::paths(&*self.fs, &self.settings.post.join(&drop.dir), self.settings.limits.files_per_drop);
        let shared = paths.unwrap_or_default().into_iter().find_map(|path| {
            let older = out.blocked.get(&path)?.clone();
            (older != drop.name).then_some((path, older))
        });
        let Some((path, older)) = shared else { return false };
        self.hold(drop, format!("waits for the older drop {older}, which also has {path}"), out);
        true
    }

    /// Renames ready drops to processing, durably. One that another monitor was faster to take is left out.
    fn claim(&self, picked: Vec<DropDir>, out: &mut Intake) -> io::Result<Vec<DropDir>> {
        let mut claimed = Vec::with_capacity(picked.len());
        let mut failed = None;
        for mut drop in picked {
            if self.must_wait(&drop, out) {
                continue;
            }
            self.forget_rejection(&drop.name)?;
            let to = OsString::from(drop.name.processing_dir());
            let post = &self.settings.post;
            match durable::rename_dir(&*self.fs, &post.join(&drop.dir), &post.join(&to)) {
                Ok(true) => {
                    drop.dir = to;
                    claimed.push(drop);
                }
                Ok(false) => out.more = true,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => {
                    self.hold(&drop, format!("cannot be taken in: {e}"), out);
                    failed = Some(e);
                }
            }
        }
        match failed {
            // Not one can be renamed: that is no drop's fault.
            Some(e) if claimed.is_empty() => return Err(e),
            _ => {}
        }
        if !claimed.is_empty() {
            self.fs.sync_dir(&self.settings.post)?;
        }
        out.taken += claimed.len() as u64;
        Ok(claimed)
    }

    /// A drop of this name was rejected before and is posted again: that rejection says nothing about this drop.
    fn forget_rejection(&self, name: &DropName) -> io::Result<()> {
        let noted = self.memory().rejections.get(name.as_str()).cloned();
        if let Some(receipt) = noted {
            self.receipts.finish_rejection(&*self.fs, &receipt)?;
            self.receipts.sync_rejections(&*self.fs)?;
            self.memory().rejections.remove(name.as_str());
        }
        Ok(())
    }

    /// Copies the drops into a staging directory, ends those that cannot or need not be signed, and makes the rest visible
    /// as a batch.
    fn stage(&self, drops: Vec<DropDir>, out: &mut Intake) -> io::Result<Option<Staged>> {
        if drops.is_empty() {
            return Ok(None);
        }
        let staging = self.new_staging_dir()?;
        let staged = self.stage_into(&staging, drops, out);
        if !matches!(staged, Ok(Some(_))) {
            self.remove_quietly(&staging);
        }
        staged
    }

    fn stage_into(&self, staging: &Path, drops: Vec<DropDir>, out: &mut Intake) -> io::Result<Option<Staged>> {
        let mut accepted = Vec::new();
        let mut known = Vec::new();
        let mut rejected = Vec::new();
        for (index, drop) in drops.into_iter().enumerate() {
            let dest = staging.join(index.to_string());
            if self.must_wait(&drop, out) {
                continue;
            }
            match self.look_at(&drop, &dest)? {
                Look::Accepted(contents) => accepted.push((index, drop, contents)),
                Look::Known(receipt) => known.push((drop, receipt)),
                Look::Rejected(reason) => {
                    let receipt = Receipt::rejected(&drop.name, None, reason, self.now());
                    rejected.push((drop, receipt));
                }
                Look::Held(reason) => self.hold(&drop, reason, out),
                Look::Gone => {}
            }
        }
        out.published += known.len() as u64;
        out.rejected += rejected.len() as u64;
        self.finish_published(known)?;
        self.finish_rejected(rejected)?;
        if accepted.is_empty() {
            return Ok(None);
        }
        let mut dirs = Vec::with_capacity(accepted.len());
        let mut listed = Vec::with_capacity(accepted.len());
        for (index, drop, contents) in accepted {
            listed.push(BatchDrop {
                dir: index.to_string(),
                name: drop.name.as_str().to_owned(),
                digest: contents.digest,
                files: contents.files,
                bytes: contents.bytes,
            });
            dirs.push(drop);
        }
        let batch = batch::new_batch(listed);
        let mut file = self.fs.create_new(&staging.join(BATCH_FILE), 0o664)?;
        file.write_all(&serde_json::to_vec(&batch)?)?;
        // Closed first: some file systems write a file back only then.
        drop(file);
        self.fs.sync_all(staging)?;
        self.make_visible(staging, &batch)?;
        Ok(Some(Staged { batch, dirs }))
    }

    fn look_at(&self, drop: &DropDir, dest: &Path) -> io::Result<Look> {
        let source = self.settings.post.join(&drop.dir);
        let examined = staging::examine(&*self.fs, &source, dest, &self.settings.limits, &|| self.beat.beat())?;
        // A processing directory is whole until it gets another name. If it still has its name, what was read was whole;
        // if not, another monitor finished it and what was read may be anything.
        let look = match durable::stat_if_there(&*self.fs, &source)? {
            Some(stat) if stat.id == drop.id => self.judge(drop, examined)?,
            _ => Look::Gone,
        };
        if !matches!(look, Look::Accepted(_)) {
            self.remove_quietly(dest);
        }
        Ok(look)
    }

    fn judge(&self, drop: &DropDir, examined: Examined) -> io::Result<Look> {
        if !matches!(examined, Examined::Changing(_)) {
            self.memory().changing.remove(&drop.name);
        }
        Ok(match examined {
            Examined::Accepted(contents) => match self.receipts.published(&*self.fs, &drop.name, &contents.digest)? {
                Some(receipt) => Look::Known(receipt),
                None => Look::Accepted(contents),
            },
            Examined::Rejected(reason) => Look::Rejected(reason),
            Examined::Held(reason) => Look::Held(reason),
            Examined::Changing(reason) => {
                let mut memory = self.memory();
                let times = memory.changing.entry(drop.name.clone()).or_default();
                *times += 1;
                if *times < MAX_CHANGING {
                    Look::Held(reason)
                } else {
                    memory.changing.remove(&drop.name);
                    Look::Rejected(reason)
                }
            }
        })
    }

    fn new_staging_dir(&self) -> io::Result<PathBuf> {
        loop {
            let number = self.memory().next_number();
            let path = self.settings.inbound.join(format!("{STAGING}{}_{number}", self.settings.instance));
            if durable::make_dir(&*self.fs, &path, DIR_MODE)? {
                return Ok(path);
            }
        }
    }

    /// Renames the staging directory to the batch's name, durably. Another monitor, or this one before a crash, may have
    /// made the same batch: then theirs is used and ours is discarded.
    fn make_visible(&self, staging: &Path, batch: &Batch) -> io::Result<()> {
        let target = self.settings.inbound.join(batch::dir_name(batch));
        self.memory().in_flight = Some(batch::dir_name(batch));
        loop {
            if durable::stat_if_there(&*self.fs, &target)?.is_some() {
                if batch::is_whole_in(&*self.fs, &target, batch)? {
                    self.remove_quietly(staging);
                    break;
                }
                self.move_to_trash(&target)?;
            }
            if durable::rename_dir(&*self.fs, staging, &target)? {
                break;
            }
        }
        self.fs.sync_dir(&self.settings.inbound)
    }
}

/// What is to be done with a drop.
enum Look {
    Accepted(Contents),
    Known(Receipt),
    Rejected(String),
    Held(String),
    Gone,
}
