//! The status as text, at most 100 columns wide as far as names allow.

use std::fmt::Write as _;

use fleet::contract::WorkerStatus;
use tuf_core::time::UtcTime;

use super::report::{RepositoryReport, StatusReport};
use super::workers::{NOT_ASKED, WorkerReport};
use crate::output::{one_line, table};
use crate::relative_time::relative_text;

/// The whole report, with times as seen from `now`.
pub fn text(report: &StatusReport, now: UtcTime) -> String {
    let mut out = match (&report.via, &report.problem) {
        (Some(via), _) => format!("broker {}\n\n", one_line(via)),
        (None, Some(problem)) => format!("not connected: {}\n\n", one_line(problem)),
        (None, None) => "no fleet is running on memory://; start one with `rugged up`\n\n".to_owned(),
    };
    out.push_str(&table(&worker_rows(&report.workers, now)));
    for worker in &report.workers {
        out.push_str(&remarks(worker, now));
    }
    out.push_str(&repository_text(report.repository.as_ref(), &report.workers, now));
    let drops: Vec<String> = report.drops.iter().map(|(stage, number)| format!("{stage} {number}")).collect();
    let drops = if drops.is_empty() { "not readable on this machine".to_owned() } else { drops.join(", ") };
    let _ = writeln!(out, "drops       {drops}");
    for (index, drop) in report.waiting.iter().enumerate() {
        let since = drop.since.as_deref().map(|since| format!(", {}", relative_text(since, now))).unwrap_or_default();
        let reason = drop.reason.as_deref().map(|reason| format!(": {}", one_line(reason))).unwrap_or_default();
        let stage = one_line(&drop.stage);
        let _ = writeln!(out, "  {} ({stage}{since}){reason}", one_line(&drop.name));
        let last = report.waiting.get(index + 1).is_none_or(|next| next.stage != drop.stage);
        if let Some(more) = report.more.get(&drop.stage).filter(|_| last) {
            let _ = writeln!(out, "  … and {more} more {stage}");
        }
    }
    out
}

