//! The clients that the configured choices lock out. `docs/clients.md` has the measurements.

use durable_fs::{Fs, durable};
use tuf_core::key::KeyIdFormat;
use tuf_core::root_chain::{MAX_ROOT_BYTES, RootChain};

use super::finding::{FindingScope, FindingSeverity, PreflightFinding};
use crate::Config;

/// From this number of bins on, tough and tuf-js need seconds; the time of tuf-js grows with the square of the number.
const SLOW_BINS: u32 = 4_096;

/// One finding for each group of clients that cannot use a repository of this configuration, or only slowly. They are
/// [`FindingSeverity::Info`]: each may be the choice of the operator, and no choice serves every client. Of the repository
/// itself only the newest root is read, for the types of its keys.
#[must_use]
pub fn clients(fs: &dyn Fs, config: &Config) -> Vec<PreflightFinding> {
    let mut findings = Vec::new();
    let mut add = |subject: String, message: &str, advice: &str| {
        findings.push(PreflightFinding {
            severity: FindingSeverity::Info,
            check: "clients",
            role: FindingScope::AllRoles,
            subject,
            message: message.to_owned(),
            advice: advice.to_owned(),
        });
    };
    match config.keyid_format {
        KeyIdFormat::Spec => add(
            "keyid_format: spec".to_owned(),
            "php-tuf (Drupal, Composer) refuses these key ids",
            "if it must read the repository, set `keyid_format: legacy` before `rugged initialize`; tough then cannot",
        ),
        KeyIdFormat::Legacy => {
            add(
                "keyid_format: legacy".to_owned(),
                "tough refuses these key ids",
                "unless php-tuf must read the repository, set `keyid_format: spec` before `rugged initialize`",
            );
            if let Some(key_type) = foreign_key_type(fs, config) {
                add(
                    format!("{key_type} keys"),
                    "php-tuf verifies Ed25519 signatures only",
                    "create the keys with `rugged generate-keys --type ed25519` before `rugged initialize`",
                );
            }
        }
    }
    let bins = config.number_of_bins;
    if bins > 0 {
        add(
            format!("number_of_bins: {bins}"),
            "go-tuf from before September 2026 finds no target in hashed bins",
            "require a newer go-tuf, or set `number_of_bins: 0` before the first release",
        );
    }
    if bins >= SLOW_BINS {
        add(
            format!("number_of_bins: {bins}"),
            "tough fetches every bin at each start, and tuf-js computes for seconds, with 16,384 bins for minutes",
            "if they read the repository, set fewer bins before the first release",
        );
    }
    findings
}

/// The type of a key in the newest root that is not Ed25519. `None` without a root that can be read: other checks report it.
fn foreign_key_type(fs: &dyn Fs, config: &Config) -> Option<String> {
    let pinned = durable::read_bounded(fs, &config.trusted_root, MAX_ROOT_BYTES).ok()?;
    let mut chain = RootChain::from_pinned(&pinned).ok()?;
    let mut read = |version: u64| -> Result<_, std::convert::Infallible> {
        let next = config.metadata_path().join(format!("{version}.root.json"));
        Ok(durable::read_bounded(fs, &next, MAX_ROOT_BYTES).ok())
    };
    // A root that does not verify ends the walk; the chain then ends before it.
    let _ = chain.walk(&mut read);
    chain.root().keys.values().map(|key| key.keytype()).find(|kind| *kind != "ed25519").map(str::to_owned)
}
