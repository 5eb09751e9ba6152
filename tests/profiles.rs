//! What a key shard server does with changes of profiles and with the ceremonies that it relays, asked by
//! devices that follow no rules.
//!
//! Bugs planted to see these tests fail: the place of a version in the chain not checked
//! (`a_fork_and_a_rollback_are_refused`); a key shard server's signature counted as two, and the policy not
//! asked (`the_servers_word_counts_once_and_only_by_its_policy`); what a stranger brings not looked at before it is judged
//! (`who_is_nobody_yet_is_heard_only_with_the_version_that_takes_it_in`); the limit of open ceremonies left out, and
//! any device of the profile let see the answers (`only_members_open_ceremonies_and_three_at_most`); the
//! end of a ceremony not compared (`after_its_end_a_ceremony_is_gone`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failure of the test"
)]

use ostrakon_custody::AuditEvent;
use ostrakon_shards::{
    card::{Card, DeviceKind},
    device::DeviceKeys,
    identity::VerifiedKeyserver,
    profile::{Profile, ProfileVersion, SignedVersion},
    random,
    seal::{Sealed, seal},
    suite::Suite,
};
use ostrakon_testkit::{Asked, LocalServer, TestHome, TestUser, now};
use ostrakon_transport::message::{CeremonyOutcome, Failure, Item, ItemAnswer, RefusalCode};
use ostrakon_types::{CeremonyId, Denial, DeviceId, ProfileId, UnixMillis};

const CHANGES: &str = "change_profile: [[{rule: approve-rule}]]\n";

struct Device {
    keys: DeviceKeys,
    card: Card,
}

impl Device {
    fn new(name: &str) -> Self {
        let keys = DeviceKeys::generate().unwrap();
        let card = keys.card(DeviceKind::Mobile, name.parse().unwrap());
        Self { keys, card }
    }

    fn id(&self) -> DeviceId {
        self.card.id()
    }
}

/// Devices and a server, with a profile that the server knows.
struct Team {
    server: LocalServer,
    devices: Vec<Device>,
    profile: Profile,
}

impl Team {
    /// A profile of devices a and b and the server, with this threshold, and a device c.
    fn new(home: &TestHome, threshold: u8) -> Self {
        let server = LocalServer::start(home, now());
        let devices: Vec<_> = ["a", "b", "c"].map(Device::new).into();
        let mut cards: Vec<_> = devices[..2].iter().map(|d| d.card.clone()).collect();
        cards.push(server.identity.device().clone());
        let version = ProfileVersion::first("team".parse().unwrap(), threshold, cards).unwrap();
        let founding = sign(version, &devices[..2]);
        let hash = founding.version().hash();
        let profile = ProfileId::try_from(&hash.as_bytes()[..16]).unwrap();
        let founder = user(&devices[0], &server.identity, profile, founding.clone());
        let (envelope, pending) = founder.first_contact(&founder.body(vec![founder.founding()]));
        let answer = ostrakon_testkit::http::post(server.address, &envelope).unwrap();
        let answer = ostrakon_testkit::user::opened(&answer, &pending).only();
        let ItemAnswer::ProfileCreated { version, .. } = answer else {
            panic!("not registered");
        };
        Self {
            profile: Profile::found(version).unwrap(),
            server,
            devices,
        }
    }

    fn ask(&self, device: usize, item: Item) -> Asked {
        let founding = SignedVersion::new(self.profile.version().clone(), []);
        let device = &self.devices[device];
        let user = user(device, &self.server.identity, self.profile.id(), founding);
        user.ask(
            self.server.address,
            &user.body_at(self.server.now(), vec![item]),
        )
    }

    fn change(&self, device: usize, version: SignedVersion) -> ItemAnswer {
        self.ask(device, Item::ChangeProfile { version }).only()
    }

    /// The next version, with c.
    fn with_c(&self) -> ProfileVersion {
        let mut draft = self.profile.draft().unwrap();
        draft.devices.push(self.devices[2].card.clone());
        draft
    }

    fn sealed(&self) -> Sealed {
        seal(
            Suite::X25519,
            "tests",
            &self.devices[0].card.kem,
            &[],
            b"a notice",
        )
        .unwrap()
    }

    fn open(&self, device: usize, id: CeremonyId, lifetime_ms: i64) -> ItemAnswer {
        let notices = vec![(self.devices[1].id(), self.sealed())];
        let expires_at = self.server.now().plus(lifetime_ms);
        let open = Item::OpenCeremony {
            id,
            expires_at,
            notices,
        };
        self.ask(device, open).only()
    }

