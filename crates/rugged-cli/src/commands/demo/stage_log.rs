//! The stages of the demo, with their times.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::CliError;
use crate::output::Output;

/// A finished stage, as `--json` prints it.
#[derive(Serialize)]
pub struct DemoStage {
    stage: &'static str,
    detail: String,
    /// Milliseconds from the start of the demo to the end of the stage.
    at_ms: f64,
    took_ms: f64,
}

/// Prints each stage as it ends.
pub struct StageLog {
    output: Output,
    start: Instant,
    last: Instant,
    finished: Vec<DemoStage>,
}

impl StageLog {
    /// A log of a demo that began at `start`.
    pub fn new(output: Output, start: Instant) -> Self {
        Self { output, start, last: start, finished: Vec::new() }
    }

    /// Prints and records a stage that has just ended.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn finish(&mut self, stage: &'static str, detail: String) -> Result<(), CliError> {
        let now = Instant::now();
        let (at_ms, took_ms) = (millis(now - self.start), millis(now - self.last));
        self.output.text(&format!("{at_ms:>7.0} ms {took_ms:>8.1} ms   {stage:<11} {detail}\n"))?;
        self.finished.push(DemoStage { stage, detail, at_ms, took_ms });
        self.last = now;
        Ok(())
    }

    /// The finished stages.
    pub fn into_stages(self) -> Vec<DemoStage> {
        self.finished
    }
}

/// A duration in milliseconds.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
