//! The clients that the repository locks out, or that a new one of this configuration would. `docs/clients.md` has the
//! measurements.

use durable_fs::Fs;
use tuf_core::key::KeyIdFormat;

use super::existing::ExistingRepository;
use super::finding::{FindingScope, FindingSeverity, PreflightFinding};
use crate::Config;

/// From this number of bins on, tough and tuf-js need seconds; the time of tuf-js grows with the square of the number.
const SLOW_BINS: u32 = 4_096;

/// One finding for each group of clients that cannot use the repository, or only slowly, and one for each setting that the
/// repository does not follow. They are [`FindingSeverity::Info`]: each may be the choice of the operator, and no choice
/// serves every client. The newest root and snapshot decide where this machine can read them, else the configuration.
#[must_use]
pub fn clients(fs: &dyn Fs, config: &Config) -> Vec<PreflightFinding> {
    let mut findings = Vec::new();
    let mut add = |subject: String, message: String, advice: String| {
        findings.push(PreflightFinding {
            severity: FindingSeverity::Info,
            check: "clients",
            role: FindingScope::AllRoles,
            subject,
            message,
            advice,
        });
    };
    let existing = ExistingRepository::read(fs, config);
    let format = existing.keyid_format.unwrap_or(config.keyid_format);
    if format != config.keyid_format {
        add(
            format!("keyid_format: {}", shown(config.keyid_format)),
            format!("has no effect on the key ids: the repository has {} ones and keeps them", shown(format)),
            format!("set `keyid_format: {}`", shown(format)),
        );
    }
    let new_only = "only a new repository can have others";
    let (subject, exists) = (format!("keyid_format: {}", shown(format)), existing.keyid_format.is_some());
    match format {
        KeyIdFormat::Spec => {
            let advice = "if it must read the repository, set `keyid_format: legacy` before `rugged initialize` and use \
                          Ed25519 keys, which it needs as well; tough then cannot";
            add(
                subject,
                "other clients read these key ids, php-tuf (Drupal, Composer) refuses them".to_owned(),
                if exists {
                    format!("{new_only}: legacy ones and Ed25519 keys for php-tuf, which tough then cannot read")
                } else {
                    advice.to_owned()
                },
            );
        }
        KeyIdFormat::Legacy => {
            let advice = "unless php-tuf must read the repository, set `keyid_format: spec` before `rugged initialize`";
            add(
                subject,
                "other clients read these key ids, tough refuses them".to_owned(),
                if exists { new_only.to_owned() } else { advice.to_owned() },
            );
            match &existing.foreign_key_type {
                Some(key_type) => add(
                    format!("{key_type} keys"),
                    "php-tuf verifies Ed25519 signatures only".to_owned(),
                    "rotate to Ed25519 keys, or for a new repository create them with `rugged generate-keys --type ed25519` \
                     before `rugged initialize`"
                        .to_owned(),
                ),
                None if !exists => add(
                    "keyid_format: legacy".to_owned(),
                    "php-tuf, which needs these key ids, verifies Ed25519 signatures only".to_owned(),
                    "create the keys with `rugged generate-keys --type ed25519`".to_owned(),
                ),
                None => {}
            }
        }
    }
    let bins = existing.bins.unwrap_or(config.number_of_bins);
    if bins != config.number_of_bins {
        let kept = if bins == 0 { "none".to_owned() } else { bins.to_string() };
        add(
            format!("number_of_bins: {}", config.number_of_bins),
            format!("has no effect: the repository has {kept}, and this cannot be changed"),
            format!("set `number_of_bins: {bins}`"),
        );
    }
    let advice =
        |new: &str, existing_advice: &str| if existing.bins.is_some() { existing_advice } else { new }.to_owned();
    if bins > 0 {
        add(
            format!("number_of_bins: {bins}"),
            "go-tuf from before September 2026 finds no target in hashed bins".to_owned(),
            advice(
                "require a newer go-tuf, or set `number_of_bins: 0` before the first release",
                "require a newer go-tuf; only a new repository can be without bins",
            ),
        );
    }
    if bins >= SLOW_BINS {
        add(
            format!("number_of_bins: {bins}"),
            "tough fetches every bin at each start, and tuf-js computes for seconds, with 16,384 bins for minutes"
                .to_owned(),
            advice(
                "if they read the repository, set fewer bins before the first release",
                "only a new repository can have fewer bins",
            ),
        );
    }
    findings
}

fn shown(format: KeyIdFormat) -> &'static str {
    match format {
        KeyIdFormat::Spec => "spec",
        KeyIdFormat::Legacy => "legacy",
    }
}
