use tuf_core::root_chain::{MAX_ROOT_BYTES, RootChain, RootError, WalkError};
use tuf_core::schema::Root;

use crate::repo::{self, Key, file, later, now, role};

struct Keys {
    old: [Key; 2],
    new: [Key; 2],
    online: Key,
}

impl Keys {
    fn new() -> Self {
        Self { old: [Key::new(), Key::new()], new: [Key::new(), Key::new()], online: Key::new() }
    }

    fn root(&self, version: u64, roots: &[&Key]) -> Root {
        repo::root(version, roots, roots.len() as u32, [&self.online; 3])
    }

    fn chain(&self) -> RootChain {
        let [a, b] = &self.old;
        RootChain::from_pinned(&file(&self.root(1, &[a, b]), &[a, b])).unwrap()
    }
}

#[test]
fn a_root_signed_by_the_old_and_the_new_keys_is_the_next() {
    let keys = Keys::new();
    let ([a, b], [c, d]) = (&keys.old, &keys.new);
    let mut chain = keys.chain();
    let next = file(&keys.root(2, &[c, d]), &[a, b, c, d]);
    chain.advance(&next).unwrap();
    assert_eq!((chain.version(), chain.file()), (2, &next[..]));
    assert!(chain.root().keys.contains_key(&c.id));
    assert_eq!(chain.keys_for(&role("snapshot")).unwrap().keyids[0], keys.online.id);
    assert_eq!(chain.keys_for(&role("nobody")), None);
}

#[test]
fn a_root_without_either_threshold_is_refused_and_the_chain_stays() {
    let keys = Keys::new();
    let ([a, b], [c, d]) = (&keys.old, &keys.new);
    let mut chain = keys.chain();
    let next = keys.root(2, &[c, d]);
    let error = chain.advance(&file(&next, &[a, c, d])).unwrap_err();
    assert!(matches!(error, RootError::NotSignedByPrevious { version: 2, .. }), "{error}");
    let error = chain.advance(&file(&next, &[a, b, c])).unwrap_err();
    assert!(matches!(error, RootError::NotSignedByItself { version: 2, .. }), "{error}");
    assert_eq!(chain.version(), 1);
}

#[test]
fn only_the_very_next_version_is_accepted() {
    let keys = Keys::new();
    let [a, b] = &keys.old;
    let mut chain = keys.chain();
    for version in [1, 3] {
        let error = chain.advance(&file(&keys.root(version, &[a, b]), &[a, b])).unwrap_err();
        assert_eq!(error, RootError::Version { found: version, expected: 2 });
    }
}

#[test]
fn a_pinned_root_must_be_signed_by_its_own_keys() {
    let keys = Keys::new();
    let [a, b] = &keys.old;
    let error = RootChain::from_pinned(&file(&keys.root(7, &[a, b]), &[a])).unwrap_err();
    assert!(matches!(error, RootError::NotSignedByItself { version: 7, .. }));
}

#[test]
fn a_walk_goes_to_the_last_version_there_is() {
    let keys = Keys::new();
    let [a, b] = &keys.old;
    let mut chain = keys.chain();
    let roots = |version: u64| (version <= 5).then(|| file(&keys.root(version, &[a, b]), &[a, b]));
    assert_eq!(chain.walk::<()>(&mut |version| Ok(roots(version))).unwrap(), 4);
    assert_eq!(chain.version(), 5);
    assert_eq!(chain.walk::<()>(&mut |version| Ok(roots(version))).unwrap(), 0);
}

#[test]
fn a_walk_keeps_what_it_verified_before_an_error() {
    let keys = Keys::new();
    let [a, b] = &keys.old;
    let mut chain = keys.chain();
    let mut fetch = |version: u64| match version {
        2 => Ok(Some(file(&keys.root(2, &[a, b]), &[a, b]))),
        _ => Err("disk on fire"),
    };
    let error = chain.walk(&mut fetch).unwrap_err();
    assert!(matches!(error, WalkError::Fetch { version: 3, error: "disk on fire" }));
    assert_eq!(chain.version(), 2);
}

#[test]
fn a_walk_without_end_ends() {
    let keys = Keys::new();
    let [a, b] = &keys.old;
    let mut chain = keys.chain();
    let error = chain.walk::<()>(&mut |v| Ok(Some(file(&keys.root(v, &[a, b]), &[a, b])))).unwrap_err();
    assert!(matches!(error, WalkError::Root(RootError::TooManySteps)));
    assert_eq!(chain.version(), 1025);
}

#[test]
fn expiry_matters_at_the_end_alone() {
    let keys = Keys::new();
    let [a, b] = &keys.old;
    let mut chain = keys.chain();
    let mut expired = keys.root(2, &[a, b]);
    expired.expires = now();
    chain.advance(&file(&expired, &[a, b])).unwrap();
    assert!(matches!(chain.check_expiry(now()), Err(RootError::Expired { version: 2, .. })));
    chain.advance(&file(&keys.root(3, &[a, b]), &[a, b])).unwrap();
    chain.check_expiry(now()).unwrap();
    assert!(chain.check_expiry(later()).is_err(), "expired from the very second on");
}

#[test]
fn what_is_no_root_is_refused() {
    let mut chain = Keys::new().chain();
    assert!(matches!(chain.advance(b"{}"), Err(RootError::Parse(_))));
    assert_eq!(
        chain.advance(&vec![b' '; MAX_ROOT_BYTES as usize + 1]),
        Err(RootError::TooLarge { max: MAX_ROOT_BYTES })
    );
}
