//! Mistakes in the configuration file.

use std::fs;

use service::exit_code::WorkerExit;
use system_tests::WORKERS;
use testkit::servers::Process;

use crate::{SOON, stopped};

#[test]
fn yaml_mistakes_end_a_worker_with_file_line_and_suggestion() {
    let fleet = stopped(&[]);
    let right = fs::read_to_string(fleet.config()).unwrap();
    let lines = right.lines().count();
    for (mistake, said) in [
        ("shceduler_scan_period: 5", "unknown key `shceduler_scan_period`; did you mean `scheduler_scan_period`?"),
        ("roles: {root: {expires: 5}}", "unknown key `roles.root.expires`; did you mean `roles.root.expiry`?"),
        ("number_of_bins: many", "`number_of_bins` is `many`; expected 0 or a power of two"),
        ("repo_path: /twice", ""),
        ("keys: [unclosed", ""),
        ("\tkeys: tabs", ""),
    ] {
        fs::write(fleet.config(), format!("{right}{mistake}\n")).unwrap();
        for worker in WORKERS {
            let ended = Process::spawn(&mut fleet.command(worker)).wait(SOON);
            assert_eq!(
                ended.status.code(),
                Some(i32::from(WorkerExit::InvalidInput.code())),
                "{mistake}: {}",
                ended.stderr
            );
            // What is not closed is noticed where the file ends.
            let at = [lines + 1, lines + 2].map(|line| format!("{}:{line}: ", fleet.config().display()));
            assert!(at.iter().any(|at| ended.stderr.contains(at.as_str())), "{mistake}: {}", ended.stderr);
            assert!(ended.stderr.contains(said), "{mistake}: {}", ended.stderr);
            assert_eq!(ended.stderr.trim().lines().count(), 1, "one line tells it: {}", ended.stderr);
        }
    }
}
