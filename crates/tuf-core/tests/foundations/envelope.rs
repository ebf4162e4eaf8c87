use tuf_core::canonical::CanonicalError;
use tuf_core::envelope::{self, Envelope, ParseError, SUFFIX, Signature};
use tuf_core::key::{self, FileSigner, Signer};
use tuf_core::names::KeyId;

fn signature(keyid: &str) -> Signature {
    Signature { keyid: KeyId::new(keyid).unwrap(), sig: vec![0xab, 1] }
}

#[test]
fn what_is_written_is_read_again() {
    let signed = br#"{"_type":"x","a":1}"#;
    let signatures = [signature("b"), signature("a")];
    let file = Envelope::to_bytes(signed, &signatures);
    assert_eq!(
        file,
        br#"{"signatures":[{"keyid":"b","sig":"ab01"},{"keyid":"a","sig":"ab01"}],"signed":{"_type":"x","a":1}}"#
    );
    let envelope = Envelope::parse(file.clone()).unwrap();
    assert_eq!((envelope.signed(), envelope.signatures()), (&signed[..], &signatures[..]));
    assert_eq!(envelope.file(), file);
    assert_eq!(envelope.clone().into_signed(), signed);
    assert_eq!([&Envelope::prefix(&signatures)[..], signed, SUFFIX].concat(), file);
}

#[test]
fn any_layout_gives_the_canonical_bytes() {
    let file = b" {\n \"x\": [1.5e0]}";
    assert!(Envelope::parse(file.as_slice()).is_err(), "no floats anywhere");
    let file = b"{ \"signed\" : { \"b\":\"x\\ny\", \"a\" : 1 },\n\"more\": {}, \"signatures\" : [ {\"sig\":\"\",\"keyid\":\"k\", \"x\":1} ] }\n";
    let envelope = Envelope::parse(file.as_slice()).unwrap();
    assert_eq!(envelope.signed(), b"{\"a\":1,\"b\":\"x\ny\"}");
    assert_eq!(envelope.signatures()[0].sig, b"");
    let again = Envelope::to_bytes(envelope.signed(), envelope.signatures());
    assert_eq!(again, br#"{"signatures":[{"keyid":"k","sig":""}],"signed":{"a":1,"b":"x\ny"}}"#);
    assert_eq!(Envelope::parse(again).unwrap().signed(), envelope.signed());
    assert_eq!(envelope.into_signed(), b"{\"a\":1,\"b\":\"x\ny\"}");
}

#[test]
fn other_shapes_are_refused() {
    for file in [
        "",
        "[]",
        "{}",
        "null",
        r#"{"signed":{}}"#,
        r#"{"signatures":[]}"#,
        r#"{"signatures":{},"signed":{}}"#,
        r#"{"signatures":[1],"signed":{}}"#,
        r#"{"signatures":[{"keyid":"k"}],"signed":{}}"#,
        r#"{"signatures":[{"keyid":"k","sig":"xy"}],"signed":{}}"#,
        r#"{"signatures":[{"keyid":"k","sig":"a"}],"signed":{}}"#,
        r#"{"signatures":[{"keyid":"../k","sig":"ab"}],"signed":{}}"#,
        r#"{"signatures":[],"signed":{}} x"#,
        r#"{"signatures":[],"signed":{}"#,
        r#"{"signatures":[],"signed":}"#,
        r#"{"signatures":[] "signed":{}}"#,
        r#"{,"signatures":[],"signed":{}}"#,
        r#"{"signatures":[],"signed":{},}"#,
    ] {
        assert!(Envelope::parse(file.as_bytes()).is_err(), "{file}");
    }
}

#[test]
fn a_key_id_that_signs_twice_is_refused() {
    let file = Envelope::to_bytes(b"{}", &[signature("k"), signature("k")]);
    let error = Envelope::parse(file).unwrap_err();
    assert!(matches!(error, ParseError::Shape(_)));
    assert_eq!(error.to_string(), "signatures.1: key id k signs twice");
}

#[test]
fn a_part_that_is_there_twice_is_refused() {
    for file in [r#"{"signatures":[],"signed":{},"signed":{}}"#, r#"{"signatures":[],"signatures":[],"signed":{}}"#] {
        let error = Envelope::parse(file.as_bytes()).unwrap_err();
        assert!(matches!(error, ParseError::Canonical(CanonicalError::DuplicateKey { .. })), "{error}");
    }
}

#[test]
fn too_many_signatures_are_refused() {
    let many: Vec<_> = (0..1025).map(|n| signature(&format!("k{n}"))).collect();
    assert!(Envelope::parse(Envelope::to_bytes(b"{}", &many[..1024])).is_ok());
    assert!(Envelope::parse(Envelope::to_bytes(b"{}", &many)).is_err());
}

#[test]
fn signing_keeps_the_order_of_the_signers() {
    let rng = ring::rand::SystemRandom::new();
    let keys = [key::ed25519(&rng).unwrap(), key::ecdsa_p256(&rng).unwrap()];
    let signers = keys.each_ref().map(|key| FileSigner::from_pem(key.private_pem.as_bytes()).unwrap());
    let ids = [KeyId::new("zz").unwrap(), KeyId::new("aa").unwrap()];
    let list = [(ids[0].clone(), &signers[0] as &dyn Signer), (ids[1].clone(), &signers[1] as &dyn Signer)];
    let signatures = envelope::sign(b"{}", &list).unwrap();
    assert_eq!(signatures.iter().map(|s| s.keyid.clone()).collect::<Vec<_>>(), ids);
    for (key, signature) in keys.iter().zip(&signatures) {
        key.public.verify(b"{}", &signature.sig).unwrap();
    }
}
