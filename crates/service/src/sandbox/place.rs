//! The places a sandbox admits.

use std::path::PathBuf;

/// Whether a worker confines itself to its own directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SandboxMode {
    /// As far as the kernel can.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// It does not start otherwise.
    Required,
}

/// A directory, or a file, that the worker reaches inside its sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxPlace {
    /// Its path.
    pub path: PathBuf,
    /// Whether the worker creates, links, renames and removes files there; otherwise it only reads.
    pub writable: bool,
    /// Whether the worker cannot work without it: the sandbox is not entered before it exists.
    pub needed: bool,
    /// The directory below which this one is created, with mode 0700, once that one exists; `None`: never created.
    pub created_below: Option<PathBuf>,
}

/// The sandbox of one worker.
#[derive(Clone, Debug, Default)]
pub struct SandboxPlan {
    /// Whether it is entered.
    pub mode: SandboxMode,
    /// The worker's own places.
    pub places: Vec<SandboxPlace>,
    /// Files with the broker's credentials, which are read again for every connection.
    pub credentials: Vec<PathBuf>,
}
