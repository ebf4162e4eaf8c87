use std::collections::BTreeMap;

use tuf_core::canonical::Extra;
use tuf_core::client::{Client, ClientError, ClientLimits};
use tuf_core::schema::{
    DelegatedPaths, DelegatedRole, Delegations, HashPrefix, PathPattern, SuccinctRoles, Targets, path_hash,
};

use crate::repo::{Key, Repo, file, keys_of, later, now, path, role};

fn delegate(repo: &Repo, name: &str, terminating: bool, paths: DelegatedPaths) -> DelegatedRole {
    let keyids = vec![repo.targets_key.id.clone()];
    DelegatedRole { name: role(name), keyids, threshold: 1, terminating, paths, extra: Extra::new() }
}

fn patterns(list: &[&str]) -> DelegatedPaths {
    DelegatedPaths::Patterns(list.iter().map(|pattern| PathPattern::new(pattern).unwrap()).collect())
}

fn listing(repo: &Repo, entries: &[(&str, &[u8])]) -> Targets {
    let entries = entries.iter().map(|(name, content)| (path(name), repo.store(name, content)));
    Targets::new(1, later(), entries.collect())
}

#[test]
fn a_published_target_is_found_and_downloaded() {
    for consistent in [true, false] {
        let mut repo = Repo::new();
        repo.consistent = consistent;
        repo.publish_root(1, &[&repo.root_key]);
        repo.add("a/b.txt");
        repo.publish();
        let mut client = repo.client();
        client.refresh(now()).unwrap();
        assert_eq!(client.download(&path("a/b.txt")).unwrap(), b"a/b.txt");
        assert_eq!(client.find_target(&path("a/c.txt")).unwrap(), None);
        assert_eq!(client.top_level_targets().unwrap().targets.len(), 1);
        repo.targets.version += 1;
        repo.add("a/c.txt");
        repo.publish();
        client.refresh(now()).unwrap();
        assert_eq!(client.download(&path("a/c.txt")).unwrap(), b"a/c.txt");
        assert_eq!(client.all_targets().unwrap().len(), 2);
    }
}

#[test]
fn nothing_is_answered_before_a_refresh_or_after_a_failed_one() {
    let mut repo = Repo::new();
    repo.add("a");
    repo.publish();
    let mut client = repo.client();
    assert!(matches!(client.find_target(&path("a")), Err(ClientError::NotRefreshed)));
    client.refresh(now()).unwrap();
    repo.metadata.put("timestamp.json", "{}");
    client.refresh(now()).unwrap_err();
    assert!(matches!(client.find_target(&path("a")), Err(ClientError::NotRefreshed)));
    assert!(client.top_level_targets().is_none());
}

#[test]
fn roles_are_searched_in_order_and_the_first_one_wins() {
    let mut repo = Repo::new();
    let roles =
        vec![delegate(&repo, "one", false, patterns(&["a/*"])), delegate(&repo, "two", false, patterns(&["*/*"]))];
    repo.targets.delegations = Some(Delegations::new(keys_of(&[&repo.targets_key]), roles));
    let one = listing(&repo, &[("a/x", b"one"), ("b/x", b"not trusted with")]);
    let two = listing(&repo, &[("a/x", b"two"), ("b/x", b"two"), ("c", b"not trusted with")]);
    repo.delegated = BTreeMap::from([(role("one"), one), (role("two"), two)]);
    repo.publish();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    assert_eq!(client.download(&path("a/x")).unwrap(), b"one");
    assert_eq!(client.download(&path("b/x")).unwrap(), b"two");
    assert_eq!(client.find_target(&path("c")).unwrap(), None);
    let all: Vec<_> = client.all_targets().unwrap().into_keys().collect();
    assert_eq!(all, [path("a/x"), path("b/x")]);
}

