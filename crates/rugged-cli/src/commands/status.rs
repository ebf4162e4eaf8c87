//! `rugged status`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use durable_fs::{Fs, RealFs};
use fleet::Config;
use fleet::contract::{STATUS, WorkerStatus};
use futures_util::future::join_all;
use monitor_worker::drop_dir;
use serde::Serialize;
use service::clock::{Clock as _, SystemClock};

use crate::args;
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, one_line, table};
use crate::reach::{Reach, WORKER_NAMES, explain};
use crate::verify::{self, Opened, Place, RoleState};

#[derive(Serialize)]
struct Document {
    /// How the fleet was reached; absent when none is running.
    via: Option<String>,
    workers: Vec<Worker>,
    /// What clients see, where the repository can be read from here.
    repository: Option<Repository>,
    /// Drops by stage: as the drop directory shows them where it can be read, else as the monitor says.
    drops: BTreeMap<String, u64>,
    /// Every worker answered and is well, and the repository, if visible, verifies.
    ok: bool,
}

#[derive(Serialize)]
struct Worker {
    worker: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<WorkerStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Serialize)]
struct Repository {
    metadata: String,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    roles: Vec<RoleState>,
}

pub async fn run(config: &Config, args: args::Status, output: Output) -> Result<u8, CliError> {
    let deadline = Duration::from_secs(args.timeout.max(1));
    let (via, workers) = match Reach::running(config).await? {
        Some(reach) => {
            let workers = join_all(WORKER_NAMES.map(|worker| ask(&reach, worker, deadline))).await;
            let via = reach.via().to_owned();
            reach.close().await;
            (Some(via), workers)
        }
        None => {
            let absent =
                |worker: &str| Worker { worker: worker.into(), status: None, problem: Some("not running".into()) };
            (None, WORKER_NAMES.map(absent).into())
        }
    };
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    // What the drop directory shows is newer than what the monitor remembers, which alone knows of drops held back.
    let told = workers.iter().filter_map(|worker| worker.status.as_ref()).find(|status| !status.drops.is_empty());
    let mut drops = told.map(|status| status.drops.clone()).unwrap_or_default();
    drops.extend(drops_on_disk(fs.as_ref(), config));
    let repository = repository(&fs, config);
    let well = |worker: &Worker| worker.status.as_ref().is_some_and(|status| status.state != "alarm");
    let ok = workers.iter().all(well) && repository.as_ref().is_none_or(|repository| repository.verified);
    let document = Document { via, workers, repository, drops, ok };
    output.result(&document, text)?;
    Ok(if ok { exit_code::OK } else { exit_code::FINDING })
}

async fn ask(reach: &Reach, worker: &str, deadline: Duration) -> Worker {
    let answer = Reach::ask(reach.client(), worker, STATUS, deadline).await;
    let status = answer.map_err(|error| explain(worker, STATUS, &error, deadline).message).and_then(|value| {
        serde_json::from_value(value).map_err(|error| format!("answered what this version does not know: {error}"))
    });
    let worker = worker.to_owned();
    match status {
        Ok(status) => Worker { worker, status: Some(status), problem: None },
        Err(problem) => Worker { worker, status: None, problem: Some(problem) },
    }
}

/// What the drop directory shows; nothing where it cannot be read.
fn drops_on_disk(fs: &dyn Fs, config: &Config) -> BTreeMap<String, u64> {
    let Ok(listing) = drop_dir::list(fs, &config.post_to_tuf_path, config.prefix_case_insensitive) else {
        return BTreeMap::new();
    };
    let counts = [
        ("ready", listing.ready.len() as u64),
        ("processing", listing.processing.len() as u64),
        ("rejected", listing.rejected),
    ];
    counts.map(|(stage, number)| (stage.to_owned(), number)).into()
}

fn repository(fs: &Arc<dyn Fs>, config: &Config) -> Option<Repository> {
    let place = Place::of(config);
    if !verify::is_dir(fs.as_ref(), &place.metadata) {
        return None;
    }
    let metadata = place.metadata.display().to_string();
    let failed = |problem: String, roles| Repository {
        metadata: metadata.clone(),
        verified: false,
        problem: Some(problem),
        roles,
    };
    Some(match verify::open(fs, &place, SystemClock.now()) {
        Ok(Opened::Verified(client)) => {
            Repository { metadata, verified: true, problem: None, roles: verify::roles(&client) }
        }
        Ok(Opened::Failed(client, error)) => failed(error.to_string(), verify::roles(&client)),
        Ok(Opened::BadRoot(error)) => failed(format!("the trusted root: {error}"), Vec::new()),
        Err(error) => failed(error.to_string(), Vec::new()),
    })
}

fn text(document: &Document) -> String {
    let mut out = match &document.via {
        Some(via) => format!("fleet reached through {}\n\n", one_line(via)),
        None => "no fleet is running on memory:// (`rugged up` starts one)\n\n".to_owned(),
    };
    let head = ["WORKER", "STATE", "ROLE VERSION", "EXPIRES", "NEXT RENEWAL", "LAST WORK"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut details = String::new();
    for worker in &document.workers {
        let Some(status) = &worker.status else {
            rows.push(vec![worker.worker.clone(), "-".to_owned()]);
            if let Some(problem) = worker.problem.as_deref().filter(|problem| *problem != "not running") {
                details.push_str(&format!("{}: {}\n", worker.worker, one_line(problem)));
            }
            continue;
        };
        let or_dash = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), one_line);
        rows.push(vec![
            worker.worker.clone(),
            one_line(&status.state),
            status.role_version.map_or_else(|| "-".to_owned(), |version| version.to_string()),
            or_dash(status.expires.as_deref()),
            or_dash(status.next_renewal.as_deref()),
            or_dash(status.last_work.as_deref()),
        ]);
        if let Some(detail) = &status.detail {
            details.push_str(&format!("{}: {}\n", worker.worker, one_line(detail)));
        }
        if let Some(processing) = status.processing.as_ref().filter(|processing| processing.paused) {
            let reason =
                processing.reason.as_deref().map(|reason| format!(": {}", one_line(reason))).unwrap_or_default();
            details.push_str(&format!("{}: processing is paused{reason}\n", worker.worker));
        }
    }
    out.push_str(&table(&rows));
    out.push_str(&details);
    match &document.repository {
        None => out.push_str("\nrepository  not visible from here\n"),
        Some(repository) => {
            let roles = repository.roles.iter().map(|role| format!("{} {}", role.role, role.version));
            let roles = roles.collect::<Vec<_>>().join(", ");
            let verdict = match &repository.problem {
                None => "verified".to_owned(),
                Some(problem) => format!("DOES NOT VERIFY: {}", one_line(problem)),
            };
            out.push_str(&format!("\nrepository  {} ({verdict})\n", if roles.is_empty() { "-" } else { &roles }));
        }
    }
    let drops: Vec<String> = document.drops.iter().map(|(stage, number)| format!("{stage} {number}")).collect();
    out.push_str(&format!(
        "drops       {}\n",
        if drops.is_empty() { "not visible from here".into() } else { drops.join(", ") }
    ));
    out
}
