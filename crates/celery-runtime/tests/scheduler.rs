//! The scheduler: the same times as Celery's, over restarts, and by one of several replicas.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use std::{io::Write, process::Stdio, sync::Arc, time::Duration};

use async_trait::async_trait;
use celery_protocol::TaskRequest;
use celery_runtime::{
    broker::{Broker, ConnectOptions, Consumer, SharedBroker, connect, memory::MemoryBroker},
    client::Client,
    scheduler::{
        Crontab, LastRuns, LastRunsError, ManualScheduleClock, MemoryLastRuns, Schedule, ScheduleEntry, Scheduler,
        SchedulerError,
    },
};
use jiff::Timestamp;
use serde_json::json;
use testkit::servers::{PrivateRedis, Python, RabbitMq};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(120);

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn seconds(count: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + count).unwrap()
}

fn every(count: u64) -> Schedule {
    Schedule::Interval(Duration::from_secs(count))
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// A field as somebody might write it; now and then it is wrong.
    fn field(&mut self, min: u64, max: u64, names: &[&str]) -> String {
        let mut number = || match self.next(12) {
            0 if !names.is_empty() => names[self.next(names.len() as u64) as usize].to_owned(),
            1 if self.next(8) == 0 => (max + 1).to_string(),
            _ => (min + self.next(max - min + 1)).to_string(),
        };
        let part = match number().len() % 7 {
            0 => "*".to_owned(),
            _ => number(),
        };
        let other = number();
        match self.next(9) {
            0..=2 => "*".to_owned(),
            3 => format!("*/{}", self.next(max + 2)),
            4 => part,
            5 => format!("{part}-{other}").replace('*', "1"),
            6 => format!("{part}-{other}/{}", 1 + self.next(9)).replace('*', "1"),
            7 => format!("{part},{other}"),
            _ => format!("{other},{part}-{other},*/{}", 1 + self.next(max)).replace("*-", "1-"),
        }
    }
}

#[tokio::test]
async fn a_crontab_is_due_when_it_is_in_celery() {
    let mut numbers = Numbers(7);
    let questions: Vec<([String; 5], i64)> = (0..1500)
        .map(|_| {
            let fields = [
                numbers.field(0, 59, &[]),
                numbers.field(0, 23, &[]),
                numbers.field(0, 6, &["mon", "Tuesday", "sun", "frid", "sat"]),
                numbers.field(1, 31, &[]),
                numbers.field(1, 12, &["jan", "December", "feb", "Mar"]),
            ];
            (fields, 1_700_000_000 + numbers.next(400_000_000) as i64)
        })
        .collect();
    let asked = questions.clone();
    let answers = blocking(move || {
        let mut command = Python::command("crontab_next.py", [""; 0]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let writing = std::thread::spawn(move || {
            for ([minute, hour, weekday, day, month], last) in asked {
                writeln!(input, "{}", json!([minute, hour, weekday, day, month, last])).unwrap();
            }
        });
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    })
    .await;
    let answers: Vec<Option<i64>> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), questions.len());
    let refused = answers.iter().filter(|answer| answer.is_none()).count();
    assert!((20..1000).contains(&refused), "{refused} of {} were refused", answers.len());
    for ((fields, last), theirs) in questions.iter().zip(answers) {
        let [minute, hour, weekday, day, month] = fields;
        let last = Timestamp::from_second(*last).unwrap();
        let crontab = Crontab::new(minute, hour, weekday, day, month);
        let ours = crontab.as_ref().ok().and_then(|crontab| crontab.next_after(last)).map(Timestamp::as_second);
        assert_eq!(ours, theirs, "{fields:?} after {last} ({crontab:?})");
    }
}

