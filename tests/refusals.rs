//! What must not work: requests that are not what they say, and requests that come again.
//!
//! Seen to fail: with the context left out of what a shard is sealed to, another path releases it; with
//! `recall` always answering `None`, replays are charged until the quota is used up; without the check
//! of `age`, an old request is answered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::{net::SocketAddr, thread};

use minicbor::bytes::ByteSlice;
use ostrakon_custody::AuditEvent;
use ostrakon_shards::{
    identity::PublicCard, kem::KemSecret, random, sealed_shard::ShardContext, sign::Signature,
    sign::SigningKey,
};
use ostrakon_testkit::{
    APPROVE_ALL, Asked, HttpAnswer, Keyserver, LocalServer, TestHome, TestUser, daily_limit, now,
    user::{opened, post},
};
use ostrakon_transport::message::{Failure, Item, ItemAnswer, RefusalCode, RequestBody};
use ostrakon_types::{
    CryptographicId, Denial, DeviceId, Digest, ProfileId, RequestId, RequestKind, SetId,
    UnixMillis, canonical,
};

fn is_mismatch(answer: &ItemAnswer) -> bool {
    matches!(answer, ItemAnswer::Failed(Failure::ShardMismatch))
}

#[test]
fn a_shard_opens_in_its_own_context_alone() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    let file = user.file("Public/report.pdf");
    let other = user.file("Public/report.pdf");
    assert!(user.decrypt(server.address, &file).is(&file));

    type Change = fn(&mut ShardContext);
    let changes: [(&str, Change); 10] = [
        ("path", |c| c.meta.meta = "Public/other.pdf".into()),
        ("case of the path", |c| {
            c.meta.meta = "public/report.pdf".into()
        }),
        ("folder", |c| c.meta.meta = "report.pdf".into()),
        ("completeness", |c| c.meta.complete = false),
        ("threshold", |c| c.public.threshold = 1),
        ("index", |c| c.public.index = 1),
        ("set", |c| c.public.set_id = SetId::from_bytes([1; 16])),
        ("file", |c| {
            c.public.cryptographic_id = CryptographicId::from_bytes([1; 16]);
        }),
        ("manifest", |c| {
            c.public.manifest = Digest::from_bytes([1; 32])
        }),
        ("device", |c| {
            c.public.device = DeviceId::from_bytes([1; 16])
        }),
    ];
    for (what, change) in changes {
        let mut context = file.context.clone();
        change(&mut context);
        let body = user.body(vec![file.item_in(context)]);
        let answer = user.ask(server.address, &body).only();
        assert!(
            is_mismatch(&answer),
            "another {what}: {:?}",
            Asked::Items(vec![answer])
        );
    }
    // Another file's box under this file's name, and this one's with a bit turned.
    let body = user.body(vec![other.item_in(file.context.clone())]);
    assert!(is_mismatch(&user.ask(server.address, &body).only()));
    for at in [0, 1, 2, 40, file.sealed.to_bytes().len() - 1] {
        let mut bytes = file.sealed.to_bytes();
        bytes[at] ^= 1;
        let encoded = encoded_release(&user, &file.context, &bytes);
        let (envelope, open) = forged(&user, &encoded);
        match open(&post(server.address, &envelope)) {
            Asked::Items(items) => assert!(is_mismatch(&items[0]), "bit of byte {at}"),
            Asked::Refused(RefusalCode::Malformed) => assert!(at < 2, "byte {at}"),
            other => panic!("byte {at}: {other:?}"),
        }
    }
    // A shard that was sealed to another server's key.
    let elsewhere = stranger_server();
    let theirs = TestUser {
        server: elsewhere,
        ..copy(&user)
    }
    .file("Public/report.pdf");
    let mut context = theirs.context.clone();
    context.public.device = server.identity.device_id();
    let body = user.body(vec![theirs.item_in(context)]);
    assert!(is_mismatch(&user.ask(server.address, &body).only()));
    // All of them beside a good one in one envelope: the good one alone.
    let mut items = vec![file.item()];
    items.extend(changes.map(|(_, change)| {
        let mut context = file.context.clone();
        change(&mut context);
        file.item_in(context)
    }));
    let answers = user.ask(server.address, &user.body(items)).items();
    assert!(file.is_in(&answers[0]));
    assert!(answers[1..].iter().all(is_mismatch));

    // The log tells what left from what was approved and did not open.
    assert!(server.stop().0.success());
    let (mut approved, mut unreleased) = (0, 0);
    for record in home.records().audit {
        match record.event {
            AuditEvent::Decided {
                decision,
                kind: RequestKind::Decrypt,
                ..
            } => {
                approved += u32::from(decision.is_approved());
            }
            AuditEvent::Unreleased { .. } => unreleased += 1,
            _ => {}
        }
    }
    assert!(unreleased > 10);
    assert_eq!(approved - unreleased, 2);
}

