//! A broker of one test, which the test may break.

use super::broker::RabbitMq;
use super::endpoint::spawn;
use super::vhost::VHost;
use crate::certificates::Authority;
use crate::servers::paths::servers_dir;
use crate::servers::supervisor::{Supervisor, unique};

/// A broker of one test, to be stopped, killed and restarted. Ports, data and virtual hosts stay over restarts. Dropping it
/// removes the broker and its data. A start takes seconds: use [`RabbitMq::shared`] where the broker may keep running.
#[derive(Debug)]
pub struct PrivateRabbitMq {
    broker: RabbitMq,
    supervisor: Supervisor,
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

    /// Starts a broker that also listens with TLS, with the certificate that `authority` made for servers. It refuses clients
    /// without a certificate of `authority`.
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

    /// Whether the management API answers now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.broker.is_up()
    }

    /// Stops it cleanly and returns when it is gone: connections are closed, durable data is kept.
    #[track_caller]
    pub fn stop(&mut self) {
        self.supervisor.command("stop");
    }

    /// SIGKILL: connections break without a message, and only data on disk survives. Confirmed messages survive; a queue or
    /// virtual host declared a moment before may not, because RabbitMQ writes those later.
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
