//! What is printed: one line per measurement, as JSON or as a table.
//!
//! Lines carry the field names of the peers' scripts, so that `benches/peers/table.py` can set both side by side.

use serde::Serialize;

use crate::samples::Samples;

/// One measurement.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Line {
    /// What was done; with the sizes, what the peers call it as well.
    pub bench: &'static str,
    /// Tells several lines of one `bench` apart.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// Targets in the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<usize>,
    /// Bins of the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bins: Option<u32>,
    /// Targets (or drops) of one batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// The median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The fastest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// What 99 of 100 are not above; only of forty and more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    /// How often it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// Peak of resident memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss_mib: Option<f64>,
    /// Resident memory at rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_mib: Option<f64>,
    /// What is aimed at.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub aim: &'static str,
}

impl Line {
    /// A line of `bench`.
    pub fn new(bench: &'static str, mode: &str) -> Self {
        Self { bench, mode: mode.to_owned(), ..Self::default() }
    }

    /// The repository it was measured on.
    #[must_use]
    pub fn on(mut self, targets: usize, bins: Option<u32>) -> Self {
        (self.targets, self.bins) = (Some(targets), bins);
        self
    }

    /// How much was done at once.
    #[must_use]
    pub fn of(mut self, batch: usize) -> Self {
        self.batch = Some(batch);
        self
    }

    /// How long it took.
    #[must_use]
    pub fn took(mut self, samples: &Samples) -> Self {
        self.seconds = Some(samples.median());
        self.min = Some(samples.min());
        self.p99 = (samples.len() >= 40).then(|| samples.quantile(0.99));
        self.samples = Some(samples.len());
        self
    }

    /// Peak of resident memory.
    #[must_use]
    pub fn peak(mut self, mib: f64) -> Self {
        self.peak_rss_mib = Some(mib);
        self
    }

    /// Resident memory at rest.
    #[must_use]
    pub fn rests_at(mut self, mib: f64) -> Self {
        self.rss_mib = Some(mib);
        self
    }

    /// What is aimed at.
    #[must_use]
    pub fn aim(mut self, aim: &'static str) -> Self {
        self.aim = aim;
        self
    }
}

/// The lines as they come.
#[derive(Debug)]
pub struct Report {
    json: bool,
    lines: Vec<Line>,
}

impl Report {
    /// Prints JSON lines at once, or a table at the end.
    pub fn new(json: bool) -> Self {
        Self { json, lines: Vec::new() }
    }

    /// Adds a line.
    pub fn add(&mut self, line: Line) {
        if self.json {
            println!("{}", serde_json::to_string(&line).unwrap_or_default());
        } else {
            // A long run shows that it goes on.
            eprintln!("{}", cells(&line).join(" "));
        }
        self.lines.push(line);
    }

    /// Prints the table.
    pub fn finish(self) {
        if self.json {
            return;
        }
        let mut rows = vec![["benchmark", "p50", "min", "p99", "of", "memory", "aim"].map(str::to_owned)];
        rows.extend(self.lines.iter().map(cells));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..7).map(width).collect();
        println!();
        for row in &rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, &width))| match column {
                    0 | 6 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                })
                .collect();
            println!("{}", cells.join("  ").trim_end());
        }
    }
}

fn cells(line: &Line) -> [String; 7] {
    let mut name = line.bench.to_owned();
    if !line.mode.is_empty() {
        name = format!("{name} {}", line.mode);
    }
    for (label, size) in
        [("targets", line.targets), ("bins", line.bins.map(|bins| bins as usize)), ("batch", line.batch)]
    {
        if let Some(size) = size {
            name = format!("{name} {label}={size}");
        }
    }
    let time = |seconds: Option<f64>| seconds.map(shown).unwrap_or_default();
    let memory = line.peak_rss_mib.or(line.rss_mib).map(|mib| format!("{mib:.1} MiB")).unwrap_or_default();
    let samples = line.samples.map(|samples| samples.to_string()).unwrap_or_default();
    [name, time(line.seconds), time(line.min), time(line.p99), samples, memory, line.aim.to_owned()]
}

fn shown(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}
