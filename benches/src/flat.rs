//! One target added to a flat repository.

use std::path::Path;

use crate::Result;
use crate::child::{self, Adding};
use crate::report::{Line, Report};
use crate::samples::Samples;

const BENCH: &str = "flat_add_one";

/// Measures a repository of `size` targets.
///
/// # Errors
/// Whatever went wrong.
pub fn measure(report: &mut Report, dir: &Path, size: usize) -> Result<()> {
    child::make(dir, size, 0)?;
    let one = Adding { warm: 0, count: 1, targets: 1, chain: false };
    let repeat = if size > 200_000 { 5 } else { 15 };

    let (running, _) = child::add(dir, 0, Adding { warm: 1, count: repeat, ..one })?;
    let line = Line::new(BENCH, "worker running").on(size, None);
    report.add(line.took(&running.targets()).peak(running.peak_mib()).aim("20x faster, 4x smaller"));

    let (mut cold, mut peak) = (Samples::default(), 0.0_f64);
    for _ in 0..repeat {
        let (added, took) = child::add(dir, 0, one)?;
        cold.push(took);
        peak = peak.max(added.peak_mib());
    }
    report.add(Line::new(BENCH, "cold start").on(size, None).took(&cold).peak(peak).aim("10x faster, 4x smaller"));

    let (chain, _) = child::add(dir, 0, Adding { warm: 1, count: repeat, chain: true, ..one })?;
    let line = Line::new(BENCH, "with snapshot and timestamp").on(size, None);
    report.add(line.took(&chain.chain()).peak(chain.peak_mib()));
    report.add(Line::new(BENCH, "the snapshot of it").on(size, None).took(&chain.snapshot()));
    report.add(Line::new(BENCH, "the timestamp of it").on(size, None).took(&chain.timestamp()));
    Ok(())
}
