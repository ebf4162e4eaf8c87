//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tuf_core::time::UtcTime;

use crate::verify::Location;

const AFTER_HELP: &str = "\
Examples:
  rugged demo                          keys, repository, one release, verified; in ./tuf-fleet-demo
  rugged up                            all workers in this process, serving the repository
  rugged post dist/ --wait             publish what is in dist/, wait until clients can verify it
  rugged status                        workers, roles, versions, expiries, drops

`rugged help exit-codes` lists the exit codes, `rugged config` every setting with its origin.";

/// Keeps a TUF repository signed while a packaging pipeline releases into it
#[derive(Debug, Parser)]
#[command(name = "rugged", version, after_help = AFTER_HELP, disable_help_subcommand = false, max_term_width = 120)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Configuration file; without it RUGGED_CONFIG, else /etc/rugged/config.yaml if it exists
    #[arg(long, value_name = "FILE", global = true, help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Sets one configuration key, over file and environment; may be repeated
    #[arg(long, value_name = "KEY=VALUE", global = true, help_heading = "Global options")]
    pub set: Vec<String>,
    /// The broker; a URL with a password belongs into the file, RUGGED_BROKER_URL or RUGGED_BROKER_URL_FILE instead
    #[arg(long, value_name = "URL", global = true, help_heading = "Global options")]
    pub broker_url: Option<String>,
    /// Print one JSON document instead of text
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Show the log of the workers that this command hosts
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub verbose: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Publish a small release into a new repository and verify it with two TUF clients
    Demo(Demo),
    /// Run all workers in this process and serve the repository over HTTP
    Up(Up),
    /// Hand a release to the fleet, as a pipeline does: needs no credentials
    Post(Post),
    /// Show workers, roles, versions, expiries and drops
    Status(Status),
    /// Check a repository, ours or anyone's, against the TUF specification
    Validate(Validate),
    /// Make key pairs for the roles; never overwrites one
    GenerateKeys(GenerateKeys),
    /// Write the first root, pin it, and wait until every role has signed its first version
    Initialize(Initialize),
    /// Sign loose files of the inbound directory into the repository
    AddTargets(AddTargets),
    /// Take targets out of the repository's metadata
    RemoveTargets(RemoveTargets),
    /// Have every role renew what is near its expiry
    RefreshExpiry(RefreshExpiry),
    /// Stop taking drops in; what was taken in is finished, metadata is still renewed
    PauseProcessing(Pause),
    /// Take drops in again
    ResumeProcessing(Pause),
    /// Check what the workers stand on here: mounts, modes, space, keys, clock, broker
    Doctor(Doctor),
    /// Have roles go on whose repository was restored to before what they have signed
    Recover(Recover),
    /// Ask workers whether they are there
    Ping(Ping),
    /// Ask workers what they do, by Celery's remote control
    Inspect(Inspect),
    /// Show what workers and tasks tell, as it happens
    Events(Events),
    /// Have tasks not run, by their ids
    Revoke(Revoke),
    /// Show every configuration value with its origin
    #[command(after_help = "\
Defaults are overridden by the file, the file by RUGGED_* variables (RUGGED_ROLES_ROOT_EXPIRY for roles.root.expiry; \
RUGGED_BROKER_URL_FILE names a file with the URL), those by --set. Secrets are not shown.

Examples:
  rugged config
  rugged --set number_of_bins=256 --json config")]
    Config,
    /// Print a completion script for a shell
    Completions(Completions),
    /// Write the manual pages
    Man(Man),
    /// Print a reference in Markdown, as docs/reference holds it
    #[command(hide = true)]
    Reference(Reference),
    /// List the exit codes
    #[command(hide = true, after_help = crate::exit_code::table())]
    ExitCodes,
}

/// `demo`
#[derive(Debug, Args)]
#[command(after_help = "\
Everything it makes lies in DIR: keys, repo, post_to_tuf, incoming_targets, state, and a config.yaml for the other \
commands. It exits 0 only if tough and our own client, starting from DIR/repo/metadata/1.root.json, verified and \
downloaded every target.

Examples:
  rugged demo
  rugged --config tuf-fleet-demo/config.yaml post dist/ --wait")]
pub struct Demo {
    /// Where; run again on the same directory it publishes the next version
    #[arg(long, value_name = "DIR", default_value = "./tuf-fleet-demo")]
    pub dir: PathBuf,
}

