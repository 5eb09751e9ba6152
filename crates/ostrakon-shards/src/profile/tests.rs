use ostrakon_types::{DeviceId, Digest, UnixMillis};

use super::*;
use crate::{
    card::{Card, DeviceKind},
    device::DeviceKeys,
    name::Name,
    share::ThresholdError,
    sign::{Signature, SigningKey},
};

struct Device {
    keys: DeviceKeys,
    card: Card,
}

impl Device {
    fn new(name: &str) -> Self {
        let keys = DeviceKeys::generate().unwrap();
        let card = keys.card(DeviceKind::Workstation, Name::new(name).unwrap());
        Self { keys, card }
    }

    fn id(&self) -> DeviceId {
        self.card.id()
    }
}

fn sign(version: &ProfileVersion, by: &[&Device]) -> SignedVersion {
    let signatures = by
        .iter()
        .map(|device| (device.id(), version.sign(&device.keys.signing)));
    SignedVersion::new(version.clone(), signatures)
}

fn first(threshold: u8, devices: &[&Device]) -> ProfileVersion {
    let cards = devices.iter().map(|device| device.card.clone()).collect();
    ProfileVersion::first(Name::new("team").unwrap(), threshold, cards).unwrap()
}

/// Devices a to e, and a profile of a, b and c with threshold 2.
fn team() -> ([Device; 5], Profile) {
    let devices = ["a", "b", "c", "d", "e"].map(Device::new);
    let [a, b, c, ..] = &devices;
    let profile = Profile::found(sign(&first(2, &[a, b, c]), &[a, b, c])).unwrap();
    (devices, profile)
}

/// The next version, with these devices.
fn next(profile: &Profile, devices: &[&Device]) -> ProfileVersion {
    ProfileVersion {
        devices: devices.iter().map(|device| device.card.clone()).collect(),
        ..profile.draft().unwrap()
    }
}

#[test]
fn a_profile_is_known_by_its_first_version() {
    let ([a, b, c, d, _], profile) = team();
    let hash = profile.version().hash();
    assert_eq!(profile.id().as_bytes(), &hash.as_bytes()[..16]);
    assert_eq!(profile.words().iter().count(), 24);
    let second = next(&profile, &[&a, &b, &c, &d]);
    let later = profile.advance(sign(&second, &[&a, &c, &d])).unwrap();
    assert_eq!(later.id(), profile.id());
    assert_eq!(later.words(), profile.words());
    assert_eq!(later.head().number, 2);
    assert_eq!(later.head().hash, second.hash());
    assert_eq!(later.member(&d.id()), Some(&d.card));
    assert_eq!(profile.member(&d.id()), None);
    assert_eq!(later.threshold().shares(), 4);
}

#[test]
fn founding_takes_the_consent_of_all() {
    let ([a, b, c, d, _], _) = team();
    let version = first(2, &[&a, &b, &c]);
    let found = |by: &[&Device]| Profile::found(sign(&version, by)).err();
    assert_eq!(found(&[&a, &b, &c]), None);
    let device = b.id();
    assert_eq!(found(&[&a, &c]), Some(ChainError::NoConsent { device }));
    let device = d.id();
    let foreign = Some(ChainError::Foreign { device });
    assert_eq!(found(&[&a, &b, &c, &d]), foreign);

    let not_first = |change: fn(&mut ProfileVersion)| {
        let mut version = version.clone();
        change(&mut version);
        Profile::found(sign(&version, &[&a, &b, &c])).err()
    };
    let number = 2;
    assert_eq!(
        not_first(|version| version.number = 2),
        Some(ChainError::NotFirst { number })
    );
    assert!(not_first(|version| version.previous = Some(Digest::from_bytes([0; 32]))).is_some());
}