    fn answer(&self, device: usize, id: CeremonyId) -> ItemAnswer {
        let answer = self.sealed();
        self.ask(device, Item::AnswerCeremony { id, answer }).only()
    }

    fn pending(&self, device: usize) -> Vec<CeremonyId> {
        match self
            .ask(device, Item::PendingCeremonies { known: None })
            .only()
        {
            ItemAnswer::Notices { notices, .. } => notices.iter().map(|notice| notice.id).collect(),
            _ => panic!("no notices"),
        }
    }
}

fn user(
    device: &Device,
    server: &VerifiedKeyserver,
    profile: ProfileId,
    founding: SignedVersion,
) -> TestUser {
    TestUser {
        keys: DeviceKeys::from_bytes(&device.keys.to_bytes()).unwrap(),
        card: device.card.clone(),
        server: server.clone(),
        profile,
        founding,
    }
}

fn sign(version: ProfileVersion, devices: &[Device]) -> SignedVersion {
    let signed = devices
        .iter()
        .map(|device| (device.id(), version.sign(&device.keys.signing)));
    let signatures: Vec<_> = signed.collect();
    SignedVersion::new(version, signatures)
}

fn failure(answer: &ItemAnswer) -> Option<Failure> {
    match answer {
        ItemAnswer::Failed(failure) => Some(*failure),
        _ => None,
    }
}

#[test]
fn a_fork_and_a_rollback_are_refused() {
    let home = TestHome::create(CHANGES);
    let mut team = Team::new(&home, 2);
    // Every device that a version adds signs it; of the others, one, since the server is the second.
    let second = sign(
        team.with_c(),
        &[&team.devices[0], &team.devices[2]].map(copy),
    );
    let fork = sign(
        team.with_c(),
        &[&team.devices[1], &team.devices[2]].map(copy),
    );
    let ItemAnswer::ProfileChanged { version, head } = team.change(0, second.clone()) else {
        panic!("not changed");
    };
    let next = team.profile.advance(version).unwrap();
    let (shown, _) = head.verify(team.server.identity.root_key()).unwrap();
    assert_eq!(shown, next.head());
    // Lost on its way and asked for again, it is what it was.
    let again = team.change(0, second);
    assert!(matches!(again, ItemAnswer::ProfileChanged { head, .. }
        if head.verify(team.server.identity.root_key()).unwrap().0 == next.head()));
    let conflict = Some(Failure::ProfileConflict);
    assert_eq!(failure(&team.change(1, fork.clone())), conflict);
    // A version that continues the fork, and the first one again.
    let branch = team.profile.advance(with_server(&team, &fork)).ok();
    assert!(branch.is_none(), "the server's signature can be made up");
    let first = SignedVersion::new(team.profile.version().clone(), []);
    assert_eq!(failure(&team.change(1, first)), conflict);
    let mut gap = next.draft().unwrap();
    gap.number += 1;
    let gap = sign(gap, &[&team.devices[0]].map(copy));
    assert_eq!(failure(&team.change(1, gap)), conflict);

    // The device that was added belongs to it, and learns of the chain.
    team.profile = next;
    let ItemAnswer::Chain { versions, .. } = team.ask(2, Item::ProfileChain { after: 1 }).only()
    else {
        panic!("no chain");
    };
    assert_eq!(versions.len(), 1);
    // One that is removed does not any more.
    let mut without = team.profile.draft().unwrap();
    without
        .devices
        .retain(|card| card.id() != team.devices[1].id());
    let removal = sign(without, &[&team.devices[0]].map(copy));
    assert!(matches!(
        team.change(0, removal),
        ItemAnswer::ProfileChanged { .. }
    ));
    let asked = team.ask(1, Item::ProfileHead);
    assert!(
        matches!(&asked, Asked::Http(answer) if answer.status == 400),
        "{asked:?}"
    );
    assert!(matches!(
        team.ask(2, Item::ProfileHead).only(),
        ItemAnswer::Head { .. }
    ));
}

/// The same version, with a signature of the server's that is none.
fn with_server(team: &Team, signed: &SignedVersion) -> SignedVersion {
    let own = team.server.identity.device_id();
    let forged = signed.version().sign(&team.devices[0].keys.signing);
    let signatures = signed.signatures().iter().copied().chain([(own, forged)]);
    SignedVersion::new(signed.version().clone(), signatures)
}

fn copy(device: &Device) -> Device {
    Device {
        keys: DeviceKeys::from_bytes(&device.keys.to_bytes()).unwrap(),
        card: device.card.clone(),
    }
}