/// `up`
#[derive(Debug, Args)]
#[command(after_help = "\
The process holds the keys of every role, which is right for one machine and for trying things out; it refuses \
`environment: production`. Other `rugged` commands reach it through state_path/broker.sock. Ctrl-C finishes what is \
under way; a second one ends at once.

Examples:
  rugged --config tuf-fleet-demo/config.yaml up
  rugged up --http 0.0.0.0:8080")]
pub struct Up {
    /// Serve metadata/ and targets/ here; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
    /// Do not serve the repository
    #[arg(long, conflicts_with = "http")]
    pub no_http: bool,
}

/// `post`
#[derive(Debug, Args)]
#[command(after_help = "\
Copies into post_to_tuf_path/tuf_tmp_X, syncs, adds the manifest SHA256SUMS and renames to tuf_ready_X. Of a DIR its \
contents are taken, sub-directories kept; a FILE is taken under its own name. Links and special files are refused. \
Only post_to_tuf_path has to be configured. What a pipeline without `rugged` does instead:

  mkdir tuf_tmp_X
  cp -r dist/. tuf_tmp_X/
  mv tuf_tmp_X tuf_ready_X

Examples:
  rugged post dist/ --wait
  rugged --set post_to_tuf_path=/opt/post_to_tuf post app-1.2.tar.gz --name app-1.2 --wait=60")]
pub struct Post {
    /// Directories whose contents, and files that, are released
    #[arg(value_name = "DIR|FILE", required = true)]
    pub sources: Vec<PathBuf>,
    /// Name of the drop; without it the time and a few random digits
    #[arg(long, value_name = "X")]
    pub name: Option<String>,
    /// Wait for the receipt: until clients can verify the release, or it is rejected (exit code 1)
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "300")]
    pub wait: Option<u64>,
    /// Do not add SHA256SUMS
    #[arg(long)]
    pub no_manifest: bool,
}

/// `status`
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 0 when every worker answered and is well, 1 otherwise. What the repository on disk says is shown where it can \
be read from here.

Examples:
  rugged status
  rugged --json status | jq '.workers[].status.state'
")]
pub struct Status {
    /// How long a worker may take to answer
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    pub timeout: u64,
}

/// `validate`
#[derive(Debug, Args)]
#[command(after_help = "\
Checks a repository, ours or anyone's, against the repository side of the TUF specification: the root chain, signatures \
and thresholds, keys, formats, versions, expiry, delegations, target files. It goes on after what is wrong, so that one \
run lists everything. Warnings are about what some clients cannot read; they and notes do not make a repository invalid.

With --metadata, only what is named is looked at: without --targets no target files, without --trusted-root the oldest \
root of the repository is taken at its word. A directory on this machine is also checked for what only a listing shows: \
gaps, versions that went back, roles that vanished.

Exit code 0 when it is valid, 1 when it is not, 2 when it could not be looked at, in part or at all.

--json prints {ok, complete, metadata, targets, trusted_root, at, versions, checked, counts: {error, warning, note}, \
findings: [{severity, rule, section, subject, message}], more: {RULE: COUNT}, unread: [{subject, reason}]}. Rules keep \
their ids. At most 1000 findings of a rule are listed; `more` counts the others.

Examples:
  rugged validate --strict
  rugged validate --at 2027-01-01T00:00:00Z
  rugged validate --metadata mirror/metadata --targets mirror/targets --trusted-root root.json
  rugged --json validate --metadata https://example.org/metadata --targets https://example.org/targets")]
pub struct Validate {
    /// Metadata directory; without it the repository's
    #[arg(long, value_name = "DIR|URL")]
    pub metadata: Option<Location>,
    /// Targets directory; without it the repository's
    #[arg(long, value_name = "DIR|URL")]
    pub targets: Option<Location>,
    /// Root metadata to trust; without it the pinned root (trusted_root)
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// Also load and download everything with tough, a second client
    #[arg(long)]
    pub strict: bool,
    /// Time at which nothing may be expired; without it now
    #[arg(long, value_name = "YYYY-MM-DDTHH:MM:SSZ")]
    pub at: Option<UtcTime>,
}

/// `inspect`
#[derive(Debug, Args)]
#[command(after_help = "\
Every worker that listens to Celery's remote control answers, ours and Python's. Without --node the whole timeout is \
waited, because nobody knows how many there are. `query_task` takes --task.

Exit code 0 when some answered and none reported an error, 3 when nobody answered, 4 when one reported an error.

Examples:
  rugged inspect active
  rugged inspect query_task --task 3d4a7e06-3c53-4a3f-9d3f-1b1ad7f0c0de
  rugged --json inspect stats --node targets-worker@host1 | jq '.[].value.total'")]
