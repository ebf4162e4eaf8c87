//! The checks that every [`Fs`] must pass, real or simulated.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a check fails by panicking")]

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use durable_fs::{DirEntry, FileKind, Fs};

fn write(fs: &dyn Fs, path: &Path, bytes: &[u8]) {
    let mut file = fs.create_new(path, 0o644).unwrap();
    file.write_all(bytes).unwrap();
    file.sync().unwrap();
}

fn read(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    fs.open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn kind<T>(result: std::io::Result<T>) -> ErrorKind {
    result.err().expect("an error was expected").kind()
}

/// Checks that `fs` keeps the promises of [`Fs`] in the directory `dir`. `dir` must be empty except for these files, which an
/// `Fs` cannot make: `fifo`, a FIFO; `link`, a symbolic link to `plain`; `dirlink`, a symbolic link to `real`.
///
/// # Panics
/// When a check fails.
pub fn check(fs: &Arc<dyn Fs>, dir: &Path) {
    files(fs.as_ref(), dir);
    special_files(fs.as_ref(), dir);
    directories(fs.as_ref(), dir);
    links_and_renames(fs.as_ref(), dir);
    beneath(fs.as_ref(), dir);
    open_directories(fs.as_ref(), dir);
    many_names(fs.as_ref(), dir);
    durability(fs.as_ref(), dir);
    locks(fs, dir);
}

fn files(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("plain");
    assert_eq!(kind(fs.open(&path)), ErrorKind::NotFound);
    assert_eq!(kind(fs.stat(&path)), ErrorKind::NotFound);
    assert_eq!(kind(fs.remove_file(&path)), ErrorKind::NotFound);
    assert_eq!(kind(fs.set_mtime(&path, 1)), ErrorKind::NotFound);
    let mut file = fs.create_new(&path, 0o640).unwrap();
    file.write_all(b"one ").unwrap();
    // Written bytes are visible immediately, synced or not.
    assert_eq!(read(fs, &path), b"one ");
    file.write_all(b"two").unwrap();
    file.flush().unwrap();
    file.sync().unwrap();
    drop(file);
    assert_eq!(read(fs, &path), b"one two");
    let headless = dir.join("headless");
    let mut file = fs.create_new(&headless, 0o644).unwrap();
    file.write_all(b"____body").unwrap();
    file.sync().unwrap();
    file.write_first(b"head").unwrap();
    file.write_all(b" and tail").unwrap();
    file.sync().unwrap();
    drop(file);
    assert_eq!(read(fs, &headless), b"headbody and tail");
    fs.remove_file(&headless).unwrap();
    assert_eq!(kind(fs.create_new(&path, 0o644)), ErrorKind::AlreadyExists);

    let stat = fs.stat(&path).unwrap();
    assert_eq!((stat.kind, stat.len, stat.nlink, stat.mode), (FileKind::File, 7, 1, 0o640));
    let open = fs.open(&path).unwrap();
    assert_eq!(open.stat().unwrap().id, stat.id);
    let before = stat;
    fs.set_mtime(&path, 1_234_567_890).unwrap();
    let stat = fs.stat(&path).unwrap();
    assert_eq!((stat.mtime, stat.mtime_nanos), (1_234_567_890, 0));
    // The time of the change is the kernel's, also of a rename, and follows no chosen time.
    assert!(stat.ctime >= before.ctime, "{stat:?}");
    let renamed = dir.join("renamed");
    fs.rename(&path, &renamed).unwrap();
    let after = fs.stat(&renamed).unwrap();
    assert!((after.ctime, after.ctime_nanos) >= (stat.ctime, stat.ctime_nanos), "{after:?}");
    assert_eq!(after.mtime, 1_234_567_890);
    fs.rename(&renamed, &path).unwrap();

    // An open file outlives its name.
    let gone = dir.join("gone");
    write(fs, &gone, b"still here");
    let mut open = fs.open(&gone).unwrap();
    fs.remove_file(&gone).unwrap();
    let mut bytes = Vec::new();
    open.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"still here");
    assert_eq!(kind(fs.open(&gone)), ErrorKind::NotFound);
    assert_eq!(kind(fs.create_new(&dir.join("no/such/dir"), 0o644)), ErrorKind::NotFound);
    assert_eq!(kind(fs.create_new(&path.join("below"), 0o644)), ErrorKind::NotADirectory);
    assert_eq!(kind(fs.open(&path.join("below"))), ErrorKind::NotADirectory);
}

