//! The limits of a client, as values.

use tuf_core::client::{Client, ClientError, ClientLimits};
use tuf_core::root_chain::{MAX_ROOT_BYTES, RootError};

use crate::repo::{Files, Repo, file, now, path};

fn client(repo: &Repo, limits: ClientLimits) -> Client<Files, Files> {
    Client::new(&repo.metadata.get("1.root.json"), repo.metadata.clone(), repo.contents.clone(), limits).unwrap()
}

/// Root version 2, with spaces after it, so that it is `bytes` long.
fn publish_long_root(repo: &Repo, bytes: usize) {
    let mut root = file(&repo.root(2), &[&repo.root_key]);
    root.resize(bytes, b' ');
    repo.metadata.put("2.root.json", root);
}

#[test]
fn a_root_above_the_usual_limit_is_read_if_the_limit_is_raised() {
    let mut repo = Repo::new();
    repo.publish();
    publish_long_root(&repo, MAX_ROOT_BYTES as usize + 1);
    let error = client(&repo, ClientLimits::default()).refresh(now()).unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { max: MAX_ROOT_BYTES, .. }), "{error}");
    let larger = ClientLimits { root_bytes: MAX_ROOT_BYTES + 1, ..ClientLimits::default() };
    let mut patient = client(&repo, larger.clone());
    patient.refresh(now()).unwrap();
    assert_eq!(patient.root().version, 2);
    // It is larger than the usual limit when it is kept, too.
    let kept = patient.export();
    let again = |limits| Client::from_state(&kept, repo.metadata.clone(), repo.contents.clone(), limits);
    assert_eq!(again(larger).unwrap().root().version, 2);
    let refused = again(ClientLimits::default()).unwrap_err();
    assert!(matches!(refused, ClientError::Root(RootError::TooLarge { max: MAX_ROOT_BYTES })), "{refused}");
}

#[test]
fn a_smaller_limit_for_roots_holds() {
    let mut repo = Repo::new();
    repo.publish();
    publish_long_root(&repo, 9_000);
    let limits = ClientLimits { root_bytes: 8_999, ..ClientLimits::default() };
    assert!(matches!(client(&repo, limits).refresh(now()), Err(ClientError::TooLarge { max: 8_999, .. })));
}

#[test]
fn a_refresh_follows_as_many_roots_as_permitted_and_the_next_one_the_others() {
    let mut repo = Repo::new();
    for version in 2..=6 {
        repo.publish_root(version, &[&repo.root_key]);
    }
    repo.publish();
    let mut client = client(&repo, ClientLimits { root_rotations: 3, ..ClientLimits::default() });
    client.refresh(now()).unwrap();
    assert_eq!(client.root().version, 4);
    client.refresh(now()).unwrap();
    assert_eq!(client.root().version, 6);
}

#[test]
fn target_files_without_hashes_in_their_names_are_found_where_the_client_is_told_so() {
    let mut repo = Repo::new();
    repo.add("a/b");
    repo.publish();
    repo.contents.0.borrow_mut().clear();
    repo.contents.put("a/b", "a/b");
    let mut prefixed = client(&repo, ClientLimits::default());
    prefixed.refresh(now()).unwrap();
    assert!(matches!(prefixed.download(&path("a/b")), Err(ClientError::Missing { .. })));
    let mut plain = client(&repo, ClientLimits::default()).with_hash_prefixes(false);
    plain.refresh(now()).unwrap();
    repo.contents.asked();
    assert_eq!(plain.download(&path("a/b")).unwrap(), b"a/b");
    assert_eq!(repo.contents.asked(), ["a/b"]);
    // The metadata keeps its versions.
    assert!(repo.metadata.asked().contains(&"1.snapshot.json".to_owned()));
}
