use proptest::prelude::*;
use serde_json::{Value, json};
use tuf_core::canonical::{Json, value_to_canonical};
use tuf_core::envelope::ParseError;
use tuf_core::names::RoleName;
use tuf_core::schema::{
    Delegations, HashError, HashPrefix, Hashes, Metadata, PathPattern, Root, Snapshot, SuccinctRoles, TargetMeta,
    Targets, Timestamp, path_hash,
};

use crate::repo::path;

const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn header(kind: &str) -> Value {
    json!({"_type": kind, "spec_version": "1.0.31", "version": 3, "expires": "2030-01-01T00:00:00Z", "x-extra": {"a": []}})
}

fn with(mut object: Value, members: Value) -> Value {
    for (key, value) in members.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

fn key() -> Value {
    json!({"keytype": "rsa", "scheme": "s", "keyval": {"public": "-\nA\n", "zz": 1}, "Upper": null})
}

fn root() -> Value {
    let role = json!({"keyids": ["k1"], "threshold": 1, "x-r": 5});
    let roles = json!({"root": role, "timestamp": role, "snapshot": role, "targets": role, "mirrors": role});
    with(header("root"), json!({"keys": {"k1": key()}, "roles": roles, "consistent_snapshot": false}))
}

fn delegated(name: &str, paths: Value) -> Value {
    with(
        json!({"name": name, "keyids": ["k1"], "threshold": 1, "terminating": false, "x-rstuf-expire-policy": 3}),
        paths,
    )
}

fn targets() -> Value {
    let roles = json!([
        delegated("one", json!({"paths": ["a/*", "b?"]})),
        delegated("two", json!({"path_hash_prefixes": ["0", "ff"]})),
    ]);
    let entries = json!({
        "dir/a": {"length": 0, "hashes": {"sha256": SHA256}, "custom": {}},
        "dir/b": {"length": 5, "hashes": {"sha512": "0".repeat(128), "blake2b": "FF", "sha3": "a"}, "x": true},
        "c\u{e9}": {"length": 5, "hashes": {"sha256": SHA256, "sha512": "a".repeat(128)}},
    });
    with(
        header("targets"),
        json!({"targets": entries, "delegations": {"keys": {"k1": key()}, "roles": roles, "x-d": []}}),
    )
}

fn snapshot() -> Value {
    let meta = json!({
        "a.json": {"version": 1}, "a-b.json": {"version": 2, "length": 7}, "a.b.json": {"version": 1},
        "ab.json": {"version": 9, "hashes": {"sha256": SHA256}, "x": 1}, "a b.json": {"version": 1},
        "targets.json": {"version": 1},
    });
    with(header("snapshot"), json!({"meta": meta}))
}

fn timestamp() -> Value {
    with(header("timestamp"), json!({"meta": {"snapshot.json": {"version": 1, "x": "y"}}}))
}

fn round<M: Metadata>(value: &Value) -> Result<M, ParseError> {
    let canonical = value_to_canonical(value).unwrap();
    let read = M::from_canonical(&canonical)?;
    assert_eq!(String::from_utf8_lossy(&read.to_canonical()), String::from_utf8_lossy(&canonical));
    Ok(read)
}

fn refused<M: Metadata + std::fmt::Debug>(value: &Value) -> String {
    round::<M>(value).unwrap_err().to_string()
}

#[test]
fn foreign_metadata_is_written_as_it_was_read() {
    assert_eq!(round::<Root>(&root()).unwrap().keys.len(), 1);
    assert_eq!(round::<Targets>(&targets()).unwrap().targets.len(), 3);
    assert_eq!(round::<Snapshot>(&snapshot()).unwrap().meta.len(), 6);
    assert_eq!(round::<Timestamp>(&timestamp()).unwrap().snapshot.version, 1);
    let succinct = json!({"keyids": ["k1"], "threshold": 1, "bit_length": 8, "name_prefix": "bin", "x": 1});
    let value = with(targets(), json!({"delegations": {"keys": {}, "succinct_roles": succinct}}));
    round::<Targets>(&value).unwrap();
    let value = with(targets(), json!({"delegations": {"keys": {}, "roles": []}}));
    round::<Targets>(&value).unwrap();
}

#[test]
fn every_member_a_kind_needs_is_missed() {
    fn check<M: Metadata + std::fmt::Debug>(value: &Value, members: &[&str]) {
        for member in members {
            let mut value = value.clone();
            value.as_object_mut().unwrap().remove(*member);
            let error = refused::<M>(&value);
            assert!(error.contains(&format!("`{member}` is missing")), "{error}");
        }
    }
    let common = ["_type", "spec_version", "version", "expires"];
    check::<Root>(&root(), &[&common[..], &["keys", "roles", "consistent_snapshot"]].concat());
    check::<Targets>(&targets(), &[&common[..], &["targets"]].concat());
    check::<Snapshot>(&snapshot(), &[&common[..], &["meta"]].concat());
    check::<Timestamp>(&timestamp(), &common);
    let error = refused::<Timestamp>(&with(timestamp(), json!({"meta": {}})));
    assert_eq!(error, "timestamp.meta: `snapshot.json` is missing");
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let mut value = root();
        value["roles"].as_object_mut().unwrap().remove(role);
        assert_eq!(refused::<Root>(&value), format!("root.roles: `{role}` is missing"));
    }
}

