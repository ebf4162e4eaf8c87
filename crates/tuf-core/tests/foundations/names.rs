use proptest::prelude::*;
use tuf_core::names::{KeyId, MetadataFileName, RoleName, TargetPath};

#[test]
fn ordinary_target_paths_are_accepted() {
    for path in ["a", "pkg/a-1.0.zip", "files/packages/8/p2/drupal/token.json", "...", "a b", "é/ü", "a.", ".hidden"]
    {
        assert_eq!(TargetPath::new(path).unwrap().as_str(), path);
    }
    assert!(TargetPath::new(&"a".repeat(255)).is_ok());
    assert!(TargetPath::new(&vec!["a".repeat(255); 16].join("/")).is_ok());
}

#[test]
fn dangerous_target_paths_are_refused() {
    let long = vec!["a".repeat(255); 17].join("/");
    for path in [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "./a",
        "a/./b",
        "a/..",
        "../a",
        "a\\b",
        "a\0",
        "a\nb",
        "\u{7f}",
        "\u{85}",
        "e\u{301}",
        &"a".repeat(256),
        &long,
    ] {
        assert!(TargetPath::new(path).is_err(), "{path:?}");
        assert!(serde_json::from_value::<TargetPath>(path.into()).is_err(), "{path:?}");
    }
}

#[test]
fn an_error_shows_the_name_without_its_control_characters() {
    let error = TargetPath::new(&format!("a\u{1b}[31m\n{}", "b".repeat(500))).unwrap_err().to_string();
    assert!(error.starts_with("target path `a\\u{1b}[31m\\nbbb"), "{error}");
    assert!(error.len() < 200 && error.ends_with("contains a control character"), "{error}");
}

#[test]
fn hashes_go_in_front_of_the_last_component() {
    assert_eq!(TargetPath::new("a/b/c.zip").unwrap().hash_prefixed("ff"), "a/b/ff.c.zip");
    assert_eq!(TargetPath::new("c.zip").unwrap().hash_prefixed("ff"), "ff.c.zip");
    let path = TargetPath::new("a/b/c.zip").unwrap();
    assert_eq!((path.parent(), path.file_name()), (Some("a/b"), "c.zip"));
}

#[test]
fn role_names_of_others_are_read_but_only_tame_ones_are_ours() {
    for (name, ours) in [
        ("targets", true),
        ("bin_984-987", true),
        ("00", false),
        ("1.root", false),
        ("a b", false),
        ("é", false),
        ("a.b", false),
        ("-a", false),
    ] {
        assert_eq!(RoleName::new(name).unwrap().is_ours(), ours, "{name}");
    }
}

#[test]
fn a_role_name_is_percent_encoded_where_it_is_no_file_name() {
    // The name, in a directory, in a URL.
    for (name, file, segment) in [
        ("bin_0-7", "1.bin_0-7.json", "1.bin_0-7.json"),
        ("a b", "1.a b.json", "1.a%20b.json"),
        ("ö", "1.ö.json", "1.%C3%B6.json"),
        ("?", "1.?.json", "1.%3F.json"),
        ("a%2Fb", "1.a%2Fb.json", "1.a%252Fb.json"),
        ("team/app", "1.team%2Fapp.json", "1.team%2Fapp.json"),
        ("/", "1.%2F.json", "1.%2F.json"),
        ("../a", "1...%2Fa.json", "1...%2Fa.json"),
        ("..", "1....json", "1....json"),
        ("a\\b", "1.a%5Cb.json", "1.a%5Cb.json"),
    ] {
        let role = RoleName::new(name).unwrap();
        let versioned = MetadataFileName::versioned(role.clone(), 1);
        assert_eq!((versioned.to_string(), versioned.url_segment()), (file.to_owned(), segment.to_owned()), "{name}");
        let unversioned = MetadataFileName::unversioned(role);
        assert_eq!(unversioned.url_segment(), segment[2..], "{name}");
        assert!(!unversioned.to_string().contains('/') && unversioned.to_string() != "..", "{name}");
    }
}

#[test]
fn role_names_that_no_file_could_have_are_refused() {
    for name in ["", "a\0b", "a\n", "\u{1b}[2J", &"a".repeat(201)] {
        assert!(RoleName::new(name).is_err(), "{name:?}");
    }
    for name in ["team/app", "..", ".hidden", "a\\b", "e\u{301}"] {
        assert!(!RoleName::new(name).unwrap().is_plain(), "{name:?}");
    }
}

#[test]
fn key_ids_are_letters_and_digits() {
    assert!(KeyId::new(&"a1".repeat(64)).is_ok());
    for name in ["", "a/b", "a b", "é", "a-b", &"a".repeat(129)] {
        assert!(KeyId::new(name).is_err(), "{name:?}");
    }
}

proptest! {
    #[test]
    fn an_accepted_target_path_stays_below_its_directory(path in "[a./\\\\\u{0}\u{301}é]{0,12}") {
        if let Ok(path) = TargetPath::new(&path) {
            let below = std::path::Path::new(path.as_str());
            prop_assert!(below.components().all(|c| matches!(c, std::path::Component::Normal(_))));
            prop_assert_eq!(below.components().count(), path.as_str().split('/').count());
        }
    }

    #[test]
    fn an_accepted_name_survives_serde(path in "\\PC{1,20}") {
        if let Ok(path) = TargetPath::new(&path) {
            let json = serde_json::to_string(&path).unwrap();
            prop_assert_eq!(serde_json::from_str::<TargetPath>(&json).unwrap(), path);
        }
    }
}
