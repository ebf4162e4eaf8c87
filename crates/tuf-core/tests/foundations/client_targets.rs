//! Targets in a directory, which is also a cache.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use testkit::sim_fs::{CrashMode, SimFs};
use tuf_core::client::{
    Client, ClientError, ClientLimits, DownloadedTarget, Fetch, FetchError, TargetDirectory, TargetFileNames,
};

use crate::repo::{Files, Repo, now, path};

fn directory(fs: &SimFs, names: TargetFileNames) -> TargetDirectory {
    TargetDirectory::new(Arc::new(fs.clone()), "/out", names)
}

fn download<T: Fetch>(
    client: &mut Client<Files, T>,
    name: &str,
    directory: &TargetDirectory,
) -> Result<DownloadedTarget, ClientError> {
    client.download_into(&path(name), directory, &mut |_| ())
}

fn published(names: &[&str]) -> (Repo, Client<Files, Files>) {
    let mut repo = Repo::new();
    names.iter().for_each(|name| repo.add(name));
    repo.publish();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    (repo, client)
}

/// The names below the directory, without directories.
fn names(fs: &SimFs) -> Vec<String> {
    fs.files().into_keys().map(|path| path.strip_prefix("/out").unwrap().display().to_string()).collect()
}

#[test]
fn a_file_is_used_again_by_later_runs() {
    let fs = SimFs::new();
    let directory = directory(&fs, TargetFileNames::Paths);
    let (repo, mut client) = published(&["a/b/c.txt", "åäö"]);
    let first = download(&mut client, "a/b/c.txt", &directory).unwrap();
    assert_eq!((first.file.as_path(), first.reused), (Path::new("/out/a/b/c.txt"), false));
    assert_eq!(fs.contents("/out/a/b/c.txt").unwrap(), b"a/b/c.txt");
    download(&mut client, "åäö", &directory).unwrap();
    repo.contents.asked();
    let mut later = repo.client();
    later.refresh(now()).unwrap();
    let again = download(&mut later, "a/b/c.txt", &directory).unwrap();
    assert!(again.reused);
    assert_eq!(again.meta.length, 9);
    assert!(download(&mut later, "åäö", &directory).unwrap().reused);
    assert!(repo.contents.asked().is_empty());
}

#[test]
fn a_newer_content_replaces_the_older_one_under_the_same_path() {
    let fs = SimFs::new();
    let (by_path, by_hash) = (directory(&fs, TargetFileNames::Paths), directory(&fs, TargetFileNames::Hashes));
    let (mut repo, mut client) = published(&["a"]);
    download(&mut client, "a", &by_path).unwrap();
    let old = download(&mut client, "a", &by_hash).unwrap();
    assert_eq!(old.file, Path::new("/out").join(old.meta.hashes.sha256().unwrap().to_string()));
    let entry = repo.store("a", b"newer");
    repo.targets.targets.insert(path("a"), entry);
    repo.targets.version = 2;
    repo.publish();
    client.refresh(now()).unwrap();
    assert!(!download(&mut client, "a", &by_path).unwrap().reused);
    assert_eq!(fs.contents("/out/a").unwrap(), b"newer");
    let new = download(&mut client, "a", &by_hash).unwrap();
    assert_eq!(fs.contents(&new.file).unwrap(), b"newer");
    assert_eq!(fs.contents(&old.file).unwrap(), b"a", "a cache by hash keeps every content");
}

#[test]
fn a_damaged_file_is_downloaded_again() {
    let damages: [&dyn Fn(&SimFs); 4] =
        [&|fs| fs.plant("/out/a", "b"), &|fs| fs.plant("/out/a", ""), &|fs| fs.plant("/out/a", "aa"), &|fs| {
            fs.plant_symlink("/out/a", "/elsewhere")
        }];
    for damage in damages {
        let fs = SimFs::new();
        let directory = directory(&fs, TargetFileNames::Paths);
        let (_, mut client) = published(&["a"]);
        damage(&fs);
        fs.plant("/elsewhere", "a");
        assert!(!download(&mut client, "a", &directory).unwrap().reused);
        assert_eq!(fs.contents("/out/a").unwrap(), b"a");
        assert_eq!(fs.contents("/elsewhere").unwrap(), b"a");
    }
}