#[test]
fn versions_have_sensible_devices_and_thresholds() {
    let ([a, b, c, ..], _) = team();
    let refused = |version: &ProfileVersion, by: &[&Device]| {
        let Some(ChainError::Version(error)) = Profile::found(sign(version, by)).err() else {
            panic!("founded, or refused for another reason")
        };
        error
    };
    let one = first(1, &[&a]);
    assert!(Profile::found(sign(&one, &[&a])).is_ok());
    assert_eq!(refused(&first(1, &[]), &[]), VersionError::Devices(0));
    let many: Vec<Device> = (0..65).map(|n| Device::new(&n.to_string())).collect();
    let many: Vec<&Device> = many.iter().collect();
    assert_eq!(refused(&first(2, &many), &many), VersionError::Devices(65));
    let most = Profile::found(sign(&first(64, &many[..64]), &many[..64]));
    assert_eq!(most.unwrap().threshold().needed(), 64);
    assert_eq!(
        refused(&first(1, &[&a, &b]), &[&a, &b]),
        VersionError::Threshold(ThresholdError::One(2))
    );
    let (needed, shares) = (4, 3);
    assert_eq!(
        refused(&first(4, &[&a, &b, &c]), &[&a, &b, &c]),
        VersionError::Threshold(ThresholdError::TooHigh { needed, shares })
    );

    // One device under two names, or with one of its keys replaced, would count as two.
    let like_a = |change: fn(&mut Card, &Card)| {
        let keys = DeviceKeys::from_bytes(&a.keys.to_bytes()).unwrap();
        let mut card = a.card.clone();
        change(&mut card, &b.card);
        Device { keys, card }
    };
    let renamed = like_a(|card, _| card.name = Name::new("z").unwrap());
    let same_signature = like_a(|card, other| card.kem = other.kem.clone());
    let same_seals = like_a(|card, other| card.verify = other.verify);
    for twice in [&a, &renamed, &same_signature, &same_seals] {
        let device = twice.id();
        let error = refused(&first(2, &[&a, twice]), &[&a, twice]);
        assert_eq!(error, VersionError::Twice { device });
    }
}

#[test]
fn a_successor_takes_the_threshold_of_the_version_before() {
    let ([a, b, c, d, e], profile) = team();
    let mut version = next(&profile, &[&d, &e]);
    let advance =
        |version: &ProfileVersion, by: &[&Device]| profile.advance(sign(version, by)).err();
    assert_eq!(advance(&version, &[&a, &b, &d, &e]), None);
    assert_eq!(advance(&version, &[&a, &b, &c, &d, &e]), None);
    // New devices' consent is no approval.
    let (signed, needed) = (1, 2);
    let too_few = Some(ChainError::TooFew { signed, needed });
    assert_eq!(advance(&version, &[&c, &d, &e]), too_few);
    let device = e.id();
    let no_consent = Some(ChainError::NoConsent { device });
    assert_eq!(advance(&version, &[&a, &b, &d]), no_consent);
    // A lower threshold counts from the next version on.
    version.devices = vec![a.card.clone()];
    version.threshold = 1;
    assert_eq!(advance(&version, &[&a]), too_few);
    assert_eq!(advance(&version, &[&a, &b]), None);
    // Nobody else has a say.
    let device = d.id();
    let foreign = Some(ChainError::Foreign { device });
    assert_eq!(advance(&version, &[&a, &b, &d]), foreign);
}

#[test]
fn a_signature_counts_for_one_device_and_one_version() {
    let ([a, b, c, ..], profile) = team();
    let version = next(&profile, &[&a, &b, &c]);
    let other = next(&profile, &[&a, &b, &c]);
    let signed_by = |device: &Device, key: &SigningKey, version: &ProfileVersion| {
        (device.id(), version.sign(key))
    };
    let device = b.id();
    let bad = Err(ChainError::BadSignature { device });
    for forged in [
        signed_by(&b, &a.keys.signing, &version),
        signed_by(&b, &b.keys.signing, &other),
        (b.id(), Signature::from_bytes([0; 64])),
        (
            b.id(),
            b.keys.signing.sign("tests", &version.hash().as_bytes()[..]),
        ),
    ] {
        let own = signed_by(&a, &a.keys.signing, &version);
        let signed = SignedVersion::new(version.clone(), [own, forged]);
        assert_eq!(profile.advance(signed), bad);
    }
    // A signature that is there twice counts once, and has no second encoding.
    let own = signed_by(&a, &a.keys.signing, &version);
    let signed = SignedVersion::new(version.clone(), [own, own]);
    let (number, needed) = (1, 2);
    let too_few = ChainError::TooFew {
        signed: number,
        needed,
    };
    assert_eq!(profile.advance(signed), Err(too_few));
    let twice = ostrakon_types::canonical::encode(&(1u8, &version, vec![own, own]));
    assert!(SignedVersion::from_bytes(&twice).is_err());
    let once = ostrakon_types::canonical::encode(&(1u8, &version, vec![own]));
    assert!(SignedVersion::from_bytes(&once).is_ok());
}

