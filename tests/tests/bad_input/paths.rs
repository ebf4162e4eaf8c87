//! Paths that cannot be target paths.

use std::fs;

use testkit::servers::Python;

use crate::drops::rejected;
use crate::{run, unfinished};

/// A file of this name in a drop.
#[track_caller]
fn named(name: &str) -> String {
    rejected(|_, dir| fs::write(dir.join(name), "x").unwrap()).1
}

#[test]
fn a_drop_with_a_name_that_is_not_nfc_is_rejected() {
    let reason = named("cafe\u{301}.txt");
    assert!(reason.contains("is not in Unicode normalization form C"), "{reason}");
}

#[test]
fn a_drop_with_a_name_that_holds_a_control_character_is_rejected_and_the_character_is_not_shown() {
    for name in ["bell\u{7}", "line\nbreak", "escape\u{1b}[31m", "next\u{85}line"] {
        let reason = named(name);
        assert!(reason.contains("contains a control character"), "{reason}");
        assert!(!reason.chars().any(char::is_control), "{reason:?}");
    }
}

#[test]
fn a_drop_with_a_name_that_is_not_utf8_is_rejected() {
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::OsStr::from_bytes(b"latin-\xe9");
    let (_, reason) = rejected(|_, dir| fs::write(dir.join(name), "x").unwrap());
    assert!(reason.contains("is not UTF-8"), "{reason}");
}

/// A manifest that lists the file there is, and one that lies elsewhere.
fn manifest_with(elsewhere: &str) -> String {
    let sum = |text: &str| hex::encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()));
    format!("{}  innocent\n{}  {elsewhere}\n", sum("not to be lost"), sum("elsewhere"))
}

#[test]
fn dot_dot_in_a_manifest_leads_nowhere_and_rejects_the_drop() {
    let (fleet, reason) = rejected(|fleet, dir| {
        fs::write(fleet.post().join("outside"), "elsewhere").unwrap();
        fs::write(dir.join("SHA256SUMS"), manifest_with("../outside")).unwrap();
    });
    assert_eq!(reason, "\"../outside\" is listed in SHA256SUMS, but missing");
    // A drop whose own name is `..` is one like any other.
    let dir = unfinished(&fleet, "..");
    fs::write(dir.join("dots"), "x").unwrap();
    fleet.release_drop("..");
    fleet.published("..");
}

#[test]
fn an_absolute_name_in_a_manifest_leads_nowhere_and_rejects_the_drop() {
    let (_, reason) = rejected(|fleet, dir| {
        let outside = fleet.path("outside");
        fs::write(&outside, "elsewhere").unwrap();
        fs::write(dir.join("SHA256SUMS"), manifest_with(outside.to_str().unwrap())).unwrap();
    });
    assert!(reason.ends_with("outside\" is listed in SHA256SUMS, but missing"), "{reason}");
}

#[test]
fn a_drop_with_a_name_that_leaves_no_room_for_a_hash_within_255_bytes_is_rejected() {
    for path in ["x".repeat(191), format!("{}/file", "d".repeat(191)), "y".repeat(255)] {
        let (_, reason) = rejected(|_, dir| {
            let path = dir.join(&path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        });
        assert!(reason.contains("too long") && reason.contains("190 bytes"), "{reason}");
    }
}

#[test]
fn a_drop_with_a_path_longer_than_the_system_allows_is_rejected_and_does_not_block_others() {
    // Longer than fits beneath the repository, and longer than any call takes.
    for levels in [11_u32, 30] {
        let (_, reason) = rejected(|_, dir| {
            let deep = "import os, sys\nos.chdir(sys.argv[1])\nfor _ in range(int(sys.argv[2])):\n    \
                        os.mkdir('d' * 180)\n    os.chdir('d' * 180)\nopen('file', 'w').write('x')\n";
            assert!(run(Python::interpreter().to_str().unwrap(), &[&"-c", &deep, &dir, &levels.to_string()]));
        });
        assert!(reason.contains("bytes; 1983 are allowed"), "{reason}");
    }
}

#[test]
fn a_drop_with_a_name_that_is_reserved_for_temporary_files_is_rejected_and_does_not_block_others() {
    for path in [".tmp-file", "dir/.tmp-dir/file", "dir/.nfs-dir/file"] {
        let (_, reason) = rejected(|_, dir| {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        });
        assert!(reason.contains("cannot be stored") && reason.contains("reserved"), "{reason}");
    }
}

#[test]
fn a_drop_nested_deeper_than_64_directories_is_rejected() {
    let (_, reason) = rejected(|_, dir| {
        let deep = dir.join(vec!["d"; 70].join("/"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "x").unwrap();
    });
    assert!(reason.contains("more than 64 directories deep"), "{reason}");
}
