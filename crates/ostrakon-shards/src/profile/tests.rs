use super::*;
use crate::{
    card::{Card, DeviceKind},
    device::DeviceKeys,
    name::Name,
};

struct Device {
    keys: DeviceKeys,
    card: Card,
}

fn device(name: &str) -> Device {
    let keys = DeviceKeys::generate().unwrap();
    let card = keys.card(DeviceKind::Workstation, Name::new(name).unwrap());
    Device { keys, card }
}

fn signed(version: ProfileVersion, by: &[&Device]) -> SignedVersion {
    let signatures: Vec<_> = by
        .iter()
        .map(|device| (device.card.id(), version.sign(&device.keys.signing)))
        .collect();
    SignedVersion::new(version, signatures)
}

#[test]
fn a_chain_grows_by_consent() {
    let [a, b, c] = ["a", "b", "c"].map(device);
    let devices = vec![a.card.clone(), b.card.clone()];
    let first = ProfileVersion::first(Name::new("team").unwrap(), 2, devices).unwrap();
    let profile = Profile::found(signed(first, &[&a, &b])).unwrap();
    assert_eq!(profile.words().iter().count(), 24);
    let mut next = profile.draft().unwrap();
    next.devices.push(c.card.clone());
    let error = profile
        .advance(signed(next.clone(), &[&a, &b]))
        .unwrap_err();
    assert!(matches!(error, ChainError::NoConsent { device } if device == c.card.id()));
    let kept = profile.head();
    let profile = profile.advance(signed(next, &[&a, &b, &c])).unwrap();
    assert!(profile.member(&c.card.id()).is_some());
    assert_eq!(kept.follow(&profile), Ok(profile.head()));
}