fn worker_rows(workers: &[WorkerReport], now: UtcTime) -> Vec<Vec<String>> {
    let head = ["WORKER", "STATE", "VERSION", "EXPIRES", "RENEWED", "LAST WORK"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for worker in workers {
        let Some(status) = &worker.status else {
            rows.push(vec![name(worker), "-".to_owned()]);
            continue;
        };
        let when = |time: Option<&str>| time.map_or_else(|| "-".to_owned(), |time| one_line(&relative_text(time, now)));
        rows.push(vec![
            name(worker),
            one_line(&status.state),
            status.role_version.map_or_else(|| "-".to_owned(), |version| version.to_string()),
            status.expires.as_deref().map_or_else(|| "-".to_owned(), |time| both(time, now)),
            when(status.next_renewal.as_deref()),
            when(status.last_work.as_deref()),
        ]);
    }
    rows
}

/// A worker's name, with that of its process where it has several.
fn name(worker: &WorkerReport) -> String {
    match &worker.instance {
        Some(instance) => one_line(&format!("{}@{instance}", worker.worker)),
        None => one_line(&worker.worker),
    }
}

/// A time to the minute, and as seen from `now`.
fn both(time: &str, now: UtcTime) -> String {
    let minute = time.get(..16).map(|minute| minute.replace('T', " "));
    one_line(&format!("{} ({})", minute.as_deref().unwrap_or(time), relative_text(time, now)))
}

/// What an operator should know of a worker, each with the next step.
fn remarks(worker: &WorkerReport, now: UtcTime) -> String {
    let mut lines = Vec::new();
    match &worker.status {
        None => lines.extend(worker.problem.clone().filter(|problem| !NOT_ASKED.contains(&problem.as_str()))),
        Some(status) => lines.extend(status_remarks(status, now)),
    }
    lines.iter().map(|line| format!("{}: {}\n", name(worker), one_line(line))).collect()
}

fn status_remarks(status: &WorkerStatus, now: UtcTime) -> Vec<String> {
    let mut lines: Vec<String> = status.detail.iter().cloned().collect();
    if status.state == "alarm" {
        let role = if status.role.is_empty() { "ROLE" } else { &status.role };
        lines.push(format!(
            "it signs nothing until this is resolved: `rugged doctor --role {role}`, run on its machine as its user, names \
             the remedy"
        ));
    }
    if status.broker_connected == Some(false) {
        lines.push("its broker is not connected".to_owned());
    }
    lines.extend(status.notices.iter().cloned());
    if let Some(processing) = status.processing.as_ref().filter(|processing| processing.paused) {
        let since = processing.since.as_deref().map(|since| format!(" {}", relative_text(since, now)));
        let reason = processing.reason.as_deref().map(|reason| format!(" ({reason})"));
        let (since, reason) = (since.unwrap_or_default(), reason.unwrap_or_default());
        lines.push(format!("intake of drops paused{since}{reason}; `rugged resume-processing` resumes it"));
    }
    lines
}

fn repository_text(repository: Option<&RepositoryReport>, workers: &[WorkerReport], now: UtcTime) -> String {
    let Some(repository) = repository else {
        let root = workers.iter().filter_map(|worker| worker.status.as_ref()?.also_expire.get("root")).min();
        let root = root.map(|root| format!("; the root expires {}", both(root, now))).unwrap_or_default();
        return format!("\nrepository  not readable on this machine{root}\n");
    };
    let verdict = match &repository.problem {
        None => "verified".to_owned(),
        Some(problem) => format!("DOES NOT VERIFY: {}", one_line(problem)),
    };
    let mut out = format!("\nrepository  {verdict}\n");
    for role in &repository.roles {
        let expires = role.expires.as_deref().map(|time| format!("expires {}", both(time, now))).unwrap_or_default();
        let _ = writeln!(out, "  {:<10} {:<8} {expires}", one_line(&role.role), role.version);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fleet::WorkerRole;
    use fleet::contract::Processing;

    use super::super::drops::DropReport;
    use super::*;
    use crate::verify::VisibleRole;

    const NOW: &str = "2026-11-30T12:00:00Z";

    fn status(role: WorkerRole) -> WorkerStatus {
        WorkerStatus {
            worker: role.worker_name().into(),
            role: role.to_string(),
            state: "ready".into(),
            role_version: Some(1_234_567),
            expires: Some("2026-12-01T11:30:00Z".into()),
            next_renewal: Some("2026-11-30T19:30:00Z".into()),
            last_work: Some("2026-11-30T11:58:00Z".into()),
            ..WorkerStatus::default()
        }
    }

    fn report(workers: Vec<WorkerStatus>) -> StatusReport {
        let report = |status: WorkerStatus| WorkerReport {
            worker: status.worker.clone(),
            instance: None,
            status: Some(status),
            problem: None,
        };
        StatusReport {
            via: Some("amqp://broker/v".into()),
            problem: None,
            workers: workers.into_iter().map(report).collect(),
            repository: None,
            drops: BTreeMap::new(),
            waiting: Vec::new(),
            more: BTreeMap::new(),
            ok: true,
        }
    }

    fn shown(report: &StatusReport) -> String {
        text(report, UtcTime::parse(NOW).unwrap())
    }

    #[test]
    fn times_are_shown_beside_their_distance_within_100_columns() {
        let mut report = report(WorkerRole::ALL.map(status).into());
        report.repository = Some(RepositoryReport {
            metadata: "/m".into(),
            verified: true,
            problem: None,
            roles: vec![VisibleRole { role: "root".into(), version: 3, expires: Some("2027-11-30T12:00:00Z".into()) }],
        });
        let text = shown(&report);
        assert!(text.contains("2026-12-01 11:30 (in 23 h)  in 7 h   2 min ago\n"), "{text}");
        assert!(text.contains("  root       3        expires 2027-11-30 12:00 (in 365 d)\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn an_alarm_names_its_cause_and_the_command_that_names_the_remedy() {
        let detail = Some("the newest record is below the floor".to_owned());
        let text = shown(&report(vec![WorkerStatus { state: "alarm".into(), detail, ..status(WorkerRole::Targets) }]));
        assert!(text.contains("targets-worker: the newest record is below the floor\n"), "{text}");
        assert!(text.contains("`rugged doctor --role targets`"), "{text}");
    }

    #[test]
    fn drops_are_shown_with_their_names_ages_and_reasons() {
        let processing = Processing {
            paused: true,
            reason: Some("moving house".into()),
            since: Some("2026-11-30T11:00:00Z".into()),
        };
        let monitor = WorkerStatus { processing: Some(processing), ..status(WorkerRole::Monitor) };
        let mut report = report(vec![monitor]);
        let since = Some("2026-11-30T11:15:00Z".into());
        report.drops = BTreeMap::from([("held".to_owned(), 1), ("rejected".to_owned(), 24)]);
        report.more = BTreeMap::from([("late".to_owned(), 7), ("rejected".to_owned(), 23)]);
        let named = |name: &str, stage: &str, since, reason: &str| DropReport {
            name: name.into(),
            stage: stage.into(),
            since,
            reason: Some(reason.into()),
        };
        report.waiting =
            vec![named("big", "held", None, "it needs 9 bytes"), named("app", "rejected", since, "no\u{1b}files")];
        let text = shown(&report);
        assert!(text.contains("intake of drops paused 1 h ago (moving house); `rugged resume-processing`"), "{text}");
        let drops = "drops       held 1, rejected 24\n  big (held): it needs 9 bytes\n  app (rejected, 45 min ago): \
                     no\\u{1b}files\n  … and 23 more rejected\n";
        assert!(text.ends_with(drops), "{text}");
        assert_eq!(text.matches("big").count(), 1, "{text}");
    }

    #[test]
    fn settings_without_effect_and_the_root_of_a_remote_repository_are_shown() {
        let also_expire = BTreeMap::from([("root".to_owned(), "2026-12-10T12:00:00Z".to_owned())]);
        let notices = vec!["number_of_bins is 4, which has no effect".to_owned()];
        let text = shown(&report(vec![WorkerStatus { also_expire, notices, ..status(WorkerRole::Targets) }]));
        assert!(text.contains("targets-worker: number_of_bins is 4"), "{text}");
        assert!(text.contains("not readable on this machine; the root expires 2026-12-10 12:00 (in 10 d)\n"), "{text}");
    }
}