#[test]
fn the_servers_word_counts_once_and_only_by_its_policy() {
    let home = TestHome::create(CHANGES);
    let team = Team::new(&home, 3);
    let [a, b, c] = [0, 1, 2].map(|at| copy(&team.devices[at]));
    let invalid = Some(Failure::InvalidProfile);
    // One device and the server are two of three, whatever is sent under the server's name.
    let alone = sign(team.with_c(), &[copy(&a), copy(&c)]);
    assert_eq!(failure(&team.change(0, alone.clone())), invalid);
    let forged = with_server(&team, &alone);
    assert_eq!(failure(&team.change(0, forged)), invalid);
    // Without the consent of the one that is added; without the server.
    let no_consent = sign(team.with_c(), &[copy(&a), copy(&b)]);
    assert_eq!(failure(&team.change(0, no_consent)), invalid);
    let own = team.server.identity.device_id();
    let mut without = team.with_c();
    without.devices.retain(|card| card.id() != own);
    let without = sign(without, &[copy(&a), copy(&b), copy(&c)]);
    assert_eq!(failure(&team.change(0, without)), invalid);
    // A device of another profile has no say, and no access.
    let stranger = Device::new("stranger");
    let foreign = sign(team.with_c(), &[copy(&a), copy(&c), copy(&stranger)]);
    assert_eq!(failure(&team.change(0, foreign)), invalid);
    let enough = sign(team.with_c(), &[a, b, c]);
    assert!(matches!(
        team.change(0, enough.clone()),
        ItemAnswer::ProfileChanged { .. }
    ));

    // Where no policy says so, nothing changes, however many have signed.
    let home = TestHome::create("decrypt: []\n");
    let team = Team::new(&home, 2);
    let all = sign(team.with_c(), &[0, 1, 2].map(|at| copy(&team.devices[at])));
    let answer = team.change(0, all);
    assert!(matches!(answer, ItemAnswer::Denied(Denial::Policy)));
    team.server.stop();
    let decided = home.records().audit.into_iter().filter(|record| {
        matches!(&record.event, AuditEvent::Decided { kind, decision, .. }
            if kind.as_str() == "change_profile" && !decision.is_approved())
    });
    assert_eq!(decided.count(), 1);
}

#[test]
fn who_is_nobody_yet_is_heard_only_with_the_version_that_takes_it_in() {
    let home = TestHome::create(CHANGES);
    let team = Team::new(&home, 2);
    let [a, b, c] = [0, 1, 2].map(|at| copy(&team.devices[at]));
    let stranger = Device::new("stranger");
    let founding = SignedVersion::new(team.profile.version().clone(), []);
    let asks = |device: &Device, profile: ProfileId, items: Vec<Item>| {
        let user = user(device, &team.server.identity, profile, founding.clone());
        let body = user.body_at(team.server.now(), items);
        let (envelope, pending) = user.first_contact(&body);
        let answer = ostrakon_testkit::http::post(team.server.address, &envelope).unwrap();
        ostrakon_testkit::user::opened(&answer, &pending)
    };
    let change = |version: SignedVersion| vec![Item::ChangeProfile { version }];
    let is_nobody = |asked: &Asked| matches!(asked, Asked::Refused(RefusalCode::NotAMember));
    let id = team.profile.id();
    let enough = sign(team.with_c(), &[copy(&a), copy(&b), copy(&c)]);
    // Too few have signed, or it has not consented; or somebody else brings it; or there is no such profile. All of
    // them hear the same.
    let alone = sign(team.with_c(), &[copy(&c)]);
    let no_consent = sign(team.with_c(), &[copy(&a), copy(&b)]);
    for version in [alone, no_consent] {
        assert!(is_nobody(&asks(&c, id, change(version))));
    }
    assert!(is_nobody(&asks(&stranger, id, change(enough.clone()))));
    let nowhere = ProfileId::from_bytes([7; 16]);
    assert!(is_nobody(&asks(&c, nowhere, change(enough.clone()))));
    assert!(is_nobody(&asks(&c, id, vec![Item::ProfileHead])));
    assert!(matches!(
        asks(&c, id, change(enough.clone())).only(),
        ItemAnswer::ProfileChanged { .. }
    ));
    // Said again, because the answer was lost.
    assert!(matches!(
        asks(&c, id, change(enough)).only(),
        ItemAnswer::ProfileChanged { .. }
    ));

    // The policy has its say here, too.
    let home = TestHome::create("decrypt: []\n");
    let team = Team::new(&home, 2);
    let [a, b, c] = [0, 1, 2].map(|at| copy(&team.devices[at]));
    let founding = SignedVersion::new(team.profile.version().clone(), []);
    let all = sign(team.with_c(), &[a, b, copy(&c)]);
    let user = user(&c, &team.server.identity, team.profile.id(), founding);
    let body = user.body_at(team.server.now(), change(all));
    let (envelope, pending) = user.first_contact(&body);
    let answer = ostrakon_testkit::http::post(team.server.address, &envelope).unwrap();
    let answer = ostrakon_testkit::user::opened(&answer, &pending).only();
    assert!(matches!(answer, ItemAnswer::Denied(Denial::Policy)));
}

