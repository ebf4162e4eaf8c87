//! Timestamp and snapshot (specification §5.4 and §5.5), and the checks of every listed file.

use std::collections::BTreeSet;

use super::lenient::LenientMetadata;
use super::odd_name::{file_names, stays_below};
use super::other_clients::PHP_MAX_BYTES;
use super::rules;
use super::running::{MetadataFile, RunningAudit, TIMESTAMP_FILE};
use crate::client::{ClientLimits, Fetch};
use crate::names::{RoleName, TopRole};
use crate::schema::{Metadata, RoleMeta, Root, Snapshot, Timestamp};

impl RunningAudit<'_> {
    /// Checks everything below root.
    pub(super) fn repository(&mut self, root: &Root, targets: Option<&dyn Fetch>) {
        let timestamp = self.timestamp(root);
        let listed = match &timestamp {
            Some(timestamp) => timestamp.snapshot.clone(),
            // It would list the newest snapshot on disk.
            None => RoleMeta::new(self.versions_on_disk(TopRole::Snapshot).last().copied().unwrap_or(1)),
        };
        let consistent = root.consistent_snapshot;
        if timestamp.is_none() && consistent && self.versions_on_disk(TopRole::Snapshot).is_empty() {
            return;
        }
        if let Some(timestamp) = &timestamp {
            self.concerns.spec_version(TIMESTAMP_FILE, &timestamp.spec_version);
        }
        let role = RoleName::snapshot();
        let limit = ClientLimits::default().snapshot_bytes;
        let max = self.options.ceilings.snapshot_bytes;
        let Some((path, snapshot)) = self.listed::<Snapshot>(&role, &listed, TIMESTAMP_FILE, consistent, limit, max)
        else {
            return;
        };
        if let Some(keys) = root.roles.get(&role) {
            self.check_signatures(rules::S3, &path, "the snapshot keys of root", &snapshot, &root.keys, keys);
        }
        self.concerns.spec_version(&path, &snapshot.metadata.spec_version);
        self.report.versions.insert(TopRole::Snapshot, snapshot.metadata.version);
        let tree = self.targets_roles(root, &snapshot.metadata, &path);
        self.extra_roles(&path, &snapshot.metadata, &tree);
        self.older_snapshots(root, &path, &snapshot);
        let offered = self.search(&tree);
        match targets {
            Some(files) => self.target_files(files, &offered, consistent),
            None => self.report.checked.unchecked_targets += offered.len() as u64,
        }
    }

    fn timestamp(&mut self, root: &Root) -> Option<Timestamp> {
        let limit = ClientLimits::default().timestamp_bytes;
        let file = match self.get(TIMESTAMP_FILE, self.options.ceilings.timestamp_bytes) {
            MetadataFile::Read(file) => file,
            MetadataFile::Missing => {
                let message = "is missing: no client can start; the name of the timestamp never has a version prefix";
                self.error(rules::T2, TIMESTAMP_FILE, message);
                return None;
            }
            MetadataFile::TooLarge | MetadataFile::Unreadable(_) => return None,
        };
        self.report.checked.metadata_files += 1;
        self.seen = Some(file.clone());
        self.check_size(TIMESTAMP_FILE, file.len() as u64, limit);
        let doc = self.read::<Timestamp>(TIMESTAMP_FILE, &file)?;
        if let Some(keys) = root.roles.get(&RoleName::timestamp()) {
            self.check_signatures(rules::S3, TIMESTAMP_FILE, "the timestamp keys of root", &doc, &root.keys, keys);
        }
        self.check_expiry(TIMESTAMP_FILE, &doc.metadata, &doc.flaws);
        self.report.versions.insert(TopRole::Timestamp, doc.metadata.version);
        let lacking: Vec<&str> = [
            doc.metadata.snapshot.length.is_none().then_some("length"),
            doc.metadata.snapshot.hashes.is_none().then_some("hashes"),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !lacking.is_empty() {
            let message = format!(
                "does not list the {} of the snapshot: php-tuf refuses a timestamp without hashes, and without a \
                 length clients cannot bound the download",
                lacking.join(" and ")
            );
            self.warn(rules::T3, TIMESTAMP_FILE, message);
        }
        // A repaired version says nothing about the snapshot.
        (!doc.flaws.contains(rules::C3.id)).then_some(doc.metadata)
    }

    /// Reads the file of a role as `by` lists it, and returns its path and metadata.
    pub(super) fn listed<M: Metadata>(
        &mut self,
        role: &RoleName,
        listed: &RoleMeta,
        by: &str,
        consistent: bool,
        limit: u64,
        max: u64,
    ) -> Option<(String, LenientMetadata<M>)> {
        if self.large_versions.contains(&format!("{role}.json")) {
            self.unread(&format!("{role}.json"), "the audit does not read versions of 2^53 or more");
            return None;
        }
        let (path, file) = self.role_file(role, listed, by, consistent, max)?;
        self.report.checked.metadata_files += 1;
        let length = file.len() as u64;
        match listed.length {
            Some(expected) if expected != length => {
                let message = format!("has {length} bytes, but {by} lists {expected}; never change a published file");
                self.error(rules::N4, &path, message);
            }
            Some(_) => {}
            None => self.check_size(&path, length, limit),
        }
        if let Some(hashes) = &listed.hashes
            && let Err(error) = hashes.check(&file)
        {
            let message = format!("differs from the file that {by} lists: {error}; never change a published file");
            self.error(rules::N4, &path, message);
        }
        let doc = self.read::<M>(&path, &file)?;
        let version = doc.metadata.version();
        if version != listed.version && !doc.flaws.contains(rules::C3.id) {
            let message =
                format!("holds version {version}, but {by} lists version {}: clients refuse it", listed.version);
            self.error(rules::C4, &path, message);
        }
        self.check_expiry(&path, &doc.metadata, &doc.flaws);
        Some((path, doc))
    }

    /// The file of a role and its path, under the first of its names that exists. A missing file is reported.
    fn role_file(
        &mut self,
        role: &RoleName,
        listed: &RoleMeta,
        by: &str,
        consistent: bool,
        max: u64,
    ) -> Option<(String, Vec<u8>)> {
        let names = file_names(self.odd_names.get(role).map_or(role.as_str(), String::as_str));
        let path = |name: &str| if consistent { format!("{}.{name}", listed.version) } else { name.to_owned() };
        let max = max.max(listed.length.unwrap_or(0));
        for path in names.iter().map(|name| path(name)).filter(|path| stays_below(path)) {
            match self.get(&path, max) {
                MetadataFile::Read(file) => return Some((path, file)),
                MetadataFile::Missing => {}
                MetadataFile::TooLarge | MetadataFile::Unreadable(_) => return None,
            }
        }
        let message = format!(
            "is missing, but {by} lists version {}; publish a file before the file that lists it",
            listed.version
        );
        // As most clients ask for it.
        let asked = names.last().map_or_else(|| format!("{role}.json"), |name| path(name));
        self.error(rules::N3, &asked, message);
        None
    }

    fn check_size(&mut self, path: &str, length: u64, limit: u64) {
        if length > limit {
            let message = format!(
                "has {length} bytes; python-tuf and go-tuf read at most {limit} if no length is listed: list the \
                 length, or spread the targets over more roles"
            );
            self.error(rules::L1, path, message);
        } else if length > PHP_MAX_BYTES {
            let message = format!("has {length} bytes; php-tuf reads at most {PHP_MAX_BYTES} if no length is listed");
            self.warn(rules::L2, path, message);
        }
    }

    pub(super) fn check_expiry(&mut self, path: &str, metadata: &impl Metadata, flaws: &BTreeSet<&'static str>) {
        let unknown = flaws.contains(rules::C5.id) && metadata.expires().unix() > 250_000_000_000;
        if metadata.is_expired(self.options.now) && !unknown {
            let message = format!(
                "version {} expired at {}; sign the next version, and find out why it was not renewed in time",
                metadata.version(),
                metadata.expires()
            );
            self.error(rules::C6, path, message);
        }
    }
}
