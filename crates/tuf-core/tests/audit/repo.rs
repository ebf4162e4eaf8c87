//! A repository in memory that was made as ours are, and is then broken in one place.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use testkit::scratch::{Layout, Options, Scratch};
use testkit::sim_fs::SimFs;
use tuf_core::audit::{self, MetadataSource, Report, Severity};
use tuf_core::bins::BinLayout;
use tuf_core::canonical::canonicalize;
use tuf_core::client::{Fetch, FetchError};
use tuf_core::key::{FileSigner, KeyIdFormat, Signer, ed25519};
use tuf_core::names::TopRole;
use tuf_core::sha256::Sha256;
use tuf_core::time::UtcTime;

pub fn now() -> UtcTime {
    UtcTime::from_unix(1_800_000_000)
}

pub fn bins(count: u32) -> Layout {
    Layout::Bins(BinLayout::new(count).unwrap())
}

/// Files by name.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub files: BTreeMap<String, Vec<u8>>,
    pub listed: bool,
}

impl Fetch for Files {
    fn fetch(&self, path: &str, _max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        Ok(self.files.get(path).map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Read>))
    }
}

impl MetadataSource for Files {
    fn list(&self) -> Result<Option<Vec<String>>, FetchError> {
        Ok(self.listed.then(|| self.files.keys().cloned().collect()))
    }
}

/// A key of a test's own.
pub struct Key {
    pub id: String,
    pub signer: Arc<dyn Signer>,
}

impl Key {
    pub fn new() -> Self {
        let generated = ed25519(&ring::rand::SystemRandom::new()).unwrap();
        let signer = FileSigner::from_pem(generated.private_pem.as_bytes()).unwrap();
        Self { id: generated.public.key_id(KeyIdFormat::Spec).to_string(), signer: Arc::new(signer) }
    }

    /// As metadata holds it.
    pub fn public(&self) -> Value {
        public(self.signer.as_ref())
    }
}

pub fn public(signer: &dyn Signer) -> Value {
    serde_json::from_slice(&signer.public_key().to_canonical()).unwrap()
}

pub struct Repo {
    pub metadata: Files,
    pub targets: Files,
    pub scratch: Scratch,
    pub trusted_root: Option<Vec<u8>>,
    pub now: UtcTime,
}