#[test]
fn only_the_next_version_of_the_same_branch_follows() {
    let ([a, b, c, ..], profile) = team();
    let by = [&a, &b, &c];
    let second = sign(&next(&profile, &by), &by);
    let fork = sign(&next(&profile, &by), &by);
    let head = profile.advance(second.clone()).unwrap();
    let third = sign(&next(&head, &by), &by);
    let advance =
        |profile: &Profile, version: &SignedVersion| profile.advance(version.clone()).unwrap_err();
    let number = 2;
    assert_eq!(advance(&head, &second), ChainError::Repeated { number });
    assert_eq!(advance(&head, &fork), ChainError::Fork { number });
    let (number, first) = (3, 1);
    assert_eq!(
        advance(&profile, &third),
        ChainError::Gap {
            number,
            head: first
        }
    );
    let other_branch = profile.advance(fork).unwrap();
    assert_eq!(advance(&other_branch, &third), ChainError::Fork { number });
    let highest = head.advance(third.clone()).unwrap();
    let (number, head) = (2, 3);
    assert_eq!(
        advance(&highest, &second),
        ChainError::Rollback { number, head }
    );

    let mut jump = next(&profile, &by);
    jump.number = u64::MAX;
    let (number, head) = (u64::MAX, 1);
    let jump = advance(&profile, &sign(&jump, &by));
    assert_eq!(jump, ChainError::Gap { number, head });
}

#[test]
fn a_chain_is_checked_from_its_first_version_on() {
    let ([a, b, c, ..], _) = team();
    let by = [&a, &b, &c];
    let founding = sign(&first(2, &by), &by);
    let profile = Profile::found(founding.clone()).unwrap();
    let second = sign(&next(&profile, &by), &by);
    let chain = [founding, second.clone()];
    let bytes = chain.each_ref().map(SignedVersion::to_bytes);
    let decoded = bytes.map(|bytes| SignedVersion::from_bytes(&bytes).unwrap());
    let profile = Profile::from_chain(decoded).unwrap();
    assert_eq!(profile.head().number, 2);
    assert_eq!(Profile::from_chain([]), Err(ChainError::Empty));
    let number = 2;
    let not_first = Err(ChainError::NotFirst { number });
    assert_eq!(Profile::from_chain([second]), not_first);
}

#[test]
fn a_kept_head_refuses_what_does_not_descend_from_it() {
    let ([a, b, c, ..], profile) = team();
    let by = [&a, &b, &c];
    let advance = |profile: &Profile| profile.advance(sign(&next(profile, &by), &by)).unwrap();
    let second = advance(&profile);
    let third = advance(&second);
    let fork = advance(&advance(&profile));

    let kept = second.head();
    assert_eq!(kept.follow(&second), Ok(kept));
    assert_eq!(kept.follow(&third), Ok(third.head()));
    let (was, shown) = (2, 1);
    let rollback = Err(HeadError::Rollback { kept: was, shown });
    assert_eq!(kept.follow(&profile), rollback);
    let number = 2;
    assert_eq!(kept.follow(&fork), Err(HeadError::Fork { number }));
    let (_, other) = team();
    assert_eq!(kept.follow(&other), Err(HeadError::OtherProfile));
}

#[test]
fn a_server_signs_for_a_head_and_a_time() {
    let root = SigningKey::generate().unwrap();
    let (_, profile) = team();
    let now = UnixMillis(1_800_000_000_000);
    let signed = SignedHead::issue(&root, profile.head(), now);
    let signed = SignedHead::from_bytes(&signed.to_bytes()).unwrap();
    let verified = signed.verify(&root.verify_key());
    assert_eq!(verified, Ok((profile.head(), now)));
    let other = SigningKey::generate().unwrap();
    assert!(signed.verify(&other.verify_key()).is_err());
    let mut bytes = signed.to_bytes();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let verified = SignedHead::from_bytes(&bytes).map(|head| head.verify(&root.verify_key()));
        assert!(!matches!(verified, Ok(Ok(_))), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}
