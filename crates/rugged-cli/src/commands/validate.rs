//! `rugged validate`: a list of checks, each with its findings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use durable_fs::{Fs, RealFs};
use fleet::Config;
use fleet::clock::{Clock as _, SystemClock};
use serde::Serialize;
use tuf_core::names::TargetPath;
use tuf_core::schema::TargetMeta;
use tuf_core::time::UtcTime;

use crate::args;
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, bytes, count, one_line};
use crate::verify::{self, Opened, OwnClient, Place};

/// Findings of one check that are listed; more are counted.
const LISTED: usize = 1000;

#[derive(Serialize)]
struct Document {
    ok: bool,
    metadata: String,
    targets: Option<String>,
    trusted_root: String,
    checks: Vec<Check>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Findings,
    Skipped,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    /// What was looked at, or why it was not.
    detail: String,
    findings: Vec<String>,
    /// How many findings are not listed.
    more_findings: u64,
}

/// What a check came to.
enum Outcome {
    Ok(String),
    Skipped(String),
    Findings { detail: String, findings: Vec<String>, more: u64 },
}

impl Outcome {
    fn finding(text: impl Into<String>) -> Self {
        Self::Findings { detail: String::new(), findings: vec![text.into()], more: 0 }
    }

    fn named(self, name: &'static str) -> Check {
        match self {
            Self::Ok(detail) => Check { name, verdict: Verdict::Ok, detail, findings: Vec::new(), more_findings: 0 },
            Self::Skipped(detail) => {
                Check { name, verdict: Verdict::Skipped, detail, findings: Vec::new(), more_findings: 0 }
            }
            Self::Findings { detail, findings, more } => {
                Check { name, verdict: Verdict::Findings, detail, findings, more_findings: more }
            }
        }
    }
}

/// What the checks have found out so far.
struct Session {
    fs: Arc<dyn Fs>,
    place: Place,
    now: UtcTime,
    output: Output,
    client: Option<Box<OwnClient>>,
    listed: Option<BTreeMap<TargetPath, TargetMeta>>,
}

pub async fn run(config: &Config, args: args::Validate, output: Output) -> Result<u8, CliError> {
    let configured = Place::of(config);
    let place = Place {
        // A mirror that was named without its targets is checked for its metadata alone.
        targets: match (args.targets, &args.metadata) {
            (Some(dir), _) => Some(dir),
            (None, Some(_)) => None,
            (None, None) => configured.targets,
        },
        metadata: args.metadata.unwrap_or(configured.metadata),
        trusted_root: args.trusted_root.unwrap_or(configured.trusted_root),
    };
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    for dir in std::iter::once(&place.metadata).chain(&place.targets) {
        if !verify::is_dir(fs.as_ref(), dir) {
            return Err(CliError::usage(format!("there is no directory {}", dir.display()))
                .hint("name the repository's directories with --metadata and --targets, or set repo_path"));
        }
    }
    let mut session = Session { fs, place, now: SystemClock.now(), output, client: None, listed: None };
    let mut checks = vec![
        session.metadata()?.named("metadata"),
        session.delegations().named("delegations"),
        session.target_files()?.named("target-files"),
    ];
    if args.strict {
        checks.push(session.tough().await?.named("tough"));
    }
    let ok = checks.iter().all(|check| check.verdict != Verdict::Findings);
    let shown = |path: &PathBuf| path.display().to_string();
    let document = Document {
        ok,
        metadata: shown(&session.place.metadata),
        targets: session.place.targets.as_ref().map(shown),
        trusted_root: shown(&session.place.trusted_root),
        checks,
    };
    output.result(&document, text)?;
    Ok(if ok { exit_code::OK } else { exit_code::FINDING })
}

impl Session {
    /// The root chain, then timestamp, snapshot and top-level targets: signatures, versions, lengths, hashes, expiry.
    fn metadata(&mut self) -> Result<Outcome, CliError> {
        Ok(match verify::open(&self.fs, &self.place, self.now)? {
            Opened::Verified(client) => {
                let roles = verify::roles(&client);
                let shown: Vec<String> = roles.iter().map(|role| format!("{} {}", role.role, role.version)).collect();
                self.client = Some(client);
                Outcome::Ok(shown.join(", "))
            }
            Opened::Failed(_, error) => Outcome::finding(error.to_string()),
            Opened::BadRoot(error) => Outcome::finding(format!("trusted root: {error}")),
        })
    }

    /// Every delegated role, and every target a client can find.
    fn delegations(&mut self) -> Outcome {
        let Some(client) = &mut self.client else {
            return Outcome::Skipped("the metadata does not verify".into());
        };
        match client.all_targets() {
            Ok(targets) => {
                let roles = client.snapshot().map_or(0, |snapshot| snapshot.meta.len() as u64);
                let detail = format!("{} in {}", count(targets.len() as u64, "target"), count(roles, "role"));
                self.listed = Some(targets);
                Outcome::Ok(detail)
            }
            Err(error) => Outcome::finding(error.to_string()),
        }
    }

    /// Every listed target is there, under every name clients ask for, with the bytes that were signed.
    fn target_files(&self) -> Result<Outcome, CliError> {
        let (Some(client), Some(listed)) = (&self.client, &self.listed) else {
            return Ok(Outcome::Skipped("it is not known which targets there should be".into()));
        };
        let Some(dir) = &self.place.targets else {
            return Ok(Outcome::Skipped("target files are not stored here".into()));
        };
        let bar = self.output.count_bar("hashing targets", listed.len() as u64);
        let (mut findings, mut more) = (Vec::new(), 0);
        for (path, meta) in listed {
            let found = verify::check_file(&self.fs, dir, path, meta, client.root().consistent_snapshot)
                .map_err(|error| CliError::reading(dir, &error))?;
            for finding in found {
                if findings.len() < LISTED { findings.push(finding.to_string()) } else { more += 1 }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let total = listed.values().map(|meta| meta.length).sum();
        let detail = format!("{}, {}", count(listed.len() as u64, "target"), bytes(total));
        Ok(if findings.is_empty() { Outcome::Ok(detail) } else { Outcome::Findings { detail, findings, more } })
    }

    /// The same through the eyes of a client written by others.
    async fn tough(&self) -> Result<Outcome, CliError> {
        let bar = self.output.count_bar("downloading with tough", 0);
        let downloaded = verify::download_all(&self.fs, &self.place, &bar).await?;
        bar.finish_and_clear();
        Ok(match downloaded {
            Ok((targets, read)) if self.place.targets.is_some() => {
                Outcome::Ok(format!("{} downloaded, {}", count(targets, "target"), bytes(read)))
            }
            Ok((targets, _)) => Outcome::Ok(format!("{} listed", count(targets, "target"))),
            Err(error) => Outcome::finding(error),
        })
    }
}

fn text(document: &Document) -> String {
    let mut out = String::new();
    for check in &document.checks {
        let verdict = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Findings => "FINDINGS",
            Verdict::Skipped => "skipped",
        };
        out.push_str(format!("{verdict:<9} {:<13} {}", check.name, one_line(&check.detail)).trim_end());
        out.push('\n');
        for finding in &check.findings {
            out.push_str(&format!("          {}\n", one_line(finding)));
        }
        if check.more_findings > 0 {
            out.push_str(&format!("          and {} more\n", check.more_findings));
        }
    }
    out.push_str(if document.ok { "the repository is valid\n" } else { "the repository is not valid\n" });
    out
}
