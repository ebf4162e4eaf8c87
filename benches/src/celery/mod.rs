//! A Python Celery worker and ours on the same work: a task that does nothing, over RabbitMQ with `rpc://` results and over
//! Redis with Redis results.
//!
//! Both are processes of their own and are watched from outside, by the same means: results are counted where they arrive,
//! processor time and memory are the kernel's word on the whole tree of processes. They take turns, so that whatever else
//! the machine does meets both. Prints JSON lines; `peers/table.py` sets them side by side.

mod latency;
mod place;
mod proxy;
mod watch;
mod workers;

use std::time::{Duration, Instant};

use serde::Serialize;

pub use self::place::Transport;
use self::{latency::Latencies, place::Place, proxy::Proxy, workers::Kind};
use crate::{Result, samples::Samples};

/// How long anything may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often what is waited for is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// How long a worker is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(2);
/// What the proxy adds to a round trip, half of it each way.
const ADDED: Duration = Duration::from_millis(2);

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Messages in the queue before the worker starts.
    messages: usize,
    /// Calls one after the other.
    calls: usize,
    /// How often everything is done.
    rounds: usize,
}

impl Sizes {
    /// The sizes results are quoted for, or small ones.
    pub fn new(quick: bool) -> Self {
        match quick {
            true => Self { messages: 1_000, calls: 50, rounds: 1 },
            false => Self { messages: 10_000, calls: 1_000, rounds: 3 },
        }
    }
}

/// What one worker did on one transport.
#[derive(Debug, Default, Serialize)]
struct Row {
    bench: &'static str,
    worker: &'static str,
    transport: &'static str,
    /// How the worker reaches the broker: `direct`, or by a proxy that adds a round trip.
    path: &'static str,
    messages: usize,
    /// Tasks a second, from the first result to the last.
    drain_per_second: f64,
    drain_per_second_all: Vec<f64>,
    /// Processor time of the worker and its children per task.
    cpu_us_per_task: f64,
    /// Largest resident memory of the worker and its children while it drains the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_rss_mib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle: Option<Idle>,
}

/// What is measured with an empty queue.
#[derive(Debug, Default, Serialize)]
struct Idle {
    /// From starting the process to the first result.
    start_seconds: f64,
    rss_mib: f64,
    /// Pages several processes share counted once.
    pss_mib: f64,
    /// Sequential calls by a Python client.
    python_p50_ms: Option<f64>,
    python_p99_ms: Option<f64>,
    /// Sequential calls by a client of ours.
    ours_p50_ms: f64,
    ours_p99_ms: f64,
}

/// All rows of one transport, a line each.
///
/// # Errors
/// Whatever went wrong.
pub fn measure(transport: &Transport, sizes: Sizes, peers: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let kinds: &[Kind] = if peers { &[Kind::Ours, Kind::Python] } else { &[Kind::Ours] };
    let mut collected: Vec<Collected> = kinds.iter().map(|kind| Collected::new(*kind, true)).collect();
    for _ in 0..sizes.rounds {
        for one in &mut collected {
            let place = runtime.block_on(Place::new(transport))?;
            runtime.block_on(one.idle(&place, sizes, peers))?;
            runtime.block_on(one.drain(&place, None, sizes.messages))?;
        }
    }
    for one in &collected {
        one.print(transport, "direct", sizes)?;
    }
    // What a round trip costs is seen beside a proxy that adds none, because the proxy has its own price.
    let target = transport.address()?;
    let proxies = [("proxy", Proxy::start(target, Duration::ZERO)?), ("proxy +2 ms", Proxy::start(target, ADDED / 2)?)];
    let pairs = proxies.iter().flat_map(|proxy| kinds.iter().map(move |kind| (proxy, Collected::new(*kind, false))));
    let mut collected: Vec<_> = pairs.collect();
    for _ in 0..sizes.rounds {
        for ((_, proxy), one) in &mut collected {
            let place = runtime.block_on(Place::new(transport))?;
            runtime.block_on(one.drain(&place, Some(proxy), sizes.messages))?;
        }
    }
    for ((name, _), one) in &collected {
        one.print(transport, name, sizes)?;
    }
    Ok(())
}

