//! The fleet over `amqps://`, with a broker that asks for certificates; authority, certificates and keys are replaced under
//! the running workers, sandboxed where the kernel can.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::fs;

use serde_json::json;
use system_tests::{Files, Fleet, Keys, clients};
use testkit::certificates::Authority;
use testkit::servers::PrivateRabbitMq;

fn file(path: &str, text: &str) -> Files {
    [(path.to_owned(), text.as_bytes().to_vec())].into()
}

#[test]
fn releases_go_on_when_every_certificate_was_replaced() {
    let authority = Authority::new();
    let me = authority.issue("me", &[]);
    let mut rabbit = PrivateRabbitMq::start_with_tls(&authority);
    let vhost = rabbit.vhost();
    let settings = [
        ("broker_url", json!([rabbit.tls_url(&vhost)])),
        ("broker_tls", json!({"ca": authority.ca(), "cert": me.cert, "key": me.key})),
    ];
    let mut fleet = Fleet::start(vhost, Keys::Ed25519, &settings);
    let mut served = file("before", "1");
    fleet.post_drop("before", &served);
    fleet.published("before");

    // Nothing of the old is good for anything any more.
    let successor = Authority::new();
    let _ = successor.issue("me", &[]);
    rabbit.stop();
    for name in ["ca.pem", "server.crt", "server.key", "me.crt", "me.key"] {
        let next = authority.dir().join("next");
        fs::copy(successor.dir().join(name), &next).unwrap();
        fs::rename(&next, authority.dir().join(name)).unwrap();
    }
    rabbit.start_again();
    fleet.wait_ready();
    let after = file("after", "2");
    fleet.post_drop("after", &after);
    fleet.published("after");
    served.extend(after);
    assert_eq!(clients::our_client(&fleet), served);
}
