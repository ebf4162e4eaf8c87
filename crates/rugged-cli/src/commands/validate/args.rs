//! The arguments of `rugged validate`.

use std::path::PathBuf;

use clap::Args;
use tuf_core::time::UtcTime;

use crate::verify::RepositoryLocation;

/// Check a TUF repository against the specification
///
/// The command checks any TUF repository, not only one that this fleet signs: the root chain, signatures and
/// thresholds, keys, formats, versions, expiry, delegations and target files. It continues after errors, so that one
/// run lists all of them. A warning names something that causes trouble for some clients, or clients that cannot read
/// the repository at all, once each. Faults of roots older than the trusted root are notes. Warnings and notes do not
/// make a repository invalid.
///
/// Without --metadata the command checks the configured repository. With --metadata it checks the named directories
/// only: without --targets it then checks no target files, and without --trusted-root it trusts the oldest root of the
/// repository. In a directory on this machine it also finds faults that only a listing shows: gaps, decreasing
/// versions, missing roles.
///
/// Exit codes: 0 valid, 1 invalid, 2 not fully checked because a file or server could not be read.
///
/// --json prints {ok, complete, metadata, targets, trusted_root, at, versions, checked, counts: {error, warning, note},
/// findings: [{severity, rule, section, subject, message}], more: {RULE: COUNT}, unread: [{subject, reason}]}, and with
/// --strict tough: {accepted, downloaded}. Rule ids never change. The list holds at most 1000 findings per rule; `more`
/// counts the others. `complete` is false as well when target files were not checked; checked.unchecked_targets counts
/// those targets.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged validate --strict
  rugged validate --at 2027-01-01T00:00:00Z
  rugged validate --metadata mirror/metadata --targets mirror/targets --trusted-root root.json
  rugged --json validate --metadata https://example.org/metadata --targets https://example.org/targets")]
pub struct ValidateArgs {
    /// Metadata directory [default: that of repo_path]
    #[arg(long, value_name = "DIR|URL")]
    pub metadata: Option<RepositoryLocation>,
    /// Directory of target files [default: that of repo_path]
    #[arg(long, value_name = "DIR|URL")]
    pub targets: Option<RepositoryLocation>,
    /// Root metadata to trust [default: trusted_root]
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// Also verify and download all targets with tough, a second client; its refusal is an error
    #[arg(long)]
    pub strict: bool,
    /// Time for the expiry checks, in UTC [default: now]
    #[arg(long, value_name = "YYYY-MM-DDTHH:MM:SSZ")]
    pub at: Option<UtcTime>,
}
