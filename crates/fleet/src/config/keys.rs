//! The one table of configuration keys: parsing, `rugged config` and the reference are made from it.

use super::kind::Kind;

/// One configuration key.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// The dotted key, as in the file.
    pub key: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The default as one would write it; empty when there is none or when it is derived (see `doc`).
    pub default: &'static str,
    /// What it means, one or two sentences.
    pub doc: &'static str,
}

impl KeySpec {
    /// The environment variable that sets this key: `RUGGED_` and the key in upper case, dots as underscores.
    #[must_use]
    pub fn env(&self) -> String {
        let mut name = String::from("RUGGED_");
        name.extend(self.key.chars().map(|c| if c == '.' { '_' } else { c.to_ascii_uppercase() }));
        name
    }
}

const fn spec(key: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> KeySpec {
    KeySpec { key, kind, default, doc }
}

const COUNT: Kind = Kind::Count { min: 1, max: u32::MAX as u64 };
/// Ten years: longer lifetimes are typing errors.
const LIFETIME: Kind = Kind::Count { min: 1, max: 315_576_000 };
const RENEWAL: Kind = Kind::Count { min: 0, max: 315_576_000 };
const THRESHOLD: Kind = Kind::Count { min: 1, max: 1024 };
/// A period a loop sleeps: a millisecond at least, so that a loop never spins.
const PERIOD: Kind = Kind::Seconds { min_millis: 1, max_millis: 86_400_000 };
const INTERVAL: Kind = Kind::Seconds { min_millis: 0, max_millis: 86_400_000 };

macro_rules! role {
    ($role:literal, $lifetime:literal, $threshold_doc:literal, $expiry_doc:literal, $renew_doc:literal) => {
        [
            spec(concat!("roles.", $role, ".threshold"), THRESHOLD, "1", $threshold_doc),
            spec(concat!("roles.", $role, ".expiry"), LIFETIME, $lifetime, $expiry_doc),
            spec(concat!("roles.", $role, ".renew_before"), RENEWAL, "0", $renew_doc),
        ]
    };
}

const ROOT: [KeySpec; 3] = role!(
    "root",
    "31536000",
    "How many root keys must sign a root.",
    "Lifetime of a root in seconds.",
    "Seconds before its expiry from which a root is reported as due; it is never renewed without a ceremony. 0: a third of the lifetime."
);
const TARGETS: [KeySpec; 3] = role!(
    "targets",
    "2592000",
    "How many targets keys must sign targets metadata.",
    "Lifetime of targets metadata in seconds.",
    "Seconds before its expiry at which targets metadata is renewed. 0: a third of the lifetime."
);
const SNAPSHOT: [KeySpec; 3] = role!(
    "snapshot",
    "604800",
    "How many snapshot keys must sign a snapshot.",
    "Lifetime of a snapshot in seconds.",
    "Seconds before its expiry at which a snapshot is renewed. 0: a third of the lifetime."
);
const TIMESTAMP: [KeySpec; 3] = role!(
    "timestamp",
    "86400",
    "How many timestamp keys must sign a timestamp.",
    "Lifetime of a timestamp in seconds: how long a client can be held back unnoticed.",
    "Seconds before its expiry at which a timestamp is renewed. 0: a third of the lifetime."
);
const BINS: [KeySpec; 3] = role!(
    "bins",
    "2592000",
    "How many targets keys must sign a hashed bin.",
    "Lifetime of the bins and of the role that delegates to them, in seconds.",
    "Seconds before its expiry at which a bin is renewed. 0: a third of the lifetime."
);

/// Every key, in the order in which they are shown.
pub const KEYS: &[KeySpec] = &[
    spec(
        "environment",
        Kind::Choice(&["development", "testing", "staging", "production"]),
        "development",
        "What the repository is for. `production` refuses to run several roles in one process.",
    ),
    spec(
        "broker_url",
        Kind::Url,
        "memory://",
        "Where tasks travel: `amqp://user:password@host:5672/vhost`, `amqps://…`, `redis://…`, `rediss://…`, or `memory://` \
         for one process. Several, as a list or separated by `;`, are tried in turn: the first is used until it cannot be \
         reached. `?password_file=/path` behind an address reads its password anew for every connection; `broker_url_file` \
         instead of this key names a file that holds the addresses, which is read anew as well.",
    ),
    spec(
        "broker_tls.ca",
        Kind::OptionalPath,
        "",
        "Certificates (PEM) of the authorities that `amqps://` and `rediss://` trust; the server's certificate is always \
         checked, its name included. Empty: those of the system.",
    ),
    spec(
        "broker_tls.cert",
        Kind::OptionalPath,
        "",
        "Our own certificate (PEM) for brokers that ask for one. Like the authorities and the key it is read anew for every \
         connection, so it can be replaced; under the sandbox that takes a directory of its own, with nothing else in it.",
    ),
    spec(
        "broker_tls.key",
        Kind::OptionalPath,
        "",
        "The private key of `broker_tls.cert` (PEM), readable by the worker's user alone. Empty: it is in that file.",
    ),
    spec(
        "result_backend",
        Kind::Choice(&["rpc://", "memory://"]),
        "rpc://",
        "Where results of tasks go: `rpc://` is back over the broker, which is what `memory://` means within one process.",
    ),
    spec(
        "remote_control",
        Kind::Choice(&["off", "inspect", "full"]),
        "inspect",
        "What Celery's remote control may do to this worker. `inspect`: ask what it does, with arguments as text, and receive \
         its events; whatever would change it is refused. `full`: also shut it down, revoke and terminate tasks, limit \
         them, change its queues. `off`: it neither listens nor sends events.",
    ),
    spec(
        "instance",
        Kind::Optional,
        "",
        "Name of this process among its kind, in staging directories, logs and status. Empty: the host name.",
    ),
    spec(
        "post_to_tuf_path",
        Kind::Path,
        "/var/rugged/post_to_tuf",
        "Drop directory: the pipeline renames `tuf_tmp_X` to `tuf_ready_X` here.",
    ),
    spec(
        "inbound_targets_path",
        Kind::Path,
        "/var/rugged/incoming_targets",
        "What the monitor took in, for the targets-worker to sign; loose files are taken by `rugged add-targets`.",
    ),
    spec(
        "repo_path",
        Kind::Path,
        "/var/rugged/tuf_repo",
        "The repository: `metadata/` and `targets/` are served, `log/` never is.",
    ),
    spec("signing_keys_path", Kind::Path, "/var/rugged/signing_keys", "Private keys, as `<role>/<name>`."),
    spec(
        "verification_keys_path",
        Kind::Path,
        "/var/rugged/verification_keys",
        "Public keys, as `<role>/<name>.json`.",
    ),
    spec(
        "state_path",
        Kind::Path,
        "/var/lib/rugged",
        "Private volume of this worker: its floor, the monitor's receipts. Never shared between workers.",
    ),
    spec(
        "trusted_root",
        Kind::OptionalPath,
        "",
        "The pinned root metadata from which every worker walks the root chain. It must be out of reach of the roles. \
         Empty: `root.json` in verification_keys_path, which only the administrator can write.",
    ),
    spec(
        "consistent_snapshot",
        Kind::Bool,
        "true",
        "Whether file names carry version or hash. `false` suits clients that cannot resolve them, such as php-tuf.",
    ),
    spec(
        "keyid_format",
        Kind::Choice(&["spec", "legacy"]),
        "spec",
        "How key ids of new keys are computed: as the specification says, or as Rugged wrote them and php-tuf insists on. With `legacy` empty target files are rejected, because php-tuf cannot download them.",
    ),
    spec(
        "store_targets",
        Kind::Bool,
        "true",
        "Whether target files are kept in the repository. `false`: only metadata is written, the files are served elsewhere.",
    ),
    spec(
        "number_of_bins",
        Kind::Bins,
        "0",
        "Number of hashed bins the targets are spread over: a power of two from 2 to 16384. 0: none, one flat targets role.",
    ),
    spec(
        "scheduler_scan_period",
        PERIOD,
        "5",
        "Seconds between two looks at the drop directory; notifications of the file system only make it faster.",
    ),
    spec(
        "publish_min_interval",
        INTERVAL,
        "1",
        "Seconds between two publications at least, so that many releases become one. The first after idle is immediate.",
    ),
    spec(
        "reconcile_period",
        PERIOD,
        "60",
        "Seconds between two looks of a signing role at the state below it, with or without the broker.",
    ),
    spec(
        "schedule",
        Kind::Schedule,
        "",
        "Tasks that the monitor sends again and again, as Celery's beat does: `NAME: {task: refresh-expiry, queue: \
         monitor-worker, crontab: \"0 3 * * *\"}`. `crontab` is minute, hour, day of the month, month and day of the week in \
         UTC, in Celery's notation; `every` instead of it is an interval. Of several monitors one sends. What was missed is \
         sent once. No result is kept.",
    ),
    spec(
        "max_clock_skew",
        Kind::Count { min: 1, max: 86_400 },
        "300",
        "Seconds the local clock may differ from that of the shared mount before signing stops with an alarm.",
    ),
    spec(
        "retention.enabled",
        Kind::Bool,
        "true",
        "Whether files that no client can be using any more are deleted: old versions of metadata, target files that \
         nothing lists, old commit records. Roots are never deleted.",
    ),
    spec(
        "retention.keep_seconds",
        Kind::Count { min: 86_400, max: 315_576_000 },
        "172800",
        "Seconds for which a file is kept after it went out of use; the lifetime of a timestamp and a day at least.",
    ),
    ROOT[0],
    ROOT[1],
    ROOT[2],
    TARGETS[0],
    TARGETS[1],
    TARGETS[2],
    SNAPSHOT[0],
    SNAPSHOT[1],
    SNAPSHOT[2],
    TIMESTAMP[0],
    TIMESTAMP[1],
    TIMESTAMP[2],
    BINS[0],
    BINS[1],
    BINS[2],
    spec("keys.root", Kind::Names, "", "Names of the root keys. Empty: every key in the role's directory."),
    spec("keys.targets", Kind::Names, "", "Names of the targets keys. Empty: every key in the role's directory."),
    spec("keys.snapshot", Kind::Names, "", "Names of the snapshot keys. Empty: every key in the role's directory."),
    spec("keys.timestamp", Kind::Names, "", "Names of the timestamp keys. Empty: every key in the role's directory."),
    spec(
        "repository_id",
        Kind::Optional,
        "",
        "Name of this repository, carried by tasks of ours: a task of another repository is refused. Empty: not checked.",
    ),
    spec(
        "policy.allowed_targets",
        Kind::Patterns,
        "**",
        "Patterns of target paths that may be added; a drop with any other is rejected. `*` stays within one component of \
         the path, `**` as a component stands for any number of them.",
    ),
    spec(
        "policy.overwrite",
        Kind::Patterns,
        "**",
        "Patterns of target paths whose content may be replaced by another; the log counts replacements, and names them at level debug. Empty: none may.",
    ),
    spec("batch_max_drops", COUNT, "4096", "Drops in one batch at most."),
    spec(
        "batch_max_bytes",
        Kind::Count { min: 1, max: i64::MAX as u64 },
        "4294967296",
        "Bytes in one batch at most; a drop larger than that makes a batch of its own.",
    ),
    spec("batch_max_files", COUNT, "65536", "Files in one batch at most; a drop with more makes a batch of its own."),
    spec(
        "task_timeout",
        PERIOD,
        "60",
        "Seconds a caller waits for the result of a task before it sends the task again.",
    ),
    spec(
        "prefix_case_insensitive",
        Kind::Bool,
        "false",
        "Whether `TUF_READY_X` counts as `tuf_ready_X`, for producers on systems that change the case of names.",
    ),
    spec(
        "tuf_tmp_cleanup_after",
        Kind::Count { min: 0, max: 315_576_000 },
        "0",
        "Seconds after which a `tuf_tmp_*` that nobody has written to is removed as abandoned. 0: never.",
    ),
    spec(
        "sandbox",
        Kind::Choice(&["auto", "off", "required"]),
        "auto",
        "Whether a worker locks itself into its own directories (Landlock). `auto`: as far as the kernel can, with a \
         warning where it cannot; `required`: refuse to start then.",
    ),
    spec(
        "health_address",
        Kind::Address,
        "",
        "Address and port of `/livez`, `/readyz`, `/status` and `/metrics`, such as `0.0.0.0:9440`. Empty: not served.",
    ),
    spec("log_format", Kind::Choice(&["human", "json"]), "human", "Lines for people, or one JSON object per line."),
    spec(
        "log_level",
        Kind::LogFilter,
        "info",
        "`error`, `warn`, `info`, `debug` or `trace`, with exceptions per module: `info,lapin=debug`.",
    ),
];