impl Repo {
    /// Two targets, `a` and `dir/b`, in a flat repository with consistent snapshots.
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        Self::holding(options, &[("a", b"first"), ("dir/b", b"second")])
    }

    pub fn holding(options: Options, files: &[(&str, &[u8])]) -> Self {
        let fs = SimFs::new();
        fs.set_time(now().unix());
        let scratch = Scratch::new(Arc::new(fs.clone()), "/repo", options).unwrap();
        let publish = |now: UtcTime| {
            scratch.snapshot().unwrap().update(now, false).unwrap();
            scratch.timestamp().unwrap().update(now, false).unwrap();
        };
        let mut targets = scratch.targets().unwrap();
        targets.reconcile(now(), false).unwrap();
        publish(now());
        targets.commit(&[scratch.submission("one", files).unwrap()], now()).unwrap();
        publish(now());
        let below = |dir: &str| {
            let dir = std::path::Path::new("/repo").join(dir);
            let name = |path: &std::path::Path| path.strip_prefix(&dir).ok()?.to_str().map(str::to_owned);
            let files = fs.files().into_iter().filter_map(|(path, bytes)| Some((name(&path)?, bytes))).collect();
            Files { files, listed: true }
        };
        Self { metadata: below("metadata"), targets: below("targets"), scratch, trusted_root: None, now: now() }
    }

    /// The report without the clients that the whole repository excludes.
    pub fn audit(&self) -> Report {
        without_clients(self.audit_with_clients())
    }

    pub fn audit_with_clients(&self) -> Report {
        let mut options = audit::AuditOptions::at(self.now);
        options.trusted_root.clone_from(&self.trusted_root);
        audit::audit(&self.metadata, Some(&self.targets), &options, &mut |_| {}).unwrap()
    }

    /// Asserts that errors and warnings are of exactly these rules, and returns the report.
    #[track_caller]
    pub fn finds(&self, rules: &[&str]) -> Report {
        let report = self.audit();
        finds(&report, rules);
        report
    }

    pub fn consistent(&self) -> bool {
        self.scratch.options.consistent_snapshot
    }

    pub fn signed(&self, file: &str) -> Value {
        let envelope: Value = serde_json::from_slice(&self.metadata.files[file]).unwrap();
        envelope["signed"].clone()
    }

    /// The file of a role that clients see.
    pub fn current(&self, role: &str) -> String {
        let named = |version: &Value| {
            if self.consistent() { format!("{version}.{role}.json") } else { format!("{role}.json") }
        };
        match role {
            "timestamp" => "timestamp.json".to_owned(),
            "root" => {
                let version = |name: &String| name.strip_suffix(".root.json")?.parse::<u64>().ok();
                format!("{}.root.json", self.metadata.files.keys().filter_map(version).max().unwrap())
            }
            "snapshot" => named(&self.signed("timestamp.json")["meta"]["snapshot.json"]["version"]),
            _ => named(&self.signed(&self.current("snapshot"))["meta"][format!("{role}.json")]["version"]),
        }
    }

    /// The file that holds this signed part, signed with the key of a role.
    pub fn envelope(&self, role: &str, signed: &Value) -> Vec<u8> {
        let signer = self.scratch.signer(signed_by(role)).unwrap();
        let id = signer.public_key().key_id(KeyIdFormat::Spec).to_string();
        envelope(signed, &[(&id, signer.as_ref())])
    }

    /// Changes the metadata of a role, signs it again, and updates its entries in snapshot and timestamp.
    pub fn edit(&mut self, role: &str, change: impl FnOnce(&mut Map<String, Value>)) {
        let file = self.current(role);
        let mut signed = self.signed(&file);
        change(signed.as_object_mut().unwrap());
        let bytes = self.envelope(role, &signed);
        self.put(role, &file, bytes);
    }

    /// Changes a file without signing it again.
    pub fn edit_file(&mut self, role: &str, change: impl FnOnce(&mut Value)) {
        let file = self.current(role);
        let mut envelope: Value = serde_json::from_slice(&self.metadata.files[&file]).unwrap();
        change(&mut envelope);
        self.put(role, &file, serde_json::to_vec(&envelope).unwrap());
    }

    /// Changes the text of a file.
    pub fn edit_text(&mut self, role: &str, from: &str, to: &str) {
        let file = self.current(role);
        let text = String::from_utf8(self.metadata.files[&file].clone()).unwrap();
        assert!(text.contains(from), "{text}");
        self.put(role, &file, text.replacen(from, to, 1).into_bytes());
    }

    /// Puts a file of a role there and has it listed with its length and hashes.
    pub fn put(&mut self, role: &str, file: &str, bytes: Vec<u8>) {
        let meta = json!({"length": bytes.len(), "hashes": {"sha256": sha256(&bytes)}});
        self.metadata.files.insert(file.to_owned(), bytes);
        let above = match role {
            "root" | "timestamp" => return,
            "snapshot" => "timestamp",
            _ => "snapshot",
        };
        self.edit(above, |signed| {
            let Some(listed) = signed["meta"].get_mut(format!("{role}.json")) else { return };
            let listed = listed.as_object_mut().unwrap();
            for member in ["length", "hashes"] {
                if listed.contains_key(member) {
                    listed.insert(member.to_owned(), meta[member].clone());
                }
            }
        });
    }

    /// Signs the next version of the snapshot after a change to it, and has the timestamp list that.
    pub fn next_snapshot(&mut self, change: impl FnOnce(&mut Map<String, Value>)) {
        let mut signed = self.signed(&self.current("snapshot"));
        let version = signed["version"].as_u64().unwrap() + 1;
        signed["version"] = version.into();
        change(signed.as_object_mut().unwrap());
        let bytes = self.envelope("snapshot", &signed);
        self.edit("timestamp", |signed| signed["meta"]["snapshot.json"]["version"] = version.into());
        let file = self.current("snapshot");
        self.put("snapshot", &file, bytes);
    }

    /// Signs a further targets role with these targets (path and content), and lists it in the snapshot.
    pub fn add_role(&mut self, name: &str, targets: &[(&str, &str)]) {
        let mut signed = self.signed(&self.current("targets"));
        let signed = signed.as_object_mut().unwrap();
        signed.remove("delegations");
        signed["version"] = 1.into();
        signed["targets"] = json!({});
        for (path, content) in targets {
            signed["targets"][*path] = target(content);
            self.targets.files.insert(hashed_name(path, &sha256(content.as_bytes())), content.as_bytes().to_vec());
        }
        let bytes = self.envelope(name, &Value::Object(signed.clone()));
        self.edit("snapshot", |signed| signed["meta"][format!("{name}.json")] = json!({"version": 1, "length": 0}));
        let file = self.current(name);
        self.put(name, &file, bytes);
    }

    /// Delegates from the top-level role, with the targets key.
    pub fn delegate(&mut self, roles: &[Value]) {
        let signer = self.scratch.signer(TopRole::Targets).unwrap();
        let id = signer.public_key().key_id(KeyIdFormat::Spec).to_string();
        let roles: Vec<Value> = roles
            .iter()
            .map(|role| {
                let mut whole = json!({"keyids": [id], "threshold": 1, "terminating": false});
                whole.as_object_mut().unwrap().extend(role.as_object().unwrap().clone());
                whole
            })
            .collect();
        self.edit("targets", |signed| {
            signed.insert("delegations".into(), json!({"keys": {id: public(signer.as_ref())}, "roles": roles}));
        });
    }

    /// Signs the next root with these keys, after a change.
    pub fn next_root(&mut self, by: &[&Key], change: impl FnOnce(&mut Map<String, Value>)) {
        let mut signed = self.signed(&self.current("root"));
        let version = signed["version"].as_u64().unwrap() + 1;
        signed["version"] = version.into();
        change(signed.as_object_mut().unwrap());
        let signers: Vec<(&str, &dyn Signer)> = by.iter().map(|key| (key.id.as_str(), key.signer.as_ref())).collect();
        self.metadata.files.insert(format!("{version}.root.json"), envelope(&signed, &signers));
    }

    /// A key the scratch repository was made with.
    pub fn key(&self, role: &str) -> Key {
        let signer = self.scratch.signer(signed_by(role)).unwrap();
        Key { id: signer.public_key().key_id(KeyIdFormat::Spec).to_string(), signer }
    }

    /// Re-signs the newest root after a change to it.
    pub fn edit_root(&mut self, change: impl FnOnce(&mut Map<String, Value>)) {
        self.edit("root", change);
    }
}

