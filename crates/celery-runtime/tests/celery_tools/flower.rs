//! Flower's own pages, in a browser: they show our worker, and their buttons do to it what they say.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use celery_runtime::{
    client::{CallError, Client, PendingResult, SendOptions},
    worker::WorkerEvents,
};
use serde_json::{Map, Value, json};
use testkit::servers::{Process, Python};
use tokio::runtime::Handle;

use crate::{
    browser::Browser,
    lab::{OURS, Ours, SOON, Server, blocking},
};

/// A Flower at work; its address.
fn start_flower(broker: &str) -> (Process, String) {
    let until = Instant::now() + SOON;
    loop {
        // Somebody else may take the port in between: then it ends, and another is tried.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let port = format!("--port={}", free.port());
        let columns = "--tasks_columns=name,uuid,state,kwargs,result,received,runtime,worker";
        let arguments = ["--broker", broker, "run", "flower", "--address=127.0.0.1", &port, columns];
        let mut flower = Python::spawn("celery_tools.py", arguments, &[("FLOWER_UNAUTHENTICATED_API", "true")]);
        while flower.is_running() {
            if TcpStream::connect_timeout(&free, Duration::from_secs(1)).is_ok() {
                return (flower, format!("http://{free}"));
            }
            assert!(Instant::now() < until, "Flower does not start: {}", flower.stderr());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(Instant::now() < until, "Flower ends: {}", flower.stderr());
    }
}

/// Flower in a browser beside one who asks the worker itself.
struct Visit {
    browser: Browser,
    flower: String,
    client: Client,
    runtime: Handle,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flowers_pages_show_our_worker_and_their_buttons_work() {
    flower_works("flower", Server::rabbitmq().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flowers_pages_and_buttons_work_over_redis() {
    flower_works("flower-redis", Server::redis().await).await;
}

/// `pictures` is where the screenshots go.
async fn flower_works(pictures: &'static str, server: Server) {
    // Without task events: Flower asks for them.
    let ours = Ours::start_with(&server, WorkerEvents::Worker, |worker| {
        worker.exclusive_task("lab.turn", |_, arguments| async move {
            let (seconds,): (f64,) = arguments.bind_tuple(&["seconds"])?;
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            Ok(Value::Null)
        })
    })
    .await;
    let (client, runtime, broker) = (server.client().await, Handle::current(), server.broker_url());
    let (flower, visit) = blocking(move || {
        let (process, flower) = start_flower(&broker);
        let mut visit = Visit { browser: Browser::start(pictures), flower, client, runtime };
        visit.see_the_worker();
        visit.see_tasks();
        visit.press_the_buttons_of_the_worker();
        visit.press_the_buttons_of_tasks();
        visit.shut_the_worker_down();
        (process, visit)
    })
    .await;
    ours.ended().await;
    blocking(move || {
        let mut visit = visit;
        visit.see_that_the_worker_is_gone();
        visit.see_that_nobody_else_was_asked();
        drop((visit, flower));
    })
    .await;
    drop(server);
}

impl Visit {
    fn page(&self, path: &str) -> String {
        format!("{}{path}", self.flower)
    }

    fn worker_page(&self) -> String {
        self.page(&format!("/worker/{OURS}"))
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The answer of the worker itself.
    fn inspect(&self, method: &str) -> Value {
        let until = Instant::now() + SOON;
        loop {
            let asked = self.client.control().to([OURS]).timeout(Duration::from_secs(10));
            if let Some(reply) = self.wait(asked.inspect(method)).unwrap().pop() {
                return reply.value;
            }
            assert!(Instant::now() < until, "no answer to {method}");
        }
    }

    fn send(&self, task: &str, args: Vec<Value>) -> PendingResult {
        self.wait(self.client.send("ours", task, args, Map::new(), SendOptions::default())).unwrap()
    }

    fn add(&self, queue: &str) -> Value {
        let add = Map::from_iter([("x".to_owned(), json!(2)), ("y".to_owned(), json!(40))]);
        self.wait(self.client.call(queue, "lab.add", add, SOON)).unwrap()
    }

    /// A message in the corner says how it went.
    fn wait_for_notice(&mut self, text: &str) {
        self.browser.wait_for("the notice", &format!("window.notices.includes({})", json!(text)));
    }

    /// The rows of the table as objects of texts, by the names of the columns.
    fn rows(table: &str, name_of_column: &str) -> String {
        format!(
            "(() => {{
                const wrapper = document.querySelector('{table}_wrapper');
                const names = [...wrapper.querySelectorAll('.dataTables_scrollHead th')].map(th => {name_of_column});
                const rows = [...wrapper.querySelectorAll('.dataTables_scrollBody tbody tr')];
                return rows.map(row => Object.fromEntries([...row.cells].map((cell, at) => [names[at], cell.textContent.trim()])));
            }})()"
        )
    }

    fn see_the_worker(&mut self) {
        let rows = Self::rows("#workers-table", "th.textContent.trim()");
        let online = format!("{rows}.find(row => row.Worker === '{OURS}' && row.Status === 'Online')");
        self.browser.open(&self.page("/workers"));
        self.browser.wait_for("the worker", &online);
        self.browser.wait_for("the count", "document.querySelector('#workers-online').textContent === '1'");
        self.browser.screenshot("workers");
        // Its own page, once Flower has asked it all it shows.
        let named = format!("document.querySelector('#workername')?.textContent === '{OURS}'");
        self.browser.wait_for_at(&self.worker_page(), "the worker's page", &named);
        let pool = self.browser.text();
        for line in [format!("Worker PID\t{}", std::process::id()), "Prefetch Count\t4".to_owned()] {
            assert!(pool.contains(&line), "{line}: {pool}");
        }
        self.browser.screenshot("worker");
        self.browser.click("#worker-tab-queues");
        self.browser.wait_for("the queue", "document.querySelector('#worker-queues td').textContent === 'ours'");
    }

    fn see_tasks(&mut self) {
        // Of the first ones it may not have heard, or only the end.
        let rows = Self::rows("#tasks-table", "th.dataset.column");
        let whole = format!("{rows}.find(row => row.name === 'lab.add' && row.state === 'SUCCESS' && row.runtime)");
        let until = Instant::now() + SOON;
        let task = loop {
            assert_eq!(self.add("ours"), 42);
            self.browser.open(&self.page("/tasks"));
            self.browser.wait_for("the table", &rows);
            let task = self.browser.value(&whole);
            if task.is_object() {
                break task;
            }
            assert!(Instant::now() < until, "no task: {}", self.browser.text());
        };
        assert_eq!(task["kwargs"], "{'x': 2, 'y': 40}");
        assert_eq!((&task["result"], &task["worker"]), (&json!("42"), &json!(OURS)));
        assert!(is_duration(task["runtime"].as_str().unwrap()), "{task}");

        let mut failing = self.send("lab.fail", vec![json!("it's so")]);
        self.wait(failing.get(SOON)).unwrap_err();
        let mut slow = self.send("lab.sleep", vec![json!(1)]);
        self.wait(slow.get(SOON)).unwrap();
        let (failed, slept) = (failing.task_id().to_owned(), slow.task_id().to_owned());
        let states = format!(
            "(rows => rows.find(row => row.uuid.startsWith('{failed}'))?.state === 'FAILURE' && \
             rows.find(row => row.uuid.startsWith('{slept}'))?.runtime)({rows})"
        );
        let runtime = self.browser.wait_for_at(&self.page("/tasks"), "the slow and the failed task", &states);
        // It slept for a second.
        assert!(is_duration(runtime.as_str().unwrap()) && !runtime.as_str().unwrap().ends_with("ms"), "{runtime}");
        self.browser.screenshot("tasks");

        self.browser.open(&self.page(&format!("/task/{failed}")));
        let text = self.browser.text();
        for part in ["lab.fail", "FAILURE", "ValueError(\"it's so\")", OURS, &failed] {
            assert!(text.contains(part), "{part}: {text}");
        }
        self.browser.open(&self.page(&format!("/task/{slept}")));
        let text = self.browser.text();
        for part in ["lab.sleep", "SUCCESS", "(1,)", "Runtime", "'slept'", OURS] {
            assert!(text.contains(part), "{part}: {text}");
        }
        self.browser.screenshot("task");
    }

    fn press_the_buttons_of_the_worker(&mut self) {
        let worker = self.worker_page();
        self.browser.open(&worker);
        self.browser.click("#worker-pool-grow");
        self.wait_for_notice(&format!("Growing '{OURS}' worker's pool by 1"));
        assert_eq!(self.inspect("stats")["prefetch_count"], 5);
        self.browser.click("#worker-pool-shrink");
        self.wait_for_notice(&format!("Shrinking '{OURS}' worker's pool by 1"));
        assert_eq!(self.inspect("stats")["prefetch_count"], 4);

        self.browser.click("#worker-tab-queues");
        self.browser.fill("#add-consumer-name", "extra");
        self.browser.click("#worker-add-consumer");
        self.wait_for_notice("add consumer extra");
        self.browser.screenshot("add-consumer");
        assert_eq!(self.add("extra"), 42);
        let queue =
            "[...document.querySelectorAll('#worker-queues tr')].find(row => row.cells[0].textContent === 'extra')";
        self.browser.wait_for_at(&worker, "the added queue", &format!("Boolean({queue})"));
        self.browser.click("#worker-tab-queues");
        self.browser.click("#worker-cancel-consumer-extra");
        self.wait_for_notice("no longer consuming from extra");
        let queues = self.inspect("active_queues");
        assert_eq!(queues.as_array().unwrap().len(), 1, "{queues}");
        self.browser.wait_for_at(&worker, "the queue to be gone", &format!("!{queue}"));

        let row = "[id=\"limits-table\"] tr:has([id=\"task-rate-limit-lab.add\"])";
        self.browser.click("#worker-tab-limits");
        self.browser.fill(&format!("{row} .worker-limit-control input[placeholder=Rate]"), "100");
        self.browser.click("[id=\"task-rate-limit-lab.add\"]");
        self.wait_for_notice("new rate limit set successfully");
        let registered = self.inspect("registered");
        let limited = registered.as_array().unwrap().iter().any(|task| task == "lab.add [rate_limit=100]");
        assert!(limited, "{registered}");
        let shown = "document.querySelector('#limits-table').textContent.includes('lab.add [rate_limit=100]')";
        self.browser.wait_for_at(&worker, "the rate limit", shown);
        self.browser.click("#worker-tab-limits");
        let button = "[id^=\"task-timeout-soft-lab.add\"]";
        let field = format!("#limits-table tr:has({button}) .worker-timeout-control input");
        self.browser.fill(&field, "60");
        self.browser.click(button);
        self.wait_for_notice("time limits set successfully");
        self.browser.screenshot("limits");
        assert_eq!(self.add("ours"), 42);
    }

    fn press_the_buttons_of_tasks(&mut self) {
        // One works, and the next waits for its turn.
        let mut running = self.send("lab.turn", vec![json!(600)]);
        let page = self.page(&format!("/task/{}", running.task_id()));
        self.browser.wait_for_at(&page, "the button", "Boolean(document.querySelector('#task-terminate'))");
        let mut waiting = self.send("lab.turn", vec![json!(0)]);
        let waits = self.page(&format!("/task/{}", waiting.task_id()));
        self.browser.wait_for_at(&waits, "the button", "Boolean(document.querySelector('#task-revoke'))");
        self.browser.screenshot("revoke");
        self.browser.click("#task-revoke");
        let id = waiting.task_id().to_owned();
        self.wait_for_notice(&format!("Revoked '{id}'"));
        assert_eq!(self.inspect("revoked"), json!([id]));

        self.browser.open(&page);
        self.browser.click("#task-terminate");
        self.wait_for_notice(&format!("Revoked '{}'", running.task_id()));
        let ended = [self.wait(running.get(SOON)), self.wait(waiting.get(SOON))];
        assert!(ended.iter().all(|end| matches!(end, Err(CallError::Revoked { .. }))), "{ended:?}");
        let revoked = "document.querySelector('.badge')?.textContent === 'REVOKED'";
        self.browser.wait_for_at(&page, "the terminated task", revoked);
        self.browser.wait_for_at(&waits, "the revoked task", revoked);
        let listed = format!("document.querySelector('#tab-tasks').textContent.includes('{id}')");
        self.browser.wait_for_at(&self.worker_page(), "the revoked task among the worker's", &listed);
    }

    fn shut_the_worker_down(&mut self) {
        self.browser.open(&self.worker_page());
        self.browser.click("#worker-group");
        self.browser.click("#worker-shutdown");
        self.wait_for_notice("Shutting down!");
        self.browser.screenshot("shut-down");
    }

    fn see_that_the_worker_is_gone(&mut self) {
        self.browser.open(&self.page("/workers"));
        let rows = Self::rows("#workers-table", "th.textContent.trim()");
        let offline = format!("{rows}.find(row => row.Worker === '{OURS}' && row.Status === 'Offline')");
        self.browser.wait_for("the end of the worker", &offline);
        self.browser.screenshot("workers-offline");
    }

    /// Pages that wait for an outside host stand still in a closed network.
    fn see_that_nobody_else_was_asked(&self) {
        let flower = format!("{}/", self.flower);
        let elsewhere: Vec<_> = self.browser.requested().iter().filter(|url| !url.starts_with(&flower)).collect();
        let asked = elsewhere.iter().filter(|url| !url.starts_with("data:") && **url != "about:blank");
        assert_eq!(asked.count(), 0, "{elsewhere:?}");
        assert!(self.browser.requested().iter().any(|url| url.ends_with(".js") || url.contains(".js?")));
    }
}

/// Like `12.30 ms` or `1.02 s`.
fn is_duration(text: &str) -> bool {
    text.split_once(' ').is_some_and(|(number, unit)| number.parse::<f64>().is_ok() && ["ms", "s"].contains(&unit))
}
