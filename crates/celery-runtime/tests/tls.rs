//! TLS: which servers and clients are trusted, the reasons for refusals, and the replacement of certificates, keys and passwords.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests arrange files as someone else would")]

mod servers_of_python;

use std::{net::SocketAddr, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use celery_runtime::broker::{Broker, ConnectOptions, TlsFiles, TlsOptions, connect};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::json;
use testkit::{
    certificates::{Authority, Issued},
    servers::RabbitMq,
};
use tokio::{io::AsyncReadExt, net::TcpListener, sync::mpsc};
use tokio_rustls::TlsAcceptor;

pub const SOON: Duration = Duration::from_secs(120);

pub async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

pub fn quick() -> ConnectOptions {
    ConnectOptions { operation_timeout: SOON, max_retry: Duration::from_millis(500), ..ConnectOptions::default() }
}

/// A server that shakes hands, reports the client's certificate, and hangs up.
struct Door {
    address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Option<CertificateDer<'static>>>,
}

impl Door {
    /// With `clients` it asks for a certificate of that authority.
    async fn open(shows: &Issued, clients: Option<&Authority>) -> Self {
        let provider = Arc::new(default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_file(authority.ca()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let chain = vec![CertificateDer::from_pem_file(&shows.cert).unwrap()];
        let config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(&shows.key).unwrap()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                        let _ = sender.send(certificate.map(|certificate| certificate.clone().into_owned()));
                        // Reads the client's first bytes, so that it is not cut off while it writes.
                        let _ = stream.read(&mut [0; 64]).await;
                    }
                });
            }
        });
        Self { address, seen }
    }

    fn urls(&self) -> [String; 2] {
        ["amqps", "rediss"].map(|scheme| format!("{scheme}://{}", self.address))
    }
}

fn trusting(authority: &Authority) -> TlsFiles {
    TlsFiles { ca: Some(authority.ca()), ..TlsFiles::default() }
}

fn options(files: TlsFiles) -> ConnectOptions {
    ConnectOptions { tls: TlsOptions { files, ..TlsOptions::default() }, ..quick() }
}

/// Waits until an attempt fails for that reason.
async fn fails_with(broker: &Arc<dyn Broker>, reason: &str) {
    let mut state = broker.connection_state();
    let mut seen = Vec::new();
    let waiting = async {
        loop {
            if let Some(error) = state.borrow_and_update().last_error.clone() {
                if error.contains(reason) {
                    return;
                }
                seen.push(error);
            }
            // The same error again is no change, so this checks at intervals as well.
            let _ = tokio::time::timeout(Duration::from_millis(20), state.changed()).await;
        }
    };
    let done = tokio::time::timeout(SOON, waiting).await;
    seen.dedup();
    assert!(done.is_ok(), "expected {reason:?}, got {seen:?}");
}

