//! Measures what this project promises about speed and memory. `benches/run.sh` runs the peers' scripts on the same work
//! and sets both side by side.
//!
//! Measures that need a fresh process (cold starts, peak memory) start this binary again with the hidden word `child`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program that prints a table, and plays the pipeline and the operator, whose files are not the fleet's"
)]

mod bins;
mod celery;
mod child;
mod drops;
mod flat;
mod fleets;
mod partition;
mod releases;
mod report;
mod repository;
mod samples;
mod web;
mod workers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use fleets::{Embedded, Processes};
use report::Report;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// One target added to a flat repository: worker running, cold start, peak memory
    Flat,
    /// One target, and ten thousand, added to a million in 16,384 bins
    Bins,
    /// From a drop's rename to verifiable by a client, in one process and over RabbitMQ
    Latency,
    /// A thousand drops that wait when the monitor starts
    Burst,
    /// Start to ready and idle memory of each worker
    Workers,
    /// A small file from `rugged up --http` on a kept connection
    Web,
    /// From the end of a network partition to the first task, on RabbitMQ and Redis
    Partition,
    /// A task that does nothing, by a Python Celery worker and by ours, over RabbitMQ: rate, CPU, latency, memory, start
    CeleryRabbitmq,
    /// The same over Redis
    CeleryRedis,
}

/// Prints one table: times, memory and what is aimed at
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// What to measure; everything when nothing is named
    measures: Vec<Measure>,
    /// JSON lines instead of the table
    #[arg(long)]
    json: bool,
    /// Small sizes, for a look at whether it runs
    #[arg(long)]
    quick: bool,
    /// Where scratch repositories are made; must be on a disk, as syncs are part of what is measured
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Ours alone, where a Python peer would run beside it
    #[arg(long)]
    no_peers: bool,
    /// Sizes of the flat repositories
    #[arg(long, value_delimiter = ',', value_name = "TARGETS")]
    sizes: Vec<usize>,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let outcome = if words.next().as_deref() == Some("child") {
        child::run(words.collect())
    } else {
        measure(&Arguments::parse())
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    let below = match &arguments.dir {
        Some(dir) => dir.clone(),
        None => testkit::servers::workspace().join("target/bench-scratch"),
    };
    std::fs::create_dir_all(&below)?;
    let mut report = Report::new(arguments.json);
    let wanted = |measure| arguments.measures.is_empty() || arguments.measures.contains(&measure);
    let quick = arguments.quick;
    if wanted(Measure::Flat) {
        let all: &[usize] = match arguments.sizes.as_slice() {
            [] if quick => &[1_000, 10_000],
            [] => &[10_000, 100_000, 1_000_000],
            sizes => sizes,
        };
        for &size in all {
            flat::measure(&mut report, scratch(&below)?.path(), size)?;
        }
    }
    if wanted(Measure::Bins) {
        let sizes = if quick {
            bins::Sizes { targets: 20_000, bins: 1_024, batch: 1_000 }
        } else {
            bins::Sizes { targets: 1_000_000, bins: 16_384, batch: 10_000 }
        };
        bins::measure(&mut report, scratch(&below)?.path(), sizes)?;
    }
    let rabbitmq = || testkit::servers::RabbitMq::shared().vhost();
    if wanted(Measure::Latency) {
        let count = if quick { 5 } else { 60 };
        let dir = scratch(&below)?;
        releases::latency(&mut report, &mut Embedded::new(dir.path())?, "memory", count)?;
        let dir = scratch(&below)?;
        releases::latency(&mut report, &mut Processes::new(dir.path(), rabbitmq())?, "rabbitmq", count)?;
    }
    if wanted(Measure::Burst) {
        let count = if quick { 100 } else { 1_000 };
        let dir = scratch(&below)?;
        releases::burst(&mut report, &mut Embedded::new(dir.path())?, "memory", count)?;
        let dir = scratch(&below)?;
        releases::burst(&mut report, &mut Processes::new(dir.path(), rabbitmq())?, "rabbitmq", count)?;
    }
    if wanted(Measure::Workers) {
        let dir = scratch(&below)?;
        workers::measure(&mut report, &mut Processes::new(dir.path(), rabbitmq())?, if quick { 2 } else { 7 })?;
    }
    if wanted(Measure::Web) {
        let dir = scratch(&below)?;
        web::measure(&mut report, dir.path(), if quick { 200 } else { 5_000 })?;
    }
    if wanted(Measure::Partition) {
        partition::measure(&mut report, quick)?;
    }
    for (measure, start) in [
        (Measure::CeleryRabbitmq, celery::Transport::rabbitmq as fn() -> celery::Transport),
        (Measure::CeleryRedis, celery::Transport::redis),
    ] {
        if wanted(measure) {
            celery::measure(&start(), celery::Sizes::new(quick), !arguments.no_peers)?;
        }
    }
    report.finish();
    Ok(())
}

/// A directory of its own, removed when dropped.
fn scratch(below: &Path) -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(below)?)
}
