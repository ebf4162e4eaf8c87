//! RabbitMQ for tests: one broker shared by all tests, a virtual host per test, and brokers a test may break.

use super::http::{Answer, Api};
use super::servers_dir;
use super::supervisor::{Supervisor, unique};
use crate::certificates::Authority;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long the broker may take to show what was asked of it.
const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// A broker that runs, and the right to make virtual hosts in it.
#[derive(Clone)]
pub struct RabbitMq {
    endpoint: Endpoint,
    api: Api,
}

/// A virtual host of one test, with a user of its own who may do everything in it and nothing elsewhere. Deleted, with
/// all connections to it, on drop.
#[derive(Debug)]
pub struct VHost {
    /// `amqp://user:password@127.0.0.1:port/name`.
    pub amqp_url: String,
    /// The name, unique to this test.
    pub name: String,
    broker: RabbitMq,
    users: Mutex<Vec<String>>,
}

/// A broker of one test, to be stopped, killed and restarted; ports, data and virtual hosts stay over restarts. Gone,
/// with its data, on drop. Starting one takes seconds: use [`RabbitMq::shared`] wherever the broker may live on.
#[derive(Debug)]
pub struct PrivateRabbitMq {
    broker: RabbitMq,
    supervisor: Supervisor,
}

#[derive(Clone, Deserialize)]
struct Endpoint {
    amqp: String,
    management: String,
    user: String,
    password: String,
    amqps_port: Option<u16>,
}

impl RabbitMq {
    /// The broker all tests share: the one `TUF_FLEET_TEST_RABBITMQ` describes, else one that is started under the
    /// target directory, used by every test process of this checkout and stopped a while after the last of them ended.
    ///
    /// # Panics
    ///
    /// If there is none and none can be started.
    #[track_caller]
    #[must_use]
    pub fn shared() -> Self {
        // The open file is the lease: it ends with this process, however that ends.
        static SHARED: OnceLock<(RabbitMq, Option<File>)> = OnceLock::new();
        let shared = SHARED.get_or_init(|| match std::env::var("TUF_FLEET_TEST_RABBITMQ") {
            Ok(text) => match serde_json::from_str(&text) {
                Ok(endpoint) => (RabbitMq::at(endpoint), None),
                Err(e) => panic!("TUF_FLEET_TEST_RABBITMQ is not what scripts/private-rabbitmq.py prints: {e}"),
            },
            Err(_) => lease(&servers_dir()),
        });
        shared.0.clone()
    }

    /// A new, empty virtual host.
    ///
    /// # Panics
    ///
    /// If the broker refuses.
    #[track_caller]
    #[must_use]
    pub fn vhost(&self) -> VHost {
        let name = unique("test");
        self.must("PUT", &format!("/api/vhosts/{name}"), None);
        let mut vhost = VHost { amqp_url: String::new(), name, broker: self.clone(), users: Mutex::default() };
        vhost.amqp_url = vhost.user(".*", ".*", ".*");
        vhost
    }

    /// Whether the management API answers right now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.api.request("GET", "/api/whoami", None).is_ok_and(|answer| answer.status == 200)
    }

    fn at(endpoint: Endpoint) -> Self {
        match Api::new(&endpoint.management, &endpoint.user, &endpoint.password) {
            Ok(api) => Self { endpoint, api },
            Err(e) => panic!("{e}"),
        }
    }

    #[track_caller]
    fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        match self.api.request(method, path, body) {
            Ok(Answer { status: 200..=299, body }) => serde_json::from_slice(&body).unwrap_or(Value::Null),
            Ok(Answer { status, body }) => {
                panic!("rabbitmq answered {status} to {method} {path}: {}", String::from_utf8_lossy(&body))
            }
            Err(e) => panic!("rabbitmq did not answer {method} {path}: {e}"),
        }
    }

    fn url(&self, user: &str, password: &str, vhost: &str) -> String {
        let address = self.endpoint.amqp.rsplit_once('@').map_or(self.endpoint.amqp.as_str(), |(_, address)| address);
        format!("amqp://{user}:{password}@{address}/{vhost}")
    }
}

impl std::fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RabbitMq").field("management", &self.endpoint.management).finish_non_exhaustive()
    }
}

