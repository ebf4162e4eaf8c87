//! The drops: those in the drop directory, if this machine can read it, else those that the monitor-worker names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use durable_fs::{FileKind, Fs, durable};
use fleet::contract::{WaitingDrop, WorkerStatus};
use monitor_worker::drop_dir::{self, DropDir, DropListing, LATE, REJECTED};
use serde::Serialize;
use tuf_core::time::UtcTime;

/// The most drops shown of each stage: the count says how many there are.
const MAX_SHOWN: usize = 20;
/// The longest `REASON.json` that is read, in bytes.
const MAX_REASON_BYTES: u64 = 1 << 20;
/// The stage of a drop that the monitor-worker does not take in, or does not finish, for a reason that it gives.
const HELD: &str = "held";
/// The stages, in the order in which they are shown.
const STAGES: [&str; 6] = ["processing", HELD, "ready", "ignored", "rejected", "late"];

/// A drop that is not published, or an entry that looks like one, as `--json` prints it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct DropReport {
    /// Its name.
    pub name: String,
    /// `ready`, `processing`, `held`, `ignored`, `rejected` or `late`.
    pub stage: String,
    /// Time of the last change of its directory, which the kernel sets, `YYYY-MM-DDTHH:MM:SSZ`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why it is held, ignored, rejected or kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The drops of a fleet. Each has one stage.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Number of drops by stage; empty when neither the directory can be read nor the monitor-worker answers.
    pub counts: BTreeMap<String, u64>,
    /// The first drops of each stage, stage by stage.
    pub named: Vec<DropReport>,
    /// Number of drops that are not in `named`, by stage, where there are any.
    pub more: BTreeMap<String, u64>,
}

/// The drops. The drop directory is newer than the answer of the monitor-worker, but only the monitor knows the held ones.
pub fn drops(fs: &dyn Fs, post: &Path, any_case: bool, by_monitor: Option<&WorkerStatus>) -> Drops {
    let mut counts = by_monitor.map(|status| status.drops.clone()).unwrap_or_default();
    let waiting = by_monitor.map(|status| status.waiting.as_slice()).unwrap_or_default();
    // Twice as many, because held drops are among them.
    let listing = drop_dir::list(fs, post, any_case, 2 * MAX_SHOWN);
    let mut found = match &listing {
        Ok(listing) => on_disk(fs, post, listing, waiting, &mut counts),
        Err(_) => waiting.iter().map(named_by_monitor).collect(),
    };
    let mut named: Vec<DropReport> = Vec::new();
    for stage in STAGES {
        named.extend(found.extract_if(.., |drop| drop.stage == stage).take(MAX_SHOWN));
    }
    let shown = |stage: &str| named.iter().filter(|drop| drop.stage == stage).count() as u64;
    let more = counts.iter().map(|(stage, count)| (stage.clone(), count.saturating_sub(shown(stage))));
    Drops { more: more.filter(|(_, more)| *more > 0).collect(), counts, named }
}

fn named_by_monitor(drop: &WaitingDrop) -> DropReport {
    let WaitingDrop { name, stage, since, reason } = drop.clone();
    DropReport { name, stage, since, reason }
}

/// The drops in the drop directory. `counts` are those of the monitor-worker, and become those of the directory.
fn on_disk(
    fs: &dyn Fs,
    post: &Path,
    listing: &DropListing,
    waiting: &[WaitingDrop],
    counts: &mut BTreeMap<String, u64>,
) -> Vec<DropReport> {
    let reasons: HashMap<&str, Option<&String>> = waiting
        .iter()
        .filter(|drop| drop.stage == HELD)
        .map(|drop| (drop.name.as_str(), drop.reason.as_ref()))
        .collect();
    let report = |dir: &DropDir, stage: &str| {
        let held = reasons.get(dir.name.as_str());
        DropReport {
            name: dir.name.to_string(),
            stage: if held.is_some() { HELD } else { stage }.to_owned(),
            since: since(fs, &post.join(&dir.dir)),
            reason: held.copied().flatten().cloned(),
        }
    };
    let mut drops: Vec<DropReport> = listing.processing.iter().map(|dir| report(dir, "processing")).collect();
    let taken = drops.iter().filter(|drop| drop.stage == HELD).count() as u64;
    drops.extend(listing.ready.iter().map(|dir| report(dir, "ready")));
    let found = drops.iter().filter(|drop| drop.stage == HELD).count() as u64;
    // The monitor names the first ones only, so others are taken for ready ones; a held drop may be gone meanwhile.
    let unnamed = counts.get(HELD).copied().unwrap_or(0).saturating_sub(reasons.len() as u64);
    let total = listing.ready_total + listing.processing_total;
    let held = found + unnamed.min(total.saturating_sub(found));
    let ready = (listing.ready_total + taken).saturating_sub(held);
    let processing = total.saturating_sub(held + ready);
    if counts.contains_key(HELD) {
        counts.insert(HELD.to_owned(), held);
    }
    let on_disk = [
        ("ready", ready),
        ("processing", processing),
        ("ignored", listing.ignored_total),
        ("rejected", listing.rejected),
        ("late", listing.late),
    ];
    counts.extend(on_disk.map(|(stage, number)| (stage.to_owned(), number)));
    drops.extend(listing.ignored.iter().take(MAX_SHOWN).map(|entry| DropReport {
        name: entry.name.to_string_lossy().escape_debug().to_string(),
        stage: "ignored".to_owned(),
        since: None,
        reason: Some(entry.reason.to_string()),
    }));
    for (stage, prefix) in [("rejected", REJECTED), ("late", LATE)] {
        let report = |name: &String| {
            let dir = post.join(format!("{prefix}{name}"));
            DropReport { name: name.clone(), stage: stage.to_owned(), since: since(fs, &dir), reason: reason(fs, &dir) }
        };
        drops.extend(names_after(fs, post, prefix).iter().map(report));
    }
    drops
}

