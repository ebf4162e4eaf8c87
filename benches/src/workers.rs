//! What an idle worker costs: start to ready, and resident memory.

use std::time::{Duration, Instant};

use crate::Result;
use crate::fleets::{Fleet as _, Processes, WORKERS};
use crate::report::{Line, Report};
use crate::samples::Samples;

const IDLE: Duration = Duration::from_secs(5);

/// Starts each worker `count` times, then leaves all of them alone.
///
/// # Errors
/// Whatever went wrong.
pub fn measure(report: &mut Report, fleet: &mut Processes, count: usize) -> Result<()> {
    // The first start of each writes its version 1.
    fleet.start_all(&WORKERS)?;
    let mut starts = Vec::new();
    for worker in WORKERS {
        let mut samples = Samples::default();
        for _ in 0..count {
            fleet.kill(worker)?;
            let began = Instant::now();
            fleet.start(worker)?;
            fleet.wait_ready(worker)?;
            samples.push(began.elapsed());
        }
        starts.push(samples);
    }
    std::thread::sleep(IDLE);
    for (worker, samples) in WORKERS.into_iter().zip(starts) {
        let line = Line::new("worker_start", worker.name).took(&samples).rests_at(fleet.rss_mib(worker)?);
        report.add(line.aim("50 ms, 15 MiB"));
    }
    Ok(())
}