/// The encoding of a request for one shard whose sealed box is any bytes.
fn encoded_release(user: &TestUser, context: &ShardContext, sealed: &[u8]) -> Vec<u8> {
    let body = user.body(vec![user.file("x").item()]);
    // [version, id, issued at, profile, [[0, [kind, context, sealed]]]]
    let item = (0_u8, (0_u8, context, <&ByteSlice>::from(sealed)));
    let (id, at, profile) = (body.request_id(), body.issued_at(), user.profile);
    canonical::encode(&(1_u8, id, at, profile, [item]))
}

/// Seals any bytes as the body of a request, and says how to open the answer.
///
/// The answer opens with a secret of the envelope's own context, which `Forged` does not keep: so the
/// bytes are put where an honest client would put a request.
fn forged(user: &TestUser, body: &[u8]) -> (Vec<u8>, impl Fn(&HttpAnswer) -> Asked + use<>) {
    let (envelope, reply) = user.forge(body).sealed_with_reply(&user.keys.signing);
    (envelope, move |answer: &HttpAnswer| reply.opened(answer))
}

fn copy(user: &TestUser) -> TestUser {
    TestUser {
        keys: ostrakon_shards::device::DeviceKeys::from_bytes(&user.keys.to_bytes()).unwrap(),
        card: user.card.clone(),
        server: user.server.clone(),
        profile: user.profile,
        founding: user.founding.clone(),
    }
}

/// A server that runs nowhere.
fn stranger_server() -> ostrakon_shards::identity::VerifiedKeyserver {
    let [shards, envelope] = [(); 2].map(|()| KemSecret::generate().unwrap());
    let root = SigningKey::generate().unwrap();
    let name = "elsewhere".parse().unwrap();
    let card = PublicCard::issue(&root, 1, name, shards.public(), envelope.public());
    card.verify(&card.claimed_id()).unwrap()
}

#[test]
fn nobody_asks_for_another_profile() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let at = server.address;
    let [alice, bob] = [(); 2].map(|()| TestUser::onboard(&server.identity, at));
    let file = alice.file("Public/a");

    // Bob, as himself, in the name of Alice's profile: the body is consistent, he is no member.
    let body = TestUser {
        profile: alice.profile,
        ..copy(&bob)
    }
    .body(vec![file.item()]);
    let not_a_member = |asked: Asked| matches!(asked, Asked::Refused(RefusalCode::NotAMember));
    assert!(not_a_member(bob.ask(at, &body)));
    for item in [Item::ListLocations, Item::ProfileHead] {
        let body = TestUser {
            profile: alice.profile,
            ..copy(&bob)
        }
        .body(vec![item]);
        assert!(not_a_member(bob.ask(at, &body)));
    }
    // A profile that nobody has is answered alike.
    let nowhere = TestUser {
        profile: ProfileId::from_bytes([1; 16]),
        ..copy(&bob)
    };
    assert!(not_a_member(
        bob.ask(at, &nowhere.body(vec![Item::ProfileHead]))
    ));

    // The request names Bob's profile and the item Alice's: no honest encoder makes that.
    let id = random::request_id(now()).unwrap();
    let items = vec![file.item()];
    let mixed = canonical::encode(&(1_u8, id, now(), bob.profile, items));
    let (envelope, open) = forged(&bob, &mixed);
    let asked = open(&post(at, &envelope));
    assert!(
        matches!(asked, Asked::Refused(RefusalCode::OtherProfile)),
        "{asked:?}"
    );
    // Bob takes Alice's sealed shard into a context of his own profile.
    let mut context = file.context.clone();
    context.public.profile = bob.profile;
    let asked = bob.ask(at, &bob.body(vec![file.item_in(context)]));
    assert!(is_mismatch(&asked.only()));
    // Alice herself has it.
    assert!(alice.decrypt(at, &file).is(&file));
}