#[test]
fn wrong_values_are_refused_with_their_place() {
    for (member, value, expected) in [
        ("_type", json!("root"), "timestamp._type: expected `timestamp`, found `root`"),
        (
            "spec_version",
            json!("2.0.0"),
            "timestamp.spec_version: version 2.0.0 of the specification is not supported, only 1.x.y",
        ),
        ("spec_version", json!("1"), "timestamp.spec_version: is not a version of the form 1.x.y"),
        ("spec_version", json!("1.a"), "timestamp.spec_version: is not a version of the form 1.x.y"),
        ("version", json!(0), "timestamp.version: versions begin at 1"),
        ("version", json!(-1), "timestamp.version: expected a whole number, zero or more"),
        ("version", json!("1"), "timestamp.version: expected a whole number, zero or more"),
        (
            "expires",
            json!("2030-01-01T00:00:00.5Z"),
            "timestamp.expires: `2030-01-01T00:00:00.5Z` is not a time of the form YYYY-MM-DDTHH:MM:SSZ",
        ),
        ("meta", json!({"snapshot.json": {"version": 0}}), "timestamp.meta.snapshot.json.version: versions begin at 1"),
        (
            "meta",
            json!({"root.json": {"version": 1}}),
            "timestamp.meta.root.json: a timestamp lists snapshot.json alone",
        ),
        ("meta", json!([]), "timestamp.meta: expected an object"),
    ] {
        assert_eq!(refused::<Timestamp>(&with(timestamp(), json!({member: value}))), expected);
    }
    assert!(round::<Timestamp>(&with(timestamp(), json!({"spec_version": "1.0"}))).is_ok());
}

#[test]
fn bad_roles_in_root_are_refused() {
    for (role, expected) in [
        (json!({"keyids": ["k1"], "threshold": 0}), "root.roles.root.threshold: a threshold is at least 1"),
        (json!({"keyids": ["k1", "k1"], "threshold": 1}), "root.roles.root.keyids.1: key id k1 is listed twice"),
        (
            json!({"keyids": ["../k"], "threshold": 1}),
            "root.roles.root.keyids.0: key id `../k` has characters other than ASCII letters and digits",
        ),
        (json!({"keyids": ["k1"]}), "root.roles.root: `threshold` is missing"),
    ] {
        let mut value = root();
        value["roles"]["root"] = role;
        assert_eq!(refused::<Root>(&value), expected);
    }
}

#[test]
fn bad_targets_are_refused() {
    for (name, entry) in [
        ("../a", json!({"length": 0, "hashes": {"sha256": SHA256}})),
        ("a", json!({"length": 0, "hashes": {}})),
        ("a", json!({"length": 0})),
        ("a", json!({"hashes": {"sha256": SHA256}})),
        ("a", json!({"length": -1, "hashes": {"sha256": SHA256}})),
        ("a", json!({"length": 0, "hashes": {"sha256": "ff"}})),
        ("a", json!({"length": 0, "hashes": {"sha256": SHA256.to_uppercase()}})),
        ("a", json!({"length": 0, "hashes": {"sha256": 5}})),
    ] {
        assert!(round::<Targets>(&with(targets(), json!({"targets": {name: entry}}))).is_err(), "{name} {entry}");
    }
}

