//! Redis for tests: each test has its own server, which starts fast and may be stopped, killed and frozen.

use super::paths::servers_dir;
use super::supervisor::{Supervisor, unique};
use serde::Deserialize;
use std::path::PathBuf;

/// A server of one test. Port, password and data stay over restarts, and confirmed writes survive a kill. Dropping it removes
/// the server and its data.
#[derive(Debug)]
pub struct PrivateRedis {
    endpoint: Endpoint,
    dir: PathBuf,
    supervisor: Supervisor,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    port: u16,
    password: String,
    socket: String,
    tls_port: Option<u16>,
}

impl PrivateRedis {
    /// Starts one and returns when it answers.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// One that also listens with TLS and asks clients for a certificate.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start_with_tls() -> Self {
        Self::start_with(&["--tls"])
    }

    #[track_caller]
    fn start_with(options: &[&str]) -> Self {
        let dir = servers_dir().join(unique("redis"));
        let (supervisor, answer) = Supervisor::spawn("private-redis.py", &dir, options, None);
        match serde_json::from_value(answer.clone()) {
            Ok(endpoint) => Self { endpoint, dir, supervisor },
            Err(_) => panic!("cannot start a private Redis: {answer}"),
        }
    }

    /// `redis://:password@127.0.0.1:port/db`.
    #[must_use]
    pub fn url(&self, db: u8) -> String {
        format!("redis://:{}@127.0.0.1:{}/{db}", self.endpoint.password, self.endpoint.port)
    }

    /// `rediss://:password@127.0.0.1:port/db`, for a server started with TLS.
    ///
    /// # Panics
    ///
    /// If it was started without.
    #[must_use]
    pub fn tls_url(&self, db: u8) -> String {
        let Some(port) = self.endpoint.tls_port else { panic!("started without TLS") };
        format!("rediss://:{}@127.0.0.1:{port}/{db}", self.endpoint.password)
    }

    /// The certificate of the authority, in PEM.
    #[must_use]
    pub fn authority(&self) -> Vec<u8> {
        self.read("ca.pem")
    }

    /// A client's certificate and private key, in PEM.
    #[must_use]
    pub fn client_identity(&self) -> Vec<u8> {
        self.read("client.pem")
    }

    /// The path of a file of a server started with TLS: `ca.pem`, `client.crt`, `client.key`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        let path = self.file(name);
        std::fs::read(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
    }

    /// `redis+socket://:password@/path?virtual_host=db`.
    #[must_use]
    pub fn socket_url(&self, db: u8) -> String {
        format!("redis+socket://:{}@{}?virtual_host={db}", self.endpoint.password, self.endpoint.socket)
    }

    /// Stops it cleanly and returns when it is gone.
    #[track_caller]
    pub fn stop(&mut self) {
        self.supervisor.command("stop");
    }

    /// SIGKILL.
    #[track_caller]
    pub fn kill(&mut self) {
        self.supervisor.command("kill");
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill), and returns when it answers.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.supervisor.command("start");
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
