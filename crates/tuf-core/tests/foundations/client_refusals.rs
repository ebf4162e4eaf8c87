//! Everything a client must not accept (specification §5, and the advisories other clients had).

use tuf_core::canonical::Extra;
use tuf_core::client::{Client, ClientError, ClientLimits};
use tuf_core::root_chain::RootError;
use tuf_core::schema::{DelegatedPaths, DelegatedRole, Delegations, Hashes, PathPattern, RoleMeta, Targets};

use crate::repo::{Key, Repo, file, keys_of, later, now, path, role};

fn published() -> Repo {
    let mut repo = Repo::new();
    repo.add("a");
    repo.publish();
    repo
}

fn with_delegated() -> Repo {
    let mut repo = Repo::new();
    let paths = DelegatedPaths::Patterns(vec![PathPattern::new("d/*").unwrap()]);
    let keyids = vec![repo.targets_key.id.clone()];
    let roles =
        vec![DelegatedRole { name: role("d"), keyids, threshold: 1, terminating: false, paths, extra: Extra::new() }];
    repo.targets.delegations = Some(Delegations::new(keys_of(&[&repo.targets_key]), roles));
    let entry = repo.store("d/x", b"x");
    repo.delegated.insert(role("d"), Targets::new(1, later(), [(path("d/x"), entry)].into()));
    repo.publish();
    repo
}

/// Replaces the delegated role by `targets` signed by `by`, listed with its own length and hash.
fn replace_delegated(repo: &mut Repo, targets: &Targets, by: &Key) {
    let bytes = file(targets, &[by]);
    repo.snapshot.meta.insert(role("d"), Repo::meta(1, &bytes));
    repo.metadata.put("1.d.json", bytes);
    repo.publish_snapshot();
}

fn refusal(repo: &Repo) -> ClientError {
    repo.client().refresh(now()).unwrap_err()
}

#[test]
fn expired_metadata_of_every_role() {
    let mut repo = published();
    repo.timestamp.expires = now();
    repo.publish_timestamp();
    assert!(matches!(refusal(&repo), ClientError::Expired { role, .. } if role == "timestamp"));

    let mut repo = published();
    repo.snapshot.expires = now();
    repo.publish_snapshot();
    assert!(matches!(refusal(&repo), ClientError::Expired { role, .. } if role == "snapshot"));

    let mut repo = published();
    repo.targets.expires = now();
    repo.publish();
    assert!(matches!(refusal(&repo), ClientError::Expired { role, .. } if role == "targets"));

    let mut repo = with_delegated();
    let mut expired = repo.delegated[&role("d")].clone();
    expired.expires = now();
    let key = std::mem::replace(&mut repo.targets_key, Key::new());
    replace_delegated(&mut repo, &expired, &key);
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    assert!(matches!(client.download(&path("d/x")), Err(ClientError::Expired { role, .. }) if role == "d"));

    let repo = published();
    let mut root = repo.root(2);
    root.expires = now();
    repo.metadata.put("2.root.json", file(&root, &[&repo.root_key]));
    assert!(matches!(refusal(&repo), ClientError::Root(RootError::Expired { version: 2, .. })));
}

#[test]
fn what_was_current_is_refused_once_it_is_expired() {
    let repo = published();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    assert!(client.refresh(later()).is_err());
}

#[test]
fn signatures_by_other_keys() {
    let stranger = Key::new();
    let repo = published();
    repo.metadata.put("timestamp.json", file(&repo.timestamp, &[&stranger]));
    assert!(matches!(refusal(&repo), ClientError::Signature { path, .. } if path == "timestamp.json"));

    let mut repo = published();
    repo.snapshot_key = Key::new();
    repo.publish_snapshot();
    assert!(matches!(refusal(&repo), ClientError::Signature { path, .. } if path == "2.snapshot.json"));

    let mut repo = published();
    repo.targets_key = Key::new();
    repo.publish();
    assert!(matches!(refusal(&repo), ClientError::Signature { path, .. } if path == "1.targets.json"));

    // The snapshot key is in root, but not the targets role's.
    let mut repo = published();
    std::mem::swap(&mut repo.targets_key, &mut repo.snapshot_key);
    repo.publish();
    assert!(matches!(refusal(&repo), ClientError::Signature { .. }));

    let mut repo = with_delegated();
    let targets = repo.delegated[&role("d")].clone();
    replace_delegated(&mut repo, &targets, &stranger);
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    assert!(matches!(client.find_target(&path("d/x")), Err(ClientError::Signature { .. })));
    assert!(matches!(client.all_targets(), Err(ClientError::Signature { .. })));
}

#[test]
fn a_root_the_old_keys_did_not_sign() {
    let mut repo = published();
    repo.root_key = Key::new();
    repo.publish_root(2, &[&repo.root_key]);
    assert!(matches!(refusal(&repo), ClientError::Root(RootError::NotSignedByPrevious { .. })));
}

#[test]
fn a_root_chain_that_skips() {
    let repo = published();
    repo.metadata.put("2.root.json", file(&repo.root(3), &[&repo.root_key]));
    assert!(matches!(refusal(&repo), ClientError::Root(RootError::Version { found: 3, expected: 2 })));
}

#[test]
fn files_that_are_not_there() {
    for missing in ["timestamp.json", "1.snapshot.json", "1.targets.json"] {
        let repo = published();
        repo.metadata.0.borrow_mut().remove(missing);
        assert!(matches!(refusal(&repo), ClientError::Missing { path } if path == missing));
    }
}