#[test]
fn bad_delegations_are_refused() {
    let paths = || json!({"paths": ["*"]});
    let both = json!({"paths": [], "path_hash_prefixes": []});
    let mut without_terminating = delegated("a", paths());
    without_terminating.as_object_mut().unwrap().remove("terminating");
    for roles in [
        json!([delegated("a", paths()), delegated("a", paths())]),
        json!([delegated("root", paths())]),
        json!([delegated("a\nb", paths())]),
        json!([delegated("a", json!({}))]),
        json!([delegated("a", both)]),
        json!([delegated("a", json!({"path_hash_prefixes": ["FF"]}))]),
        json!([delegated("a", json!({"path_hash_prefixes": [""]}))]),
        json!([delegated("a", json!({"paths": ["a\nb"]}))]),
        json!([without_terminating]),
    ] {
        let value = with(targets(), json!({"delegations": {"keys": {}, "roles": roles}}));
        assert!(round::<Targets>(&value).is_err(), "{roles}");
    }
    let succinct = |bits: u64| json!({"keyids": [], "threshold": 1, "bit_length": bits, "name_prefix": "b"});
    for delegations in [
        json!({"keys": {}}),
        json!({"keys": {}, "roles": [], "succinct_roles": succinct(4)}),
        json!({"keys": {}, "succinct_roles": succinct(0)}),
        json!({"keys": {}, "succinct_roles": succinct(33)}),
    ] {
        assert!(round::<Targets>(&with(targets(), json!({"delegations": delegations}))).is_err(), "{delegations}");
    }
}

#[test]
fn bad_snapshots_are_refused() {
    for meta in [
        json!({"a": {"version": 1}}),
        json!({"a\nb.json": {"version": 1}}),
        json!({"a.json": {}}),
        json!({".json": {"version": 1}}),
    ] {
        assert!(round::<Snapshot>(&with(snapshot(), json!({"meta": meta}))).is_err(), "{meta}");
    }
}

#[test]
fn bytes_that_are_not_canonical_are_not_read_as_such() {
    let mut bytes = value_to_canonical(&timestamp()).unwrap();
    bytes.push(b' ');
    assert_eq!(Timestamp::from_canonical(&bytes), Err(ParseError::NotCanonical));
    assert!(Timestamp::from_canonical(b"\xff").is_err());
    assert!(Delegations::from_canonical(b"{}").is_err());
}

#[test]
fn parts_can_be_read_and_written_by_themselves() {
    let targets = round::<Targets>(&targets()).unwrap();
    let delegations = targets.delegations.unwrap();
    assert_eq!(Delegations::from_canonical(&delegations.to_canonical()).unwrap(), delegations);
    for meta in targets.targets.values() {
        assert_eq!(TargetMeta::from_canonical(&meta.to_canonical()).unwrap(), *meta);
    }
    assert_eq!(delegations.keys_for(&RoleName::new("one").unwrap()).unwrap().threshold, 1);
    assert!(delegations.keys_for(&RoleName::new("three").unwrap()).is_none());
}

