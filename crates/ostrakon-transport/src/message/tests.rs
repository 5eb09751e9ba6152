use ostrakon_shards::{
    backup::SignedNewest,
    generation::Generation,
    identity::RootKeyRecord,
    profile::{Profile, SignedHead},
    seal::{Sealed, seal},
    sign::SigningKey,
    suite::Suite,
};
use ostrakon_types::{
    CeremonyId, Denial, DeviceId, LocationId, RequestId, RequestKind, UnixMillis, canonical,
};
use proptest::prelude::*;

use super::*;
use crate::fixture::{Device, NOW, PROFILE, Server, location, new_profile, release, request};

/// One of each.
fn all_answers() -> Vec<ItemAnswer> {
    let (server, device) = (Server::fixed(), Device::fixed());
    let (version, _) = new_profile(&device);
    let head = Profile::found(version.clone()).unwrap().head();
    let head = SignedHead::issue(&server.root, head, NOW);
    vec![
        ItemAnswer::Released(release(&server, "a").1),
        ItemAnswer::ProfileCreated {
            version: version.clone(),
            head,
        },
        ItemAnswer::LocationCreated {
            location: LocationId::from_bytes([1; 16]),
        },
        ItemAnswer::Locations(vec![entry(); 2]),
        ItemAnswer::Head {
            version: version.clone(),
            head,
        },
        ItemAnswer::Denied(Denial::Disabled),
        ItemAnswer::Failed(Failure::ShardMismatch),
        ItemAnswer::ProfileChanged {
            version: version.clone(),
            head,
        },
        ItemAnswer::Chain {
            versions: vec![version.clone(); 2],
            head,
        },
        ItemAnswer::Relayed,
        ItemAnswer::Notices {
            notices: vec![PendingNotice {
                id: CeremonyId::from_bytes([4; 16]),
                expires_at: NOW,
                notice: sealed(10),
            }],
            backup: Some(newest_backup()),
            versions: vec![version; 2],
        },
        ItemAnswer::CeremonyAnswers(vec![sealed(10); 2]),
    ]
}

fn newest_backup() -> SignedNewest {
    let root = SigningKey::generate().unwrap();
    let server = RootKeyRecord {
        verify: root.verify_key(),
    };
    let generation = Generation {
        epoch: 1,
        counter: 2,
    };
    SignedNewest::issue(&root, &server.kss_id(), generation)
}

/// Something sealed, of this length in all but a few bytes.
fn sealed(len: usize) -> Sealed {
    let key = &Device::fixed().card.kem;
    seal(Suite::X25519, "tests", key, &[], &vec![0; len]).unwrap()
}

fn entry() -> LocationEntry {
    LocationEntry {
        location: LocationId::from_bytes([2; 16]),
        name: "Payroll".parse().unwrap(),
        created_at: NOW,
    }
}

fn response(items: Vec<ItemAnswer>) -> ResponseBody {
    ResponseBody {
        request_id: Some(RequestId::from_bytes([3; 16])),
        server_time: NOW,
        answer: Answer::Items(items),
        generation: None,
    }
}

#[test]
fn every_answer_round_trips() {
    let bytes = response(all_answers()).to_bytes();
    let decoded = ResponseBody::from_bytes(&bytes).ok().unwrap();
    assert_eq!(*decoded.to_bytes(), *bytes);
    let Answer::Items(items) = decoded.answer else {
        panic!("refused");
    };
    let same_variant =
        |(a, b)| std::mem::discriminant::<ItemAnswer>(a) == std::mem::discriminant(b);
    assert_eq!(items.len(), all_answers().len());
    assert!(items.iter().zip(&all_answers()).all(same_variant));

    let refused = ResponseBody::refused(NOW, RefusalCode::Unavailable).to_bytes();
    let refused = ResponseBody::from_bytes(&refused).ok().unwrap();
    assert!(matches!(
        refused.answer,
        Answer::Refused(RefusalCode::Unavailable)
    ));
}

#[test]
fn secrets_are_encoded_without_growing() {
    let bytes = response(all_answers()).to_bytes();
    assert_eq!(bytes.capacity(), bytes.len());
}

#[test]
fn long_lists_are_refused() {
    let fits = |response: &ResponseBody| ResponseBody::from_bytes(&response.to_bytes()).is_ok();
    let denied = |count| {
        let items = (0..count).map(|_| ItemAnswer::Denied(Denial::Policy));
        response(items.collect())
    };
    assert!(fits(&denied(MAX_ITEMS)));
    assert!(!fits(&denied(MAX_ITEMS + 1)));
    let locations = |count| response(vec![ItemAnswer::Locations(vec![entry(); count])]);
    assert!(fits(&locations(MAX_LOCATIONS)));
    assert!(!fits(&locations(MAX_LOCATIONS + 1)));
}

