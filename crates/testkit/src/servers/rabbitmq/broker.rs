//! A running broker, and the one that all tests share.

use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::endpoint::{Endpoint, spawn};
use crate::servers::http::{Answer, Api};
use crate::servers::paths::servers_dir;
use crate::servers::supervisor::unique;

/// A running broker, with the right to make virtual hosts in it.
#[derive(Clone)]
pub struct RabbitMq {
    pub(super) endpoint: Endpoint,
    pub(super) api: Api,
}

impl RabbitMq {
    /// The broker that all tests share: the one that `TUF_FLEET_TEST_RABBITMQ` describes, otherwise one that is started under the
    /// target directory. Every test process of this checkout uses it; it stops some time after the last of them has ended.
    ///
    /// # Panics
    ///
    /// If no broker runs and none can be started.
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

    /// Whether the management API answers now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.api.request("GET", "/api/whoami", None).is_ok_and(|answer| answer.status == 200)
    }

    /// The broker at an endpoint.
    pub(super) fn at(endpoint: Endpoint) -> Self {
        match Api::new(&endpoint.management, &endpoint.user, &endpoint.password) {
            Ok(api) => Self { endpoint, api },
            Err(e) => panic!("{e}"),
        }
    }

    #[track_caller]
    pub(super) fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        match self.api.request(method, path, body) {
            Ok(Answer { status: 200..=299, body }) => serde_json::from_slice(&body).unwrap_or(Value::Null),
            Ok(Answer { status, body }) => {
                panic!("rabbitmq answered {status} to {method} {path}: {}", String::from_utf8_lossy(&body))
            }
            Err(e) => panic!("rabbitmq did not answer {method} {path}: {e}"),
        }
    }

    pub(super) fn url(&self, user: &str, password: &str, vhost: &str) -> String {
        let address = self.endpoint.amqp.rsplit_once('@').map_or(self.endpoint.amqp.as_str(), |(_, address)| address);
        format!("amqp://{user}:{password}@{address}/{vhost}")
    }
}

impl std::fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RabbitMq").field("management", &self.endpoint.management).finish_non_exhaustive()
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
    // In this order: the supervisor stops a broker only while no process holds the lease.
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
