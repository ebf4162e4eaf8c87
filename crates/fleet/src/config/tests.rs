use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use durable_fs::RealFs;
use service::config::{ConfigError, Origin, Sources};

use super::*;
use crate::roles::{KeyRole, WorkerRole};

fn load(yaml: Option<&str>, env: &[(&str, &str)], set: &[&str]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = yaml.map(|yaml| {
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, yaml).unwrap();
        path
    });
    let mut env: BTreeMap<String, String> =
        env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    if file.is_none() {
        // Whatever this machine has in /etc stays out of the tests.
        let empty = dir.path().join("empty.yaml");
        std::fs::write(&empty, "").unwrap();
        env.entry("RUGGED_CONFIG".into()).or_insert(empty.display().to_string());
    }
    let set = set.iter().map(|pair| (*pair).to_owned()).collect();
    Config::load(&Sources { file, env, set }, &RealFs)
}

fn refused(yaml: &str) -> String {
    load(Some(yaml), &[], &[]).unwrap_err().to_string()
}

#[test]
fn defaults_are_valid_and_complete() {
    let config = Config::builder().build().unwrap();
    assert_eq!(config.settings().len(), ROWS.len());
    assert!(config.settings().iter().all(|setting| setting.origin == Origin::Default));
    assert_eq!(config.metadata_path(), Path::new("/var/rugged/tuf_repo/metadata"));
    assert_eq!(config.trusted_root, Path::new("/var/rugged/verification_keys/root.json"));
    assert_eq!(config.roles.timestamp.renew_before_seconds, 28_800);
    assert_eq!(config.process.health_address, None);
    assert!(!config.process.instance.is_empty());
}

#[test]
fn every_key_is_documented_and_has_a_variable_of_its_own() {
    let mut variables: Vec<String> = ROWS.iter().map(|spec| SETTINGS.variable(spec)).collect();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), ROWS.len());
    for spec in ROWS {
        assert!(spec.doc.ends_with('.'), "{}", spec.key);
        assert!(!SETTINGS.variable(spec).ends_with("_FILE"), "{} would be taken for a secret's file", spec.key);
    }
}