fn special_files(fs: &dyn Fs, dir: &Path) {
    let (fifo, link) = (dir.join("fifo"), dir.join("link"));
    assert_eq!(fs.stat(&fifo).unwrap().kind, FileKind::Other);
    assert_eq!(fs.stat(&link).unwrap().kind, FileKind::Symlink);
    // Opening a FIFO would wait for its writer for ever.
    for path in [&fifo, &link, &dir.to_path_buf()] {
        let error = fs.open(path).err().expect("only regular files are opened");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with("not a regular file but a "), "{error}");
    }
    assert_eq!(kind(fs.create_new(&link, 0o644)), ErrorKind::AlreadyExists);
    assert_eq!(kind(fs.read_dir(&dir.join("dirlink"))), ErrorKind::NotADirectory);
}

fn directories(fs: &dyn Fs, dir: &Path) {
    let (real, below) = (dir.join("real"), dir.join("real/below"));
    fs.create_dir(&real, 0o750).unwrap();
    assert_eq!(fs.stat(&real).unwrap().kind, FileKind::Dir);
    assert_eq!(fs.stat(&real).unwrap().mode & 0o777, 0o750);
    assert_eq!(kind(fs.create_dir(&real, 0o755)), ErrorKind::AlreadyExists);
    assert_eq!(kind(fs.create_dir(&dir.join("a/b"), 0o755)), ErrorKind::NotFound);
    fs.create_dir(&below, 0o755).unwrap();
    write(fs, &real.join("file"), b"x");
    let mut entries = fs.read_dir(&real).unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let entry = |name: &str, kind| DirEntry { name: OsString::from(name), kind };
    assert_eq!(entries, [entry("below", FileKind::Dir), entry("file", FileKind::File)]);
    let kinds = |name: &str| fs.read_dir(dir).unwrap().into_iter().find(|entry| entry.name == name).unwrap().kind;
    assert_eq!(
        (kinds("fifo"), kinds("link"), kinds("dirlink")),
        (FileKind::Other, FileKind::Symlink, FileKind::Symlink)
    );
    // A link above is followed, and one with a slash behind it.
    assert_eq!(read(fs, &dir.join("dirlink/file")), b"x");
    assert_eq!(fs.read_dir(&dir.join("dirlink").join("")).unwrap().len(), 2);
    assert_eq!(fs.stat(&dir.join("dirlink").join(".")).unwrap().kind, FileKind::Dir);

    assert_eq!(kind(fs.remove_dir(&real)), ErrorKind::DirectoryNotEmpty);
    assert_eq!(kind(fs.remove_file(&below)), ErrorKind::IsADirectory);
    assert_eq!(kind(fs.remove_dir(&real.join("file"))), ErrorKind::NotADirectory);
    fs.remove_dir(&below).unwrap();
    assert_eq!(kind(fs.remove_dir(&below)), ErrorKind::NotFound);
    assert_eq!(kind(fs.read_dir(&below)), ErrorKind::NotFound);
    assert_eq!(kind(fs.read_dir(&real.join("file"))), ErrorKind::NotADirectory);
    assert!(fs.space(dir).unwrap().bytes > 0);
}

fn links_and_renames(fs: &dyn Fs, dir: &Path) {
    let path = |name: &str| dir.join(name);
    write(fs, &path("a"), b"a");
    write(fs, &path("b"), b"b");
    fs.link(&path("a"), &path("a2")).unwrap();
    assert_eq!(fs.stat(&path("a")).unwrap().id, fs.stat(&path("a2")).unwrap().id);
    assert_eq!(fs.stat(&path("a")).unwrap().nlink, 2);
    assert_eq!(kind(fs.link(&path("a"), &path("b"))), ErrorKind::AlreadyExists);
    assert_eq!(kind(fs.link(&path("missing"), &path("c"))), ErrorKind::NotFound);
    assert_eq!(read(fs, &path("b")), b"b");

    // Both are names of one file: nothing happens.
    fs.rename(&path("a"), &path("a2")).unwrap();
    assert!(fs.stat(&path("a")).is_ok() && fs.stat(&path("a2")).is_ok());
    fs.rename(&path("a"), &path("b")).unwrap();
    assert_eq!((read(fs, &path("b")), kind(fs.stat(&path("a")))), (b"a".to_vec(), ErrorKind::NotFound));
    assert_eq!(kind(fs.rename(&path("a"), &path("b"))), ErrorKind::NotFound);

    fs.create_dir(&path("d1"), 0o755).unwrap();
    fs.create_dir(&path("d2"), 0o755).unwrap();
    write(fs, &path("d1/f"), b"f");
    assert_eq!(kind(fs.rename(&path("b"), &path("d1"))), ErrorKind::IsADirectory);
    assert_eq!(kind(fs.rename(&path("d1"), &path("b"))), ErrorKind::NotADirectory);
    assert_eq!(kind(fs.rename(&path("d1"), &path("d1/inside"))), ErrorKind::InvalidInput);
    // An empty directory is replaced, one with something in it never.
    fs.rename(&path("d1"), &path("d2")).unwrap();
    assert_eq!(read(fs, &path("d2/f")), b"f");
    fs.create_dir(&path("d1"), 0o755).unwrap();
    let refused = kind(fs.rename(&path("d1"), &path("d2")));
    assert!(matches!(refused, ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists));
    assert_eq!(kind(fs.link(&path("d1"), &path("d3"))), ErrorKind::PermissionDenied);
}