/// The samples of one row.
#[derive(Debug)]
struct Collected {
    kind: Kind,
    with_idle: bool,
    rates: Vec<f64>,
    cpu_us: Vec<f64>,
    peak_mib: Vec<f64>,
    starts: Vec<f64>,
    rss_mib: Vec<f64>,
    pss_mib: Vec<f64>,
    python: Vec<f64>,
    ours: Vec<f64>,
}

impl Collected {
    fn new(kind: Kind, with_idle: bool) -> Self {
        Self {
            kind,
            with_idle,
            rates: Vec::new(),
            cpu_us: Vec::new(),
            peak_mib: Vec::new(),
            starts: Vec::new(),
            rss_mib: Vec::new(),
            pss_mib: Vec::new(),
            python: Vec::new(),
            ours: Vec::new(),
        }
    }

    /// Start, memory and latency, with an empty queue.
    async fn idle(&mut self, place: &Place, sizes: Sizes, peers: bool) -> Result<()> {
        place.fill(1).await?;
        let began = Instant::now();
        let worker = workers::start(self.kind, place, None)?;
        place.wait_for(1, began).await?;
        self.starts.push(began.elapsed().as_secs_f64());
        tokio::time::sleep(IDLE).await;
        let memory = watch::memory(worker.id())?;
        self.rss_mib.push(memory.rss_mib);
        self.pss_mib.push(memory.pss_mib);
        let Latencies { seconds } = latency::ours(place, sizes.calls).await?;
        self.ours.extend(seconds);
        if peers {
            self.python.extend(latency::by_python(place, sizes.calls)?.seconds);
        }
        workers::end(worker)
    }

    /// Rate and processor time, with a full queue.
    async fn drain(&mut self, place: &Place, proxy: Option<&Proxy>, messages: usize) -> Result<()> {
        place.clear().await?;
        place.fill(messages).await?;
        let worker = workers::start(self.kind, place, proxy)?;
        let (first, before) = (place.wait_for(1, Instant::now()).await?, watch::cpu(worker.id())?);
        let began = Instant::now();
        place.wait_for(messages, began).await?;
        let (took, after) = (began.elapsed(), watch::cpu(worker.id())?);
        let tasks = messages.saturating_sub(first) as f64;
        self.rates.push(tasks / took.as_secs_f64());
        self.cpu_us.push((after - before).as_secs_f64() * 1e6 / tasks);
        self.peak_mib.push(watch::memory(worker.id())?.peak_mib);
        workers::end(worker)?;
        match place.left().await? {
            0 => Ok(()),
            left => Err(format!("{left} of {messages} tasks were not acknowledged").into()),
        }
    }

    fn print(&self, transport: &Transport, path: &'static str, sizes: Sizes) -> Result<()> {
        let median = |values: &[f64]| Samples::new(values.to_vec()).median();
        let quantile = |values: &[f64], share| Samples::new(values.to_vec()).quantile(share) * 1e3;
        let python = |share| (!self.python.is_empty()).then(|| quantile(&self.python, share));
        let idle = self.with_idle.then(|| Idle {
            start_seconds: median(&self.starts),
            rss_mib: median(&self.rss_mib),
            pss_mib: median(&self.pss_mib),
            python_p50_ms: python(0.5),
            python_p99_ms: python(0.99),
            ours_p50_ms: quantile(&self.ours, 0.5),
            ours_p99_ms: quantile(&self.ours, 0.99),
        });
        let row = Row {
            bench: "celery_noop",
            worker: self.kind.name(),
            transport: transport.name(),
            path,
            messages: sizes.messages,
            drain_per_second: median(&self.rates),
            drain_per_second_all: self.rates.clone(),
            cpu_us_per_task: median(&self.cpu_us),
            peak_rss_mib: (!self.peak_mib.is_empty()).then(|| median(&self.peak_mib)),
            idle,
        };
        println!("{}", serde_json::to_string(&row)?);
        Ok(())
    }
}