#[test]
fn flags_win_over_environment_over_file_over_default_and_each_says_so() {
    let yaml = "# a comment\nscheduler_scan_period: 0.5\nroles:\n  root:\n    expiry: 100\n    threshold: 3\n  timestamp:\n    expiry: 60\n";
    let config = load(
        Some(yaml),
        &[("RUGGED_ROLES_ROOT_EXPIRY", "200"), ("RUGGED_ROLES_TIMESTAMP_EXPIRY", "61"), ("HOME", "/")],
        &["roles.timestamp.expiry=62", "keys.root=root,root1"],
    )
    .unwrap();
    assert_eq!(config.scheduler_scan_period, Duration::from_millis(500));
    assert_eq!(config.roles.root.threshold, 3);
    assert_eq!(config.roles.root.expiry_seconds, 200);
    assert_eq!(config.roles.timestamp.expiry_seconds, 62);
    assert_eq!(config.keys.root, ["root", "root1"]);
    let origin = |key: &str| config.setting(key).unwrap().origin.to_string();
    assert!(origin("scheduler_scan_period").ends_with("config.yaml:2"));
    assert!(origin("roles.root.threshold").ends_with("config.yaml:6"));
    assert_eq!(origin("roles.root.expiry"), "RUGGED_ROLES_ROOT_EXPIRY");
    assert_eq!(origin("roles.timestamp.expiry"), "--set");
    assert_eq!(origin("number_of_bins"), "default");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_a_suggestion() {
    let message = refused("environment: testing\nshceduler_scan_period: 5\n");
    assert!(message.contains("config.yaml:2: unknown key `shceduler_scan_period`"), "{message}");
    assert!(message.ends_with("did you mean `scheduler_scan_period`?"), "{message}");
    let message = refused("roles:\n  root:\n    expires: 5\n");
    assert!(message.contains(":3: unknown key `roles.root.expires`; did you mean `roles.root.expiry`?"), "{message}");
    let message = load(None, &[("RUGGED_BROKER_ULR", "memory://")], &[]).unwrap_err().to_string();
    assert!(message.ends_with("did you mean `RUGGED_BROKER_URL`?"), "{message}");
    let message = load(None, &[], &["repo_pth=/x"]).unwrap_err().to_string();
    assert_eq!(message, "--set: unknown key `repo_pth`; did you mean `repo_path`?");
    assert!(refused("zzz: 1\n").ends_with("unknown key `zzz`"));
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_with_key_origin_and_form() {
    let message = refused("\nroles:\n  root:\n    threshold: many\n");
    assert!(
        message.ends_with("config.yaml:4: `roles.root.threshold` is `many`; expected a whole number from 1 to 1024"),
        "{message}"
    );
    assert!(refused("number_of_bins: 100\n").ends_with("expected 0 or a power of two from 2 to 16384"));
    assert!(refused("repo_path: {a: b}\n").contains("`repo_path` is a mapping; expected a path"));
    assert!(refused("repo_path: [a, b]\n").contains("`repo_path` is a list"));
    assert!(refused("repo_path:\n").contains("`repo_path` is empty"));
    assert!(refused("roles: 5\n").contains("`roles` is a value; expected a mapping of further keys"));
    assert!(refused("- a\n").contains("a configuration is a mapping"));
    let message = load(None, &[("RUGGED_CONSISTENT_SNAPSHOT", "maybe")], &[]).unwrap_err().to_string();
    assert_eq!(message, "RUGGED_CONSISTENT_SNAPSHOT: `consistent_snapshot` is `maybe`; expected `true` or `false`");
}

#[test]
fn a_key_given_twice_is_refused() {
    assert!(refused("repo_path: /a\nrepo_path: /b\n").contains(":2"));
    assert!(
        refused("roles: {root: {expiry: 5}}\nroles.root.expiry: 6\n").contains("`roles.root.expiry` is given twice")
    );
    assert!(refused("number_of_bins: 4\nnumber_of_bins: 8\n").ends_with(":2: `number_of_bins` is given twice"));
}

#[test]
fn a_fault_of_the_yaml_names_its_line_once() {
    let message = refused("repo_path: [a\n");
    assert!(message.contains("config.yaml:1: ") || message.contains("config.yaml:2: "), "{message}");
    assert!(!message.contains(" at line "), "{message}");
}

#[test]
fn a_password_in_an_address_in_the_wrong_place_is_not_shown() {
    let message = refused("result_backend: redis://:hunter2@cache:6379/0\n");
    assert!(message.contains("redis://:***@cache:6379/0") && !message.contains("hunter2"), "{message}");
}

#[test]
fn an_unknown_variable_is_named_as_one() {
    let message = load(None, &[("RUGGED_FOO", "x")], &[]).unwrap_err().to_string();
    assert!(message.starts_with("unknown environment variable `RUGGED_FOO`"), "{message}");
}

#[test]
fn a_renewal_longer_than_the_lifetime_is_refused() {
    let error = Config::builder().set("roles.timestamp.expiry", "60").set("roles.timestamp.renew_before", "60").build();
    assert!(matches!(error, Err(ConfigError::Contradiction(_))));
}

#[test]
fn retention_is_on_unless_it_is_turned_off_and_never_below_a_day() {
    let retention = |set: &[&str]| load(None, &[], set).map(|config| config.retention);
    assert_eq!(retention(&[]).unwrap(), Some(Duration::from_secs(172_800)));
    assert_eq!(retention(&["retention.enabled=false"]).unwrap(), None);
    assert!(retention(&["retention.keep_seconds=86399"]).is_err());
}

#[test]
fn secrets_show_nowhere() {
    let secret = "amqp://rugged:s3cret@rabbit:5672/tuf";
    let config = load(Some(&format!("broker_url: {secret}\n")), &[], &[]).unwrap();
    assert_eq!(config.process.broker.url, secret);
    assert_eq!(config.setting("broker_url").unwrap().value, "amqp://rugged:***@rabbit:5672/tuf");
    for text in [format!("{config:?}"), format!("{:?}", config.settings()), config.shown_broker_url()] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    let sources = Sources { set: vec![format!("broker_url={secret}")], ..Sources::default() };
    assert!(!format!("{sources:?}").contains("s3cret"));
    assert!(!format!("{:?}", Config::builder().set("broker_url", secret)).contains("s3cret"));
    for error in [
        load(Some("broker_url: s3cret\n"), &[], &[]).unwrap_err(),
        load(Some("broker_url: \"amqp://s3cret\n"), &[], &[]).unwrap_err(),
        load(None, &[("RUGGED_BROKER_URL", "s3cret")], &[]).unwrap_err(),
        load(None, &[], &["s3cret"]).unwrap_err(),
    ] {
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    }
}

#[test]
fn a_secret_can_come_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker");
    std::fs::write(&file, "amqp://u:p@h/v\n").unwrap();
    // As Kubernetes mounts it: a link.
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let link = link.to_str().unwrap();
    let config = load(None, &[("RUGGED_BROKER_URL_FILE", link)], &[]).unwrap();
    assert_eq!(config.process.broker.url, "amqp://u:p@h/v");
    assert!(config.setting("broker_url").unwrap().origin.to_string().starts_with("RUGGED_BROKER_URL_FILE ("));
    let both = load(None, &[("RUGGED_BROKER_URL_FILE", link), ("RUGGED_BROKER_URL", "memory://")], &[]);
    assert!(matches!(both, Err(ConfigError::Twice { .. })));
    let missing = load(None, &[("RUGGED_BROKER_URL_FILE", "/nonexistent/secret")], &[]);
    assert!(matches!(missing, Err(ConfigError::Unreadable { .. })));
    let emptied = load(None, &[("RUGGED_BROKER_URL_FILE", ""), ("RUGGED_BROKER_URL", "amqp://h/v")], &[]).unwrap();
    assert_eq!(emptied.process.broker.url, "amqp://h/v");
    // Only secrets: a path in a file is a mistake.
    assert!(matches!(load(None, &[("RUGGED_REPO_PATH_FILE", link)], &[]), Err(ConfigError::UnknownVariable { .. })));
}

#[test]
fn a_file_of_addresses_is_named_in_the_configuration_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker");
    std::fs::write(&file, "amqp://u:s3cret@h/v;amqp://u:s3cret@i/v\n").unwrap();
    let named = format!("broker_url_file: {}\n", file.display());
    let config = load(Some(&named), &[], &[]).unwrap();
    assert_eq!(config.process.broker.url_file.as_deref(), Some(file.as_path()));
    assert_eq!(config.connect_options(String::new()).url_file, config.process.broker.url_file);
    assert_eq!(config.shown_broker_url(), "amqp://u:***@h/v;amqp://u:***@i/v");
    assert!(!format!("{config:?}").contains("s3cret"));
    let set = format!("broker_url_file={}", file.display());
    assert!(load(None, &[], &[&set]).unwrap().process.broker.url_file.is_some());
    // A later layer wins as a whole.
    let over = load(Some(&named), &[("RUGGED_BROKER_URL", "memory://")], &[]).unwrap();
    assert_eq!((over.process.broker.url.as_str(), over.process.broker.url_file), ("memory://", None));
    let both = load(Some(&format!("{named}broker_url: memory://\n")), &[], &[]);
    assert!(matches!(both, Err(ConfigError::Twice { .. })));
    let missing = load(Some("broker_url_file: /nonexistent\n"), &[], &[]);
    assert!(matches!(missing, Err(ConfigError::Unreadable { .. })));
}

