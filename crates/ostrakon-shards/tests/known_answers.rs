//! Answers that others have published: RFC 9180, X-Wing and BIP-39.

#![expect(clippy::unwrap_used, reason = "helpers fail their tests by panicking")]

use ostrakon_shards::{
    channel::Receiver,
    kem::KemSecret,
    suite::Suite,
    words::{RecoveryWords, words},
};
use ostrakon_types::Digest;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HpkeCase {
    source: String,
    #[serde(with = "hex")]
    sk_rm: Vec<u8>,
    #[serde(with = "hex")]
    pk_rm: Vec<u8>,
    #[serde(with = "hex")]
    enc: Vec<u8>,
    #[serde(with = "hex")]
    info: Vec<u8>,
    encryptions: Vec<Encryption>,
    exports: Vec<Export>,
}

#[derive(Deserialize)]
struct Encryption {
    #[serde(with = "hex")]
    aad: Vec<u8>,
    #[serde(with = "hex")]
    pt: Vec<u8>,
    #[serde(with = "hex")]
    ct: Vec<u8>,
}

#[derive(Deserialize)]
struct Export {
    #[serde(with = "hex")]
    exporter_context: Vec<u8>,
    #[serde(with = "hex")]
    exported_value: Vec<u8>,
}

impl HpkeCase {
    /// The receiver's keys: the case's for its suite, and any for the other.
    fn secret(&self, suite: Suite) -> KemSecret {
        let other = vec![7; 32];
        let keys = match suite {
            Suite::X25519 => [&self.sk_rm[..], &other].concat(),
            _ => [&other[..], &self.sk_rm].concat(),
        };
        KemSecret::from_bytes(&[&[1], &keys[..]].concat()).unwrap()
    }

    fn check(&self, suite: Suite) {
        let case = &self.source;
        let secret = self.secret(suite);
        assert_eq!(secret.public().key(suite), self.pk_rm, "{case}");
        let mut receiver = Receiver::setup(suite, &secret, &self.enc, &self.info).unwrap();
        for Encryption { aad, pt, ct } in &self.encryptions {
            assert_eq!(*receiver.open(aad, ct).unwrap(), *pt, "{case}");
        }
        for export in &self.exports {
            let mut value = [0; 32];
            receiver
                .export(&export.exporter_context, &mut value)
                .unwrap();
            assert_eq!(value, *export.exported_value, "{case}");
        }
        assert!(self.encryptions.len() >= 3 && self.exports.len() == 3);
    }
}

#[test]
fn rfc_9180_opens_and_exports() {
    let case: HpkeCase = serde_json::from_str(include_str!("../vectors/rfc9180.json")).unwrap();
    case.check(Suite::X25519);
}

#[test]
fn x_wing_opens_and_exports() {
    let cases: Vec<HpkeCase> =
        serde_json::from_str(include_str!("../vectors/x-wing.json")).unwrap();
    assert_eq!(cases.len(), 4);
    cases.iter().for_each(|case| case.check(Suite::XWing));
}

#[derive(Deserialize)]
struct Bip39 {
    cases: Vec<Bip39Case>,
}

#[derive(Deserialize)]
struct Bip39Case {
    #[serde(with = "hex")]
    entropy: [u8; 32],
    words: String,
}

#[test]
fn bip_39_words_are_those_of_the_reference() {
    let Bip39 { cases } = serde_json::from_str(include_str!("../vectors/bip39.json")).unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let digest = Digest::from_bytes(case.entropy);
        assert_eq!(words(&digest).as_str(), case.words);
        let parsed = RecoveryWords::parse(&case.words).unwrap();
        assert_eq!(*parsed.to_text(), case.words);
    }
}