#[tokio::test]
async fn a_server_that_cannot_be_trusted_is_refused_with_the_reason() {
    let (authority, other) = (Authority::new(), Authority::new());
    let good = authority.issue("good", &["127.0.0.1"]);
    let expired = authority.issue_expired("expired", &["127.0.0.1"]);
    let elsewhere = authority.issue("elsewhere", &["rabbit.example", "127.0.0.2"]);
    for (shows, trusts, reason) in [
        (&good, &other, "no authority that is trusted here has signed the server's certificate"),
        (&expired, &authority, "the server's certificate has expired"),
        (&elsewhere, &authority, "the server's certificate is not for 127.0.0.1"),
    ] {
        let mut door = Door::open(shows, None).await;
        for url in door.urls() {
            let broker = connect(&url, options(trusting(trusts))).await.unwrap();
            fails_with(&broker, reason).await;
            assert!(!broker.connection_state().borrow().connected);
            broker.close().await;
        }
        assert!(door.seen.try_recv().is_err(), "a handshake succeeded");
    }
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_shown_our_certificate_and_tells_what_it_misses() {
    let (authority, other) = (Authority::new(), Authority::new());
    let door = Door::open(&authority.issue("door", &["127.0.0.1"]), Some(&authority)).await;
    let foreign = other.issue("me", &[]);
    for url in door.urls() {
        let nobody = connect(&url, options(trusting(&authority))).await.unwrap();
        fails_with(&nobody, "the server asks for a certificate of ours").await;
        nobody.close().await;
        let files =
            TlsFiles { cert: Some(foreign.cert.clone()), key: Some(foreign.key.clone()), ..trusting(&authority) };
        let stranger = connect(&url, options(files)).await.unwrap();
        fails_with(&stranger, "the server refuses our certificate").await;
        stranger.close().await;
    }
}

#[tokio::test]
async fn certificate_and_key_are_read_again_for_every_connection() {
    let authority = Authority::new();
    let mut door = Door::open(&authority.issue("door", &["127.0.0.1"]), Some(&authority)).await;
    for url in door.urls() {
        let before = authority.issue("me", &[]);
        let old = CertificateDer::from_pem_file(&before.cert).unwrap();
        let (ca, cert, key) = (authority.ca(), before.cert.display().to_string(), before.key.display().to_string());
        // As in Celery's documentation.
        let url =
            format!("{url}?ssl_cert_reqs=required&ssl_ca_certs={}&ssl_certfile={cert}&ssl_keyfile={key}", ca.display());
        let broker = connect(&url, quick()).await.unwrap();
        let mut next = async || {
            let seen = tokio::time::timeout(SOON, door.seen.recv()).await.expect("nobody came");
            seen.unwrap().expect("no certificate")
        };
        assert_eq!(next().await, old);
        let after = authority.issue("me", &[]);
        let new = CertificateDer::from_pem_file(&after.cert).unwrap();
        assert_ne!(old, new);
        while next().await != new {}
        broker.close().await;
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let door = Door::open(&authority.issue("door", &["127.0.0.1"]), Some(&authority)).await;
    let me = authority.issue("me", &[]);
    let exposed = authority.issue("exposed", &[]);
    std::fs::set_permissions(&exposed.key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let other = authority.issue("other", &[]);
    let missing = authority.dir().join("missing.pem");
    let mine = |key: &std::path::Path| TlsFiles {
        cert: Some(me.cert.clone()),
        key: Some(key.to_owned()),
        ..trusting(&authority)
    };
    for (files, reason) in [
        (TlsFiles { ca: Some(missing.clone()), ..TlsFiles::default() }, "missing.pem: No such file".to_owned()),
        (TlsFiles { ca: Some(me.key.clone()), ..TlsFiles::default() }, "no certificate authority".to_owned()),
        (mine(&missing), "missing.pem: No such file".to_owned()),
        (mine(&exposed.key), "exposed.key can be read by others (mode 640)".to_owned()),
        (mine(&other.key), "the client certificate and its private key do not match".to_owned()),
        (mine(&me.cert), "holds no private key".to_owned()),
        (TlsFiles { key: Some(me.key.clone()), ..trusting(&authority) }, "without a certificate".to_owned()),
    ] {
        for url in door.urls() {
            let broker = connect(&url, options(files.clone())).await.unwrap();
            fails_with(&broker, &reason).await;
            broker.close().await;
        }
    }
}

#[tokio::test]
async fn a_password_in_a_file_can_be_replaced_under_a_running_process() {
    let vhost = Arc::new(blocking(|| RabbitMq::shared().vhost()).await);
    let user = vhost.amqp_url.trim_start_matches("amqp://").split(':').next().unwrap().to_owned();
    let (_, address) = vhost.amqp_url.split_once('@').unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    let write = |password: &str| {
        std::fs::write(&file, format!("{password}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(&user);
    let url = format!("amqp://{user}@{address}?password_file={}", file.display());
    let broker = connect(&url, quick()).await.unwrap();
    let mut state = broker.connection_state();
    tokio::time::timeout(SOON, state.wait_for(|state| state.connected)).await.unwrap().unwrap();
    let first = state.borrow().generation;
    // The administrator's order: the broker first, then the file.
    let admin = vhost.clone();
    blocking(move || {
        admin.management("PUT", &format!("/api/users/{user}"), Some(&json!({"password": "another", "tags": ""})));
        admin.close_connections();
    })
    .await;
    fails_with(&broker, "refused").await;
    write("another");
    let back = state.wait_for(|state| state.connected && state.generation > first);
    tokio::time::timeout(SOON, back).await.expect("it did not come back").unwrap();
    broker.close().await;
}
