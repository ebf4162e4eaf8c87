//! The Python peers work with each other, so that a failure in a test with this project is this project's.
#![allow(clippy::disallowed_methods, reason = "a test reads what a peer wrote")]

use serde_json::{Value, json};
use std::time::Duration;
use testkit::servers::{Python, RabbitMq};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_celery_client_drives_a_celery_worker() {
    let vhost = RabbitMq::shared().vhost();
    let broker = vhost.amqp_url.as_str();
    let worker = Python::spawn("celery_worker.py", ["--broker", broker, "--queue", "lab"], &[]);
    worker.wait_for_line("worker ready", LONG);

    let call = |task: &str, kwargs: &Value| {
        let kwargs = kwargs.to_string();
        let arguments = ["--broker", broker, "--queue", "lab", "--kwargs", &kwargs, task];
        Python::run("celery_client.py", arguments, &[]).success().json()
    };
    let sum = call("lab.add", &json!({"x": 2, "y": 3}));
    assert_eq!((&sum["state"], &sum["result"]), (&json!("SUCCESS"), &json!(5)));

    let failure = call("lab.fail", &json!({"message": "boom"}));
    assert_eq!(failure["state"], "FAILURE");
    assert_eq!(failure["exception"]["class"], "ValueError");
    assert_eq!(failure["exception"]["module"], "builtins");
    assert_eq!(failure["exception"]["args"], json!(["boom"]));

    assert_eq!(worker.terminate(LONG).status.code(), Some(0));
}

#[test]
fn keys_are_made_as_openssl_makes_them() {
    let dir = tempfile::tempdir().unwrap();
    let made = Python::run("make_keys.py", [dir.path()], &[]).success().json();
    assert_eq!(made["p256"]["scheme"], "ecdsa-sha2-nistp256");
    for name in ["ed25519", "p256", "rsa"] {
        let pem = std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{name} is not PKCS#8");
    }
}
