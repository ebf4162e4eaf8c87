//! The targets role of this worker.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::Fs;
use fleet::config::TargetNames;
use fleet::signing::{self, ReconcileOutcome, RoleReport, SigningError, SigningRole};
use fleet::{Config, KeyRole, WorkerRole, repository};
use tuf_core::bins::{BinLayout, is_bin};
use tuf_core::key::KeyIdFormat;
use tuf_core::store::Store;
use tuf_core::time::UtcTime;
use tuf_repository::retention::Retention;
use tuf_repository::roles::{Layout, TargetsPolicy, TargetsRole};

use crate::ingest::Ingest;
use crate::policy::ReleasePolicy;

/// The targets role, with the directories from which and into which its files are copied.
#[derive(Debug)]
pub struct TargetsWorker {
    pub(crate) role: TargetsRole,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) inbound: PathBuf,
    /// `None` where target files are not kept in the repository.
    store: Option<Arc<dyn Store>>,
    targets: PathBuf,
    configured: Layout,
    retention: Option<Retention>,
    pub(crate) policy: ReleasePolicy,
}

impl TargetsWorker {
    /// Opens the role as configured.
    ///
    /// # Errors
    /// [`SigningError`]: the keys, the pinned root or the floor cannot be used.
    pub fn open(fs: &Arc<dyn Fs>, config: &Config) -> Result<Self, SigningError> {
        let layout = match config.number_of_bins {
            0 => Layout::Flat,
            count => Layout::Bins(BinLayout::new(count).map_err(SigningError::alarm)?),
        };
        let policy = TargetsPolicy {
            layout,
            targets: repository::lifetime(&config.roles.targets),
            bins: repository::lifetime(&config.roles.bins),
            portable_names: config.target_names == TargetNames::Portable,
        };
        let trust = repository::trust(fs, config, KeyRole::Targets)?;
        let floor = repository::floor(fs, config, WorkerRole::Targets)?;
        let stores = repository::stores(fs, config);
        Ok(Self {
            store: config.store_targets.then(|| Arc::clone(&stores.targets)),
            role: TargetsRole::new(stores, trust, policy, floor),
            fs: Arc::clone(fs),
            targets: config.targets_path(),
            inbound: config.inbound_targets_path.clone(),
            configured: layout,
            retention: repository::retention(fs, config, WorkerRole::Targets)?,
            policy: ReleasePolicy {
                allowed: config.allowed_targets.clone(),
                overwrite: config.overwrite.clone(),
                legacy: config.keyid_format == KeyIdFormat::Legacy,
                names: config.target_names,
            },
        })
    }

    pub(crate) fn ingest(&self) -> Ingest<'_> {
        Ingest { fs: self.fs.as_ref(), inbound: &self.inbound, targets: self.store.as_deref() }
    }

    /// The targets directory, if target files have their plain names in it too: without consistent snapshots.
    pub(crate) fn plain_names(&self) -> Option<&dyn Store> {
        self.store.as_deref().filter(|_| !self.role.trust().root().consistent_snapshot)
    }

    /// The targets directory; `None` where target files are not kept in the repository.
    pub(crate) fn targets_dir(&self) -> Option<&Path> {
        self.store.as_ref().map(|_| self.targets.as_path())
    }

    /// Whether target files are kept in the repository.
    pub(crate) fn keeps_files(&self) -> bool {
        self.store.is_some()
    }

    /// That the repository keeps another number of bins than the configured one.
    fn other_layout(&self) -> Option<String> {
        let bins = |layout| match layout {
            Layout::Flat => 0,
            Layout::Bins(bins) => bins.count(),
        };
        let (kept, configured) = (self.role.layout(), self.configured);
        (self.role.current().is_some() && kept != configured).then(|| {
            let kept = bins(kept);
            format!(
                "number_of_bins is {}, which has no effect: the repository has {kept} and keeps them; set number_of_bins to \
                 {kept}",
                bins(configured)
            )
        })
    }
}

impl SigningRole for TargetsWorker {
    fn reconcile(&mut self, now: UtcTime, force: bool) -> Result<ReconcileOutcome, SigningError> {
        let head = self.role.log().head();
        let renewed = self.role.reconcile(now, force)?;
        if self.role.layout() != self.configured {
            tracing::warn!(
                configured = ?self.configured,
                repository = ?self.role.layout(),
                "number_of_bins differs from the repository's; the repository keeps its own"
            );
        }
        let bins_renewed = renewed.keys().filter(|role| is_bin(role)).count() as u64;
        Ok(ReconcileOutcome {
            version: self.role.current().map_or(0, |current| current.version),
            changed: self.role.log().head() != head && head != 0 || !renewed.is_empty(),
            renewed: renewed
                .into_iter()
                .filter(|(role, _)| !is_bin(role))
                .map(|(role, version)| (role.to_string(), version))
                .collect(),
            bins_renewed,
            ..ReconcileOutcome::default()
        })
    }

    fn tidy(&mut self, now: UtcTime) -> Result<bool, SigningError> {
        let Some(retention) = &mut self.retention else { return Ok(false) };
        Ok(signing::tidied(self.role.collect(retention, now, self.store.is_some())?))
    }

    fn report(&self, _now: UtcTime) -> RoleReport {
        let floor = self.role.floor().get().unwrap_or_default();
        RoleReport {
            role_version: self.role.current().map(|current| current.version),
            expires: self.role.current().map(|current| current.expires),
            next_renewal: self.role.next_renewal(),
            also_expire: [("root", Some(self.role.trust().root().expires)), ("bins", self.role.bins_expire())]
                .into_iter()
                .filter_map(|(role, expires)| Some((role, expires?)))
                .collect(),
            floor: [
                ("root".to_owned(), floor.root),
                ("record".to_owned(), floor.record.map_or(0, |record| record.number)),
            ]
            .into(),
            notices: self.role.notices().map(str::to_owned).chain(self.other_layout()).collect(),
        }
    }
}
