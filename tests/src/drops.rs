//! Drops, made as a pipeline without any credentials makes them: `mkdir`, `cp`, `mv`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{Fleet, eventually};

/// Contents of files by path.
pub type Files = BTreeMap<String, Vec<u8>>;

impl Fleet {
    /// Posts a drop.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[track_caller]
    pub fn post_drop(&self, name: &str, files: &Files) {
        self.copy_drop(name, files);
        self.release_drop(name);
    }

    /// The first half of a drop: `mkdir` and `cp`. Returns the directory, which the monitor leaves alone.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[track_caller]
    pub fn copy_drop(&self, name: &str, files: &Files) -> PathBuf {
        let built = self.path("built").join(name);
        for (path, content) in files {
            let path = built.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&built)).expect("a directory of the build");
            fs::write(path, content).expect("a file of the build");
        }
        let unfinished = self.post().join(format!("tuf_tmp_{name}"));
        run(Command::new("mkdir").arg(&unfinished));
        run(Command::new("cp").arg("-R").arg(built.join(".")).arg(&unfinished));
        unfinished
    }

    /// The second half: `mv`.
    ///
    /// # Panics
    ///
    /// If it cannot be renamed.
    #[track_caller]
    pub fn release_drop(&self, name: &str) {
        let unfinished = self.post().join(format!("tuf_tmp_{name}"));
        run(Command::new("mv").arg(unfinished).arg(self.post().join(format!("tuf_ready_{name}"))));
        // The kernel's clock of files moves every few milliseconds. A drop that is posted next is then the later one.
        let changed = || {
            let marker = tempfile::NamedTempFile::new_in(self.path("")).expect("a file beside the fleet");
            let metadata = marker.as_file().metadata().expect("its times");
            (metadata.ctime(), metadata.ctime_nsec())
        };
        let renamed = changed();
        while changed() <= renamed {}
    }

    /// Waits for the drop's end and returns the receipt its producer finds.
    ///
    /// # Panics
    ///
    /// If there is none within a minute.
    #[track_caller]
    #[must_use]
    pub fn receipt(&self, name: &str) -> Value {
        let path = self.post().join(format!("tuf_receipt_{name}.json"));
        let bytes = eventually(&format!("a receipt of drop {name}"), || fs::read(&path).ok());
        serde_json::from_slice(&bytes).expect("a receipt is JSON")
    }

    /// Waits for the drop's end, which must be its publication. Returns the receipt.
    ///
    /// # Panics
    ///
    /// If it was rejected.
    #[track_caller]
    pub fn published(&self, name: &str) -> Value {
        let receipt = self.receipt(name);
        assert_eq!(receipt["outcome"], "published", "{receipt}");
        receipt
    }

    /// Waits for the drop's end, which must be its rejection: the receipt and `REASON.json` in the directory set aside
    /// agree. Returns the reason.
    ///
    /// # Panics
    ///
    /// If it was published.
    #[track_caller]
    #[must_use]
    pub fn rejected(&self, name: &str) -> String {
        let receipt = self.receipt(name);
        assert_eq!(receipt["outcome"], "rejected", "{receipt}");
        let path = self.post().join(format!("tuf_rejected_{name}/REASON.json"));
        // The receipt comes first, the directory's last name after it.
        let reason = eventually(&format!("REASON.json of drop {name}"), || fs::read(&path).ok());
        let reason: Value = serde_json::from_slice(&reason).expect("REASON.json is JSON");
        assert_eq!(reason["reason"], receipt["reason"]);
        assert_eq!(reason["name"], name);
        reason["reason"].as_str().expect("a reason in words").to_owned()
    }

    /// The names in the drop directory, sorted.
    ///
    /// # Panics
    ///
    /// If it cannot be listed.
    #[track_caller]
    #[must_use]
    pub fn posted(&self) -> Vec<String> {
        names_in(&self.post())
    }
}

/// The names in a directory, sorted.
#[track_caller]
pub(crate) fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory is listed");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("a program every system has");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