impl VHost {
    /// Another user of this virtual host; the arguments are RabbitMQ's permission patterns. Returns its `amqp://` URL.
    ///
    /// # Panics
    ///
    /// If the broker refuses.
    #[track_caller]
    #[must_use]
    pub fn user(&self, configure: &str, write: &str, read: &str) -> String {
        let user = unique("user");
        // Not a secret: the broker listens on loopback only and lives as long as the tests.
        self.broker.must("PUT", &format!("/api/users/{user}"), Some(&json!({"password": user, "tags": ""})));
        self.users.lock().unwrap_or_else(PoisonError::into_inner).push(user.clone());
        self.broker.must(
            "PUT",
            &format!("/api/permissions/{}/{user}", self.name),
            Some(&json!({"configure": configure, "write": write, "read": read})),
        );
        self.broker.url(&user, &user, &self.name)
    }

    /// Closes every connection to this virtual host from the broker's side, as an administrator would, and returns how
    /// many there were. Waits for a first connection if there is none yet.
    ///
    /// # Panics
    ///
    /// If there is still no connection after 30 seconds.
    #[track_caller]
    pub fn close_connections(&self) -> usize {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let names = self.connections();
            if !names.is_empty() {
                for name in &names {
                    self.close_connection(name, deadline);
                }
                return names.len();
            }
            assert!(Instant::now() < deadline, "nobody connected to virtual host {}", self.name);
            std::thread::sleep(POLL);
        }
    }

    #[track_caller]
    fn close_connection(&self, name: &str, deadline: Instant) {
        let path = format!("/api/connections/{}", encode(name));
        loop {
            // This call finds a connection only once the broker's statistics know it, up to a second after its start.
            let found = self.broker.api.request("DELETE", &path, None).is_ok_and(|answer| answer.status < 300);
            if found || !self.connections().iter().any(|open| open == name) {
                return;
            }
            assert!(Instant::now() < deadline, "connection {name} cannot be closed");
            std::thread::sleep(POLL);
        }
    }

    /// The broker's names of the connections that are open now.
    #[track_caller]
    #[must_use]
    pub fn connections(&self) -> Vec<String> {
        // Asked per user: that list comes from the broker's tracking, which does not lag as the statistics do.
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut names = Vec::new();
        for user in users {
            let list = self.broker.must("GET", &format!("/api/connections/username/{user}"), None);
            let list = list.as_array().cloned().unwrap_or_default();
            names.extend(list.iter().filter_map(|c| c["name"].as_str()).map(str::to_owned));
        }
        names
    }

    /// What the management API says about a queue, or `None` if there is no such queue. Counts in it lag by a second.
    #[track_caller]
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<Value> {
        let path = format!("/api/queues/{}/{}", self.name, encode(name));
        match self.broker.api.request("GET", &path, None) {
            Ok(answer) if answer.status == 404 => None,
            Ok(answer) if answer.status == 200 => serde_json::from_slice(&answer.body).ok(),
            Ok(answer) => panic!("rabbitmq answered {} to GET {path}", answer.status),
            Err(e) => panic!("rabbitmq did not answer GET {path}: {e}"),
        }
    }

    /// Any other call to the management API (`path` starts with `/api/` and is percent-encoded), with the body's JSON
    /// or null as the answer.
    ///
    /// # Panics
    ///
    /// If the broker does not answer with a 2xx status.
    #[track_caller]
    pub fn management(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.broker.must(method, path, body)
    }
}

impl Drop for VHost {
    fn drop(&mut self) {
        // A broker the test has stopped needs no cleaning.
        let _ = self.broker.api.request("DELETE", &format!("/api/vhosts/{}", self.name), None);
        for user in self.users.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = self.broker.api.request("DELETE", &format!("/api/users/{user}"), None);
        }
    }
}

