//! Additions to many targets in hashed bins.

use std::path::Path;

use crate::Result;
use crate::child::{self, Added, Adding};
use crate::report::{Line, Report};

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Targets in the repository.
    pub targets: usize,
    /// Bins.
    pub bins: u32,
    /// Targets of the batch.
    pub batch: usize,
}

/// Measures one target, then a batch of them.
///
/// # Errors
/// Whatever went wrong.
pub fn measure(report: &mut Report, dir: &Path, sizes: Sizes) -> Result<()> {
    let Sizes { targets, bins, batch } = sizes;
    child::make(dir, targets, bins)?;
    let (one, _) = child::add(dir, bins, Adding { warm: 5, count: 100, targets: 1, chain: true })?;
    let line = Line::new("bins_add_one", "").on(targets, Some(bins));
    report.add(line.took(&one.chain()).peak(one.peak_mib()).aim("10 ms"));
    by_role(report, &one, |line| Line { bench: "bins_add_one", ..line }.on(targets, Some(bins)));

    let (many, _) = child::add(dir, bins, Adding { warm: 1, count: 3, targets: batch, chain: true })?;
    let line = Line::new("bins_batch", "").on(targets, Some(bins)).of(batch);
    report.add(line.took(&many.chain()).peak(many.peak_mib()).aim("3 s"));
    by_role(report, &many, |line| Line { bench: "bins_batch", ..line }.on(targets, Some(bins)).of(batch));
    Ok(())
}

fn by_role(report: &mut Report, added: &Added, line: impl Fn(Line) -> Line) {
    let roles = [
        ("the targets of it", added.targets()),
        ("the snapshot of it", added.snapshot()),
        ("the timestamp of it", added.timestamp()),
    ];
    for (mode, samples) in roles {
        report.add(line(Line::new("", mode)).took(&samples));
    }
}
