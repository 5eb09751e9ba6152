use ostrakon_shards::suite::Suite;
use ostrakon_types::{Denial, KssId, RequestId};
use proptest::prelude::*;

use self::forge::Forgery;
use super::*;
use crate::{
    fixture::{Device, NOW, PROFILE, Server, location, new_profile, release, request},
    message::{Answer, Item, ItemAnswer, MAX_ITEMS, RefusalCode, RequestBody, ResponseBody},
};

mod forge;
mod secrets;
mod vectors;

fn answers(body: &RequestBody, items: Vec<ItemAnswer>) -> ResponseBody {
    ResponseBody {
        request_id: Some(body.request_id()),
        server_time: NOW,
        answer: Answer::Items(items),
        generation: None,
    }
}

/// An envelope altered at one byte, for each of its bytes, and a few of other lengths.
fn altered(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let flipped = (0..bytes.len()).flat_map(|at| {
        [0x01, 0x80].map(|bit| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= bit;
            bytes
        })
    });
    let cut = [0, 1, 2, 17, 18, 49, bytes.len() - 1].map(|len| bytes[..len].to_vec());
    let longer = [bytes, &[0]].concat();
    flipped.chain(cut).chain([longer])
}

#[test]
fn requests_and_answers_round_trip_in_both_suites() {
    let (server, device) = (Server::new(), Device::new());
    for suite in Suite::ALL {
        let (item, shard) = release(&server, "payroll/2026.xlsx");
        let body = request(vec![item, location()]);
        let (bytes, pending) = device.seal_as(Contact::Known, suite, &server, &body);
        let authentic = server.accept(&device, &bytes).ok().unwrap();
        assert_eq!(authentic.device(), device.card.id());
        assert_eq!(authentic.parse(NOW).unwrap(), body);

        let values = shard.values().to_vec();
        let denial = Denial::Quota { resets_at: NOW };
        let items = vec![ItemAnswer::Released(shard), ItemAnswer::Denied(denial)];
        let sealed = authentic.into_reply().seal(&answers(&body, items)).unwrap();
        let response = pending.open(&sealed).ok().unwrap();
        assert_eq!(response.server_time, NOW);
        let Answer::Items(items) = response.answer else {
            panic!("refused");
        };
        assert!(matches!(&items[0], ItemAnswer::Released(shard) if shard.values() == values));
        assert!(matches!(items[1], ItemAnswer::Denied(other) if other == denial));
    }
}

#[test]
fn a_first_contact_brings_the_card() {
    let (server, device) = (Server::new(), Device::new());
    let (version, profile) = new_profile(&device);
    let items = vec![Item::CreateProfile { version }];
    let body = RequestBody::new(RequestId::from_bytes([1; 16]), NOW, profile, items).unwrap();
    let (bytes, _) = device.seal_as(Contact::First, Suite::XWing, &server, &body);
    let opened = server.open(&bytes).ok().unwrap();
    assert_eq!(opened.card(), Some(&device.card));
    assert_eq!(opened.device(), device.card.id());
    let (authentic, card) = opened.verify_first_contact().ok().unwrap();
    assert_eq!(card, device.card);
    assert_eq!(authentic.parse(NOW).unwrap(), body);

    let (bytes, _) = device.seal(&server, &body);
    let opened = server.open(&bytes).ok().unwrap();
    assert!(opened.card().is_none());
    let error = opened.verify_first_contact().err();
    assert_eq!(error, Some(Stranger::UnknownDevice));
}

#[test]
fn altered_requests_are_refused() {
    let (server, device) = (Server::new(), Device::new());
    let body = request(vec![location()]);
    for suite in Suite::ALL {
        let (bytes, _) = device.seal_as(Contact::Known, suite, &server, &body);
        for altered in altered(&bytes) {
            assert!(server.accept(&device, &altered).is_err());
        }
    }
}

#[test]
fn altered_answers_are_refused() {
    let (server, device) = (Server::new(), Device::new());
    let (item, shard) = release(&server, "a");
    let body = request(vec![item]);
    for suite in Suite::ALL {
        let (bytes, pending) = device.seal_as(Contact::Known, suite, &server, &body);
        let authentic = server.accept(&device, &bytes).ok().unwrap();
        let shard = ostrakon_shards::share::Shard::from_bytes(&shard.to_bytes()).unwrap();
        let response = answers(&body, vec![ItemAnswer::Released(shard)]);
        let sealed = authentic.reply().seal(&response).unwrap();
        assert!(pending.open(&sealed).is_ok());
        for altered in altered(&sealed) {
            let error = pending.open(&altered).err();
            assert!(matches!(error, Some(OpenResponseError::Sealed)));
        }
    }
}

