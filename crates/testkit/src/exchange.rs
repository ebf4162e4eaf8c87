//! Another user who exchanges two names in a loop, on the real file system.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// A thread that exchanges two names (`RENAME_EXCHANGE`) as often as it can, until it is dropped.
#[derive(Debug)]
pub struct Exchanger {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    names: Mutex<(PathBuf, PathBuf)>,
    /// Number of the present names.
    aim: AtomicUsize,
    /// How often the present names were exchanged.
    exchanged: AtomicUsize,
    exchanges: AtomicUsize,
    stop: AtomicBool,
}

impl Exchanger {
    /// Starts, and waits until the names were exchanged twice.
    #[must_use]
    pub fn start(one: &Path, other: &Path) -> Self {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.exchange()
        });
        let this = Self { shared, thread: Some(thread) };
        this.aim(one, other);
        this
    }

    /// Exchanges these names from now on, and waits until they were exchanged twice, so that each name is likely to be what it
    /// was. Both must exist.
    pub fn aim(&self, one: &Path, other: &Path) {
        let mut names = self.shared.names.lock().unwrap_or_else(PoisonError::into_inner);
        *names = (one.to_path_buf(), other.to_path_buf());
        self.shared.exchanged.store(0, Ordering::SeqCst);
        self.shared.aim.fetch_add(1, Ordering::SeqCst);
        drop(names);
        while self.shared.exchanged.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
    }

    /// How often names were exchanged.
    #[must_use]
    pub fn exchanges(&self) -> usize {
        self.shared.exchanges.load(Ordering::SeqCst)
    }
}

impl Drop for Exchanger {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn exchange(&self) {
        let (mut aim, mut names) = (0, (PathBuf::new(), PathBuf::new()));
        while !self.stop.load(Ordering::SeqCst) {
            if self.aim.load(Ordering::SeqCst) != aim {
                let wanted = self.names.lock().unwrap_or_else(PoisonError::into_inner);
                (aim, names) = (self.aim.load(Ordering::SeqCst), wanted.clone());
            }
            if renameat_with(CWD, &names.0, CWD, &names.1, RenameFlags::EXCHANGE).is_ok() {
                self.exchanges.fetch_add(1, Ordering::SeqCst);
                if self.aim.load(Ordering::SeqCst) == aim {
                    self.exchanged.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    }
}
