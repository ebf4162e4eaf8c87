//! Calls one after the other.

use std::time::{Duration, Instant};

use celery_runtime::client::{Client, SendOptions};
use serde::Deserialize;
use serde_json::Map;

use super::place::Place;
use super::workers::python;
use crate::Result;

/// Calls that are not counted.
const WARM: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);

/// From before a call was sent until its result was there.
#[derive(Debug, Deserialize)]
pub struct Latencies {
    /// In the order of the calls.
    pub seconds: Vec<f64>,
}

/// By a client of ours.
///
/// # Errors
/// When a call fails.
pub async fn ours(place: &Place, calls: usize) -> Result<Latencies> {
    let (broker, backend) = place.connect().await?;
    let client = Client::with_backend(broker.clone(), backend);
    let mut seconds = Vec::with_capacity(calls);
    for number in 0..WARM + calls {
        let began = Instant::now();
        let mut pending = client.send(place.queue(), "noop", Vec::new(), Map::new(), SendOptions::default()).await?;
        pending.get(PATIENCE).await?;
        if number >= WARM {
            seconds.push(began.elapsed().as_secs_f64());
        }
    }
    broker.close().await;
    Ok(Latencies { seconds })
}

/// By Celery's.
///
/// # Errors
/// When the script fails.
pub fn by_python(place: &Place, calls: usize) -> Result<Latencies> {
    let (broker, backend) = place.urls(None);
    let mut command = python("latency", &broker, &backend, place.queue());
    let output = command.args(["--count", &calls.to_string(), "--warm", &WARM.to_string()]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
