use proptest::prelude::*;
use serde_json::Value;
use tuf_core::canonical::Json;
use tuf_core::key::{self, FileSigner, KeyError, KeyIdFormat, PublicKey, SignatureError, Signer};

/// Made by python `cryptography` and securesystemslib: see `fixtures/make.py`.
fn golden() -> Value {
    serde_json::from_str(include_str!("fixtures/keys.json")).unwrap()
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap()
}

fn public(entry: &Value) -> PublicKey {
    PublicKey::from_json(entry["key"].to_string().as_bytes()).unwrap()
}

#[test]
fn private_keys_from_openssl_give_the_public_key_and_id_python_tuf_gives() {
    for entry in golden()["keys"].as_array().unwrap() {
        let signer = FileSigner::from_pem(text(entry, "pkcs8").as_bytes()).unwrap();
        assert_eq!(*signer.public_key(), public(entry), "{}", entry["name"]);
        assert_eq!(signer.public_key().key_id(KeyIdFormat::Spec), text(entry, "keyid"));
    }
}

#[test]
fn sec1_and_pkcs1_keys_are_read_as_well() {
    for entry in golden()["keys"].as_array().unwrap() {
        if let Some(pem) = entry["traditional"].as_str() {
            assert_eq!(*FileSigner::from_pem(pem.as_bytes()).unwrap().public_key(), public(entry));
            // As `openssl ecparam -genkey` writes it.
            let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
            assert!(FileSigner::from_pem(format!("{parameters}{pem}").as_bytes()).is_ok());
        }
    }
}

#[test]
fn public_keys_from_pem_are_what_python_tuf_makes_of_them() {
    for entry in golden()["keys"].as_array().unwrap() {
        assert_eq!(PublicKey::from_pem(text(entry, "spki").as_bytes()).unwrap(), public(entry));
    }
}

#[test]
fn signatures_made_by_python_verify_and_no_others() {
    let golden = golden();
    let message = text(&golden, "message").as_bytes();
    for entry in golden["keys"].as_array().unwrap() {
        let (key, signature) = (public(entry), hex::decode(text(entry, "signature")).unwrap());
        key.verify(message, &signature).unwrap();
        assert_eq!(key.verify(b"another message", &signature), Err(SignatureError::Mismatch));
        assert_eq!(key.verify(message, &signature[1..]), Err(SignatureError::Mismatch));
        assert_eq!(key.verify(message, b""), Err(SignatureError::Mismatch));
    }
}

#[test]
fn our_signatures_verify() {
    for entry in golden()["keys"].as_array().unwrap() {
        let signer = FileSigner::from_pem(text(entry, "pkcs8").as_bytes()).unwrap();
        let signature = signer.sign(b"message").unwrap();
        public(entry).verify(b"message", &signature).unwrap();
        assert!(public(entry).verify(b"massage", &signature).is_err());
    }
}

#[test]
fn the_legacy_key_id_is_the_one_rugged_wrote() {
    let json = br#"{"keytype":"ed25519","scheme":"ed25519",
        "keyval":{"public":"51be2c15209aceed52853d7fa94c31169138697176bcabf94f0c4715911002f5"}}"#;
    let key = PublicKey::from_json(json).unwrap();
    let legacy = "3041364561f9a76603ee31ba2749c0aec447c3c4f03e279f3cbd5e169efa7ac3";
    assert_eq!(key.key_id(KeyIdFormat::Legacy), legacy);
    assert_ne!(key.key_id(KeyIdFormat::Spec), legacy);
    // With the member shown, both formats agree.
    let shown = key.with_extra("keyid_hash_algorithms", Json::parse(br#"["sha256","sha512"]"#).unwrap());
    assert_eq!(shown.key_id(KeyIdFormat::Spec), legacy);
    assert_eq!(shown.key_id(KeyIdFormat::Legacy), legacy);
}

#[test]
fn unknown_members_of_keys_are_kept_and_part_of_the_id() {
    let json = br#"{"keytype":"ed25519","keyval":{"a":1,"public":"00","z":2},"scheme":"ed25519","x-name":"n"}"#;
    let key = PublicKey::from_json(json).unwrap();
    assert_eq!(
        key.to_canonical(),
        br#"{"keytype":"ed25519","keyval":{"a":1,"public":"00","z":2},"scheme":"ed25519","x-name":"n"}"#
    );
    assert_eq!(key.extra().get("x-name").unwrap().as_canonical(), r#""n""#);
}

#[test]
fn ecdsa_keys_in_hexadecimal_and_under_the_old_type_verify() {
    let golden = golden();
    let entry = &golden["keys"][1];
    let signature = hex::decode(text(entry, "signature")).unwrap();
    let message = text(&golden, "message").as_bytes();
    let pem = text(entry, "spki");
    let der = pem.lines().filter(|line| !line.starts_with("--")).collect::<String>();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, der).unwrap();
    for (keytype, public) in [
        ("ecdsa-sha2-nistp256", pem.to_owned()),
        ("ecdsa", pem.trim_end().to_owned()),
        ("ecdsa", hex::encode(&der)),
        ("ecdsa", hex::encode(&der[der.len() - 65..])),
    ] {
        let json =
            serde_json::json!({"keytype": keytype, "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": public}});
        let key = PublicKey::from_json(json.to_string().as_bytes()).unwrap();
        key.verify(message, &signature).unwrap();
        assert!(key.is_same_key(&self::public(entry)));
    }
}