#[test]
fn wrong_content_never_gets_the_name_and_leaves_nothing() {
    let (repo, mut client) = published(&["a/b"]);
    let (file, _) = repo.contents.0.borrow().iter().next().map(|(name, file)| (name.clone(), file.clone())).unwrap();
    for content in ["x/y", "a/", "a/bb", ""] {
        let fs = SimFs::new();
        let directory = directory(&fs, TargetFileNames::Paths);
        fs.plant("/out/a/b", "the older content");
        repo.contents.put(file.clone(), content);
        download(&mut client, "a/b", &directory).unwrap_err();
        assert_eq!(names(&fs), ["a/b"]);
        assert_eq!(fs.contents("/out/a/b").unwrap(), b"the older content");
    }
}

#[test]
fn a_target_without_a_hash_that_can_be_checked_is_not_asked_for() {
    let fs = SimFs::new();
    let (mut repo, _) = published(&["a"]);
    let odd = br#"{"hashes":{"md5":"../../up"},"length":1}"#;
    repo.targets.targets.insert(path("a"), tuf_core::schema::TargetMeta::from_canonical(odd).unwrap());
    repo.targets.version = 2;
    repo.publish();
    let mut client = repo.client();
    client.refresh(now()).unwrap();
    repo.contents.asked();
    for names in [TargetFileNames::Paths, TargetFileNames::Hashes] {
        assert!(matches!(download(&mut client, "a", &directory(&fs, names)), Err(ClientError::Hash { .. })));
    }
    assert!(repo.contents.asked().is_empty());
    assert!(names(&fs).is_empty());
}

/// A server whose answers end with an error.
struct Breaking(Files);

impl Fetch for Breaking {
    fn fetch(&self, path: &str, max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        Ok(self.0.fetch(path, max)?.map(|file| Box::new(file.take(max / 2).chain(Broken)) as Box<dyn Read>))
    }
}

#[test]
fn a_download_that_breaks_off_leaves_nothing() {
    let fs = SimFs::new();
    let (repo, _) = published(&["a/long/name"]);
    let root = repo.metadata.get("1.root.json");
    let breaking = Breaking(repo.contents.clone());
    let mut client = Client::new(&root, repo.metadata.clone(), breaking, ClientLimits::default()).unwrap();
    client.refresh(now()).unwrap();
    let mut seen = Vec::new();
    let directory = directory(&fs, TargetFileNames::Paths);
    let error = client.download_into(&path("a/long/name"), &directory, &mut |bytes| seen.push(bytes)).unwrap_err();
    assert!(matches!(error, ClientError::Read { .. }), "{error}");
    assert_eq!(seen, [5]);
    assert!(names(&fs).is_empty());
}

#[test]
fn a_killed_download_leaves_no_half_file() {
    let (repo, mut client) = published(&["dir/a"]);
    let counted = SimFs::new();
    download(&mut client, "dir/a", &directory(&counted, TargetFileNames::Paths)).unwrap();
    for cut in 0..counted.operations() {
        for mode in CrashMode::all(cut as u64) {
            let fs = SimFs::new();
            fs.stop_at(cut);
            let mut client = repo.client();
            client.refresh(now()).unwrap();
            download(&mut client, "dir/a", &directory(&fs, TargetFileNames::Paths)).unwrap_err();
            fs.crash(mode);
            let found = fs.contents("/out/dir/a");
            assert!(found.is_none() || found.as_deref() == Some(b"dir/a"), "cut {cut}, {mode:?}: {found:?}");
            download(&mut client, "dir/a", &directory(&fs, TargetFileNames::Paths)).unwrap();
            assert_eq!(fs.contents("/out/dir/a").unwrap(), b"dir/a");
        }
    }
}
