//! Repeated measurements.

use std::time::Duration;

/// Values in seconds, in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Values in seconds.
    pub fn new(values: Vec<f64>) -> Self {
        Self(values)
    }

    /// Adds one.
    pub fn push(&mut self, value: Duration) {
        self.0.push(value.as_secs_f64());
    }

    /// The value that `share` (0 to 1) of all are not above (nearest rank); 0 without any.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0.0)
    }

    /// The smallest.
    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