impl PrivateRabbitMq {
    /// Starts one and returns when it is ready.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// One that takes the channel of a consumer that has not acknowledged for so many seconds; 1800 by default.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start_with_consumer_timeout(seconds: u32) -> Self {
        Self::start_with(&["--consumer-timeout", &seconds.to_string()])
    }

    #[track_caller]
    fn start_with(options: &[&str]) -> Self {
        let (supervisor, endpoint) = spawn(&servers_dir().join(unique("rabbitmq")), options, None);
        Self { broker: RabbitMq::at(endpoint), supervisor }
    }

    /// Starts one that also listens with TLS, shows the certificate `authority` made for servers, and lets nobody in who
    /// has none of `authority`.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start_with_tls(authority: &Authority) -> Self {
        let tls = authority.dir().to_string_lossy();
        let (supervisor, endpoint) = spawn(&servers_dir().join(unique("rabbitmq")), &["--tls", &tls], None);
        Self { broker: RabbitMq::at(endpoint), supervisor }
    }

    /// `amqps://user:password@127.0.0.1:port/name` for a virtual host of a broker started with TLS.
    ///
    /// # Panics
    ///
    /// If it was started without.
    #[must_use]
    pub fn tls_url(&self, vhost: &VHost) -> String {
        let Some(port) = self.broker.endpoint.amqps_port else { panic!("started without TLS") };
        let credentials = vhost.amqp_url.trim_start_matches("amqp://").split('@').next().unwrap_or_default();
        format!("amqps://{credentials}@127.0.0.1:{port}/{}", vhost.name)
    }

    /// A new virtual host in it.
    #[track_caller]
    #[must_use]
    pub fn vhost(&self) -> VHost {
        self.broker.vhost()
    }

    /// Whether the management API answers right now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.broker.is_up()
    }

    /// Stops it cleanly and returns when it is gone: connections are closed, durable data is kept.
    #[track_caller]
    pub fn stop(&mut self) {
        self.supervisor.command("stop");
    }

    /// SIGKILL: connections break without a word, durable data is kept as far as it was on disk. Confirmed messages are;
    /// a queue or virtual host declared a moment before may not be (RabbitMQ writes those behind).
    #[track_caller]
    pub fn kill(&mut self) {
        self.supervisor.command("kill");
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill), and returns when it is ready.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.supervisor.command("start");
    }

    /// A clean stop and a start; returns when it is ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// SIGSTOP: connections stay open and nothing answers, as behind a broken network.
    #[track_caller]
    pub fn freeze(&mut self) {
        self.supervisor.command("freeze");
    }

    /// SIGCONT after [`freeze`](Self::freeze).
    #[track_caller]
    pub fn thaw(&mut self) {
        self.supervisor.command("thaw");
    }
}

#[track_caller]
fn spawn(dir: &Path, options: &[&str], lease: Option<&Path>) -> (Supervisor, Endpoint) {
    let (supervisor, answer) = Supervisor::spawn("private-rabbitmq.py", dir, options, lease);
    match serde_json::from_value(answer.clone()) {
        Ok(endpoint) => (supervisor, endpoint),
        Err(_) => panic!("cannot start a private RabbitMQ: {answer}"),
    }
}

/// Joins the broker of this checkout, or starts it. The returned file holds the lease.
fn lease(dir: &Path) -> (RabbitMq, Option<File>) {
    let lock = |name: &str, exclusive: bool| {
        let path = dir.join(name);
        let file = File::options().create(true).append(true).open(&path);
        let locked = file.and_then(|f| if exclusive { f.lock() } else { f.lock_shared() }.map(|()| f));
        locked.unwrap_or_else(|e| panic!("cannot lock {}: {e}", path.display()))
    };
    // In this order: the supervisor lets a broker go only while nobody holds the lease.
    let lease = lock("rabbitmq.lease", false);
    let starting = lock("rabbitmq.starting", true);
    let state = dir.join("rabbitmq.json");
    let running = std::fs::read(&state).ok().and_then(|text| serde_json::from_slice::<Endpoint>(&text).ok());
    if let Some(broker) = running.map(RabbitMq::at).filter(RabbitMq::is_up) {
        return (broker, Some(lease));
    }
    let (supervisor, endpoint) = spawn(&dir.join(unique("rabbitmq")), &[], Some(&dir.join("rabbitmq.lease")));
    let text = json!({"amqp": endpoint.amqp, "management": endpoint.management, "user": endpoint.user,
        "password": endpoint.password});
    if let Err(e) = std::fs::write(&state, text.to_string()) {
        panic!("cannot write {}: {e}", state.display());
    }
    // Without an input pipe its drop leaves the broker running.
    drop(supervisor);
    drop(starting);
    (RabbitMq::at(endpoint), Some(lease))
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_encoded() {
        assert_ne!(unique("a"), unique("a"));
        assert_eq!(encode("a b/c->d"), "a%20b%2Fc-%3Ed");
    }
}
