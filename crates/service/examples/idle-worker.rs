//! The smallest system: a worker with one setting and one status field of its own, which does nothing until it is asked
//! to end. The tests of the process use it; its `instance` makes it misbehave.

#![allow(clippy::panic, reason = "one of the ways to misbehave")]

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use durable_fs::{Fs, RealFs};
use serde::Serialize;
use service::ProcessError;
use service::clock::Clock;
use service::config::{ConfigError, Layers, SettingKind, SettingSpec, SettingsReader, SettingsTable, Sources};
use service::exit_code::WorkerExit;
use service::health::{HealthState, ProcessStatus, StatusBody, WorkerHealth};
use service::identity::ProcessIdentity;
use service::metrics::ProcessMetrics;
use service::process::{Program, StartedWorker, WorkerProcess, WorkerResources};
use service::sandbox::SandboxPlace;
use service::settings::{self, ProcessSettings};
use service::telemetry::worker_span;

const NAME: &str = "idle-worker";
const VERSION: &str = env!("CARGO_PKG_VERSION");

static SETTINGS: SettingsTable = SettingsTable {
    rows: &[
        settings::BROKER_URL,
        settings::BROKER_TLS_CA,
        settings::BROKER_TLS_CERT,
        settings::BROKER_TLS_KEY,
        settings::REMOTE_CONTROL,
        settings::INSTANCE,
        settings::SANDBOX,
        settings::HEALTH_ADDRESS,
        settings::LOG_FORMAT,
        settings::LOG_LEVEL,
        SettingSpec::new("bed_path", SettingKind::Path, "/var/idle/bed", "Where the worker lies."),
    ],
    variable_prefix: "IDLE_",
    default_file: "/etc/idle/config.yaml",
};

fn main() -> ExitCode {
    let about = "Does nothing until it is asked to end";
    let program = Program { name: NAME, about, version: VERSION, settings: &SETTINGS };
    service::process::main(program, IdleWorker::load)
}

struct IdleWorker {
    process: ProcessSettings,
    bed: String,
}

impl IdleWorker {
    fn load(sources: &Sources) -> Result<Self, IdleError> {
        let (layers, file) = Layers::read(&SETTINGS, sources, &RealFs)?;
        let read = SettingsReader::new(&layers);
        Ok(Self { process: ProcessSettings::resolve(&read, file)?, bed: read.text("bed_path")? })
    }
}

#[derive(Debug, thiserror::Error)]
enum IdleError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("the bed is taken")]
    Refused,
}

#[derive(Clone, Debug, Default, Serialize)]
struct IdleStatus {
    state: String,
    bed: String,
}

impl StatusBody for IdleStatus {
    fn set_process(&mut self, process: ProcessStatus) {
        self.state = process.state.into();
    }
}

impl WorkerProcess for IdleWorker {
    type Status = IdleStatus;
    type Error = IdleError;

    fn settings(&self) -> &ProcessSettings {
        &self.process
    }

    fn sandbox_places(&self) -> Vec<SandboxPlace> {
        Vec::new()
    }

    fn check_before_start(&self, _fs: &Arc<dyn Fs>, _clock: &dyn Clock) -> Result<(), IdleError> {
        Ok(())
    }

    fn start(
        self,
        resources: WorkerResources,
    ) -> StartedWorker<IdleStatus, impl Future<Output = Result<(), IdleError>>> {
        let instance = self.process.instance;
        let identity = ProcessIdentity::new(NAME, VERSION, &instance);
        let metrics = ProcessMetrics::new("idle", &identity, |_| ());
        let status = IdleStatus { bed: self.bed, ..IdleStatus::default() };
        let health = WorkerHealth::new(identity, status, Duration::from_secs(60), metrics);
        let span = worker_span(NAME, &instance);
        StartedWorker { health: health.clone(), span, work: idle(instance, health, resources) }
    }

    fn exit_code(error: &IdleError) -> WorkerExit {
        match error {
            IdleError::Config(_) => WorkerExit::InvalidInput,
            IdleError::Process(error) => error.exit_code(),
            IdleError::Refused => WorkerExit::Refused,
        }
    }
}

async fn idle(instance: String, health: WorkerHealth<IdleStatus>, resources: WorkerResources) -> Result<(), IdleError> {
    match instance.as_str() {
        "refusing" => return Err(IdleError::Refused),
        "panicking" => panic!("a bug"),
        _ => {}
    }
    health.set_state(HealthState::Ready);
    resources.shutdown.cancelled().await;
    if instance == "stubborn" {
        std::future::pending::<()>().await;
    }
    Ok(())
}
