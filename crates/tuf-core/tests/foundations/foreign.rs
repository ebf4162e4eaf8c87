//! A repository made by python-tuf (see `fixtures/make.py`): three kinds of keys, delegations of every form.

use std::io::Read;

use tuf_core::client::{Client, ClientError, ClientLimits, Fetch, FetchError};
use tuf_core::envelope::Envelope;
use tuf_core::schema::{Metadata, Root, Snapshot, Targets, Timestamp};

use crate::repo::{now, path};

struct Directory(&'static str);

impl Directory {
    fn at(&self, name: &str) -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foundations/fixtures/repo").join(self.0).join(name)
    }
}

impl Fetch for Directory {
    fn fetch(&self, path: &str, _: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        match std::fs::read(self.at(path)) {
            Ok(bytes) => Ok(Some(Box::new(std::io::Cursor::new(bytes)))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FetchError::new(error)),
        }
    }
}

fn client() -> Client<Directory, Directory> {
    let metadata = Directory("metadata");
    let root = std::fs::read(metadata.at("1.root.json")).unwrap();
    let mut client = Client::new(&root, metadata, Directory("targets"), ClientLimits::default()).unwrap();
    client.refresh(now()).unwrap();
    client
}

#[test]
fn every_target_of_a_python_repository_is_found_and_downloaded() {
    let mut client = client();
    assert_eq!(client.root().version, 2);
    let all = client.all_targets().unwrap();
    // top.txt, pkg/a.zip, eight parts and six binned files.
    assert_eq!(all.len(), 16, "{:?}", all.keys());
    for (target, meta) in &all {
        assert_eq!(client.find_target(target).unwrap().as_ref(), Some(meta));
        assert_eq!(client.download(target).unwrap(), format!("content of {target}\n").into_bytes());
    }
    assert_eq!(all[&path("top.txt")].custom.as_ref().unwrap().as_canonical(), "{\"note\":\"tab\tand é\"}");
}

#[test]
fn what_a_role_is_not_trusted_with_is_not_found() {
    let mut client = client();
    // Listed by `releases`, which is trusted with pkg alone.
    assert_eq!(client.find_target(&path("other/not-trusted-with.zip")).unwrap(), None);
    // Listed by bins, behind the terminating role `locked`.
    assert_eq!(client.find_target(&path("locked/1")).unwrap(), None);
    assert!(matches!(client.download(&path("locked/1")), Err(ClientError::UnknownTarget { .. })));
    assert!(client.find_target(&path("binned/1")).unwrap().is_some());
}

#[test]
fn python_metadata_is_written_as_it_was_read() {
    fn round<M: Metadata>(name: &str) {
        let file = std::fs::read(Directory("metadata").at(name)).unwrap();
        let envelope = Envelope::parse(file).unwrap();
        assert_eq!(M::from_envelope(&envelope).unwrap().to_canonical(), envelope.signed(), "{name}");
        let ours = Envelope::to_bytes(envelope.signed(), envelope.signatures());
        assert_eq!(Envelope::parse(ours).unwrap().signed(), envelope.signed(), "{name}");
    }
    round::<Root>("1.root.json");
    round::<Root>("2.root.json");
    for name in ["targets", "releases", "locked", "part-0", "part-3", "bin_0-7", "bin_8-f"] {
        round::<Targets>(&format!("1.{name}.json"));
    }
    round::<Snapshot>("1.snapshot.json");
    round::<Timestamp>("timestamp.json");
}
