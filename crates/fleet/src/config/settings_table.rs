//! The table of settings: parsing, `rugged config` and the reference are made from it.

use service::config::{SettingKind, SettingSpec, SettingsTable};
use service::settings::{
    BROKER_TLS_CA, BROKER_TLS_CERT, BROKER_TLS_KEY, BROKER_URL, HEALTH_ADDRESS, INSTANCE, LOG_FORMAT, LOG_LEVEL,
    REMOTE_CONTROL, SANDBOX,
};

use super::kinds::{BIN_COUNT, PATTERNS, SCHEDULE};

/// The settings of the fleet.
pub static SETTINGS: SettingsTable =
    SettingsTable { rows: ROWS, variable_prefix: "RUGGED_", default_file: "/etc/rugged/config.yaml" };

const fn spec(key: &'static str, kind: SettingKind, default: &'static str, doc: &'static str) -> SettingSpec {
    SettingSpec::new(key, kind, default, doc)
}

const ANY_COUNT: SettingKind = SettingKind::Count { min: 1, max: u32::MAX as u64 };
/// Ten years: longer lifetimes are typing errors.
const LIFETIME_SECONDS: SettingKind = SettingKind::Count { min: 1, max: 315_576_000 };
const RENEWAL_SECONDS: SettingKind = SettingKind::Count { min: 0, max: 315_576_000 };
const THRESHOLD: SettingKind = SettingKind::Count { min: 1, max: 1024 };
/// A period a loop sleeps: a millisecond at least, so that a loop never spins.
const PERIOD: SettingKind = SettingKind::Seconds { min_millis: 1, max_millis: 86_400_000 };
const INTERVAL: SettingKind = SettingKind::Seconds { min_millis: 0, max_millis: 86_400_000 };

macro_rules! role {
    ($role:literal, $lifetime:literal, $threshold_doc:literal, $expiry_doc:literal, $renew_doc:literal) => {
        [
            spec(concat!("roles.", $role, ".threshold"), THRESHOLD, "1", $threshold_doc),
            spec(concat!("roles.", $role, ".expiry"), LIFETIME_SECONDS, $lifetime, $expiry_doc),
            spec(concat!("roles.", $role, ".renew_before"), RENEWAL_SECONDS, "0", $renew_doc),
        ]
    };
}

const ROOT_ROLE_ROWS: [SettingSpec; 3] = role!(
    "root",
    "31536000",
    "Number of root keys that must sign a root.",
    "Lifetime of a root in seconds.",
    "Seconds before its expiry at which a root is reported as due. No worker renews a root. 0: a third of the lifetime."
);
const TARGETS_ROLE_ROWS: [SettingSpec; 3] = role!(
    "targets",
    "2592000",
    "Number of targets keys that must sign targets metadata.",
    "Lifetime of targets metadata in seconds.",
    "Seconds before its expiry at which targets metadata is renewed. 0: a third of the lifetime."
);
const SNAPSHOT_ROLE_ROWS: [SettingSpec; 3] = role!(
    "snapshot",
    "604800",
    "Number of snapshot keys that must sign a snapshot.",
    "Lifetime of a snapshot in seconds.",
    "Seconds before its expiry at which a snapshot is renewed. 0: a third of the lifetime."
);
const TIMESTAMP_ROLE_ROWS: [SettingSpec; 3] = role!(
    "timestamp",
    "86400",
    "Number of timestamp keys that must sign a timestamp.",
    "Lifetime of a timestamp in seconds. An attacker can hide new releases from a client for that long.",
    "Seconds before its expiry at which a timestamp is renewed. 0: a third of the lifetime."
);
const BINS_ROLE_ROWS: [SettingSpec; 3] = role!(
    "bins",
    "2592000",
    "Number of targets keys that must sign a hashed bin.",
    "Lifetime of the bins and of the role that delegates to them, in seconds.",
    "Seconds before its expiry at which a bin is renewed. 0: a third of the lifetime."
);