#[test]
fn an_envelope_sent_again_counts_once() {
    let home = TestHome::create(&daily_limit(5));
    let mut server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let eve = TestUser::onboard(&server.identity, at);
    let file = user.file("Public/a");
    let body = user.body(vec![file.item()]);
    let (envelope, pending) = user.seal(&body);

    let replay = |at: SocketAddr| {
        thread::scope(|scope| {
            let sending: Vec<_> = (0..100)
                .map(|_| scope.spawn(|| post(at, &envelope)))
                .collect();
            sending
                .into_iter()
                .map(|sent| sent.join().unwrap())
                .collect::<Vec<_>>()
        })
    };
    for answer in replay(at) {
        assert!(opened(&answer, &pending).is(&file));
    }
    // Whoever else sends it gets an answer that opens for the first sender alone.
    let (_, others) = eve.seal(&eve.body(vec![Item::ProfileHead]));
    assert!(others.open(&post(at, &envelope).body).is_err());
    let (_, same_body) = user.seal(&body);
    assert!(same_body.open(&post(at, &envelope).body).is_err());

    server.kill();
    server = Keyserver::start(&home);
    let at = server.address;
    for answer in replay(at) {
        assert!(opened(&answer, &pending).is(&file));
    }
    // A fresh envelope of the same request is a retry, too.
    assert!(user.ask(at, &body.clone().reissued(now())).is(&file));

    // The same id with another body.
    let other = user.file("Public/b");
    for items in [
        vec![other.item()],
        vec![file.item(), other.item()],
        vec![Item::ProfileHead, file.item()],
    ] {
        let reused = RequestBody::new(body.request_id(), now(), user.profile, items).unwrap();
        let asked = user.ask(at, &reused);
        assert!(
            matches!(asked, Asked::Refused(RefusalCode::IdReused)),
            "{asked:?}"
        );
    }
    // The quota has room for four more, not for three.
    for number in 0..5 {
        let asked = user.decrypt(at, &other);
        assert_eq!(asked.is(&other), number < 4, "{asked:?}");
    }
    let (status, _) = server.stop();
    assert!(status.success());
    let records = home.records();
    assert_eq!(records.counted(&user.profile), 5);
    assert_eq!(records.decisions(body.request_id()).len(), 1);
    assert_eq!(records.released().len(), 5);
}

