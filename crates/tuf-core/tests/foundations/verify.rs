use tuf_core::envelope::{self, Signature};
use tuf_core::key::Signer;
use tuf_core::names::KeyId;
use tuf_core::verify::threshold;

use crate::repo::{Key, keys_of, role_keys};

fn sign(by: &[&Key]) -> Vec<Signature> {
    let signers: Vec<_> = by.iter().map(|key| (key.id.clone(), &key.signer as &dyn Signer)).collect();
    envelope::sign(b"{}", &signers).unwrap()
}

#[test]
fn enough_signatures_by_distinct_keys_are_accepted() {
    let (a, b, c) = (Key::new(), Key::new(), Key::new());
    let (keys, role) = (keys_of(&[&a, &b, &c]), role_keys(&[&a, &b, &c], 2));
    threshold(b"{}", &sign(&[&c, &a]), &keys, &role).unwrap();
    threshold(b"{}", &sign(&[&c, &a, &b]), &keys, &role).unwrap();
    let error = threshold(b"{}", &sign(&[&c]), &keys, &role).unwrap_err();
    assert_eq!((error.valid, error.threshold), (1, 2));
    assert_eq!(threshold(b"[]", &sign(&[&c, &a]), &keys, &role).unwrap_err().valid, 0);
}

#[test]
fn bad_signatures_do_not_spoil_good_ones() {
    let (a, b) = (Key::new(), Key::new());
    let mut signatures = sign(&[&a, &b]);
    signatures[0].sig[0] ^= 1;
    threshold(b"{}", &signatures, &keys_of(&[&a, &b]), &role_keys(&[&a, &b], 1)).unwrap();
}

#[test]
fn a_key_id_listed_twice_counts_once() {
    let (a, b) = (Key::new(), Key::new());
    let role = role_keys(&[&a, &a, &b], 2);
    assert_eq!(threshold(b"{}", &sign(&[&a, &a]), &keys_of(&[&a, &b]), &role).unwrap_err().valid, 1);
}

#[test]
fn one_key_under_two_ids_counts_once() {
    let a = Key::new();
    let other = KeyId::new("alias").unwrap();
    let mut keys = keys_of(&[&a]);
    keys.insert(other.clone(), a.public().with_extra("x", tuf_core::canonical::Json::parse(b"1").unwrap()));
    let mut role = role_keys(&[&a], 2);
    role.keyids.push(other.clone());
    let mut signatures = sign(&[&a, &a]);
    signatures[1].keyid = other;
    assert_eq!(threshold(b"{}", &signatures, &keys, &role).unwrap_err().valid, 1);
}

#[test]
fn keys_of_other_roles_and_unknown_keys_count_nothing() {
    let (a, b, unknown) = (Key::new(), Key::new(), Key::new());
    let keys = keys_of(&[&a, &b]);
    assert_eq!(threshold(b"{}", &sign(&[&b]), &keys, &role_keys(&[&a], 1)).unwrap_err().valid, 0);
    let role = role_keys(&[&unknown], 1);
    assert_eq!(threshold(b"{}", &sign(&[&unknown]), &keys, &role).unwrap_err().valid, 0);
}

#[test]
fn a_threshold_of_zero_does_not_mean_unsigned() {
    let a = Key::new();
    assert!(threshold(b"{}", &[], &keys_of(&[&a]), &role_keys(&[&a], 0)).is_err());
}