#[test]
fn an_answer_opens_for_its_request_alone() {
    let (server, device) = (Server::new(), Device::new());
    let body = request(vec![location()]);
    let (bytes, pending) = device.seal(&server, &body);
    let (_, same_body) = device.seal(&server, &body);
    let reply = server.accept(&device, &bytes).ok().unwrap().into_reply();
    let response = || answers(&body, vec![ItemAnswer::Denied(Denial::Policy)]);
    let sealed = reply.seal(&response()).unwrap();
    assert!(pending.open(&sealed).is_ok());
    let error = same_body.open(&sealed).err();
    assert!(matches!(error, Some(OpenResponseError::Sealed)));
    // Sealed twice, it differs, and opens both times.
    let again = reply.seal(&response()).unwrap();
    assert_ne!(again, sealed);
    assert!(pending.open(&again).is_ok());

    let denied = || ItemAnswer::Denied(Denial::Policy);
    let mut other_id = response();
    other_id.request_id = Some(RequestId::from_bytes([0; 16]));
    let mut no_id = response();
    no_id.request_id = None;
    let mut other_refused = ResponseBody::refused(NOW, RefusalCode::IdReused);
    other_refused.request_id = other_id.request_id;
    let misfits = [
        other_id,
        no_id,
        other_refused,
        answers(&body, vec![]),
        answers(&body, vec![denied(), denied()]),
    ];
    for misfit in misfits {
        let error = pending.open(&reply.seal(&misfit).unwrap()).err();
        assert!(matches!(error, Some(OpenResponseError::Misfit)));
    }
    let refused = ResponseBody::refused(NOW, RefusalCode::Expired);
    let refused = pending.open(&reply.seal(&refused).unwrap()).ok().unwrap();
    assert!(matches!(
        refused.answer,
        Answer::Refused(RefusalCode::Expired)
    ));
}

#[test]
fn foreign_servers_cannot_open() {
    let (server, other, device) = (Server::new(), Server::new(), Device::new());
    let (bytes, _) = device.seal(&server, &request(vec![location()]));
    assert_eq!(other.accept(&device, &bytes).err(), Some(Stranger::Sealed));
    // Nor can the right key under another id.
    let other_id = other.verified.kss_id();
    assert_eq!(
        server.key.open(&other_id, &bytes).err(),
        Some(Stranger::Sealed)
    );
}

#[test]
fn other_devices_are_strangers() {
    let (server, device, other) = (Server::new(), Device::new(), Device::new());
    let (bytes, _) = device.seal(&server, &request(vec![location()]));
    assert_eq!(
        server.accept(&other, &bytes).err(),
        Some(Stranger::Signature)
    );
    // The same keys under another name are another device.
    let name = "other".parse().unwrap();
    let renamed = Device {
        card: device.keys.card(device.card.kind, name),
        keys: device.keys,
    };
    let error = server.accept(&renamed, &bytes).err();
    assert_eq!(error, Some(Stranger::UnknownDevice));
    let device = renamed;
    let opened = server.open(&bytes).ok().unwrap();
    assert_eq!(opened.verify_nobody(), Stranger::UnknownDevice);
    let body = request(vec![location()]);
    let (kss, suite) = (&server.verified, Suite::X25519);
    let error = seal_request(&other.keys, &device.card, Contact::Known, kss, suite, &body);
    assert!(matches!(error.err(), Some(SealRequestError::OtherCard)));
}

#[test]
fn unknown_devices_are_refused_no_faster_than_known_ones() {
    let (server, device, other) = (Server::new(), Device::new(), Device::new());
    let body = vec![0; 10_000];
    let (bytes, _) = Forgery::new(&server, &device).signed_by(&other, &body);
    let fastest = |refuse: &dyn Fn(Opened)| {
        let once = |_| {
            let opened = server.open(&bytes).ok().unwrap();
            let start = tokio::time::Instant::now();
            refuse(opened);
            start.elapsed()
        };
        (0..200).map(once).min().unwrap()
    };
    let known = fastest(&|opened| assert!(opened.verify(&device.card).is_err()));
    let unknown = fastest(&|opened| assert_eq!(opened.verify_nobody(), Stranger::UnknownDevice));
    // No proof of equality, but it finds work left out: the hash or the curve.
    let ratio = unknown.as_secs_f64() / known.as_secs_f64();
    assert!((0.7..1.4).contains(&ratio), "{unknown:?} / {known:?}");
}