/// Every setting, in the order in which they are shown.
pub const ROWS: &[SettingSpec] = &[
    spec(
        "environment",
        SettingKind::Choice(&["development", "testing", "staging", "production"]),
        "development",
        "Purpose of the repository. In `production` a process refuses to hold the keys of several roles.",
    ),
    BROKER_URL,
    BROKER_TLS_CA,
    BROKER_TLS_CERT,
    BROKER_TLS_KEY,
    spec(
        "result_backend",
        SettingKind::Choice(&["rpc://", "memory://"]),
        "rpc://",
        "Where workers send the results of tasks. `rpc://`: to the sender, over the broker. `memory://`: to the sender, within one process.",
    ),
    REMOTE_CONTROL,
    INSTANCE,
    spec(
        "post_to_tuf_path",
        SettingKind::Path,
        "/var/rugged/post_to_tuf",
        "Directory of the drops. The pipeline renames `tuf_tmp_X` to `tuf_ready_X` here.",
    ),
    spec(
        "inbound_targets_path",
        SettingKind::Path,
        "/var/rugged/incoming_targets",
        "Directory of the targets that wait for the targets-worker: batches of the monitor, and loose files for `rugged add-targets`.",
    ),
    spec(
        "repo_path",
        SettingKind::Path,
        "/var/rugged/tuf_repo",
        "The repository. Serve `metadata/` and `targets/` in it, never `log/`.",
    ),
    spec(
        "signing_keys_path",
        SettingKind::Path,
        "/var/rugged/signing_keys",
        "Directory of the private keys, each as `<role>/<name>`.",
    ),
    spec(
        "verification_keys_path",
        SettingKind::Path,
        "/var/rugged/verification_keys",
        "Directory of the public keys, each as `<role>/<name>.json`.",
    ),
    spec(
        "state_path",
        SettingKind::Path,
        "/var/lib/rugged",
        "Private directory of this worker, for its floor or, in the monitor's case, its receipts. Two workers must never share it.",
    ),
    spec(
        "trusted_root",
        SettingKind::OptionalPath,
        "",
        "The pinned root metadata, from which every worker follows the root chain. No role may have write access to it. Empty: \
         `root.json` in `verification_keys_path`, which only the administrator can write.",
    ),
    spec(
        "consistent_snapshot",
        SettingKind::Bool,
        "true",
        "Whether file names contain a version or a hash. `false`: plain names, as Rugged publishes them.",
    ),
    spec(
        "target_names",
        SettingKind::Choice(&["portable", "any"]),
        "portable",
        "Names of target files that a release may have. `portable`: those that every client can fetch; a drop with another name \
         is rejected with the reason. `any`: every name that the specification allows; the log warns of those that some clients \
         cannot fetch.",
    ),
    spec(
        "keyid_format",
        SettingKind::Choice(&["spec", "legacy"]),
        "spec",
        "How the key ids of new keys are computed. `spec`: as the specification says. `legacy`: as Rugged computed them and \
         php-tuf requires; empty target files are then rejected, because php-tuf cannot download them.",
    ),
    spec(
        "store_targets",
        SettingKind::Bool,
        "true",
        "Whether the repository holds the target files. `false`: it holds metadata only, and the files are served elsewhere.",
    ),
    spec(
        "number_of_bins",
        BIN_COUNT,
        "0",
        "Number of hashed bins over which the targets are spread: a power of two from 2 to 16384. 0: no bins, one flat targets role.",
    ),
    spec(
        "scheduler_scan_period",
        PERIOD,
        "5",
        "Seconds between two scans of the drop directory. File-system notifications start a scan earlier.",
    ),
    spec(
        "publish_min_interval",
        INTERVAL,
        "1",
        "Minimum seconds between two publications, so that releases in quick succession are published together. After an idle \
         period the first release is published immediately.",
    ),
    spec(
        "reconcile_period",
        PERIOD,
        "60",
        "Seconds between two comparisons of a signing role's metadata with the state below it. They need neither a task nor a broker.",
    ),
    spec(
        "schedule",
        SCHEDULE,
        "",
        "Periodic tasks that the monitor sends, as Celery's beat does: `NAME: {task: refresh-expiry, queue: monitor-worker, \
         crontab: \"0 3 * * *\"}`. `crontab` is minute, hour, day of the month, month and day of the week in UTC, in \
         Celery's notation; `every` in place of `crontab` is an interval. If several monitors share a broker, only one sends the tasks. After an outage a \
         missed task is sent once. No result is stored.",
    ),
    spec(
        "max_clock_skew",
        SettingKind::Count { min: 1, max: 86_400 },
        "300",
        "Number of seconds by which the local clock may differ from the clock of the shared mount. Beyond that, signing stops with an alarm.",
    ),
    spec(
        "retention.enabled",
        SettingKind::Bool,
        "true",
        "Whether files that no client can use any more are deleted: old versions of metadata, target files that no metadata \
         lists, old commit records. Roots are never deleted.",
    ),
    spec(
        "retention.keep_seconds",
        SettingKind::Count { min: 86_400, max: 315_576_000 },
        "172800",
        "Seconds for which a file is kept after it went out of use; never less than the lifetime of a timestamp plus one day.",
    ),
    ROOT_ROLE_ROWS[0],
    ROOT_ROLE_ROWS[1],
    ROOT_ROLE_ROWS[2],
    TARGETS_ROLE_ROWS[0],
    TARGETS_ROLE_ROWS[1],
    TARGETS_ROLE_ROWS[2],
    SNAPSHOT_ROLE_ROWS[0],
    SNAPSHOT_ROLE_ROWS[1],
    SNAPSHOT_ROLE_ROWS[2],
    TIMESTAMP_ROLE_ROWS[0],
    TIMESTAMP_ROLE_ROWS[1],
    TIMESTAMP_ROLE_ROWS[2],
    BINS_ROLE_ROWS[0],
    BINS_ROLE_ROWS[1],
    BINS_ROLE_ROWS[2],
    spec("keys.root", SettingKind::Names, "", "Names of the root keys. Empty: every key in the role's directory."),
    spec(
        "keys.targets",
        SettingKind::Names,
        "",
        "Names of the targets keys. Empty: every key in the role's directory.",
    ),
    spec(
        "keys.snapshot",
        SettingKind::Names,
        "",
        "Names of the snapshot keys. Empty: every key in the role's directory.",
    ),
    spec(
        "keys.timestamp",
        SettingKind::Names,
        "",
        "Names of the timestamp keys. Empty: every key in the role's directory.",
    ),
    spec(
        "repository_id",
        SettingKind::Optional,
        "",
        "Name of this repository. Workers refuse a task that names another repository. Empty: not checked.",
    ),
    spec(
        "policy.allowed_targets",
        PATTERNS,
        "**",
        "Patterns of target paths that may be added; a drop with any other path is rejected. `*` matches within one \
         component of the path; the component `**` matches any number of components.",
    ),
    spec(
        "policy.overwrite",
        PATTERNS,
        "**",
        "Patterns of target paths whose content may be replaced. The log shows the number of replacements, and each path at \
         level `debug`. Empty: no target may be replaced.",
    ),
    spec("batch_max_drops", ANY_COUNT, "4096", "Maximum number of drops in one batch."),
    spec(
        "batch_max_bytes",
        SettingKind::Count { min: 1, max: i64::MAX as u64 },
        "4294967296",
        "Maximum number of bytes in one batch. A larger drop becomes a batch of its own.",
    ),
    spec(
        "batch_max_files",
        ANY_COUNT,
        "65536",
        "Maximum number of files in one batch. A drop with more files becomes a batch of its own.",
    ),
    spec(
        "drop_max_files",
        ANY_COUNT,
        "1000000",
        "Maximum number of files in a drop, and of directories. A drop with more is rejected.",
    ),
    spec(
        "drop_max_path_bytes",
        ANY_COUNT,
        "67108864",
        "Maximum number of bytes in the paths of a drop's files and directories, all together. A drop with more is rejected: \
         the workers keep all paths of a batch in memory.",
    ),
    spec(
        "drop_max_depth",
        SettingKind::Count { min: 1, max: crate::batch::MAX_DROP_DEPTH as u64 },
        "64",
        "Maximum depth of the directories in a drop. A drop with a deeper one is rejected.",
    ),
    spec(
        "task_timeout",
        PERIOD,
        "60",
        "Seconds a caller waits for the result of a task before it sends the task again.",
    ),
    spec(
        "prefix_case_insensitive",
        SettingKind::Bool,
        "false",
        "Whether `TUF_READY_X` is read as `tuf_ready_X`, for producers on systems that change the case of names.",
    ),
    spec(
        "tuf_tmp_cleanup_after",
        SettingKind::Count { min: 0, max: 315_576_000 },
        "0",
        "Seconds without a write after which a `tuf_tmp_*` directory is removed as abandoned. 0: never.",
    ),
    SANDBOX,
    HEALTH_ADDRESS,
    LOG_FORMAT,
    LOG_LEVEL,
];