pub fn envelope(signed: &Value, by: &[(&str, &dyn Signer)]) -> Vec<u8> {
    let json = serde_json::to_vec(signed).unwrap();
    let canonical = canonicalize(&json).unwrap();
    let signatures: Vec<Value> = by
        .iter()
        .map(|(id, signer)| json!({"keyid": id, "sig": hex::encode(signer.sign(&canonical).unwrap())}))
        .collect();
    serde_json::to_vec(&json!({"signatures": signatures, "signed": signed})).unwrap()
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::of(bytes).to_string()
}

pub fn target(content: &str) -> Value {
    json!({"length": content.len(), "hashes": {"sha256": sha256(content.as_bytes())}})
}

pub fn hashed_name(path: &str, hash: &str) -> String {
    match path.rsplit_once('/') {
        Some((dir, name)) => format!("{dir}/{hash}.{name}"),
        None => format!("{hash}.{path}"),
    }
}

/// Leaves out the findings that every repository with these settings has.
pub fn without_clients(mut report: Report) -> Report {
    report.findings.retain(|finding| !finding.rule.id.starts_with('O'));
    report
}

#[track_caller]
pub fn finds(report: &Report, rules: &[&str]) {
    let found: BTreeSet<&str> = report
        .findings
        .iter()
        .filter(|finding| finding.severity != Severity::Note)
        .map(|finding| finding.rule.id)
        .collect();
    let wanted: BTreeSet<&str> = rules.iter().copied().collect();
    let all: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(found, wanted, "{all:#?}\nunread: {:?}", report.unread);
    assert_eq!(report.is_valid(), report.count(Severity::Error) == 0);
    assert!(report.is_complete(), "{:?}", report.unread);
}

/// Whether some finding of this rule says this.
#[track_caller]
pub fn says(report: &Report, rule: &str, text: &str) {
    let said: Vec<String> =
        report.findings.iter().filter(|finding| finding.rule.id == rule).map(ToString::to_string).collect();
    assert!(said.iter().any(|finding| finding.contains(text)), "{text:?} not in {said:#?}");
}

/// The top-level role whose key signs a role: every delegated one is signed with the targets key.
fn signed_by(role: &str) -> TopRole {
    TopRole::ALL.into_iter().find(|top| top.as_str() == role).unwrap_or(TopRole::Targets)
}