#[test]
fn several_brokers_are_a_list_and_each_is_shown_without_its_password() {
    let config = load(Some("broker_url:\n  - amqp://u:s3cret@h/v\n  - amqps://u:s3cret@i/v\n"), &[], &[]).unwrap();
    assert_eq!(config.process.broker.url, "amqp://u:s3cret@h/v;amqps://u:s3cret@i/v");
    assert_eq!(config.setting("broker_url").unwrap().value, "amqp://u:***@h/v;amqps://u:***@i/v");
    for bad in ["broker_url: []\n", "broker_url: [s3cret]\n", "broker_url: ['amqp://s3cret;amqp://h']\n"] {
        let error = load(Some(bad), &[], &[]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    }
}

#[test]
fn tls_is_configured_for_brokers_that_have_it() {
    let tls = "broker_tls:\n  ca: /tls/ca.pem\n  cert: /tls/me.crt\n  key: /tls/me.key\n";
    let config = load(Some(&format!("broker_url: amqps://h/v?password_file=/pw/p\n{tls}")), &[], &[]).unwrap();
    let files = config.connect_options(String::new()).tls.files;
    assert_eq!(files.key.as_deref(), Some(Path::new("/tls/me.key")));
    let named: Vec<_> = config.process.broker.files().iter().map(|path| path.display().to_string()).collect();
    assert_eq!(named, ["/tls/ca.pem", "/tls/me.crt", "/tls/me.key", "/pw/p"]);
    for bad in [format!("broker_url: amqps://h;amqp://i\n{tls}"), "broker_tls:\n  key: /tls/me.key\n".to_owned()] {
        assert!(matches!(load(Some(&bad), &[], &[]), Err(ConfigError::Contradiction(_))), "{bad}");
    }
}

#[test]
fn tasks_to_be_sent_again_and_again_are_configured_by_name() {
    let yaml = "schedule:\n  nightly:\n    task: refresh-expiry\n    queue: targets-worker\n    crontab: '0 3 * * mon'\n    \
                kwargs: '{\"force\": true}'\n    jitter: 60\n  look:\n    task: find-new-targets\n    every: 90\n    expires: 5\n";
    let config = load(Some(yaml), &[], &[]).unwrap();
    let [look, nightly] = config.schedule.as_slice() else { panic!("{:?}", config.schedule) };
    assert_eq!((look.name.as_str(), look.queue.as_str()), ("look", "monitor-worker"));
    assert_eq!((look.schedule.to_string(), look.expires), ("every 90s".to_owned(), Some(Duration::from_secs(5))));
    assert_eq!((nightly.schedule.to_string().as_str(), nightly.jitter.as_secs()), ("0 3 * * mon", 60));
    assert_eq!(nightly.kwargs["force"], true);
    let variable = r#"{"look": {"task": "find-new-targets", "every": 90, "expires": 5}}"#;
    assert_eq!(load(None, &[("RUGGED_SCHEDULE", variable)], &[]).unwrap().schedule.first(), Some(look));
    for bad in [
        "{a: {task: t}}",
        "{a: {task: t, every: 1, crontab: '* * * * *'}}",
        "{a: {task: t, every: 0.5}}",
        "{a: {task: t, crontab: '* * 30 2 *'}}",
        "{a: {task: t, every: 1, kwargs: '[]'}}",
        "{a: {task: t, every: 1, jitter: -1}}",
        "{a: {task: t, every: 1, wen: 1}}",
        "[a]",
        "word",
    ] {
        let message = refused(&format!("schedule: {bad}\n"));
        assert!(message.contains("`schedule`") && message.contains("expected a mapping of names"), "{bad}: {message}");
    }
}

#[test]
fn variables_of_kubernetes_services_are_not_taken_for_keys() {
    let config = load(None, &[("RUGGED_SERVICE_HOST", "10.0.0.1"), ("RUGGED_PORT_80_TCP", "tcp://10.0.0.1:80")], &[]);
    assert!(config.is_ok());
}

#[test]
fn a_named_file_must_exist_and_the_default_one_need_not() {
    let missing =
        Config::load(&Sources { file: Some("/nonexistent/config.yaml".into()), ..Sources::default() }, &RealFs);
    assert!(matches!(missing, Err(ConfigError::Unreadable { .. })));
    let env = BTreeMap::from([("RUGGED_CONFIG".to_owned(), "/nonexistent/config.yaml".to_owned())]);
    assert!(matches!(
        Config::load(&Sources { env, ..Sources::default() }, &RealFs),
        Err(ConfigError::Unreadable { .. })
    ));
}

#[test]
fn oversized_and_explosive_files_are_refused() {
    let big = format!("environment: testing\n#{}\n", "x".repeat(1024 * 1024));
    assert!(matches!(load(Some(&big), &[], &[]), Err(ConfigError::Unreadable { .. })));
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (this, last) in ('b'..='i').zip('a'..='h') {
        bomb.push_str(&format!("{this}: &{this} [{}]\n", vec![format!("*{last}"); 9].join(", ")));
    }
    assert!(matches!(load(Some(&bomb), &[], &[]), Err(ConfigError::Yaml { .. })));
    let deep = format!("repo_path: {}{}\n", "[".repeat(5_000), "]".repeat(5_000));
    assert!(matches!(load(Some(&deep), &[], &[]), Err(ConfigError::Yaml { .. })));
}

#[test]
fn a_syntax_error_names_its_line() {
    let message = refused("environment: testing\nrepo_path: \"/x\n");
    assert!(message.contains("config.yaml:"), "{message}");
    assert!(matches!(load(Some("a: b: c\n"), &[], &[]), Err(ConfigError::Yaml { line: Some(1), .. })));
}

#[test]
fn comments_and_nothing_are_a_configuration() {
    assert!(load(Some(""), &[], &[]).is_ok());
    assert!(load(Some("# only\n\n  # comments\n"), &[], &[]).is_ok());
    assert!(load(Some("roles:\n"), &[], &[]).is_ok());
}

#[test]
fn yaml_values_read_as_they_are_written() {
    let yaml = "consistent_snapshot: false\nstore_targets: \"no\"\nnumber_of_bins: 0x10\nkeys:\n  root: [root, root1]\n  targets: one\ninstance: 12\npublish_min_interval: 1.5\n";
    let config = load(Some(yaml), &[], &[]).unwrap();
    assert!(!config.consistent_snapshot && !config.store_targets);
    assert_eq!(config.number_of_bins, 16);
    assert_eq!(config.keys.root, ["root", "root1"]);
    assert_eq!(config.keys.targets, ["one"]);
    assert_eq!(config.process.instance, "12");
    assert_eq!(config.publish_min_interval, Duration::from_millis(1_500));
}

#[test]
fn an_embedded_fleet_keeps_everything_beneath_its_directory() {
    let config = Config::beneath(Path::new("/demo")).set("number_of_bins", "16").build().unwrap();
    assert_eq!(config.metadata_path(), Path::new("/demo/repo/metadata"));
    assert_eq!(config.signing_keys_of(KeyRole::Targets), Path::new("/demo/keys/signing/targets"));
    assert_eq!(config.trusted_root, Path::new("/demo/keys/verification/root.json"));
    assert_eq!(config.state_of(WorkerRole::Targets), Path::new("/demo/state/targets"));
    assert_eq!(config.setting("number_of_bins").unwrap().origin, Origin::Code);
    assert!(Config::builder().set("nonsense", "").build().is_err());
}
