//! Names in repositories of others that ours could not have.

use tuf_core::client::ClientError;
use tuf_core::envelope::{self, Envelope};
use tuf_core::key::Signer;
use tuf_core::names::TargetPath;
use tuf_core::schema::Metadata as _;

use crate::repo::{Repo, now, path, role};

#[test]
fn roles_with_any_name_are_asked_for_by_their_encoded_name() {
    let mut repo = Repo::new();
    let names = ["?", "#", "/delegatedrole", "../delegatedrole", ".", "..", "/", "ö", "a b", "team/app"];
    for name in names {
        repo.delegate(name, &["*"]);
    }
    let entry = repo.store("x", b"x");
    repo.delegated.get_mut(&role("team/app")).unwrap().targets.insert(path("x"), entry);
    for consistent in [true, false] {
        repo.consistent = consistent;
        repo.publish_root(if consistent { 2 } else { 3 }, &[&repo.root_key]);
        repo.contents.put("x", "x");
        repo.publish();
        let mut client = repo.client();
        client.refresh(now()).unwrap();
        repo.metadata.asked();
        assert_eq!(client.download(&path("x")).unwrap(), b"x");
        let expected = [
            "?.json",
            "#.json",
            "%2Fdelegatedrole.json",
            "..%2Fdelegatedrole.json",
            "..json",
            "...json",
            "%2F.json",
            "ö.json",
            "a b.json",
            "team%2Fapp.json",
        ]
        .map(|name| format!("{}{name}", if consistent { "1." } else { "" }));
        assert_eq!(repo.metadata.asked(), expected);
        assert_eq!(client.all_targets().unwrap().len(), 1);
    }
}

/// Publishes the targets role with more targets under names that the types of this library refuse.
fn publish_with_odd_targets(repo: &mut Repo, odd: &[&str]) {
    repo.publish();
    let text = String::from_utf8(repo.targets.to_canonical()).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    for name in odd {
        value["targets"][name] = value["targets"]["good"].clone();
    }
    let signed = tuf_core::canonical::canonicalize(value.to_string().as_bytes()).unwrap().into_owned();
    let signer: &dyn Signer = &repo.targets_key.signer;
    let signatures = envelope::sign(&signed, &[(repo.targets_key.id.clone(), signer)]).unwrap();
    let file = Envelope::to_bytes(&signed, &signatures);
    repo.snapshot.meta.insert(role("targets"), Repo::meta(1, &file));
    repo.metadata.put("1.targets.json", file);
    repo.publish_snapshot();
}

#[test]
fn a_target_with_an_odd_path_is_unusable_and_its_role_is_not() {
    let odd = ["../up", "/absolute", "a//b", "a/./b", "a\\b", "line\nbreak", "\u{1b}[2J", "", &"long".repeat(2000)];
    let mut repo = Repo::new();
    repo.add("good");
    publish_with_odd_targets(&mut repo, &odd);
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    assert_eq!(client.download(&path("good")).unwrap(), b"good");
    let all: Vec<_> = client.all_targets().unwrap().into_keys().collect();
    assert_eq!(all, [path("good")]);
    let unusable: Vec<_> = client.unusable_targets().collect();
    assert_eq!(unusable.len(), odd.len());
    for (of, name, reason) in unusable {
        assert_eq!(of, &role("targets"));
        assert!(odd.contains(&name), "{name:?}");
        let reason = reason.to_string();
        assert!(reason.starts_with("target path `") && !reason.contains(char::is_control), "{reason}");
        // Nothing can ask for it.
        assert!(TargetPath::new(name).is_err());
    }
}

#[test]
fn a_target_with_an_odd_path_and_a_bad_entry_still_spoils_its_role() {
    let mut repo = Repo::new();
    repo.add("good");
    publish_with_odd_targets(&mut repo, &["../up"]);
    let file = String::from_utf8(repo.metadata.get("1.targets.json")).unwrap();
    let file = file.replacen("\"length\":4", "\"length\":-4", 1);
    repo.snapshot.meta.insert(role("targets"), Repo::meta(1, file.as_bytes()));
    repo.metadata.put("1.targets.json", file);
    repo.publish_snapshot();
    assert!(matches!(repo.client().refresh(now()), Err(ClientError::Signature { .. } | ClientError::Parse { .. })));
}
