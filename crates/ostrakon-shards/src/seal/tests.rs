use super::*;

#[test]
fn boxes_open_only_where_they_are_meant_to() {
    let secret = KemSecret::generate().unwrap();
    let other = KemSecret::generate().unwrap();
    for suite in Suite::ALL {
        let sealed = seal(suite, "tests", secret.public(), b"here", b"message").unwrap();
        assert_eq!(sealed.suite(), suite);
        let sealed = Sealed::from_bytes(&sealed.to_bytes()).unwrap();
        assert_eq!(
            *open("tests", &secret, b"here", &sealed).unwrap(),
            b"message"
        );
        assert_eq!(open("tests", &secret, b"there", &sealed), Err(OpenError));
        assert_eq!(open("test", &secret, b"shere", &sealed), Err(OpenError));
        assert_eq!(open("tests", &other, b"here", &sealed), Err(OpenError));
    }
}

#[test]
fn a_box_for_the_same_key_in_another_pair_does_not_open() {
    // The recipient is both of its keys: one of them alone is another recipient.
    let secret = KemSecret::generate().unwrap();
    let mut bytes = secret.to_bytes();
    bytes[64] ^= 1;
    let half = KemSecret::from_bytes(&bytes).unwrap();
    let suite = Suite::X25519;
    assert_eq!(secret.public().key(suite), half.public().key(suite));
    let sealed = seal(suite, "tests", secret.public(), b"", b"message").unwrap();
    assert_eq!(open("tests", &half, b"", &sealed), Err(OpenError));
}

#[test]
fn each_flipped_bit_is_found() {
    let secret = KemSecret::generate().unwrap();
    for suite in Suite::ALL {
        let sealed = seal(suite, "tests", secret.public(), b"", b"message").unwrap();
        let bytes = sealed.to_bytes();
        // Of the long encapsulated keys, a sample.
        let step = if suite == Suite::XWing { 61 } else { 1 };
        for bit in (0..16).chain((16..bytes.len() * 8).step_by(step)) {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let opened = Sealed::from_bytes(&bytes)
                .map(|sealed| open("tests", &secret, b"", &sealed).is_ok());
            // X25519 ignores the highest bit of a point, but HPKE hashes it in.
            assert_ne!(opened, Ok(true), "{suite} bit {bit}");
        }
    }
}

#[test]
fn what_is_no_box_is_named() {
    let secret = KemSecret::generate().unwrap();
    let sealed = seal(Suite::X25519, "tests", secret.public(), b"", b"").unwrap();
    let bytes = sealed.to_bytes();
    assert_eq!(bytes.len(), 2 + 32 + 16);
    let parse = |bytes: &[u8]| Sealed::from_bytes(bytes).unwrap_err();
    for cut in 0..bytes.len() {
        assert_eq!(parse(&bytes[..cut]), ParseSealedError::CutOff);
    }
    assert_eq!(parse(b"\x02\x01"), ParseSealedError::Version(2));
    assert_eq!(parse(b"\x01\x07"), ParseSealedError::Suite(UnknownSuite(7)));
    let too_long = seal(Suite::X25519, "tests", secret.public(), &[0; 0x10000], b"");
    assert!(matches!(
        too_long,
        Err(SealError::Setup(SetupError::InfoTooLong))
    ));
}
