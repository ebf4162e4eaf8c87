//! The settings of the state machine: directories, limits and periods.

use std::path::PathBuf;
use std::time::Duration;

use fleet::Config;
use fleet::batch::MAX_DROP_DEPTH;

/// Directories, limits and periods of one monitor.
#[derive(Clone, Debug)]
pub struct MonitorSettings {
    /// The drop directory.
    pub post: PathBuf,
    /// The inbound directory, shared with the targets-worker.
    pub inbound: PathBuf,
    /// The private state directory.
    pub state: PathBuf,
    /// Name of this process among the monitors: letters, digits, `-` and `_`. Staging directories carry it.
    pub instance: String,
    /// Whether `TUF_READY_X` counts as `tuf_ready_X`.
    pub any_case: bool,
    /// Bounds of a batch.
    pub limits: BatchLimits,
    /// How often a batch may fail through no fault of the machine before it is halved, or its only drop rejected.
    pub attempts: u32,
    /// Age after which staging and batch directories that no monitor works on are removed.
    pub collect_after: Duration,
    /// Age after which a `tuf_tmp_*` is removed if nothing in it has changed; `None`: never.
    pub abandoned_after: Option<Duration>,
    /// How long public receipts stay in the drop directory.
    pub keep_public_receipts: Duration,
    /// How long receipts stay in the private state, and so how long the monitor recognises a repeated drop.
    pub keep_state_receipts: Duration,
}

/// Bounds of a batch. A drop that alone exceeds the files or bytes makes a batch of its own.
#[derive(Clone, Debug)]
pub struct BatchLimits {
    /// Most drops.
    pub drops: usize,
    /// Most files.
    pub files: u64,
    /// Most bytes.
    pub bytes: u64,
    /// Most files of a single drop, and most directories; one with more is rejected.
    pub files_per_drop: u64,
    /// Most bytes in the paths of a single drop, directories included; one with more is rejected.
    pub path_bytes_per_drop: u64,
    /// Deepest directory of a drop: one directly in the drop is at depth 1. At most [`MAX_DROP_DEPTH`].
    pub depth_per_drop: usize,
    /// Most paths of drops that are held back which are kept in memory, 8 bytes each; an eighth as many of small drops, 32
    /// bytes each. Further ones are compared on disk.
    pub held_paths: usize,
    /// Most ready drops that one listing takes, and as many that were taken in: the oldest.
    pub listed_drops: usize,
    /// Bytes of free space that staging leaves free.
    pub reserve_bytes: u64,
    /// Inodes that staging leaves free.
    pub reserve_inodes: u64,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            drops: 4096,
            files: 65_536,
            bytes: 4 << 30,
            files_per_drop: 1_000_000,
            path_bytes_per_drop: 64 << 20,
            depth_per_drop: MAX_DROP_DEPTH,
            held_paths: 8 << 20,
            listed_drops: 65_536,
            reserve_bytes: 64 << 20,
            reserve_inodes: 1_000,
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

impl MonitorSettings {
    /// Settings with every limit and period at its default.
    pub fn new(post: PathBuf, inbound: PathBuf, state: PathBuf, instance: &str) -> Self {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }
        };
        let instance: String = instance.chars().take(40).map(plain).collect();
        Self {
            post,
            inbound,
            state,
            instance: if instance.is_empty() { "monitor".to_owned() } else { instance },
            any_case: false,
            limits: BatchLimits::default(),
            attempts: 3,
            collect_after: DAY,
            abandoned_after: None,
            keep_public_receipts: DAY * 7,
            keep_state_receipts: DAY * 90,
        }
    }

    /// Settings from the fleet's configuration.
    pub fn from_config(config: &Config) -> Self {
        let mut settings = Self::new(
            config.post_to_tuf_path.clone(),
            config.inbound_targets_path.clone(),
            config.state_of(fleet::WorkerRole::Monitor),
            &config.process.instance,
        );
        settings.abandoned_after = config.tuf_tmp_cleanup_after;
        settings.any_case = config.prefix_case_insensitive;
        settings.limits.drops = usize::try_from(config.batch_max_drops).unwrap_or(usize::MAX);
        settings.limits.files = config.batch_max_files;
        settings.limits.bytes = config.batch_max_bytes;
        settings.limits.files_per_drop = config.drop_max_files;
        settings.limits.path_bytes_per_drop = config.drop_max_path_bytes;
        settings.limits.depth_per_drop =
            usize::try_from(config.drop_max_depth).map_or(MAX_DROP_DEPTH, |depth| depth.min(MAX_DROP_DEPTH));
        settings
    }
}
