//! A virtual host of one test.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::broker::RabbitMq;
use crate::servers::supervisor::unique;

/// The longest time until the broker shows the effect of a call.
const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// A virtual host of one test, with a user who may do everything in it and nothing elsewhere. Dropping it deletes it with all
/// its connections.
#[derive(Debug)]
pub struct VHost {
    /// `amqp://user:password@127.0.0.1:port/name`.
    pub amqp_url: String,
    /// The name, unique to this test.
    pub name: String,
    broker: RabbitMq,
    users: Mutex<Vec<String>>,
}

impl RabbitMq {
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
}

impl VHost {
    /// The list grows by one name at a time, so that the panic of a test leaves it whole.
    fn users(&self) -> MutexGuard<'_, Vec<String>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
        self.users().push(user.clone());
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
            assert!(Instant::now() < deadline, "no client connected to virtual host {}", self.name);
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
        let users = self.users().clone();
        let mut names = Vec::new();
        for user in users {
            let list = self.broker.must("GET", &format!("/api/connections/username/{user}"), None);
            let list = list.as_array().cloned().unwrap_or_default();
            names.extend(list.iter().filter_map(|c| c["name"].as_str()).map(str::to_owned));
        }
        names
    }

    /// A queue as the management API describes it; `None` if the queue does not exist. Its counts lag by a second.
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
        for user in self.users().drain(..) {
            let _ = self.broker.api.request("DELETE", &format!("/api/users/{user}"), None);
        }
    }
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