#[test]
fn a_request_is_valid_for_its_time() {
    const MINUTE: i64 = 60_000;
    let start = UnixMillis(1_700_000_000_000);
    let home = TestHome::create(&daily_limit(2));
    let server = LocalServer::start(&home, start);
    let at = server.address;
    let user = TestUser::new(&server.identity);
    let founding = user.body_at(start, vec![user.founding()]);
    let (envelope, pending) = user.first_contact(&founding);
    assert_eq!(opened(&post(at, &envelope), &pending).items().len(), 1);

    let file = user.file("Public/a");
    let ask = |issued: UnixMillis| user.ask(at, &user.body_at(issued, vec![file.item()]));
    let expired = |asked: &Asked| matches!(asked, Asked::Refused(RefusalCode::Expired));
    let future = |asked: &Asked| matches!(asked, Asked::Refused(RefusalCode::FutureDated));
    // 60 s of validity and 30 s of skew.
    assert!(expired(&ask(start.plus(-90_001))));
    assert!(expired(&ask(UnixMillis(0))));
    assert!(expired(&ask(UnixMillis(i64::MIN))));
    assert!(future(&ask(start.plus(30_001))));
    assert!(future(&ask(UnixMillis(i64::MAX))));
    assert!(ask(start.plus(-90_000)).is(&file));

    // Recorded bytes after expiry are worth nothing, and nothing more is charged.
    let body = user.body_at(start, vec![file.item()]);
    let (envelope, pending) = user.seal(&body);
    assert!(opened(&post(at, &envelope), &pending).is(&file));
    server.set_clock(start.plus(2 * MINUTE));
    for _ in 0..3 {
        assert!(expired(&opened(&post(at, &envelope), &pending)));
    }
    // The same request under its old id in a fresh envelope has its decision, though the quota is used up.
    assert!(user.ask(at, &body.clone().reissued(server.now())).is(&file));
    let denied = user.ask(at, &user.body_at(server.now(), vec![file.item()]));
    assert!(
        matches!(denied.denial(), Some(Denial::Quota { .. })),
        "{denied:?}"
    );

    // The next day's window: 24 hours after 2023-11-14T22:13:20Z.
    let Some(Denial::Quota { resets_at }) = denied.denial() else {
        unreachable!()
    };
    assert_eq!(resets_at, UnixMillis(1_700_006_400_000));
    server.set_clock(resets_at.plus(-1));
    let late = user.ask(at, &user.body_at(server.now(), vec![file.item()]));
    assert!(late.denial().is_some(), "{late:?}");
    server.set_clock(resets_at);
    assert!(
        user.ask(at, &user.body_at(server.now(), vec![file.item()]))
            .is(&file)
    );
    // A clock that is set back does not give yesterday's quota again.
    server.set_clock(resets_at.plus(-1));
    let back = user.ask(at, &user.body_at(server.now(), vec![file.item()]));
    assert!(back.denial().is_some(), "{back:?}");
    server.stop();
    let records = home.records();
    assert_eq!(records.counted(&user.profile), 3);
    assert_eq!(records.released().len(), 3);
    assert_eq!(records.decisions(body.request_id()).len(), 1);
}

#[test]
fn strangers_are_answered_alike() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let unknown = TestUser::new(&server.identity);
    let file = user.file("Public/a");
    let body = user.body(vec![file.item()]);
    let (good, pending) = user.seal(&body);
    let bytes = canonical::encode(&body);
    let forge = user.forge(&bytes);
    let elsewhere = stranger_server();
    let signing = &user.keys.signing;

    let stranger = post(at, b"").undated();
    assert_eq!((stranger.status, stranger.body.len()), (400, 0));

    let mut foreign = forge;
    foreign.kss = elsewhere.kss_id();
    let mut other_version = forge;
    other_version.version = 2;
    let mut in_another_name = forge;
    in_another_name.device = unknown.card.id();
    let mut other_card = forge;
    other_card.card = Some(&unknown.card);
    let theirs = TestUser {
        server: elsewhere.clone(),
        ..copy(&user)
    };
    let unknown_body = unknown.body(vec![unknown.file("x").item()]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("unknown device", unknown.seal(&unknown_body).0),
        ("foreign server", theirs.seal(&body).0),
        (
            "foreign server's id, this one's key",
            foreign.sealed(signing),
        ),
        ("other version", other_version.sealed(signing)),
        (
            "known device, another's signature",
            forge.sealed(&unknown.keys.signing),
        ),
        (
            "known device, no signature",
            forge.sealed_with(|_| Signature::from_bytes([0; 64])),
        ),
        (
            "unknown device's id, known one's signature",
            in_another_name.sealed(signing),
        ),
        ("another's card inside", other_card.sealed(signing)),
        ("nothing inside", forge.sealed_inner(|_| Vec::new())),
        ("garbage inside", forge.sealed_inner(|_| vec![0xff; 300])),
        (
            "deep CBOR inside",
            forge.sealed_inner(|_| vec![0x81; 1 << 20]),
        ),
        (
            "endless CBOR inside",
            forge.sealed_inner(|_| vec![0x9f; 1 << 20]),
        ),
        (
            "CBOR of 2^64 bytes inside",
            forge.sealed_inner(|_| [&[0x83, 0xf6, 0x5b][..], &[0xff; 9]].concat()),
        ),
        ("random bytes", random::array::<600>().unwrap().to_vec()),
        (
            "a head and random bytes",
            [&good[..50], &random::array::<600>().unwrap()].concat(),
        ),
        ("a tail", [&good[..], b"x"].concat()),
        ("zero key", [&good[..18], &[0; 32], &good[50..]].concat()),
    ];
    for (what, envelope) in &cases {
        assert_eq!(post(at, envelope).undated(), stranger, "{what}");
    }
    // Every byte of an envelope, and every length up to its own.
    for i in (0..good.len())
        .step_by(3)
        .chain(good.len() - 17..good.len())
    {
        let mut tampered = good.clone();
        tampered[i] ^= 0x10;
        assert_eq!(post(at, &tampered).undated(), stranger, "byte {i}");
    }
    for length in (0..good.len()).step_by(5).chain([good.len() - 1]) {
        assert_eq!(
            post(at, &good[..length]).undated(),
            stranger,
            "first {length} bytes"
        );
    }
    // What was tampered with used nothing up: the envelope itself is good still.
    let answer = post(at, &good);
    assert!(opened(&answer, &pending).is(&file));
    // A tampered answer opens nowhere.
    for i in 0..answer.body.len() {
        let mut tampered = answer.body.clone();
        tampered[i] ^= 1;
        assert!(pending.open(&tampered).is_err(), "byte {i}");
    }
    for length in 0..answer.body.len() {
        assert!(
            pending.open(&answer.body[..length]).is_err(),
            "first {length} bytes"
        );
    }
    server.stop();
    let records = home.records();
    assert_eq!(records.released().len(), 1);
}