#[test]
fn requests_are_valid_for_a_minute_and_thirty_seconds_of_skew() {
    let (server, device) = (Server::new(), Device::new());
    let (bytes, _) = device.seal(&server, &request(vec![location()]));
    let authentic = server.accept(&device, &bytes).ok().unwrap();
    let at = |millis| authentic.parse(NOW.plus(millis)).err();
    assert_eq!(at(90_000), None);
    assert_eq!(at(90_001), Some(RefusalCode::Expired));
    assert_eq!(at(-30_000), None);
    assert_eq!(at(-30_001), Some(RefusalCode::FutureDated));
    assert_eq!(at(i64::MAX), Some(RefusalCode::Expired));
    assert_eq!(at(i64::MIN), Some(RefusalCode::FutureDated));
}

#[test]
fn replays_and_retries_have_one_digest_and_other_requests_another() {
    let (server, device) = (Server::new(), Device::new());
    let body = request(vec![location(), Item::ProfileHead]);
    let (bytes, _) = device.seal(&server, &body);
    for _ in 0..2 {
        let replayed = server.accept(&device, &bytes).ok().unwrap();
        assert_eq!(replayed.parse(NOW).unwrap().digest(), body.digest());
    }
    let later = NOW.plus(3_600_000);
    let retry = body.clone().reissued(later);
    let (bytes, _) = device.seal(&server, &retry);
    let retried = server.accept(&device, &bytes).ok().unwrap().parse(later);
    assert_eq!(retried.unwrap().digest(), body.digest());

    let other =
        |id: RequestId, profile, items| RequestBody::new(id, NOW, profile, items).unwrap().digest();
    let (id, profile) = (body.request_id(), body.profile());
    let items = || vec![location(), Item::ProfileHead];
    assert_eq!(other(id, profile, items()), body.digest());
    let other_profile = ostrakon_types::ProfileId::from_bytes([8; 16]);
    for other in [
        other(RequestId::from_bytes([0; 16]), profile, items()),
        other(id, other_profile, items()),
        other(id, profile, vec![location()]),
        other(id, profile, vec![Item::ProfileHead, location()]),
    ] {
        assert_ne!(other, body.digest());
    }
}

#[test]
fn the_signature_is_checked_before_the_body_is_parsed() {
    let (server, device, other) = (Server::new(), Device::new(), Device::new());
    let forgery = Forgery::new(&server, &device);
    // Garbage, signed by the device: it is known, and told in a sealed answer.
    let (bytes, reply) = forgery.signed(b"garbage");
    let authentic = server.accept(&device, &bytes).ok().unwrap();
    let code = authentic.parse(NOW).unwrap_err();
    assert_eq!(code, RefusalCode::Malformed);
    let refused = ResponseBody::refused(NOW, code);
    let sealed = authentic.reply().seal(&refused).unwrap();
    assert!(reply.open(wire::Version::Single, &sealed).is_some());
    // Garbage, signed by another: a stranger, whatever the body.
    for body in [&b"garbage"[..], &request(vec![location()]).to_bytes()] {
        let (bytes, _) = forgery.signed_by(&other, body);
        assert_eq!(
            server.accept(&device, &bytes).err(),
            Some(Stranger::Signature)
        );
    }
}

#[test]
fn a_signature_is_for_one_envelope_and_server() {
    let (server, other, device) = (Server::new(), Server::new(), Device::new());
    let body = request(vec![location()]).to_bytes();
    let forgery = Forgery::new(&server, &device);
    let refused =
        |bytes: Vec<u8>| server.accept(&device, &bytes).err() == Some(Stranger::Signature);
    assert!(refused(forgery.signed_for(&other.verified.kss_id(), &body)));
    assert!(refused(forgery.signed_in_another_envelope(&body)));
    assert!(refused(forgery.signed_as_another_suite(&body)));
    assert!(refused(forgery.signed_as_another_purpose(&body)));
}

#[test]
fn content_that_is_no_signed_request_is_refused() {
    let (server, device, other) = (Server::new(), Device::new(), Device::new());
    let forgery = Forgery::new(&server, &device);
    let body = request(vec![location()]).to_bytes();
    for inner in [
        forgery.with_card(&other.card, &body),
        forgery.content(b""),
        forgery.content(b"garbage"),
        forgery.content(&[0x83, 0xf6, 0x40, 0x40]),
        forgery.in_another_spelling(&body),
    ] {
        assert_eq!(server.open(&inner).err(), Some(Stranger::Content));
    }
}