#[test]
fn requests_out_of_bounds_are_not_made() {
    let id = RequestId::from_bytes([0; 16]);
    let new = |items| RequestBody::new(id, NOW, PROFILE, items).err();
    assert_eq!(new(vec![]), Some(RequestBodyError::Empty));
    assert_eq!(new(vec![location(); MAX_ITEMS]), None);
    let too_many = vec![location(); MAX_ITEMS + 1];
    assert_eq!(new(too_many), Some(RequestBodyError::TooManyItems));
    let server = Server::fixed();
    let (longest, _) = release(&server, &"x".repeat(MAX_PATH_LEN));
    assert_eq!(new(vec![longest]), None);
    let (too_long, _) = release(&server, &"x".repeat(MAX_PATH_LEN + 1));
    assert_eq!(new(vec![too_long]), Some(RequestBodyError::PathTooLong));
    let (version, profile) = new_profile(&Device::fixed());
    let create = Item::CreateProfile { version };
    let foreign = vec![location(), create.clone()];
    assert_eq!(new(foreign), Some(RequestBodyError::OtherProfile));
    let own = |items| RequestBody::new(id, NOW, profile, items).err();
    assert_eq!(own(vec![create.clone()]), None);
    let alone = Some(RequestBodyError::NotAlone);
    assert_eq!(own(vec![create.clone(), create.clone()]), alone);
    let Item::CreateProfile { version } = create.clone() else {
        unreachable!()
    };
    let change = Item::ChangeProfile { version };
    assert_eq!(own(vec![change.clone()]), None);
    assert_eq!(own(vec![change, location()]), alone);
}

#[test]
fn a_policy_judges_what_changes_or_releases() {
    let (release, _) = release(&Server::fixed(), "a");
    assert_eq!(release.kind(), Some(RequestKind::Decrypt));
    assert_eq!(RequestKind::from(ReleaseKind::Rename), RequestKind::Rename);
    assert_eq!(
        RequestKind::from(ReleaseKind::SecureExport),
        RequestKind::SecureExport
    );
    assert_eq!(location().kind(), Some(RequestKind::CreateLocation));
    assert_eq!(Item::ListLocations.kind(), None);
    assert_eq!(Item::ProfileHead.kind(), None);
}

#[test]
fn user_data_does_not_show_in_debug_output() {
    let (release, _) = release(&Server::fixed(), "salaries.xlsx");
    let shown = format!("{:?} {:?}", request(vec![release, location()]), entry());
    assert!(!shown.contains("salaries"), "{shown}");
    assert!(!shown.contains("Payroll"), "{shown}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = ResponseBody::from_bytes(&bytes).map(drop);
        let _ = RequestBody::from_bytes(&bytes);
    }

    #[test]
    fn altered_answers_never_panic_and_have_one_spelling(at: prop::sample::Index, byte: u8) {
        let mut bytes = response(all_answers()).to_bytes();
        *at.get_mut(&mut bytes) = byte;
        if let Ok(decoded) = ResponseBody::from_bytes(&bytes) {
            prop_assert_eq!(decoded.to_bytes(), bytes);
        }
    }

    #[test]
    fn requests_round_trip(id: [u8; 16], at: i64, count in 1..=MAX_ITEMS) {
        let items = vec![location(); count];
        let body = RequestBody::new(RequestId::from_bytes(id), UnixMillis(at), PROFILE, items);
        let body = body.unwrap();
        let bytes = body.to_bytes();
        prop_assert_eq!(&canonical::encode(&body), &bytes);
        prop_assert_eq!(RequestBody::from_bytes(&bytes), Ok(body));
    }
}

#[test]
fn a_list_is_asked_for_once() {
    let new = |items| RequestBody::new(RequestId::from_bytes([1; 16]), NOW, PROFILE, items);
    assert!(new(vec![Item::ListLocations, Item::ProfileHead]).is_ok());
    let id = CeremonyId::from_bytes([1; 16]);
    for list in [
        Item::ListLocations,
        Item::ProfileHead,
        Item::ProfileChain { after: 1 },
        Item::PendingCeremonies { known: Some(1) },
        Item::CeremonyAnswers { id },
    ] {
        let repeated = new(vec![
            list.clone(),
            Item::CreateLocation {
                location: LocationId::from_bytes([1; 16]),
                name: "Payroll".parse().unwrap(),
            },
            list,
        ]);
        assert_eq!(repeated.err(), Some(RequestBodyError::Repeated));
    }
}

#[test]
fn ceremonies_out_of_bounds_are_not_relayed() {
    let new = |item| RequestBody::new(RequestId::from_bytes([1; 16]), NOW, PROFILE, vec![item]);
    let id = CeremonyId::from_bytes([1; 16]);
    let open = |count, len| {
        let notices = vec![(DeviceId::from_bytes([1; 16]), sealed(len)); count];
        let expires_at = NOW;
        let item = Item::OpenCeremony {
            id,
            expires_at,
            notices,
        };
        new(item).err()
    };
    let too_large = Some(RequestBodyError::CeremonyTooLarge);
    assert_eq!(open(MAX_NOTICES, 10), None);
    assert_eq!(open(MAX_NOTICES + 1, 10), too_large);
    assert_eq!(open(1, MAX_NOTICE_LEN - 100), None);
    assert_eq!(open(1, MAX_NOTICE_LEN), too_large);
    let answer = |len| {
        let answer = sealed(len);
        new(Item::AnswerCeremony { id, answer }).err()
    };
    assert_eq!(answer(MAX_ANSWER_LEN - 100), None);
    assert_eq!(answer(MAX_ANSWER_LEN), too_large);
}