pub struct Inspect {
    /// What to ask
    #[arg(value_name = "METHOD", value_parser = [
        "active", "active_queues", "clock", "conf", "ping", "query_task", "registered", "report", "reserved", "revoked",
        "scheduled", "stats",
    ])]
    pub method: String,
    /// Ask this worker only, by its node name; may be repeated
    #[arg(long = "node", value_name = "NAME@HOST")]
    pub nodes: Vec<String>,
    /// Id of a task, for query_task; may be repeated
    #[arg(long = "task", value_name = "ID", required_if_eq("method", "query_task"))]
    pub tasks: Vec<String>,
    /// How long the workers may take to answer
    #[arg(long, value_name = "SECONDS", default_value = "1")]
    pub timeout: u64,
}

/// `events`
#[derive(Debug, Args)]
#[command(after_help = "\
Workers tell every two seconds that they are there. What happens to tasks they tell only after somebody asked them to, \
which this does as it starts, unless --workers is given; they go on until they end. With --json each event is one line.

Exit code 0 at Ctrl-C, after --count events, or after --for; 3 when none came in that time.

Examples:
  rugged events
  rugged events --workers --count 10
  rugged --json events --for 60 | jq 'select(.type == \"task-failed\")'")]
pub struct Events {
    /// Only what workers tell of themselves
    #[arg(long)]
    pub workers: bool,
    /// End after so many events
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// End after that long
    #[arg(long = "for", value_name = "SECONDS")]
    pub seconds: Option<u64>,
}

/// `revoke`
#[derive(Debug, Args)]
#[command(after_help = "\
A worker obeys only with `remote_control: full`; ours refuse otherwise. It remembers the ids for three hours.

Exit code 0 when some answered and all of them obeyed, 3 when nobody answered, 4 when one refused.

Examples:
  rugged revoke 3d4a7e06-3c53-4a3f-9d3f-1b1ad7f0c0de
  rugged revoke --terminate 3d4a7e06-3c53-4a3f-9d3f-1b1ad7f0c0de")]
pub struct Revoke {
    /// Ids of tasks
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
    /// Stop those that run, too
    #[arg(long)]
    pub terminate: bool,
    /// Tell this worker only, by its node name; may be repeated
    #[arg(long = "node", value_name = "NAME@HOST")]
    pub nodes: Vec<String>,
    /// How long the workers may take to answer
    #[arg(long, value_name = "SECONDS", default_value = "1")]
    pub timeout: u64,
}

/// `generate-keys`
#[derive(Debug, Args)]
#[command(after_help = "\
Private keys go to signing_keys_path/ROLE/NAME (mode 0400), public ones to verification_keys_path/ROLE/NAME.json. If any \
of them exists, nothing is made.

Examples:
  rugged generate-keys
  rugged generate-keys --role root --type ecdsa --name root-2027")]
pub struct GenerateKeys {
    /// For this role only; may be repeated
    #[arg(long = "role", value_name = "ROLE", value_parser = ["root", "targets", "snapshot", "timestamp"])]
    pub roles: Vec<String>,
    /// Kind of key
    #[arg(long = "type", value_name = "TYPE", default_value = "ed25519")]
    pub kind: KeyType,
    /// Name of the key; may be repeated. Without it as many as the role's threshold: ROLE, ROLE1, …
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
}

/// Kinds of keys.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum KeyType {
    /// Ed25519
    Ed25519,
    /// ECDSA on P-256
    Ecdsa,
}

/// `initialize`
#[derive(Debug, Args)]
#[command(after_help = "\
Run it where the root keys are, once; it refuses when there is a root. With broker_url memory:// and no `rugged up` it \
hosts the signing workers until the repository verifies.

Examples:
  rugged generate-keys && rugged initialize
  rugged initialize --no-wait")]
