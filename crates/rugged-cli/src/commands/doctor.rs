//! `rugged doctor`.

use std::sync::Arc;
use std::time::Duration;

use durable_fs::{Fs, RealFs};
use fleet::preflight::{self, Finding, Severity};
use fleet::{Config, places};
use serde::Serialize;
use service::clock::{Clock as _, SystemClock};

use crate::args;
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, count, one_line};

#[derive(Serialize)]
struct Document {
    ok: bool,
    roles: Vec<String>,
    findings: Vec<Finding>,
}

pub async fn run(config: &Arc<Config>, args: args::Doctor, output: Output) -> Result<u8, CliError> {
    let roles: Vec<String> = match args.role {
        Some(role) => vec![role],
        None => places::ROLES.map(str::to_owned).into(),
    };
    // For one role the command stands in for its worker; for all of them it is the administrator, who sees every key.
    let alone = roles.len() == 1;
    let deadline = Duration::from_secs(args.timeout.max(1));
    let checking = {
        let (config, roles) = (Arc::clone(config), roles.clone());
        // A mount may hang.
        tokio::task::spawn_blocking(move || {
            let fs: Arc<dyn Fs> = Arc::new(RealFs);
            let now = SystemClock.now();
            roles.iter().flat_map(|role| preflight::for_role(&fs, &config, role, now, alone)).collect::<Vec<_>>()
        })
    };
    let mut findings =
        checking.await.map_err(|error| CliError::infrastructure(format!("the checks ended: {error}")))?;
    if let ([role], true) = (roles.as_slice(), alone) {
        findings.extend(preflight::broker(config, role, deadline).await);
    } else if !config.process.broker.is_in_memory() {
        // The administrator's user may do more than a worker's: only whether the broker answers says something.
        let broker =
            celery_runtime::broker::connect(&config.process.broker.url, config.connect_options("rugged".into()))
                .await
                .map_err(|error| CliError::usage(format!("broker_url: {error}")))?;
        findings.extend(preflight::reachable(broker.as_ref(), config, "all", deadline).await);
        let _ = tokio::time::timeout(deadline, broker.close()).await;
    }
    let ok = findings.iter().all(|finding| finding.severity == Severity::Info);
    let document = Document { ok, roles, findings };
    output.result(&document, text)?;
    Ok(if ok { exit_code::OK } else { exit_code::FINDING })
}

fn text(document: &Document) -> String {
    let mut out = String::new();
    for finding in &document.findings {
        out.push_str(&format!("{} {} {}: ", finding.severity, finding.role, finding.check));
        out.push_str(&one_line(&format!("{}: {}", finding.subject, finding.message)));
        out.push('\n');
        if !finding.advice.is_empty() {
            out.push_str(&format!("     {}\n", one_line(&finding.advice)));
        }
    }
    let serious = document.findings.iter().filter(|finding| finding.severity != Severity::Info).count();
    if document.ok {
        out.push_str(&format!("{}: nothing is the matter\n", document.roles.join(", ")));
    } else {
        out.push_str(&format!("{} to look into\n", count(serious as u64, "finding")));
    }
    out
}