#[test]
fn bodies_out_of_bounds_are_refused_by_name() {
    let (server, device) = (Server::new(), Device::new());
    let forgery = Forgery::new(&server, &device);
    let code = |body: &[u8]| {
        let (bytes, _) = forgery.signed(body);
        server
            .accept(&device, &bytes)
            .ok()
            .unwrap()
            .parse(NOW)
            .err()
    };
    let items = |count, item: Item| {
        let id = RequestId::from_bytes([0; 16]);
        ostrakon_types::canonical::encode(&(1, id, NOW, PROFILE, vec![item; count]))
    };
    assert_eq!(code(&items(1, location())), None);
    assert_eq!(code(&items(MAX_ITEMS, location())), None);
    assert_eq!(
        code(&items(MAX_ITEMS + 1, location())),
        Some(RefusalCode::TooManyItems)
    );
    assert_eq!(
        code(&items(500_000, Item::ListLocations)),
        Some(RefusalCode::TooManyItems)
    );
    assert_eq!(code(&items(0, location())), Some(RefusalCode::Malformed));
    let (item, _) = release(&server, &"x".repeat(4097));
    assert_eq!(code(&items(1, item)), Some(RefusalCode::Malformed));
    let (
        Item::Release {
            kind,
            mut context,
            sealed,
        },
        _,
    ) = release(&server, "a")
    else {
        panic!("not a release");
    };
    context.public.profile = ostrakon_types::ProfileId::from_bytes([8; 16]);
    let foreign = Item::Release {
        kind,
        context,
        sealed,
    };
    assert_eq!(code(&items(1, foreign)), Some(RefusalCode::OtherProfile));
    let (version, _) = new_profile(&device);
    let foreign = Item::CreateProfile { version };
    assert_eq!(code(&items(1, foreign)), Some(RefusalCode::OtherProfile));
    let other_version = ostrakon_types::canonical::encode(&(
        2,
        RequestId::from_bytes([0; 16]),
        NOW,
        PROFILE,
        vec![location()],
    ));
    assert_eq!(code(&other_version), Some(RefusalCode::Malformed));
}

#[test]
fn the_largest_request_fits_and_larger_ones_are_refused() {
    let (server, device) = (Server::new(), Device::new());
    let (item, _) = release(&server, &"x".repeat(crate::message::MAX_PATH_LEN));
    let body = request(vec![item; MAX_ITEMS]);
    let (bytes, _) = device.seal_as(Contact::First, Suite::XWing, &server, &body);
    assert!(bytes.len() < MAX_ENVELOPE_LEN);
    assert!(server.accept(&device, &bytes).is_ok());
    assert_eq!(
        crate::http::ListenerLimits::default().body_bytes,
        MAX_ENVELOPE_LEN
    );

    let forgery = Forgery::new(&server, &device);
    let too_long = forgery.content(&vec![0; MAX_ENVELOPE_LEN]);
    assert_eq!(server.open(&too_long).err(), Some(Stranger::NotAnEnvelope));
}

#[test]
fn unknown_versions_and_suites_are_no_envelopes() {
    let (server, device) = (Server::new(), Device::new());
    let (bytes, _) = device.seal(&server, &request(vec![location()]));
    for (at, value) in [(0, 0), (0, 3), (0, 4), (1, 0), (1, 3), (1, 255)] {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        assert_eq!(server.open(&bytes).err(), Some(Stranger::NotAnEnvelope));
    }
    // A known suite that it was not sealed with.
    let mut bytes = [bytes, vec![0; 2000]].concat();
    bytes[1] = Suite::XWing.as_byte();
    assert_eq!(server.open(&bytes).err(), Some(Stranger::Sealed));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, suite in 1..=2_u8) {
        let (server, device) = (Server::fixed(), Device::fixed());
        let kss = KssId::from_digest(ostrakon_types::Digest::from_bytes([0; 32]));
        prop_assert!(server.key.open(&kss, &bytes).is_err());
        let headed = [&[1, suite], &*bytes].concat();
        prop_assert!(server.key.open(&kss, &headed).is_err());
        let (_, pending) = device.seal(&server, &request(vec![location()]));
        prop_assert!(pending.open(&bytes).is_err());
        prop_assert!(pending.open(&headed).is_err());
    }

    #[test]
    fn altered_bodies_never_panic_and_have_one_spelling(
        at: prop::sample::Index,
        byte: u8,
        cut in 0..3_usize,
    ) {
        let server = Server::fixed();
        let whole = ostrakon_types::canonical::encode(&(
            1,
            RequestId::from_bytes([0; 16]),
            NOW,
            PROFILE,
            vec![release(&server, "a/b").0, location(), Item::ListLocations],
        ));
        let at = at.index(whole.len());
        let mut bytes = whole;
        bytes.splice(at..(at + cut).min(bytes.len()), [byte]);
        if let Ok(body) = RequestBody::from_bytes(&bytes) {
            prop_assert_eq!(body.to_bytes(), bytes);
        }
    }
}