#[test]
fn files_that_are_not_those_listed() {
    let mut repo = published();
    let mut longer = repo.metadata.get("1.targets.json");
    longer.push(b'\n');
    repo.metadata.put("1.targets.json", longer);
    assert!(matches!(refusal(&repo), ClientError::TooLarge { .. }));
    let mut shorter = repo.metadata.get("1.snapshot.json");
    shorter.pop();
    repo.metadata.put("1.snapshot.json", shorter);
    assert!(matches!(refusal(&repo), ClientError::Length { .. }));

    let mut other = repo.targets.clone();
    other.version = 7;
    let bytes = file(&other, &[&repo.targets_key]);
    repo.metadata.put("1.targets.json", bytes.clone());
    repo.publish_snapshot();
    assert!(matches!(refusal(&repo), ClientError::Hash { .. }));
    // Hash and length fit, the version does not.
    repo.snapshot.meta.insert(role("targets"), Repo::meta(1, &bytes));
    repo.publish_snapshot();
    assert!(matches!(refusal(&repo), ClientError::Version { found: 7, expected: 1, .. }));
}

#[test]
fn metadata_of_another_role_with_the_right_signature() {
    let mut repo = published();
    let bytes = file(&repo.snapshot, &[&repo.targets_key]);
    repo.snapshot.meta.insert(role("targets"), Repo::meta(1, &bytes));
    repo.metadata.put("1.targets.json", bytes);
    repo.publish_snapshot();
    assert!(matches!(refusal(&repo), ClientError::Parse { .. }));
}

#[test]
fn versions_that_go_back() {
    let mut repo = published();
    repo.targets.version = 5;
    repo.publish();
    let mut client = repo.client();
    client.refresh(now()).unwrap();

    // A newer timestamp with an older snapshot.
    let good = repo.timestamp.clone();
    repo.timestamp.snapshot = RoleMeta::new(1);
    repo.publish_timestamp();
    assert!(matches!(client.refresh(now()), Err(ClientError::Rollback { role, .. }) if role == "snapshot"));
    assert_eq!(client.timestamp().unwrap().version, good.version, "a refused timestamp is not kept");

    // A newer snapshot with older targets.
    repo.targets.version = 4;
    repo.publish();
    assert!(matches!(client.refresh(now()), Err(ClientError::Rollback { role, .. }) if role == "targets"));

    // A newer snapshot without a role.
    repo.snapshot.meta.remove(&role("targets"));
    repo.publish_snapshot();
    assert!(matches!(client.refresh(now()), Err(ClientError::Vanished { role }) if role == "targets"));
}

#[test]
fn a_role_the_snapshot_does_not_list() {
    let mut repo = with_delegated();
    repo.snapshot.meta.remove(&role("d"));
    repo.publish_snapshot();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    assert!(matches!(client.find_target(&path("d/x")), Err(ClientError::NotInSnapshot { .. })));
}

#[test]
fn files_larger_than_the_ceilings() {
    let repo = published();
    let limits = ClientLimits { timestamp_bytes: 100, ..ClientLimits::default() };
    let client = |limits| {
        let root = repo.metadata.get("1.root.json");
        Client::new(&root, repo.metadata.clone(), repo.contents.clone(), limits).unwrap()
    };
    assert!(matches!(client(limits).refresh(now()), Err(ClientError::TooLarge { max: 100, .. })));
    // A listed length takes the place of the ceiling.
    let limits = ClientLimits { targets_bytes: 100, snapshot_bytes: 100, ..ClientLimits::default() };
    client(limits).refresh(now()).unwrap();
    repo.metadata.put("2.root.json", vec![b' '; 600_000]);
    assert!(matches!(refusal(&repo), ClientError::TooLarge { .. }));
}

#[test]
fn content_that_is_not_the_target() {
    let repo = published();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    let (_, hash) = Hashes::sha256_of(b"a").iter().next().map(|(name, hash)| (name.to_owned(), hash)).unwrap();
    let at = path("a").hash_prefixed(&hash);
    for (content, expected) in [(&b"b"[..], "sha256"), (b"aa", "larger"), (b"", "0 bytes, expected 1")] {
        repo.contents.put(at.clone(), content);
        let error = client.download(&path("a")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    repo.contents.0.borrow_mut().clear();
    assert!(matches!(client.download(&path("a")), Err(ClientError::Missing { .. })));
}

#[test]
fn a_target_without_a_hash_that_can_be_checked() {
    let mut repo = published();
    let entry = tuf_core::schema::TargetMeta::from_canonical(br#"{"hashes":{"md5":"00"},"length":1}"#).unwrap();
    repo.targets.targets.insert(path("a"), entry);
    repo.publish();
    repo.contents.put("00.a", "a");
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    assert!(matches!(client.download(&path("a")), Err(ClientError::Hash { .. })));
}

#[test]
fn garbage_in_any_file() {
    for name in ["timestamp.json", "1.snapshot.json", "1.targets.json", "2.root.json"] {
        for garbage in [&b""[..], b"{}", b"\xff\xfe", b"[[[[[[", b"null"] {
            let repo = published();
            repo.metadata.put(name, garbage);
            repo.client().refresh(now()).unwrap_err();
        }
    }
}