#[test]
fn a_terminating_role_ends_the_search_at_every_level() {
    let mut repo = Repo::new();
    let roles =
        vec![delegate(&repo, "outer", false, patterns(&["*"])), delegate(&repo, "last", false, patterns(&["*"]))];
    let keys = keys_of(&[&repo.targets_key]);
    repo.targets.delegations = Some(Delegations::new(keys.clone(), roles));
    let mut outer = listing(&repo, &[]);
    outer.delegations = Some(Delegations::new(keys, vec![delegate(&repo, "inner", true, patterns(&["a"]))]));
    let last = listing(&repo, &[("a", b"last"), ("b", b"last")]);
    let inner = listing(&repo, &[]);
    repo.delegated = BTreeMap::from([(role("outer"), outer), (role("inner"), inner), (role("last"), last)]);
    repo.publish();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    assert_eq!(client.find_target(&path("a")).unwrap(), None);
    assert!(client.find_target(&path("b")).unwrap().is_some());
    assert_eq!(client.all_targets().unwrap().len(), 1);
}

#[test]
fn a_circle_of_delegations_is_walked_once() {
    let mut repo = Repo::new();
    let keys = keys_of(&[&repo.targets_key]);
    let to = |repo: &Repo, name| Delegations::new(keys.clone(), vec![delegate(repo, name, false, patterns(&["*"]))]);
    repo.targets.delegations = Some(to(&repo, "a"));
    let (mut a, mut b) = (listing(&repo, &[]), listing(&repo, &[("x", b"x")]));
    (a.delegations, b.delegations) = (Some(to(&repo, "b")), Some(to(&repo, "a")));
    repo.delegated = BTreeMap::from([(role("a"), a), (role("b"), b)]);
    repo.publish();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    assert_eq!(client.download(&path("x")).unwrap(), b"x");
    assert_eq!(client.find_target(&path("y")).unwrap(), None);
    assert_eq!(client.all_targets().unwrap().len(), 1);
}

#[test]
fn hashed_bins_two_levels_deep_are_followed() {
    let mut repo = Repo::new();
    let keys = keys_of(&[&repo.targets_key]);
    let prefix = |text: &str| HashPrefix::new(text).unwrap();
    let digits = || (0..16).map(|digit| format!("{digit:x}"));
    let every = DelegatedPaths::HashPrefixes(digits().map(|digit| prefix(&digit)).collect());
    let one = |digit: &str| DelegatedPaths::HashPrefixes(vec![prefix(digit)]);
    repo.targets.delegations = Some(Delegations::new(keys.clone(), vec![delegate(&repo, "bins", false, every)]));
    let mut bins = listing(&repo, &[]);
    let roles = digits().map(|digit| delegate(&repo, &format!("bin_{digit}"), false, one(&digit))).collect();
    bins.delegations = Some(Delegations::new(keys, roles));
    repo.delegated.insert(role("bins"), bins);
    for digit in digits() {
        let names: Vec<_> = (0..40).map(|n| format!("f/{n}")).collect();
        let own: Vec<_> = names.iter().filter(|name| path_hash(&path(name)).starts_with(&digit)).collect();
        let entries: Vec<_> = own.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
        repo.delegated.insert(role(&format!("bin_{digit}")), listing(&repo, &entries));
    }
    repo.publish();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    assert_eq!(client.download(&path("f/7")).unwrap(), b"f/7");
    assert_eq!(client.all_targets().unwrap().len(), 40);
}

#[test]
fn succinct_bins_are_followed() {
    let mut repo = Repo::new();
    let succinct = SuccinctRoles::new(vec![repo.targets_key.id.clone()], 1, 2, role("bin")).unwrap();
    for number in 0..4 {
        repo.delegated.insert(succinct.bin(number), listing(&repo, &[]));
    }
    for name in ["a", "b", "c", "d", "e/f"] {
        let entry = repo.store(name, name.as_bytes());
        repo.delegated.get_mut(&succinct.bin_for(&path(name))).unwrap().targets.insert(path(name), entry);
    }
    let mut delegations = Delegations::new(keys_of(&[&repo.targets_key]), vec![]);
    delegations.succinct_roles = Some(succinct);
    repo.targets.delegations = Some(delegations);
    repo.publish();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    assert_eq!(client.download(&path("e/f")).unwrap(), b"e/f");
    assert_eq!(client.all_targets().unwrap().len(), 5);
}

