//! Notifications of new drops from the file system. They only save time: NFS sends none, and a mount may cover a directory
//! that is being watched, so the drop directory is polled as well.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::{FileKind, Fs};
use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::drop_dir::is_ready_name;

/// Wakes the monitor when a directory in the drop directory gets a ready name.
#[derive(Debug)]
pub struct DropWatch {
    wake: Arc<Notify>,
    any_case: bool,
    watched: Option<WatchedDir>,
}

#[derive(Debug)]
struct WatchedDir {
    /// Device and inode of the directory; another one may have its name later.
    id: (u64, u64),
    _watcher: notify::RecommendedWatcher,
}

impl DropWatch {
    /// A watch that notifies `wake`, and watches no directory yet.
    pub fn new(wake: Arc<Notify>, any_case: bool) -> Self {
        Self { wake, any_case, watched: None }
    }

    /// Watches `post`, if it is a directory and not watched already, which is cheap to find out. Failures are logged at debug
    /// level, because polling finds new drops as well.
    pub fn ensure(&mut self, fs: &dyn Fs, post: &Path) {
        let id = match fs.stat(post) {
            Ok(stat) if stat.kind == FileKind::Dir => stat.id,
            _ => {
                self.watched = None;
                return;
            }
        };
        if self.watched.as_ref().is_some_and(|watched| watched.id == id) {
            return;
        }
        self.watched = None;
        match self.start(post) {
            Ok(watcher) => {
                self.watched = Some(WatchedDir { id, _watcher: watcher });
                // Drops that came before the watch began caused no notification.
                self.wake.notify_one();
            }
            Err(error) => {
                tracing::debug!(path = %post.display(), %error, "drop directory not watched; polling only");
            }
        }
    }

    fn start(&self, post: &Path) -> notify::Result<notify::RecommendedWatcher> {
        let wake = self.wake.clone();
        let any_case = self.any_case;
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error may mean that events were lost.
            if event.as_ref().map_or(true, |event| may_be_a_drop(event, any_case)) {
                wake.notify_one();
            }
        })?;
        watcher.watch(post, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }
}

/// Whether a directory may have got a ready name. The monitor's own renames away from one do not count.
fn may_be_a_drop(event: &notify::Event, any_case: bool) -> bool {
    let is_ready = |path: &PathBuf| path.file_name().is_some_and(|name| is_ready_name(name, any_case));
    if event.need_rescan() {
        return true;
    }
    match event.kind {
        EventKind::Access(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => false,
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => event.paths.last().is_some_and(is_ready),
        _ => event.paths.iter().any(is_ready),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, paths: &[&str]) -> notify::Event {
        paths.iter().fold(notify::Event::new(kind), |event, path| event.add_path(path.into()))
    }

    #[test]
    fn only_new_ready_names_wake() {
        let rename = |mode| EventKind::Modify(ModifyKind::Name(mode));
        assert!(may_be_a_drop(&event(rename(RenameMode::To), &["/p/tuf_ready_X"]), false));
        assert!(may_be_a_drop(&event(rename(RenameMode::Both), &["/p/tuf_tmp_X", "/p/tuf_ready_X"]), false));
        assert!(may_be_a_drop(&event(EventKind::Any, &["/p/tuf_ready_X"]), false));
        assert!(may_be_a_drop(&event(EventKind::Any, &["/p/TUF_READY_X"]), true));
        assert!(!may_be_a_drop(&event(EventKind::Any, &["/p/TUF_READY_X"]), false));
        assert!(!may_be_a_drop(&event(rename(RenameMode::From), &["/p/tuf_ready_X"]), false));
        assert!(!may_be_a_drop(&event(rename(RenameMode::Both), &["/p/tuf_ready_X", "/p/tuf_processing_X"]), false));
        assert!(!may_be_a_drop(&event(rename(RenameMode::To), &["/p/tuf_receipt_X.json"]), false));
    }
}
