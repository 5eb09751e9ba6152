use super::*;

fn pair(suite: Suite, info: &[u8]) -> (Sender, Receiver, KemSecret) {
    let secret = KemSecret::generate().unwrap();
    let sender = Sender::setup(suite, secret.public(), info).unwrap();
    assert_eq!(sender.encapsulated().len(), suite.encapsulated_len());
    let receiver = Receiver::setup(suite, &secret, sender.encapsulated(), info).unwrap();
    (sender, receiver, secret)
}

#[test]
fn messages_open_in_order_and_exports_agree() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver, _) = pair(suite, b"info");
        let first = sender.seal(b"aad", b"first").unwrap();
        let second = sender.seal(b"", b"second").unwrap();
        let failed = Some(MessageError::Open);
        assert_eq!(receiver.open(b"", &second).err(), failed);
        assert_eq!(receiver.open(b"other", &first).err(), failed);
        assert_eq!(receiver.open(b"aad", &first[..15]).err(), failed);
        assert_eq!(*receiver.open(b"aad", &first).unwrap(), b"first");
        assert_eq!(receiver.open(b"aad", &first).err(), failed);
        assert_eq!(*receiver.open(b"", &second).unwrap(), b"second");

        let (mut ours, mut theirs) = ([0; 32], [0; 32]);
        sender.export(b"answer", &mut ours).unwrap();
        receiver.export(b"answer", &mut theirs).unwrap();
        assert_eq!(ours, theirs);
        receiver.export(b"another", &mut theirs).unwrap();
        assert_ne!(ours, theirs);
        let mut too_long = vec![0; MAX_EXPORT_LEN + 1];
        let error = receiver.export(b"answer", &mut too_long);
        assert_eq!(error, Err(MessageError::ExportTooLong));
        assert!(sender.export(b"answer", &mut too_long[1..]).is_ok());
    }
}

#[test]
fn another_info_key_or_suite_opens_nothing() {
    for suite in Suite::ALL {
        let (mut sender, _, secret) = pair(suite, b"info");
        let message = sender.seal(b"", b"message").unwrap();
        let open = |secret: &KemSecret, info: &[u8]| {
            let receiver = Receiver::setup(suite, secret, sender.encapsulated(), info);
            receiver.unwrap().open(b"", &message).is_ok()
        };
        assert!(open(&secret, b"info"));
        assert!(!open(&secret, b"inf"));
        assert!(!open(&KemSecret::generate().unwrap(), b"info"));
    }
    let (sender, _, secret) = pair(Suite::X25519, b"");
    let other = Receiver::setup(Suite::XWing, &secret, sender.encapsulated(), b"");
    assert!(matches!(other, Err(SetupError::Encapsulated)));
}

#[test]
fn keys_that_are_none_are_refused() {
    use minicbor::bytes::ByteVec;
    use ostrakon_types::canonical;

    // All bits set: coefficients beyond the modulus of ML-KEM, and for X25519 a valid point.
    let key = |x25519: [u8; 32]| -> KemPublic {
        let key = (
            ByteVec::from(x25519.to_vec()),
            ByteVec::from(vec![255; 1216]),
        );
        canonical::decode(&canonical::encode(&key)).unwrap()
    };
    let refused = |suite, key| {
        let sender = Sender::setup(suite, &key, b"");
        matches!(sender, Err(SetupError::PublicKey))
    };
    assert!(refused(Suite::XWing, key([9; 32])));
    assert!(refused(Suite::X25519, key([0; 32])));
    assert!(!refused(Suite::X25519, key([255; 32])));

    let secret = KemSecret::generate().unwrap();
    for (suite, encapsulated) in [
        (Suite::X25519, vec![0; 32]),
        (Suite::X25519, vec![9; 31]),
        (Suite::XWing, vec![9; 1119]),
        (Suite::XWing, vec![]),
    ] {
        let receiver = Receiver::setup(suite, &secret, &encapsulated, b"");
        assert!(matches!(receiver, Err(SetupError::Encapsulated)));
    }
}

#[test]
fn info_is_bounded() {
    for suite in Suite::ALL {
        pair(suite, &[0; MAX_INFO_LEN]);
        let secret = KemSecret::generate().unwrap();
        let info = [0; MAX_INFO_LEN + 1];
        let sender = Sender::setup(suite, secret.public(), &info);
        assert!(matches!(sender, Err(SetupError::InfoTooLong)));
        let encapsulated = vec![9; suite.encapsulated_len()];
        let receiver = Receiver::setup(suite, &secret, &encapsulated, &info);
        assert!(matches!(receiver, Err(SetupError::InfoTooLong)));
    }
}