fn beneath(fs: &dyn Fs, dir: &Path) {
    let open = |name: &str| fs.open_beneath(dir, Path::new(name));
    let mut bytes = Vec::new();
    open("real/file").unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"x");
    for name in ["link", "dirlink/file", "real", "fifo", "../x", "real/../plain", "/etc/passwd", "real/../../x"] {
        assert_eq!(kind(open(name)), ErrorKind::InvalidInput, "{name}");
    }
    assert_eq!(kind(open("real/missing")), ErrorKind::NotFound);
    assert_eq!(kind(open("plain/below")), ErrorKind::NotADirectory);
    // The directory itself is the caller's: it may be a link.
    assert!(fs.open_beneath(&dir.join("dirlink"), Path::new("file")).is_ok());
}

fn open_directories(fs: &dyn Fs, dir: &Path) {
    let name = OsStr::new;
    for (path, error) in
        [("missing", ErrorKind::NotFound), ("plain", ErrorKind::NotADirectory), ("dirlink", ErrorKind::NotADirectory)]
    {
        assert_eq!(kind(fs.open_dir(&dir.join(path))), error, "{path}");
    }
    // A configured directory may be a link.
    assert!(fs.open_dir(&dir.join("dirlink").join("")).unwrap().stat_of(name("file")).is_ok());

    let top = fs.open_dir(dir).unwrap();
    assert_eq!(top.stat().unwrap().id, fs.stat(dir).unwrap().id);
    let mut entries = top.entries().unwrap();
    let mut by_path = fs.read_dir(dir).unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    by_path.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(entries, by_path);
    // A second list begins at the start.
    assert_eq!(top.entries().unwrap().len(), entries.len());
    assert_eq!(top.stat_of(name("dirlink")).unwrap().kind, FileKind::Symlink);
    assert_eq!(kind(top.open_dir(name("dirlink"))), ErrorKind::NotADirectory);
    assert_eq!(kind(top.open_dir(name("plain"))), ErrorKind::NotADirectory);
    for special in ["link", "fifo", "real"] {
        assert_eq!(kind(top.open_file(name(special))), ErrorKind::InvalidInput, "{special}");
    }
    for bad in ["", ".", "..", "real/file", "/etc/passwd", "../x"] {
        let bad = name(bad);
        assert_eq!(kind(top.open_file(bad)), ErrorKind::InvalidInput, "{bad:?}");
        assert_eq!(kind(top.open_dir(bad)), ErrorKind::InvalidInput, "{bad:?}");
        assert_eq!(kind(top.stat_of(bad)), ErrorKind::InvalidInput, "{bad:?}");
        assert_eq!(kind(top.create_file(bad, 0o644)), ErrorKind::InvalidInput, "{bad:?}");
        assert_eq!(kind(top.create_dir(bad, 0o755)), ErrorKind::InvalidInput, "{bad:?}");
        assert_eq!(kind(top.remove_file(bad)), ErrorKind::InvalidInput, "{bad:?}");
        assert_eq!(kind(top.remove_dir(bad)), ErrorKind::InvalidInput, "{bad:?}");
        assert_eq!(kind(top.rename_here(&dir.join("plain"), bad)), ErrorKind::InvalidInput, "{bad:?}");
    }

    top.create_dir(name("held"), 0o755).unwrap();
    assert_eq!(kind(top.create_dir(name("held"), 0o755)), ErrorKind::AlreadyExists);
    let held = top.open_dir(name("held")).unwrap();
    let mut file = held.create_file(name("f"), 0o640).unwrap();
    file.write_all(b"by descriptor").unwrap();
    file.sync().unwrap();
    held.sync().unwrap();
    assert_eq!(kind(held.create_file(name("f"), 0o640)), ErrorKind::AlreadyExists);
    assert_eq!(kind(top.create_file(name("dirlink"), 0o640)), ErrorKind::AlreadyExists);
    let mut bytes = Vec::new();
    held.open_file(name("f")).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"by descriptor");
    // It stays the same directory when another one gets its name.
    fs.rename(&dir.join("held"), &dir.join("moved")).unwrap();
    fs.create_dir(&dir.join("held"), 0o755).unwrap();
    assert!(held.stat_of(name("f")).is_ok());
    write(fs, &dir.join("to-rename"), b"renamed");
    held.rename_here(&dir.join("to-rename"), name("f")).unwrap();
    assert_eq!(read(fs, &dir.join("moved/f")), b"renamed");
    assert_eq!(kind(fs.stat(&dir.join("held/f"))), ErrorKind::NotFound);

    assert_eq!(kind(top.remove_file(name("moved"))), ErrorKind::IsADirectory);
    assert_eq!(kind(top.remove_dir(name("moved"))), ErrorKind::DirectoryNotEmpty);
    assert_eq!(kind(top.remove_dir(name("dirlink"))), ErrorKind::NotADirectory);
    held.remove_file(name("f")).unwrap();
    assert_eq!(kind(held.remove_file(name("f"))), ErrorKind::NotFound);
    assert_eq!(kind(held.stat_of(name("f"))), ErrorKind::NotFound);
    top.remove_dir(name("moved")).unwrap();
    top.remove_dir(name("held")).unwrap();
    // Removed, and still open: it stays empty.
    assert!(held.entries().unwrap().is_empty());
    assert_eq!(kind(held.create_file(name("f"), 0o640)), ErrorKind::NotFound);
}

