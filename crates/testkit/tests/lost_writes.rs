//! An error of a write that only another process gets: unless a call fails, everything it wrote is on the disk.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use durable_fs::durable::{self, WriteBatch};
use durable_fs::{Fs, RealFs};
use testkit::sim_fs::SimFs;
use tuf_core::store::{CopyFile, FileName, LocalStore, NewFile, ReplaceOptions, Store};

/// Runs `work` once for each of its operations, before which the unsynced bytes of all files are lost. If `work` fails, it
/// runs again. Then the disk must hold the files of `expected`.
fn at_every_loss(work: &dyn Fn(&SimFs) -> bool, expected: &[(String, Vec<u8>)]) {
    for reports_files in [true, false] {
        let base = SimFs::new();
        base.plant_dir("/d/sub");
        base.set_reports_files(reports_files);
        let clean = base.fork();
        assert!(work(&clean));
        let (mut losses, mut failures) = (0, 0);
        for at in 0..clean.operations() {
            let fs = base.fork();
            fs.lose_unsynced_at(at);
            let done = work(&fs);
            losses += usize::from(fs.losses() > 0);
            failures += usize::from(!done);
            assert!(done || work(&fs), "loss at {at}: the second run succeeds");
            fs.drop_caches();
            for (path, bytes) in expected {
                assert_eq!(fs.contents(path).as_ref(), Some(bytes), "loss at {at} {:?}: {path}", clean.log()[at]);
            }
            assert!(!fs.paths().iter().any(|path| path.contains("/.tmp-")), "loss at {at}: {:?}", fs.paths());
        }
        assert!(failures > 0 && losses >= failures);
        println!(
            "{} operations, {losses} with losses, {failures} failures (reports_files={reports_files})",
            clean.operations()
        );
    }
}

fn files(count: usize) -> Vec<(String, Vec<u8>)> {
    (0..count)
        .map(|n| (format!("{}f{n}", if n % 2 == 0 { "" } else { "sub/" }), format!("file {n}").into_bytes()))
        .collect()
}

fn below_d(files: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    files.iter().map(|(name, bytes)| (format!("/d/{name}"), bytes.clone())).collect()
}

fn store(fs: &SimFs) -> LocalStore {
    LocalStore::new(Arc::new(fs.clone()), "/d".into())
}

#[test]
fn one_file_a_few_and_many_are_created_with_all_their_bytes_or_not_at_all() {
    for count in [1, 3, 12] {
        let files = files(count);
        let work = |fs: &SimFs| {
            let files: Vec<(&str, &[u8])> =
                files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
            durable::create_many(fs, Path::new("/d"), &files, 0o644).is_ok()
        };
        at_every_loss(&work, &below_d(&files));
    }
}

#[test]
fn a_replaced_file_has_all_its_bytes() {
    let work = |fs: &SimFs| durable::replace(fs, Path::new("/d/f"), b"bytes", 0o644).is_ok();
    at_every_loss(&work, &[("/d/f".to_owned(), b"bytes".to_vec())]);
}

#[test]
fn staged_files_with_open_and_closed_descriptors_have_all_their_bytes() {
    for count in [3, 6, 24] {
        let files = files(count);
        let work = |fs: &SimFs| {
            let store = store(fs);
            let staged: Result<Vec<_>, _> = files
                .iter()
                .map(|(name, bytes)| {
                    let staged = store.stage("", &mut bytes.as_slice(), 100)?;
                    Ok::<_, tuf_core::store::StoreError>(NewFile::staged(vec![FileName::new(name)?], staged))
                })
                .collect();
            staged.and_then(|staged| store.create_all(staged)).is_ok()
        };
        at_every_loss(&work, &below_d(&files));
    }
}

#[test]
fn files_in_memory_beside_staged_ones_have_all_their_bytes() {
    let files = files(8);
    let work = |fs: &SimFs| {
        let store = store(fs);
        let new = |(n, (name, bytes)): (usize, &(String, Vec<u8>))| {
            let name = FileName::new(name)?;
            Ok::<_, tuf_core::store::StoreError>(match n % 3 {
                0 => NewFile::bytes(name, bytes.clone()),
                1 => NewFile::staged(vec![name], store.stage("", &mut bytes.as_slice(), 100)?),
                _ => NewFile::head_and_tail(name, bytes[..2].to_vec(), store.stage_tail("", 2, &[&bytes[2..]])?),
            })
        };
        let new: Result<Vec<_>, _> = files.iter().enumerate().map(new).collect();
        new.and_then(|new| store.create_all(new)).is_ok()
    };
    at_every_loss(&work, &below_d(&files));
}

#[test]
fn copies_in_a_store_have_all_their_bytes() {
    for count in [3, 9] {
        let files = files(count);
        let work = |fs: &SimFs| {
            let copies: Vec<CopyFile> = files
                .iter()
                .map(|(name, bytes)| {
                    fs.plant(format!("/d/from-{}", name.replace('/', "-")), bytes.clone());
                    let from = FileName::new(format!("from-{}", name.replace('/', "-"))).unwrap();
                    let to = FileName::new(name).unwrap();
                    CopyFile { from, to, expected: None, options: ReplaceOptions::default() }
                })
                .collect();
            store(fs).copy_all(&copies).is_ok()
        };
        at_every_loss(&work, &below_d(&files));
    }
}

#[test]
fn a_failed_batch_stays_failed_for_all_who_share_it() {
    let fs = SimFs::new();
    let batch = WriteBatch::begin(&fs, [Path::new("/")]).unwrap();
    let mut file = fs.create_new(Path::new("/f"), 0o644).unwrap();
    file.write_all(b"lost").unwrap();
    fs.lose_unsynced();
    assert!(batch.covers(&fs, Path::new("/")));
    // The file system itself reports the error to the batch once.
    assert!(batch.sync().is_err());
    assert!(batch.sync().is_err(), "the second user of the batch gets the error too");
    assert!(!batch.covers(&fs, Path::new("/")), "no further file joins it");
}

#[test]
fn on_the_real_file_system_a_batch_is_synced() {
    let temp = tempfile::tempdir().unwrap();
    let batch = WriteBatch::begin(&RealFs, [temp.path(), temp.path()]).unwrap();
    let mut file = RealFs.create_new(&temp.path().join("f"), 0o644).unwrap();
    file.write_all(b"bytes").unwrap();
    batch.close(file).unwrap();
    batch.sync().unwrap();
    batch.sync().unwrap();
}