#[test]
fn keys_that_are_not_what_their_type_says_verify_nothing() {
    let golden = golden();
    let spki = |index: usize| text(&golden["keys"][index], "spki").to_owned();
    for (keytype, scheme, public) in [
        ("ed25519", "ed25519", spki(0)),
        ("ed25519", "ed25519", "00".repeat(31)),
        ("ecdsa", "ecdsa-sha2-nistp256", spki(2)),
        ("ecdsa", "ecdsa-sha2-nistp256", "zz".to_owned()),
        ("rsa", "rsassa-pss-sha256", spki(1)),
        ("rsa", "rsassa-pss-sha256", String::new()),
    ] {
        let json = serde_json::json!({"keytype": keytype, "scheme": scheme, "keyval": {"public": public}});
        let key = PublicKey::from_json(json.to_string().as_bytes()).unwrap();
        assert!(matches!(key.verify(b"m", b"s"), Err(SignatureError::Key(_))), "{keytype} {public}");
    }
    let json = br#"{"keytype":"ml-dsa","scheme":"ml-dsa-44","keyval":{"public":"00"}}"#;
    let key = PublicKey::from_json(json).unwrap();
    assert!(matches!(key.verify(b"m", b"s"), Err(SignatureError::Unsupported { .. })));
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_the_reason() {
    let golden = golden();
    let refused = |pem: &str| FileSigner::from_pem(pem.as_bytes()).unwrap_err().to_string();
    let encrypted = text(&golden["keys"][0], "encrypted");
    assert!(refused(encrypted).contains("openssl pkey"));
    assert!(refused(text(&golden, "p384")).contains("P-256"));
    assert!(refused(text(&golden, "rsa1024")).contains("2048"));
    assert!(refused(text(&golden["keys"][0], "spki")).contains("public key"));
    assert!(refused("").contains("no BEGIN line"));
    assert!(refused("-----BEGIN PRIVATE KEY-----\nMC4=").contains("END"));
    assert!(refused("-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n").contains("base64"));
    assert!(refused("-----BEGIN PRIVATE KEY-----\nMC4=\n-----END EC PRIVATE KEY-----\n").contains("differ"));
    let pem = text(&golden["keys"][0], "pkcs8");
    assert!(refused(&format!("{pem}{pem}")).contains("more than one"));
    let traditional = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n-----END EC PRIVATE KEY-----\n";
    assert!(refused(traditional).contains("encrypted"));
    let private = PublicKey::from_pem(pem.as_bytes()).unwrap_err();
    assert!(matches!(private, KeyError::Unsupported(_)));
    assert!(FileSigner::from_pem(&vec![b'a'; 70_000]).is_err());
}

#[test]
fn an_ec_key_without_its_public_point_is_refused_with_what_to_do() {
    let golden = golden();
    let pem = text(&golden["keys"][1], "traditional");
    let body: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
    let engine = base64::engine::general_purpose::STANDARD;
    let der = base64::Engine::decode(&engine, body).unwrap();
    // SEQUENCE { INTEGER, OCTET STRING of 32, [0] curve, [1] point }: cut [1] off.
    let mut cut = der[..2 + 3 + 34 + 12].to_vec();
    cut[1] = (cut.len() - 2) as u8;
    let body = base64::Engine::encode(&engine, &cut);
    let pem = format!("-----BEGIN EC PRIVATE KEY-----\n{body}\n-----END EC PRIVATE KEY-----\n");
    let error = FileSigner::from_pem(pem.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("openssl genpkey"), "{error}");
}

#[test]
fn new_keys_can_be_read_again_and_sign() {
    let rng = ring::rand::SystemRandom::new();
    for generated in [key::ed25519(&rng).unwrap(), key::ecdsa_p256(&rng).unwrap()] {
        let signer = FileSigner::from_pem(generated.private_pem.as_bytes()).unwrap();
        assert_eq!(*signer.public_key(), generated.public);
        generated.public.verify(b"m", &signer.sign(b"m").unwrap()).unwrap();
        assert!(generated.private_pem.ends_with("-----END PRIVATE KEY-----\n"));
    }
}

#[test]
fn debug_shows_no_private_key() {
    let generated = key::ed25519(&ring::rand::SystemRandom::new()).unwrap();
    let signer = FileSigner::from_pem(generated.private_pem.as_bytes()).unwrap();
    let secret: String = generated.private_pem.lines().nth(1).unwrap().into();
    for shown in [format!("{generated:?}"), format!("{signer:?}")] {
        assert!(shown.contains(generated.public.public()) && !shown.contains(&secret[20..40]), "{shown}");
    }
}

proptest! {
    #[test]
    fn damaged_keys_are_refused_or_read_but_never_panic(index in 0usize..3, at in 0usize..2000, byte in any::<u8>()) {
        let golden = golden();
        let entry = &golden["keys"][index];
        for member in ["pkcs8", "spki", "traditional"] {
            let Some(pem) = entry[member].as_str() else { continue };
            let body: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
            let engine = base64::engine::general_purpose::STANDARD;
            let mut der = base64::Engine::decode(&engine, body).unwrap();
            let at = at % der.len();
            der[at] ^= byte;
            der.truncate(der.len() - usize::from(byte) % 3);
            let label = pem.lines().next().unwrap().trim_matches('-').trim_start_matches("BEGIN ");
            let body = base64::Engine::encode(&engine, &der);
            let pem = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
            let _ = FileSigner::from_pem(pem.as_bytes());
            let _ = PublicKey::from_pem(pem.as_bytes());
        }
    }
}
