//! The root chain (specification §5.3 and §6.1).

use super::error::AuditError;
use super::lenient::LenientMetadata;
use super::other_clients::{MAX_ROOTS_FOLLOWED, PHP_MAX_BYTES};
use super::progress::AuditStage;
use super::rules;
use super::running::{MetadataFile, RunningAudit, TIMESTAMP_FILE};
use crate::names::{RoleName, TopRole};
use crate::root_chain::MAX_ROOT_BYTES;
use crate::schema::Root;

/// Invalid roots in a row after which the walk ends: such a server answers any request.
const MAX_BAD_ROOTS_IN_A_ROW: u32 = 3;

/// How findings name the root that the caller trusts.
const TRUSTED_ROOT: &str = "the trusted root";

impl RunningAudit<'_> {
    /// Walks the chain and returns the last root that clients reach. A root with missing signatures is reported and
    /// followed all the same: the roots after it are signed with its keys.
    pub(super) fn roots(&mut self) -> Result<Root, AuditError> {
        let mut trusted = self.options.trusted_root.as_deref().and_then(|file| self.read::<Root>(TRUSTED_ROOT, file));
        if let Some(doc) = &trusted {
            self.signed_by(TRUSTED_ROOT, "its own keys", doc, &doc.metadata);
        }
        let trusted_version = trusted.as_ref().map(|doc| doc.metadata.version);
        let on_disk = self.versions_on_disk(TopRole::Root);
        let mut newest: Option<LenientMetadata<Root>> = None;
        let (mut version, mut bad_in_a_row) = (1, 0);
        while self.report.checked.roots < self.options.ceilings.roots {
            self.progress(AuditStage::Roots, self.report.checked.roots, on_disk.len() as u64);
            let path = format!("{version}.root.json");
            match self.get(&path, self.options.ceilings.root_bytes) {
                MetadataFile::Missing => {
                    let listed = on_disk.iter().copied().find(|&other| other > version);
                    let next = listed.into_iter().chain(trusted_version.filter(|&other| other >= version)).min();
                    let Some(next) = next else { break };
                    let message = if next > version + 1 {
                        format!("is missing, as is every version up to {}", next - 1)
                    } else {
                        "is missing".to_owned()
                    };
                    let message = format!(
                        "{message}: clients that trust an older root cannot update; restore it, and never delete roots"
                    );
                    // Clients with the trusted root start after it. Behind it, the repository went back to an older state.
                    let start = trusted_version.unwrap_or(if newest.is_none() { next } else { 0 });
                    let went_back = next == version && newest.is_some() && listed.is_none();
                    if next > start + 1 || went_back {
                        self.error(rules::R1, &path, message);
                    } else {
                        self.warn(rules::R1, &path, message);
                    }
                    if next == version {
                        // The file of the trusted root itself.
                        newest = trusted.take().or(newest);
                        version += 1;
                    } else {
                        version = next;
                    }
                    continue;
                }
                MetadataFile::Unreadable(error) => {
                    if newest.is_none() && trusted.is_none() {
                        return Err(AuditError::Fetch { path, error });
                    }
                    break;
                }
                MetadataFile::TooLarge => bad_in_a_row += 1,
                MetadataFile::Read(file) => {
                    self.report.checked.roots += 1;
                    let below = trusted_version.filter(|&trusted| trusted > version);
                    self.below_trusted = below;
                    let read = self.root_file(&path, &file, version, newest.as_ref(), trusted_version);
                    self.below_trusted = None;
                    match read {
                        Some(doc) => {
                            bad_in_a_row = if doc.metadata.version == version { 0 } else { bad_in_a_row + 1 };
                            if trusted_version == Some(version)
                                && let Some(known) = &trusted
                                && known.signed != doc.signed
                            {
                                let message = "differs from the trusted root of the same version; one of them belongs \
                                               to another repository or was replaced";
                                self.error(rules::R4, &path, message);
                            }
                            newest = Some(doc);
                        }
                        None => bad_in_a_row += 1,
                    }
                }
            }
            if bad_in_a_row >= MAX_BAD_ROOTS_IN_A_ROW && self.listing.is_none() {
                break;
            }
            version += 1;
        }
        // Clients that trust a newer root continue from that one.
        let last = match (newest, trusted) {
            (Some(newest), Some(trusted)) if trusted.metadata.version > newest.metadata.version => trusted,
            (Some(newest), _) => newest,
            (None, Some(trusted)) => trusted,
            (None, None) => return Err(AuditError::NoRepository),
        };
        if self.report.checked.roots == 0 && matches!(self.metadata.fetch(TIMESTAMP_FILE, 0), Ok(None)) {
            return Err(AuditError::NoRepository);
        }
        self.newest_root(&last);
        Ok(last.metadata)
    }

    fn root_file(
        &mut self,
        path: &str,
        file: &[u8],
        version: u64,
        before: Option<&LenientMetadata<Root>>,
        trusted: Option<u64>,
    ) -> Option<LenientMetadata<Root>> {
        let length = file.len() as u64;
        if length > MAX_ROOT_BYTES {
            let message = format!("has {length} bytes; clients read at most {MAX_ROOT_BYTES} of a root");
            self.error(rules::L1, path, message);
        } else if length > PHP_MAX_BYTES {
            self.warn(rules::L2, path, format!("has {length} bytes; php-tuf reads at most {PHP_MAX_BYTES} of a root"));
        }
        let doc = self.read::<Root>(path, file)?;
        let root = &doc.metadata;
        if !doc.flaws.contains(rules::C3.id) && root.version != version {
            let message = format!("holds version {}, which differs from its name: clients refuse it", root.version);
            self.error(rules::C4, path, message);
        }
        self.check_keys(path, &root.keys);
        for (name, keys) in &root.roles {
            self.check_role_keys(path, &format!("role {name}"), &root.keys, keys);
        }
        if let Some(before) = before.filter(|before| before.metadata.version + 1 == version) {
            let whose = format!("the keys of root {}", before.metadata.version);
            // Clients that trust this root do not ask whether the one before it led to it.
            let below = std::mem::replace(&mut self.below_trusted, trusted.filter(|&trusted| trusted >= version));
            self.signed_by(path, &whose, &doc, &before.metadata);
            self.below_trusted = below;
        }
        self.signed_by(path, "its own keys", &doc, root);
        Some(doc)
    }

    fn signed_by(&mut self, path: &str, whose: &str, doc: &LenientMetadata<Root>, signer: &Root) {
        if let Some(role) = signer.roles.get(&RoleName::root()) {
            self.check_signatures(rules::S4, path, whose, doc, &signer.keys, role);
        }
    }

    fn newest_root(&mut self, doc: &LenientMetadata<Root>) {
        let root = &doc.metadata;
        let path = format!("{}.root.json", root.version);
        self.report.versions.insert(TopRole::Root, root.version);
        self.check_expiry(&path, root, &doc.flaws);
        self.concerns.spec_version(&path, &root.spec_version);
        if root.version > MAX_ROOTS_FOLLOWED + 1 {
            let message = format!(
                "is more than {MAX_ROOTS_FOLLOWED} versions after the first; a client that ships with an old root \
                 needs several runs: ship a newer root"
            );
            self.warn(rules::R2, &path, message);
        }
        self.unused_keys(&path, &root.keys, root.roles.values().map(|role| role.keyids.as_slice()));
    }
}