#[test]
fn a_known_device_is_told_what_is_wrong_with_its_body() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let body = user.body(vec![Item::ProfileHead]);
    let good = canonical::encode(&body);
    let (id, issued, profile) = (body.request_id(), body.issued_at(), user.profile);
    let head = |version: u8| canonical::encode(&(version, id, issued, profile));
    let file = user.file("Public/many");
    let items = |count: usize| {
        let items = vec![file.item(); count];
        canonical::encode(&(1_u8, id, issued, profile, items))
    };
    let long = |len: usize| {
        let mut file = user.file("x");
        file.context.meta.meta = "x".repeat(len);
        let id = RequestId::from_bytes([9; 16]);
        canonical::encode(&(1_u8, id, issued, profile, vec![file.item()]))
    };
    let cases: Vec<(&str, Vec<u8>, RefusalCode)> = vec![
        ("nothing", vec![], RefusalCode::Malformed),
        ("garbage", vec![0xff; 64], RefusalCode::Malformed),
        ("deep CBOR", vec![0x81; 1 << 20], RefusalCode::Malformed),
        (
            "indefinite CBOR",
            vec![0x9f; 1 << 20],
            RefusalCode::Malformed,
        ),
        (
            "tags without end",
            vec![0xc1; 1 << 20],
            RefusalCode::Malformed,
        ),
        (
            "2^64 items",
            [&head(1)[1..], &[0x9b], &[0xff; 8]].concat(),
            RefusalCode::Malformed,
        ),
        ("a tail", [&good[..], &[0]].concat(), RefusalCode::Malformed),
        (
            "cut off",
            good[..good.len() - 1].to_vec(),
            RefusalCode::Malformed,
        ),
        (
            "version 2",
            canonical::encode(&(2_u8, id, issued, profile, vec![Item::ProfileHead])),
            RefusalCode::Malformed,
        ),
        ("no items", items(0), RefusalCode::Malformed),
        ("257 items", items(257), RefusalCode::TooManyItems),
        (
            "one list twice",
            canonical::encode(&(1_u8, id, issued, profile, vec![Item::ListLocations; 2])),
            RefusalCode::Malformed,
        ),
        ("a path of 4097 bytes", long(4097), RefusalCode::Malformed),
    ];
    for (what, bytes, expected) in cases {
        let (envelope, open) = forged(&user, &bytes);
        match open(&post(at, &envelope)) {
            Asked::Refused(code) => assert_eq!(code, expected, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    // The greatest that is allowed is answered.
    let (envelope, open) = forged(&user, &items(256));
    assert_eq!(open(&post(at, &envelope)).items().len(), 256);
    let (envelope, open) = forged(&user, &long(4096));
    assert_eq!(open(&post(at, &envelope)).items().len(), 1);
    // A bit in each byte of the body, signed by the device itself: an answer or a refusal, never an end.
    for i in 0..good.len() {
        let mut bytes = good.clone();
        bytes[i] ^= 0x40;
        let (envelope, open) = forged(&user, &bytes);
        let asked = open(&post(at, &envelope));
        assert!(!asked.releases(), "byte {i}: {asked:?}");
    }
    assert!(
        user.ask(at, &user.body(vec![Item::ProfileHead]))
            .items()
            .len()
            == 1
    );
}

#[test]
fn profiles_are_founded_by_their_own_devices() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::new(&server.identity);
    let other = TestUser::new(&server.identity);
    // Signed by nobody, by somebody else, without the sender, without the server.
    let unsigned =
        ostrakon_shards::profile::SignedVersion::new(user.founding.version().clone(), []);
    let signature = user.founding.version().sign(&other.keys.signing);
    let by_another = ostrakon_shards::profile::SignedVersion::new(
        user.founding.version().clone(),
        [(user.card.id(), signature)],
    );
    for version in [unsigned, by_another] {
        let body = user.body(vec![Item::CreateProfile { version }]);
        let (envelope, pending) = user.first_contact(&body);
        let answer = opened(&post(at, &envelope), &pending).only();
        assert!(matches!(
            answer,
            ItemAnswer::Failed(Failure::InvalidProfile)
        ));
    }
    // The profile of another, sent by this device.
    let theirs = TestUser {
        profile: other.profile,
        ..copy(&user)
    };
    let (envelope, pending) = user.first_contact(&theirs.body(vec![other.founding()]));
    let answer = opened(&post(at, &envelope), &pending).only();
    assert!(matches!(
        answer,
        ItemAnswer::Failed(Failure::InvalidProfile)
    ));
    // A stranger with a card gets no shard by asking for one at once.
    let file = user.file("Public/a");
    let (envelope, pending) = user.first_contact(&user.body(vec![file.item()]));
    let asked = opened(&post(at, &envelope), &pending);
    assert!(
        matches!(asked, Asked::Refused(RefusalCode::NotAMember)),
        "{asked:?}"
    );
    // Nothing of all that registered anybody; the honest way does, once.
    let (envelope, _) = user.seal(&user.body(vec![Item::ProfileHead]));
    assert_eq!(post(at, &envelope).status, 400);
    user.register(at);
    let (envelope, pending) = user.first_contact(&user.body(vec![user.founding()]));
    let again = opened(&post(at, &envelope), &pending);
    assert_eq!(again.denial(), Some(Denial::Conflict), "{again:?}");
}

#[test]
fn new_profiles_have_a_limit_that_no_policy_lifts() {
    let home = TestHome::create(APPROVE_ALL);
    let server = ostrakon_testkit::Serve::on(&home)
        .with("OSTRAKON_LIMITS_MAX_NEW_PROFILES_PER_DAY", "2")
        .start();
    let found = || {
        let user = TestUser::new(&server.identity);
        let body = user.body(vec![user.founding()]);
        let (envelope, pending) = user.first_contact(&body);
        opened(&post(server.address, &envelope), &pending).only()
    };
    for _ in 0..2 {
        assert!(matches!(found(), ItemAnswer::ProfileCreated { .. }));
    }
    for _ in 0..3 {
        assert!(matches!(
            found(),
            ItemAnswer::Denied(Denial::ServerLimit { .. })
        ));
    }
}

#[test]
fn the_limit_of_first_contacts_does_not_tell_who_is_known() {
    let home = TestHome::create(APPROVE_ALL);
    let server = ostrakon_testkit::Serve::on(&home)
        .with("OSTRAKON_LIMITS_FIRST_CONTACTS_PER_MINUTE", "3")
        .start();
    let known = TestUser::onboard(&server.identity, server.address);
    let unknown = TestUser::new(&server.identity);
    let status = |user: &TestUser| {
        let (envelope, _) = user.first_contact(&user.body(vec![Item::ListLocations]));
        post(server.address, &envelope).status
    };
    let statuses: Vec<_> = (0..3).map(|_| (status(&known), status(&unknown))).collect();
    assert_eq!(statuses.last(), Some(&(429, 429)), "{statuses:?}");
    // Whoever is known and says so without its card is not held up by strangers.
    let file = known.file("Public/a");
    assert!(known.decrypt(server.address, &file).is(&file));
}