/// The names of directories after `prefix`: the first ones when sorted. The drop directory may hold any number of them.
fn names_after(fs: &dyn Fs, post: &Path, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let Ok(entries) = fs.open_dir(post).and_then(|dir| dir.iter_entries()) else { return names };
    for entry in entries.flatten().filter(|entry| entry.kind == FileKind::Dir) {
        if let Some(name) = entry.name.to_string_lossy().strip_prefix(prefix) {
            names.insert(name.to_owned());
        }
        if names.len() > MAX_SHOWN {
            names.pop_last();
        }
    }
    names
}

fn since(fs: &dyn Fs, dir: &Path) -> Option<String> {
    fs.stat(dir).ok().map(|stat| UtcTime::from_unix(stat.ctime).to_string())
}

/// The reason in the `REASON.json` of a rejected directory, or of one with late files.
fn reason(fs: &dyn Fs, dir: &Path) -> Option<String> {
    let bytes = durable::read_bounded(fs, &dir.join("REASON.json"), MAX_REASON_BYTES).ok()?;
    let document: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    document.get("reason")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use durable_fs::RealFs;

    use super::*;

    fn made(post: &Path, names: impl IntoIterator<Item = String>) {
        names.into_iter().for_each(|name| assert!(durable::make_dir(&RealFs, &post.join(name), 0o755).unwrap()));
    }

    fn held(names: &[&str], count: u64) -> WorkerStatus {
        let named = |name: &&str| WaitingDrop {
            name: (*name).to_owned(),
            stage: HELD.to_owned(),
            since: None,
            reason: Some("it needs 9 bytes".to_owned()),
        };
        WorkerStatus {
            waiting: names.iter().map(named).collect(),
            drops: BTreeMap::from([(HELD.to_owned(), count)]),
            ..WorkerStatus::default()
        }
    }

    fn stages(drops: &Drops) -> Vec<(&str, &str)> {
        drops.named.iter().map(|drop| (drop.stage.as_str(), drop.name.as_str())).collect()
    }

    #[test]
    fn a_held_drop_is_counted_and_named_once() {
        let post = tempfile::tempdir().unwrap();
        made(post.path(), ["tuf_ready_a", "tuf_ready_b", "tuf_processing_c", "tuf_processing_d"].map(str::to_owned));
        let drops = drops(&RealFs, post.path(), false, Some(&held(&["a", "c", "gone"], 3)));
        assert_eq!(stages(&drops), [("processing", "d"), ("held", "c"), ("held", "a"), ("ready", "b")]);
        assert_eq!((drops.counts["held"], drops.counts["ready"], drops.counts["processing"]), (2, 1, 1));
        assert_eq!(drops.named[1].reason.as_deref(), Some("it needs 9 bytes"));
        assert_eq!(drops.more, BTreeMap::new());
    }

    #[test]
    fn drops_beyond_those_that_are_named_are_counted_as_more() {
        let post = tempfile::tempdir().unwrap();
        made(post.path(), (10..34).map(|number| format!("tuf_rejected_{number}")));
        made(post.path(), (10..35).map(|number| format!("tuf_late_{number}")));
        made(post.path(), (10..60).map(|number| format!("tuf_ready_{number}")));
        let drops = drops(&RealFs, post.path(), false, Some(&held(&["10"], 3)));
        assert_eq!(drops.named.len(), 61, "{:?}", stages(&drops));
        assert!(stages(&drops).contains(&("late", "10")) && !stages(&drops).contains(&("rejected", "33")));
        let more = [("held", 2), ("late", 5), ("ready", 27), ("rejected", 4)];
        assert_eq!(drops.more, more.map(|(stage, number)| (stage.to_owned(), number)).into());
        assert_eq!((drops.counts["held"], drops.counts["ready"]), (3, 47));
    }

    #[test]
    fn the_drops_that_the_monitor_names_stand_in_for_a_directory_that_cannot_be_read() {
        let post = tempfile::tempdir().unwrap();
        let drops = drops(&RealFs, &post.path().join("elsewhere"), false, Some(&held(&["a"], 3)));
        assert_eq!(stages(&drops), [("held", "a")]);
        assert_eq!(drops.more, BTreeMap::from([("held".to_owned(), 2)]));
    }
}