#[test]
fn too_many_roles_are_not_searched() {
    let mut repo = Repo::new();
    let names: Vec<_> = (0..40).map(|n| format!("r{n}")).collect();
    let roles = names.iter().map(|name| delegate(&repo, name, false, patterns(&["*"]))).collect();
    repo.targets.delegations = Some(Delegations::new(keys_of(&[&repo.targets_key]), roles));
    repo.delegated = names.iter().map(|name| (role(name), listing(&repo, &[]))).collect();
    let late = listing(&repo, &[("early", b"1")]);
    repo.delegated.insert(role("r31"), late);
    let late = listing(&repo, &[("late", b"1")]);
    repo.delegated.insert(role("r32"), late);
    repo.publish();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    assert!(client.find_target(&path("early")).unwrap().is_some());
    assert!(matches!(client.find_target(&path("late")), Err(ClientError::TooManyRoles { max: 33 })));
}

#[test]
fn kept_state_guards_against_going_back() {
    let mut repo = Repo::new();
    repo.publish();
    let old = repo.metadata.get("timestamp.json");
    repo.publish_snapshot();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    let state = client.export();
    repo.metadata.put("timestamp.json", old);
    let again =
        |state| Client::from_state(state, repo.metadata.clone(), repo.contents.clone(), ClientLimits::default());
    let mut client = again(&state).unwrap();
    assert_eq!(client.snapshot().unwrap().version, 2);
    assert!(matches!(client.refresh(now()), Err(ClientError::Rollback { trusted: 2, found: 1, .. })));
    // Without the state, the old timestamp is as good as any.
    repo.client().refresh(now()).unwrap();
    // Kept files that do not verify are dropped.
    let damaged = tuf_core::client::TrustedState { timestamp: Some(b"{}".to_vec()), ..state.clone() };
    assert!(again(&damaged).unwrap().timestamp().is_none());
}

#[test]
fn new_timestamp_keys_let_versions_start_again() {
    let mut repo = Repo::new();
    repo.timestamp.version = 1_000_000;
    repo.snapshot.version = 1_000_000;
    repo.publish();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    repo.timestamp.version = 0;
    repo.snapshot.version = 0;
    repo.publish();
    assert!(matches!(client.refresh(now()), Err(ClientError::Rollback { .. })));
    repo.timestamp_key = Key::new();
    repo.publish_root(2, &[&repo.root_key]);
    repo.timestamp.version = 0;
    repo.publish_timestamp();
    client.refresh(now()).unwrap();
    assert_eq!((client.timestamp().unwrap().version, client.snapshot().unwrap().version), (1, 1));
}

#[test]
fn a_new_root_with_the_same_online_keys_forgets_nothing() {
    let mut repo = Repo::new();
    repo.publish();
    let old = repo.metadata.get("timestamp.json");
    repo.publish_timestamp();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    repo.publish_root(2, &[&repo.root_key]);
    repo.metadata.put("timestamp.json", old);
    assert!(matches!(client.refresh(now()), Err(ClientError::Rollback { .. })));
    assert_eq!(client.root().version, 2);
}

#[test]
fn a_timestamp_of_the_same_version_changes_nothing() {
    let mut repo = Repo::new();
    repo.add("a");
    repo.publish();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    let mut other = repo.timestamp.clone();
    other.snapshot.version = 7;
    repo.metadata.put("timestamp.json", file(&other, &[&repo.timestamp_key]));
    client.refresh(now()).unwrap();
    assert_eq!(client.snapshot().unwrap().version, 1);
    assert!(client.find_target(&path("a")).unwrap().is_some());
}