/// Names that are removed as they are read are each read once.
fn many_names(fs: &dyn Fs, dir: &Path) {
    const NAMES: usize = 3_000;
    let many = dir.join("many");
    fs.create_dir(&many, 0o755).unwrap();
    for n in 0..NAMES {
        drop(fs.create_new(&many.join(format!("a name of some length {n}")), 0o644).unwrap());
    }
    let open = fs.open_dir(&many).unwrap();
    // A list that is left early takes nothing from the next.
    assert_eq!(open.iter_entries().unwrap().take(5).filter(Result::is_ok).count(), 5);
    let mut read = 0;
    for entry in open.iter_entries().unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.kind, FileKind::File);
        open.remove_file(&entry.name).unwrap();
        read += 1;
    }
    assert_eq!(read, NAMES);
    fs.remove_dir(&many).unwrap();
}

fn durability(fs: &dyn Fs, dir: &Path) {
    fs.sync_dir(dir).unwrap();
    fs.begin_sync(dir).unwrap().sync().unwrap();
    assert_eq!(kind(fs.sync_dir(&dir.join("missing"))), ErrorKind::NotFound);
    assert_eq!(kind(fs.begin_sync(&dir.join("plain"))), ErrorKind::NotADirectory);
}

/// Longer than any test holds a lock.
const LOCK_WAIT: Duration = Duration::from_secs(600);

fn locks(fs: &Arc<dyn Fs>, dir: &Path) {
    let path = dir.join("lock");
    let held = fs.lock(&path, LOCK_WAIT).unwrap();
    assert_eq!(fs.stat(&path).unwrap().kind, FileKind::File);
    assert_eq!(kind(fs.lock(&path, Duration::ZERO).map(drop)), ErrorKind::TimedOut);
    let released = Arc::new(AtomicBool::new(false));
    let waiter = {
        let (fs, path, released) = (Arc::clone(fs), path.clone(), Arc::clone(&released));
        std::thread::spawn(move || {
            let _held = fs.lock(&path, LOCK_WAIT).unwrap();
            released.load(Ordering::SeqCst)
        })
    };
    released.store(true, Ordering::SeqCst);
    drop(held);
    assert!(waiter.join().unwrap(), "two held the lock at once");
    // Released by its drop; another name is another lock.
    let _again = fs.lock(&path, LOCK_WAIT).unwrap();
    let _other = fs.lock(&dir.join("other-lock"), LOCK_WAIT).unwrap();
}