#[test]
fn hashes_are_checked_every_one_of_them() {
    let good = Hashes::sha256_of(b"data");
    good.check(b"data").unwrap();
    assert!(matches!(good.check(b"date"), Err(HashError::Mismatch { algorithm: "sha256", .. })));
    let wrong_512 = good.clone().with_sha512([0; 64]);
    assert!(matches!(wrong_512.check(b"data"), Err(HashError::Mismatch { algorithm: "sha512", .. })));
    let unknown =
        TargetMeta::from_canonical(br#"{"hashes":{"md5":"8d777f385d3dfec8815d20f7496026dc"},"length":4}"#).unwrap();
    assert_eq!(unknown.hashes.check(b"data"), Err(HashError::NoneKnown));
    let mut checker = good.checker();
    checker.update(b"da");
    checker.update(b"ta");
    checker.finish().unwrap();
}

#[test]
fn patterns_match_within_one_component() {
    for (pattern, matching, other) in [
        ("*.zip", &["a.zip", ".zip"][..], &["pkg/a.zip", "a.zipp", "a"][..]),
        ("pkg/*", &["pkg/a", "pkg/.x"], &["pkg", "pkg/a/b", "a/pkg/b"]),
        ("*/*/c", &["a/b/c"], &["a/c", "a/b/d"]),
        ("a?c", &["abc", "aéc"], &["ac", "abbc", "a/c"]),
        ("[ab]c", &["ac", "bc"], &["cc", "c"]),
        ("[!a-c]x", &["dx", "-x"], &["ax", "bx"]),
        ("[]]x", &["]x"], &["[x"]),
        ("[x", &["[x"], &["x"]),
        ("a*b*c", &["abc", "aXbYbZc"], &["ab", "acb"]),
        ("*", &["a"], &["a/b"]),
        ("**", &["a"], &["a/b"]),
    ] {
        let pattern = PathPattern::new(pattern).unwrap();
        for name in matching {
            assert!(pattern.matches(&path(name)), "{pattern:?} {name}");
        }
        for name in other {
            assert!(!pattern.matches(&path(name)), "{pattern:?} {name}");
        }
    }
}

#[test]
fn a_pattern_made_to_take_long_does_not() {
    let pattern = PathPattern::new(&"*a".repeat(100)).unwrap();
    assert!(!pattern.matches(&path(&"a".repeat(99))));
    assert!(!pattern.matches(&path(&format!("{}b", "a".repeat(250)))));
}

#[test]
fn succinct_bins_have_the_names_other_clients_expect() {
    let bins = |bits, prefix: &str| SuccinctRoles::new(vec![], 1, bits, RoleName::new(prefix).unwrap());
    let roles = bins(8, "bin").unwrap();
    assert_eq!((roles.bins(), roles.bin(10).as_str()), (256, "bin-0a"));
    // sha256("files/packages/8/p2/drupal/eca_modeller_bpmn.json") begins with 98726f.
    let target = path("files/packages/8/p2/drupal/eca_modeller_bpmn.json");
    assert!(path_hash(&target).starts_with("98726f"));
    for (bits, expected) in [(1, "b-1"), (4, "b-9"), (5, "b-13"), (8, "b-98"), (9, "b-130"), (12, "b-987")] {
        assert_eq!(bins(bits, "b").unwrap().bin_for(&target), expected);
    }
    assert!(roles.is_bin(&RoleName::new("bin-ff").unwrap()));
    for name in ["bin-100", "bin-f", "bin-0A", "bin", "bin-", "other-00", "binx00"] {
        assert!(!roles.is_bin(&RoleName::new(name).unwrap()), "{name}");
    }
    assert!(!bins(5, "b").unwrap().is_bin(&RoleName::new("b-20").unwrap()));
    assert!(bins(8, &"a".repeat(195)).is_err());
}

#[test]
fn hash_prefixes_are_lower_case_digits() {
    for prefix in ["", "G", "AB", "a b", &"a".repeat(65)] {
        assert!(HashPrefix::new(prefix).is_err(), "{prefix}");
    }
    assert_eq!(HashPrefix::new("0af").unwrap().as_str(), "0af");
}

#[test]
fn an_unknown_member_cannot_replace_a_known_one() {
    let mut timestamp = round::<Timestamp>(&timestamp()).unwrap();
    timestamp.extra.insert("version", Json::parse(b"99").unwrap());
    assert_eq!(Timestamp::from_canonical(&timestamp.to_canonical()).unwrap().version, 3);
}

proptest! {
    #[test]
    fn any_targets_are_written_as_they_were_read(
        entries in prop::collection::btree_map("[a-zé\"\\[#]{1,6}(/[a-z ]{1,3})?", (0u64..1 << 53, any::<bool>(), "[\\PC\n]{0,6}"), 0..20),
        unknown in prop::collection::btree_map("[A-Za-z_~]{1,8}", any::<u32>(), 0..4),
    ) {
        let mut value = with(header("targets"), json!({"targets": {}}));
        for (name, (length, custom, text)) in entries {
            value["targets"][&name] = json!({"length": length, "hashes": {"sha256": SHA256}, (text.clone() + "~"): text});
            if custom {
                value["targets"][&name]["custom"] = json!([{"b": 1, "a": text}]);
            }
        }
        for (key, number) in unknown {
            if value.get(&key).is_none() {
                value[&key] = number.into();
            }
        }
        value.as_object_mut().unwrap().remove("delegations");
        round::<Targets>(&value).unwrap();
    }

    #[test]
    fn damaged_metadata_is_refused_or_read_but_never_panics(at in 0usize..2000, byte in any::<u8>()) {
        for value in [root(), targets(), snapshot(), timestamp()] {
            let mut bytes = value_to_canonical(&value).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Root::from_canonical(&bytes);
            let _ = Targets::from_canonical(&bytes);
            let _ = Snapshot::from_canonical(&bytes);
            let _ = Timestamp::from_canonical(&bytes);
        }
    }
}
