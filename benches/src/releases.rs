//! From the rename of a drop to what a client can verify: one drop after another, and many that wait.

use std::time::{Duration, Instant};

use crate::Result;
use crate::drops::{Watcher, prepare};
use crate::fleets::{Fleet, WORKERS};
use crate::report::{Line, Report};
use crate::samples::Samples;

/// More than the second that must lie between two publications.
const APART: Duration = Duration::from_millis(1_100);

/// Posts `count` drops, one at a time, with the fleet idle in between.
///
/// # Errors
/// Whatever went wrong.
pub fn latency(report: &mut Report, fleet: &mut dyn Fleet, mode: &str, count: usize) -> Result<()> {
    fleet.start_all(&WORKERS)?;
    let mut watcher = Watcher::new(fleet.config())?;
    let mut samples = Samples::default();
    for round in 0..count + 2 {
        let (made, ready, path) = prepare(fleet.config(), &format!("latency-{round}"))?;
        std::thread::sleep(APART);
        std::fs::rename(made, ready)?;
        let renamed = Instant::now();
        let seen = watcher.wait_for(vec![path])?;
        // The first ones pay for what happens once.
        if round >= 2 {
            samples.push(seen - renamed);
        }
    }
    report.add(Line::new("release_latency", mode).took(&samples).aim("p50 50 ms, p99 200 ms"));
    Ok(())
}

/// Has `count` drops waiting when the monitor starts.
///
/// # Errors
/// Whatever went wrong.
pub fn burst(report: &mut Report, fleet: &mut dyn Fleet, mode: &str, count: usize) -> Result<()> {
    let [signing @ .., monitor] = WORKERS;
    fleet.start_all(&signing)?;
    let mut paths = Vec::with_capacity(count);
    for number in 0..count {
        let (made, ready, path) = prepare(fleet.config(), &format!("burst-{number}"))?;
        std::fs::rename(made, ready)?;
        paths.push(path);
    }
    let mut watcher = Watcher::new(fleet.config())?;
    let began = Instant::now();
    fleet.start(monitor)?;
    let mut samples = Samples::default();
    samples.push(watcher.wait_for(paths)? - began);
    report.add(Line::new("release_burst", mode).of(count).took(&samples).aim("3 s"));
    Ok(())
}