pub struct Initialize {
    /// Write the root and return
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait for the roles
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// `add-targets`
#[derive(Debug, Args)]
#[command(after_help = "\
The files lie in inbound_targets_path already. A release in one piece is better posted (`rugged post`).

Examples:
  rugged add-targets                       every loose inbound file
  rugged add-targets app/1.2/app.tar.gz    this one, relative to the inbound directory")]
pub struct AddTargets {
    /// Paths relative to inbound_targets_path; without any, every loose file
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// How long to wait for each role
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// `remove-targets`
#[derive(Debug, Args)]
#[command(after_help = "\
The bytes stay in the repository until they are collected; clients can no longer verify them.

Examples:
  rugged remove-targets app/1.2/app.tar.gz
  rugged remove-targets app.tar.gz --expect 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --yes")]
pub struct RemoveTargets {
    /// Target paths
    #[arg(value_name = "TARGET", required = true)]
    pub targets: Vec<String>,
    /// Remove only if the target has this sha256; once per target, in the same order
    #[arg(long, value_name = "SHA256")]
    pub expect: Vec<String>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Id of the request: the same id again returns the first result instead of removing twice
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// How long to wait for each role
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// `refresh-expiry`
#[derive(Debug, Args)]
#[command(after_help = "\
The roles renew by themselves, with the broker or without; this asks them to look now.

Examples:
  rugged refresh-expiry
  rugged refresh-expiry --force")]
pub struct RefreshExpiry {
    /// Renew even what is far from its expiry
    #[arg(long)]
    pub force: bool,
    /// How long to wait for each role
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// `pause-processing`, `resume-processing`
#[derive(Debug, Args)]
#[command(after_help = "\
The switch is durable: it outlives the monitor-worker. Only an operator's broker user may set it.

Examples:
  rugged pause-processing --reason 'moving the repository'
  rugged resume-processing")]
pub struct Pause {
    /// Shown by `rugged status`
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How long to wait for the monitor
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// `doctor`
#[derive(Debug, Args)]
#[command(after_help = "\
Tries out with files of its own, which it removes, what each role has to do in its directories, and says for each finding \
what to do about it. With --role, run it as that worker's user and with its configuration and mounts: then it also tells \
whether the worker reaches what it must not. Every worker does the same when it starts.

Exit code 0 when nothing is the matter, 1 otherwise.

--json prints {ok, roles, findings: [{severity, check, role, subject, message, advice}]}.

Examples:
  rugged doctor
  rugged doctor --role targets")]
pub struct Doctor {
    /// For this worker only
    #[arg(long, value_name = "ROLE", value_parser = fleet::places::ROLES)]
    pub role: Option<String>,
    /// How long the broker may take
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    pub timeout: u64,
}

/// `recover`
#[derive(Debug, Args)]
#[command(after_help = "\
A role that finds its repository behind what it has signed stops with an alarm. After a restore from a backup this lets \
it go on, once, with numbers above all it has ever signed, so that clients that have seen more accept what follows. What \
was released since the backup is lost and has to be released again, under new drop names. It also forgives a clock that \
was ahead.

Run it where the worker's state_path is mounted, for targets first. It needs no keys; a running worker goes on at its next \
look (reconcile_period).

Where the state volume was lost together with releases that clients have seen, nothing says how far they had come: stop the \
worker, give --beyond a number larger than all releases and renewals since the backup (a million costs nothing), and start \
it.

Examples:
  rugged recover
  rugged recover --role targets --yes
  rugged recover --role targets --beyond 1000000")]
pub struct Recover {
    /// For this role only
    #[arg(long, value_name = "ROLE", value_parser = fleet::recover::ROLES)]
    pub role: Option<String>,
    /// Also where the floor is lost: go on that many numbers above what the repository shows
    #[arg(long, value_name = "NUMBERS", requires = "role", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub beyond: Option<u64>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// `ping`
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 0 when all answered, 3 otherwise.

Examples:
  rugged ping
  rugged ping targets-worker --timeout 1")]
pub struct Ping {
    /// Workers to ask; without any, all
    #[arg(value_name = "WORKER", value_parser = crate::reach::WORKER_NAMES)]
    pub workers: Vec<String>,
    /// How long a worker may take to answer
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    pub timeout: u64,
}

/// `completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged completions bash > /etc/bash_completion.d/rugged
  rugged completions zsh > ~/.zfunc/_rugged
  rugged completions fish > ~/.config/fish/completions/rugged.fish")]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// `man`
#[derive(Debug, Args)]
#[command(after_help = "\
Without --dir the page of `rugged` itself goes to standard output. With it every command gets a page.

Examples:
  rugged man | man -l -
  rugged man --dir /usr/local/share/man/man1")]
pub struct Man {
    /// An existing directory for rugged.1, rugged-post.1, …
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `reference`
#[derive(Debug, Args)]
pub struct Reference {
    /// Of what
    pub what: Referenced,
}

/// What there is a reference of.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Referenced {
    /// This command line
    Cli,
    /// The configuration
    Configuration,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_definitions_hold_together() {
        super::Cli::command().debug_assert();
    }
}
