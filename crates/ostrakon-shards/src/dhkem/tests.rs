use hpke::{
    OpModeR, OpModeS, aead::AesGcm256, kem::X25519HkdfSha256 as Oracle, setup_receiver,
    setup_sender_with_rng,
};
use proptest::prelude::*;

use super::*;
use crate::random::{Infallible, Seeded, System};

/// What one key encapsulation seals, the other opens, and both export the same.
fn seals_for<From: Kem, To: Kem>(scalar: &[u8], info: &[u8], aad: &[u8], messages: &[Vec<u8>]) {
    let secret = To::PrivateKey::from_bytes(scalar).unwrap();
    let public = From::PublicKey::from_bytes(&To::sk_to_pk(&secret).to_bytes()).unwrap();
    let mut system = System;
    let mut random = Infallible::new(&mut system);
    let (encapped, mut sender) = setup_sender_with_rng::<AesGcm256, HkdfSha256, From>(
        &OpModeS::Base,
        &public,
        info,
        &mut random,
    )
    .unwrap();
    let encapped = To::EncappedKey::from_bytes(&encapped.to_bytes()).unwrap();
    let mut receiver =
        setup_receiver::<AesGcm256, HkdfSha256, To>(&OpModeR::Base, &secret, &encapped, info)
            .unwrap();
    for message in messages {
        let sealed = sender.seal(message, aad).unwrap();
        assert_eq!(receiver.open(&sealed, aad).unwrap(), *message);
    }
    let (mut ours, mut theirs) = ([0; 48], [0; 48]);
    sender.export(aad, &mut ours).unwrap();
    receiver.export(aad, &mut theirs).unwrap();
    assert_eq!(ours, theirs);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hpke_over_either_x25519_opens_what_the_other_seals(
        scalar: [u8; 32],
        info: Vec<u8>,
        aad: Vec<u8>,
        messages in prop::collection::vec(any::<Vec<u8>>(), 0..4),
    ) {
        seals_for::<Oracle, DhKem>(&scalar, &info, &aad, &messages);
        seals_for::<DhKem, Oracle>(&scalar, &info, &aad, &messages);
        seals_for::<DhKem, DhKem>(&scalar, &info, &aad, &messages);
    }

    /// Also with points that no honest party sends: those of low order and those that are not reduced.
    #[test]
    fn both_agree_on_the_same_or_refuse(scalar: [u8; 32], point: [u8; 32], low in 0..9_usize) {
        for point in [point, low_order(low)] {
            let ours = DhKem::decap(
                &PrivateKey::from_bytes(&scalar).unwrap(),
                None,
                &PublicKey::from_bytes(&point).unwrap(),
            );
            let theirs = Oracle::decap(
                &Deserializable::from_bytes(&scalar).unwrap(),
                None,
                &Deserializable::from_bytes(&point).unwrap(),
            );
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours.0, theirs.0),
                (Err(HpkeError::DecapError), Err(HpkeError::DecapError)) => {}
                (ours, theirs) => prop_assert!(false, "{} {}", ours.is_ok(), theirs.is_ok()),
            }
        }
    }

    #[test]
    fn keys_are_derived_and_shown_alike(ikm: [u8; 32], scalar: [u8; 32]) {
        let (ours, theirs) = (DhKem::derive_keypair(&ikm), Oracle::derive_keypair(&ikm));
        prop_assert_eq!(ours.0.to_bytes(), theirs.0.to_bytes());
        prop_assert_eq!(ours.1.to_bytes(), theirs.1.to_bytes());
        let ours = PrivateKey::from_bytes(&scalar).unwrap();
        let theirs: <Oracle as Kem>::PrivateKey = Deserializable::from_bytes(&scalar).unwrap();
        prop_assert_eq!(ours.to_bytes(), theirs.to_bytes());
        prop_assert_eq!(DhKem::sk_to_pk(&ours).to_bytes(), Oracle::sk_to_pk(&theirs).to_bytes());
    }
}

/// The points on which X25519 agrees on zero, and one on which it does not.
fn low_order(number: usize) -> [u8; 32] {
    let near_modulus = |low: u8| {
        let mut point = [0xff; 32];
        (point[0], point[31]) = (low, 0x7f);
        point
    };
    let small = |low: u8| {
        let mut point = [0; 32];
        point[0] = low;
        point
    };
    let hex = |text: &str| -> [u8; 32] { hex::decode(text).unwrap().try_into().unwrap() };
    match number {
        0 => small(0),
        1 => small(1),
        2 => near_modulus(0xec),
        3 => near_modulus(0xed),
        4 => near_modulus(0xee),
        5 => hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        6 => hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        7 => hex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
        _ => small(9),
    }
}

#[test]
fn zero_is_refused_on_both_sides() {
    let scalar = [0x77; 32];
    for number in 0..9 {
        let point = PublicKey(low_order(number));
        let secret = PrivateKey::from_bytes(&scalar).unwrap();
        let mut source = Seeded::new("zero");
        let mut random = Infallible::new(&mut source);
        let decapped = DhKem::decap(&secret, None, &point).is_ok();
        let encapped = DhKem::encap_with_rng(&point, None, &mut random).is_ok();
        assert_eq!((decapped, encapped), (number == 8, number == 8), "{number}");
    }
}

#[test]
fn wrong_lengths_are_refused() {
    for length in [0, 31, 33] {
        assert!(PublicKey::from_bytes(&vec![9; length]).is_err());
        assert!(PrivateKey::from_bytes(&vec![9; length]).is_err());
    }
}