#[test]
fn only_members_open_ceremonies_and_three_at_most() {
    let home = TestHome::create(CHANGES);
    let team = Team::new(&home, 2);
    let ids: [CeremonyId; 4] = [(); 4].map(|()| random::id().unwrap());
    for id in &ids[..3] {
        assert!(matches!(team.open(0, *id, 60_000), ItemAnswer::Relayed));
    }
    let too_many = Some(Failure::TooManyCeremonies);
    assert_eq!(failure(&team.open(0, ids[3], 60_000)), too_many);
    // Opened again by the same device, it is what it was; another's is not touched.
    assert!(matches!(team.open(0, ids[0], 60_000), ItemAnswer::Relayed));
    assert_eq!(failure(&team.open(1, ids[0], 60_000)), too_many);
    assert!(matches!(team.open(1, ids[3], 60_000), ItemAnswer::Relayed));
    assert_eq!(team.pending(1).len(), 4);
    assert_eq!(team.pending(0).len(), 0);
    // Who is not asked cannot answer; who did not open it sees no answers and does not end it.
    let none = Some(Failure::NoCeremony);
    let [id, ..] = ids;
    assert_eq!(failure(&team.answer(0, id)), none);
    assert!(matches!(team.answer(1, id), ItemAnswer::Relayed));
    assert_eq!(team.pending(1).len(), 3);
    let answers = |device| team.ask(device, Item::CeremonyAnswers { id }).only();
    assert!(matches!(answers(0), ItemAnswer::CeremonyAnswers(a) if a.len() == 1));
    assert_eq!(failure(&answers(1)), none);
    let outcome = CeremonyOutcome::Denied;
    let close = |device| team.ask(device, Item::CloseCeremony { id, outcome }).only();
    assert_eq!(failure(&close(1)), none);
    assert!(matches!(close(0), ItemAnswer::Relayed));
    assert_eq!(failure(&close(0)), none);
    // Strangers have no part in it, known to the server or not.
    let asked = team.ask(2, Item::PendingCeremonies { known: None });
    assert!(
        matches!(&asked, Asked::Http(answer) if answer.status == 400),
        "{asked:?}"
    );
    let other = TestUser::onboard(&team.server.identity, team.server.address);
    let other = TestUser {
        profile: team.profile.id(),
        ..other
    };
    let asked = other.ask(
        team.server.address,
        &other.body_at(
            team.server.now(),
            vec![Item::PendingCeremonies { known: None }],
        ),
    );
    assert!(
        matches!(asked, Asked::Refused(RefusalCode::NotAMember)),
        "{asked:?}"
    );

    team.server.stop();
    let steps: Vec<String> = home
        .records()
        .audit
        .into_iter()
        .filter_map(|record| match record.event {
            AuditEvent::Ceremony { ceremony, step, .. } if ceremony == id => Some(step),
            _ => None,
        })
        .collect();
    assert_eq!(steps, ["opened", "opened", "answered", "denied"]);
}

#[test]
fn after_its_end_a_ceremony_is_gone() {
    let home = TestHome::create(CHANGES);
    let team = Team::new(&home, 2);
    let id: CeremonyId = random::id().unwrap();
    assert!(matches!(team.open(0, id, 60_000), ItemAnswer::Relayed));
    // However long is asked for, none is kept for more than a day.
    let longest: CeremonyId = random::id().unwrap();
    assert!(matches!(
        team.open(0, longest, i64::MAX / 2),
        ItemAnswer::Relayed
    ));
    let start = team.server.now();
    team.server.set_clock(start.plus(59_999));
    assert_eq!(team.pending(1).len(), 2);
    team.server.set_clock(start.plus(60_000));
    assert_eq!(team.pending(1), [longest]);
    let none = Some(Failure::NoCeremony);
    assert_eq!(failure(&team.answer(1, id)), none);
    let answers = team.ask(0, Item::CeremonyAnswers { id }).only();
    assert_eq!(failure(&answers), none);
    team.server
        .set_clock(UnixMillis(start.0 + 24 * 60 * 60 * 1000));
    assert_eq!(team.pending(1), []);
}