/// A scheduler at work whose runs are seen.
struct Bench {
    clock: Arc<ManualScheduleClock>,
    runs: mpsc::UnboundedReceiver<(&'static str, Timestamp)>,
    shutdown: CancellationToken,
    working: JoinHandle<Result<(), SchedulerError>>,
}

impl Bench {
    fn start(entries: &[(&'static str, Schedule)], now: Timestamp, last_runs: Arc<dyn LastRuns>) -> Self {
        let clock = Arc::new(ManualScheduleClock::at(now));
        let (sender, runs) = mpsc::unbounded_channel();
        let mut scheduler = Scheduler::new("bench").clock(clock.clone()).last_runs(last_runs);
        for (name, schedule) in entries.iter().cloned() {
            let sender = sender.clone();
            scheduler = scheduler.entry(ScheduleEntry::run(name, schedule, move |due| {
                let sender = sender.clone();
                async move { sender.send((name, due)).unwrap() }
            }));
        }
        let shutdown = CancellationToken::new();
        let working = tokio::spawn(scheduler.run(shutdown.clone()));
        Self { clock, runs, shutdown, working }
    }

    async fn next(&mut self) -> (&'static str, Timestamp) {
        tokio::time::timeout(SOON, self.runs.recv()).await.expect("nothing ran").unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.working.await.unwrap().unwrap();
    }
}

/// Waits until the entry's last run is noted as `at`.
async fn noted(last_runs: &MemoryLastRuns, entry: &str, at: Timestamp) {
    let waiting = async {
        while last_runs.load(entry).await.unwrap() != Some(at) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.expect("it was not noted");
}

#[tokio::test]
async fn entries_are_done_at_their_times_and_in_order() {
    let last_runs = Arc::new(MemoryLastRuns::default());
    let minutes = Schedule::Crontab(Crontab::parse("*/2 * * * *").unwrap());
    let start = at("2026-11-25T04:00:30Z");
    let mut bench = Bench::start(&[("tidy", every(50)), ("report", minutes)], start, last_runs.clone());
    noted(&last_runs, "report", start).await;
    for (now, expected) in [
        ("2026-11-25T04:01:20Z", vec![("tidy", "2026-11-25T04:01:20Z")]),
        ("2026-11-25T04:02:09Z", vec![("report", "2026-11-25T04:02:00Z")]),
        ("2026-11-25T04:02:15Z", vec![("tidy", "2026-11-25T04:02:10Z")]),
        ("2026-11-25T04:03:00Z", vec![("tidy", "2026-11-25T04:03:00Z")]),
    ] {
        bench.clock.set(at(now));
        for (name, due) in expected {
            assert_eq!(bench.next().await, (name, at(due)), "at {now}");
        }
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_missed_run_is_done_once_and_a_done_run_is_not_repeated() {
    let last_runs = Arc::new(MemoryLastRuns::default());
    let entry = [("tidy", every(10))];
    let mut bench = Bench::start(&entry, seconds(0), last_runs.clone());
    noted(&last_runs, "tidy", seconds(0)).await;
    bench.clock.set(seconds(10));
    assert_eq!(bench.next().await, ("tidy", seconds(10)));
    noted(&last_runs, "tidy", seconds(10)).await;
    bench.stop().await;
    // Back before anything is due: the next one is the next one.
    let mut bench = Bench::start(&entry, seconds(15), last_runs.clone());
    bench.clock.set(seconds(20));
    assert_eq!(bench.next().await, ("tidy", seconds(20)));
    noted(&last_runs, "tidy", seconds(20)).await;
    bench.stop().await;
    // Away for four of them: one run, then on from now.
    let mut bench = Bench::start(&entry, seconds(64), last_runs.clone());
    assert_eq!(bench.next().await, ("tidy", seconds(30)));
    noted(&last_runs, "tidy", seconds(64)).await;
    bench.clock.set(seconds(74));
    assert_eq!(bench.next().await, ("tidy", seconds(74)));
    bench.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_stops_nothing() {
    let last_runs = Arc::new(MemoryLastRuns::default());
    let mut bench = Bench::start(&[("tidy", every(10))], seconds(10_000), last_runs.clone());
    noted(&last_runs, "tidy", seconds(10_000)).await;
    bench.clock.set(seconds(10_010));
    assert_eq!(bench.next().await, ("tidy", seconds(10_010)));
    noted(&last_runs, "tidy", seconds(10_010)).await;
    bench.clock.set(seconds(0));
    // It is seen that it went back, some time before this.
    let ran = async {
        for later in 0.. {
            bench.clock.set(seconds(later));
            if let Ok(Some(run)) = tokio::time::timeout(Duration::from_millis(10), bench.runs.recv()).await {
                return (run, later);
            }
        }
        unreachable!()
    };
    let ((name, due), later) = tokio::time::timeout(SOON, ran).await.expect("it waits for the time it went back");
    assert_eq!(name, "tidy");
    assert!(due <= seconds(later), "{due}");
    bench.stop().await;
}

#[tokio::test]
async fn work_that_still_runs_is_not_started_again_and_a_panic_ends_only_itself() {
    let clock = Arc::new(ManualScheduleClock::at(seconds(0)));
    let (starts, mut started) = mpsc::unbounded_channel();
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = go.clone();
    let scheduler =
        Scheduler::new("bench").clock(clock.clone()).entry(ScheduleEntry::run("slow", every(10), move |due| {
            let (starts, gate) = (starts.clone(), gate.clone());
            async move {
                starts.send(due).unwrap();
                gate.acquire().await.unwrap().forget();
                assert!(due != seconds(10), "the first run fails");
            }
        }));
    let shutdown = CancellationToken::new();
    let working = tokio::spawn(scheduler.run(shutdown.clone()));
    let mut next = async || tokio::time::timeout(SOON, started.recv()).await.expect("it did not start").unwrap();
    // The clock is moved until the start was seen by the scheduler.
    let first = async {
        let mut now = 0;
        loop {
            now += 10;
            clock.set(seconds(now));
            tokio::select! {
                due = next() => return (due, now),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    };
    let (first, now) = first.await;
    clock.set(seconds(now + 100));
    clock.set(seconds(now + 200));
    go.add_permits(1);
    let second = next().await;
    assert!(second > first);
    assert!(go.available_permits() == 0, "two ran at a time");
    go.add_permits(1);
    shutdown.cancel();
    working.await.unwrap().unwrap();
}

async fn received(consumer: &mut Box<dyn Consumer>) -> TaskRequest {
    let delivery = tokio::time::timeout(SOON, consumer.next()).await.expect("nothing was sent").unwrap();
    let request = TaskRequest::decode(&delivery.message, &celery_protocol::Limits::default()).unwrap();
    delivery.ack().await.unwrap();
    request
}

/// A replica with a client of its own.
fn replica(
    broker: &SharedBroker,
    client: Client,
    clock: &Arc<ManualScheduleClock>,
    last_runs: &Arc<MemoryLastRuns>,
) -> (CancellationToken, JoinHandle<Result<(), SchedulerError>>) {
    assert!(Arc::ptr_eq(client.broker(), broker));
    let entry = ScheduleEntry::send("report", every(10), "reports", "make").args(vec![json!(1)]);
    let scheduler = Scheduler::new("replicas").exclusive().client(client).clock(clock.clone()).entry(entry);
    let scheduler = scheduler.last_runs(last_runs.clone());
    let shutdown = CancellationToken::new();
    (shutdown.clone(), tokio::spawn(scheduler.run(shutdown)))
}

/// One of two sends, and when it ends the other continues.
async fn one_of_two(one: SharedBroker, other: SharedBroker) {
    let queue = "reports";
    one.declare_task_queue(&queue.into()).await.unwrap();
    let mut consumer = one.consume(&queue.into(), 1).await.unwrap();
    let clock = Arc::new(ManualScheduleClock::at(seconds(0)));
    let clients = [Client::new(one.clone()).await.unwrap(), Client::new(other.clone()).await.unwrap()];
    let [first, second] = clients;
    let last_runs = Arc::new(MemoryLastRuns::shared());
    let (stop_first, first) = replica(&one, first, &clock, &last_runs);
    let mut ids = Vec::new();
    let mut now = 0;
    // The first has the lock before the second asks for it.
    let locked = async {
        while one.try_lock("replicas").await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, locked).await.expect("no replica took the lock");
    let (stop_second, second) = replica(&other, second, &clock, &last_runs);
    for _ in 0..3 {
        now += 10;
        clock.set(seconds(now));
        let request = received(&mut consumer).await;
        assert_eq!((request.name(), &request.args), ("make", &vec![json!(1)]));
        assert!(request.headers.expires.is_some(), "it never expires");
        ids.push(request.id().to_owned());
    }
    noted(&last_runs, "report", seconds(now)).await;
    stop_first.cancel();
    first.await.unwrap().unwrap();
    // The other one takes over at its next attempt, and continues from there.
    let took_over = async {
        loop {
            now += 10;
            clock.set(seconds(now));
            tokio::select! {
                request = received(&mut consumer) => return request,
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    };
    let request = tokio::time::timeout(SOON, took_over).await.expect("no replica took over");
    ids.push(request.id().to_owned());
    let mut unique = ids.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "a task was sent twice: {ids:?}");
    stop_second.cancel();
    second.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_replicas_is_active_in_memory() {
    let broker = MemoryBroker::new();
    one_of_two(Arc::new(broker.connect()), Arc::new(broker.connect())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_replicas_is_active_over_rabbitmq() {
    let vhost = blocking(|| RabbitMq::shared().vhost()).await;
    let one = connect(&vhost.amqp_url, ConnectOptions::default()).await.unwrap();
    let other = connect(&vhost.amqp_url, ConnectOptions::default()).await.unwrap();
    one_of_two(one, other).await;
    blocking(move || drop(vhost)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_replicas_is_active_over_redis() {
    let server = blocking(PrivateRedis::start).await;
    let one = connect(&server.url(0), ConnectOptions::default()).await.unwrap();
    let other = connect(&server.url(0), ConnectOptions::default()).await.unwrap();
    one_of_two(one, other).await;
    blocking(move || drop(server)).await;
}

/// Notifies the test when the scheduler asks whether it is shared: first after the first attempt to take the lock.
#[derive(Debug, Default)]
struct Asked {
    runs: MemoryLastRuns,
    asked: Notify,
}

#[async_trait]
impl LastRuns for Asked {
    fn is_shared(&self) -> bool {
        self.asked.notify_one();
        self.runs.is_shared()
    }

    async fn load(&self, entry: &str) -> Result<Option<Timestamp>, LastRunsError> {
        self.runs.load(entry).await
    }

    async fn save(&self, entry: &str, at: Timestamp) -> Result<(), LastRunsError> {
        self.runs.save(entry, at).await
    }
}

#[tokio::test]
async fn a_moment_without_the_lock_changes_nothing() {
    let broker = MemoryBroker::new();
    let one: SharedBroker = Arc::new(broker.connect());
    let other = broker.connect();
    one.declare_task_queue(&"reports".into()).await.unwrap();
    let mut consumer = one.consume(&"reports".into(), 1).await.unwrap();
    let last_runs = Arc::new(Asked::default());
    last_runs.save("daily", at("2026-11-24T04:00:30Z")).await.unwrap();
    last_runs.save("report", at("2026-11-24T04:10:00Z")).await.unwrap();
    // Both are due for more than a minute; the second is delayed, by seven minutes.
    let clock = Arc::new(ManualScheduleClock::at(at("2026-11-25T04:02:00Z")));
    let crontab = Crontab::parse("0 4 * * *").unwrap();
    let scheduler = Scheduler::new("moment")
        .exclusive()
        .client(Client::new(one).await.unwrap())
        .clock(clock.clone())
        .last_runs(last_runs.clone())
        .entry(ScheduleEntry::send("daily", every(86_400), "reports", "make"))
        .entry(ScheduleEntry::send("report", crontab, "reports", "make").jitter(Duration::from_secs(600)));
    let held = other.try_lock("moment").await.unwrap().expect("it is free");
    let shutdown = CancellationToken::new();
    let working = tokio::spawn(scheduler.run(shutdown.clone()));
    // It finds the lock taken, and free when it looks again.
    tokio::time::timeout(SOON, last_runs.asked.notified()).await.unwrap();
    drop(held);
    let id = |entry: &str, due: &str| {
        let text = format!("celery-runtime:moment:{entry}:{}", at(due).as_nanosecond());
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, text.as_bytes()).to_string()
    };
    assert_eq!(received(&mut consumer).await.id(), id("daily", "2026-11-25T04:00:30Z"));
    noted(&last_runs.runs, "daily", at("2026-11-25T04:00:30Z")).await;
    clock.set(at("2026-11-25T04:10:00Z"));
    assert_eq!(received(&mut consumer).await.id(), id("report", "2026-11-25T04:00:00Z"));
    shutdown.cancel();
    working.await.unwrap().unwrap();
}

/// A lock is one process's, is given back, and goes with its connection.
async fn locks(one: SharedBroker, other: SharedBroker, cut: impl AsyncFnOnce()) {
    let held = one.try_lock("a").await.unwrap().expect("it is free");
    assert!(one.try_lock("a").await.unwrap().is_none() && other.try_lock("a").await.unwrap().is_none());
    let elsewhere = other.try_lock("b").await.unwrap().expect("another name");
    drop((held, elsewhere));
    let freed = async {
        loop {
            match other.try_lock("a").await.unwrap() {
                Some(lock) => return lock,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let held = tokio::time::timeout(SOON, freed).await.expect("it was not given back");
    assert!(held.is_held());
    cut().await;
    tokio::time::timeout(SOON, held.lost()).await.expect("its loss was not noticed");
    assert!(!held.is_held());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_goes_with_its_connection_to_rabbitmq() {
    let vhost = Arc::new(blocking(|| RabbitMq::shared().vhost()).await);
    let one = connect(&vhost.amqp_url, ConnectOptions::default()).await.unwrap();
    let other = connect(&vhost.amqp_url, ConnectOptions::default()).await.unwrap();
    let cut = vhost.clone();
    locks(one, other, async || {
        let _ = blocking(move || cut.close_connections()).await;
    })
    .await;
    blocking(move || drop(vhost)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_on_redis_is_lost_when_its_lease_is() {
    let server = blocking(PrivateRedis::start).await;
    let one = connect(&server.url(0), ConnectOptions::default()).await.unwrap();
    let other = connect(&server.url(0), ConnectOptions::default()).await.unwrap();
    let keys = redis::Client::open(server.url(0)).unwrap();
    locks(one, other, async || {
        // As when the lease ran out and another one took it.
        let mut keys = keys.get_multiplexed_async_connection().await.unwrap();
        let key = "celery-runtime.lock.a";
        let _: () = redis::cmd("SET").arg(key).arg("another").query_async(&mut keys).await.unwrap();
    })
    .await;
    blocking(move || drop(server)).await;
}

#[tokio::test]
async fn a_schedule_that_cannot_work_is_refused() {
    let shutdown = CancellationToken::new();
    let entry = || ScheduleEntry::send("a", every(1), "q", "t");
    let refused = Scheduler::new("s").entry(entry()).run(shutdown.clone()).await;
    assert_eq!(refused, Err(SchedulerError::NoClient));
    let client = Client::new(Arc::new(MemoryBroker::new().connect())).await.unwrap();
    let twice = Scheduler::new("s").client(client).entry(entry()).entry(entry()).run(shutdown).await;
    assert_eq!(twice, Err(SchedulerError::DuplicateEntry("a".into())));
}
