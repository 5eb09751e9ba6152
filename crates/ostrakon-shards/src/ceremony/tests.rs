//! Bugs planted to see these tests fail: an earlier answer of the device not looked for
//! (`a_device_counts_once`, `a_relay_can_only_withhold`); `has_expired` always false
//! (`nothing_counts_after_the_end`); the digest in an answer not compared
//! (`an_answer_counts_for_one_ceremony_alone`); the opening's signature not checked
//! (`nobody_but_the_requester_opens`); the version's hash not compared
//! (`a_ceremony_is_for_one_version_of_one_profile`); the signature under the draft not verified
//! (`a_contribution_is_the_one_that_is_needed`); one approval less taken for enough
//! (`fewer_than_the_threshold_approve_nothing`); the device left out of a notice's seal
//! (`notices_are_for_one_device_and_one_ceremony`).

use std::collections::BTreeSet;

use ostrakon_types::{CeremonyId, CryptographicId, DeviceId, KssId, SetId, UnixMillis, canonical};
use proptest::prelude::*;

use super::{
    answer::{ANSWER, share_context},
    notice::OPENING,
    *,
};
use crate::{
    backup::Challenge,
    card::{Card, DeviceKind},
    device::DeviceKeys,
    generation::Generation,
    hash::sha256,
    identity::RootKeyRecord,
    kem::KemSecret,
    profile::{Profile, ProfileVersion, SignedVersion},
    seal::{Sealed, seal},
    suite::Suite,
};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const LIFETIME: i64 = 600_000;

struct Device {
    keys: DeviceKeys,
    card: Card,
}

impl Device {
    fn new(kind: DeviceKind, name: &str) -> Self {
        let keys = DeviceKeys::generate().unwrap();
        let card = keys.card(kind, name.parse().unwrap());
        Self { keys, card }
    }

    fn id(&self) -> DeviceId {
        self.card.id()
    }
}

/// A profile and its devices: a workstation, three phones and a key shard server, threshold 3.
struct Team {
    devices: Vec<Device>,
    profile: Profile,
}

impl Team {
    fn new() -> Self {
        let mut devices = vec![Device::new(DeviceKind::Workstation, "desk")];
        devices.extend(["a", "b", "c"].map(|name| Device::new(DeviceKind::Mobile, name)));
        devices.push(Device::new(DeviceKind::Keyserver, "kss"));
        let cards = devices.iter().map(|device| device.card.clone()).collect();
        let version = ProfileVersion::first("team".parse().unwrap(), 3, cards).unwrap();
        let profile = Profile::found(sign(version, &devices)).unwrap();
        Self { devices, profile }
    }

    fn desk(&self) -> &Device {
        &self.devices[0]
    }

    fn open(&self, subject: Subject) -> Tally {
        self.try_open(subject, 3, LIFETIME).ok().unwrap()
    }

    fn try_open(
        &self,
        subject: Subject,
        threshold: u8,
        lifetime_ms: i64,
    ) -> Result<Tally, OpenCeremonyError> {
        let plan = Plan {
            subject,
            threshold,
            requester: Requester::Device(self.desk().id()),
            lifetime_ms,
        };
        Tally::open(&self.profile, plan, &self.desk().keys.signing, NOW)
    }

    fn question(&self, tally: &Tally, device: usize) -> Question {
        let device = &self.devices[device];
        let sealed = tally.notice_for(&device.card, vec![], None).unwrap();
        let id = &tally.ceremony().id;
        let notice = Notice::open(&sealed, id, &device.id(), &device.keys).unwrap();
        notice.examine(&self.profile, &device.id(), NOW).unwrap()
    }

    fn approve(&self, tally: &Tally, device: usize) -> Sealed {
        let needs_share = tally.ceremony().subject.need() == Need::Share;
        let share = needs_share.then_some(&b"share"[..]);
        let question = self.question(tally, device);
        let keys = &self.devices[device].keys;
        match tally.ceremony().subject.need() {
            Need::ShareProof => question.prove(keys, None).unwrap(),
            _ => question.approve(keys, share).unwrap(),
        }
    }
}

fn sign(version: ProfileVersion, devices: &[Device]) -> SignedVersion {
    let by = devices.iter();
    let signatures: Vec<_> = by
        .map(|device| (device.id(), version.sign(&device.keys.signing)))
        .collect();
    SignedVersion::new(version, signatures)
}

fn server() -> KssId {
    KssId::from_digest(sha256(b"server"))
}

fn rollback() -> Subject {
    Subject::AcceptRollback {
        kss_id: server(),
        epoch: 2,
        counter: 7,
    }
}

fn recover() -> Subject {
    Subject::Recover {
        kss_id: server(),
        generation: Generation {
            epoch: 0,
            counter: 1,
        },
        machine: "new".parse().unwrap(),
    }
}

/// One of each kind.
fn subjects(profile: &Profile) -> Vec<Subject> {
    let name = || "n".parse().unwrap();
    let generation = Generation {
        epoch: 0,
        counter: 1,
    };
    let kss_id = server();
    let draft = || profile.draft().unwrap();
    vec![
        Subject::CreateServer {
            kss_id,
            name: name(),
            generation,
        },
        Subject::SaveBackupKey {
            kss_id,
            generation,
            threshold: 2,
            holders: vec![DeviceId::from_bytes([1; 16])],
        },
        Subject::InitializeInstance {
            kss_id,
            instance: name(),
            generation,
        },
        Subject::Recover {
            kss_id,
            generation,
            machine: name(),
        },
        Subject::FinalizeRecovery { draft: draft() },
        Subject::ChangeProfile { draft: draft() },
        Subject::VerifyBackup {
            kss_id,
            generation,
            file: sha256(b"file"),
            challenge: Challenge::generate().unwrap(),
        },
        Subject::OpenFile {
            file: CryptographicId::from_bytes([4; 16]),
            set: SetId::from_bytes([5; 16]),
            manifest: sha256(b"manifest"),
            machine: name(),
        },
        administer(Administration::Enable),
        administer(Administration::LoadPolicy {
            number: 2,
            source: sha256(b"policy"),
            time_zone: name(),
            replaces: sha256(b"old policy"),
        }),
        administer(Administration::ClearQuota {
            profiles: Vec::new(),
        }),
        rollback(),
    ]
}

fn administer(act: Administration) -> Subject {
    Subject::Administer {
        kss_id: server(),
        act,
        asked_by: None,
    }
}

#[test]
fn enough_approvals_complete_it() {
    let team = Team::new();
    for subject in subjects(&team.profile) {
        let mut tally = team.open(subject);
        assert_eq!(tally.asked().count(), 4);
        for device in [1, 0, 3] {
            let answer = team.approve(&tally, device);
            assert_eq!(tally.take(&answer, NOW), Ok(team.devices[device].id()));
        }
        let need = tally.ceremony().subject.need();
        let draft = tally.ceremony().subject.draft().cloned();
        let completed = tally.complete(NOW).ok().unwrap();
        assert_eq!(completed.approvals.len(), 3);
        let shares = completed.shares().unwrap();
        match need {
            Need::Consent => {
                assert!(shares.is_empty());
                assert_eq!(completed.version_signatures().count(), 0);
            }
            Need::Share => {
                assert_eq!(shares.len(), 3);
                assert!(shares.iter().all(|from| from.share.as_slice() == b"share"));
            }
            Need::ShareProof => assert!(
                completed
                    .approvals
                    .iter()
                    .all(|approval| approval.contribution == Contribution::ShareProof(None))
            ),
            Need::VersionSignature => {
                let signed = SignedVersion::new(draft.unwrap(), completed.version_signatures());
                let next = team.profile.advance(signed).unwrap();
                assert_eq!(next.head().number, 2);
            }
        }
    }
}

#[test]
fn fewer_than_the_threshold_approve_nothing() {
    let team = Team::new();
    let mut tally = team.open(rollback());
    for device in [0, 1] {
        tally.take(&team.approve(&tally, device), NOW).unwrap();
    }
    let (approved, needed) = (2, 3);
    let open = Standing::Open { approved, needed };
    assert_eq!(tally.standing(NOW), open);
    assert_eq!(tally.complete(NOW).err(), Some(open));
}

#[test]
fn a_device_counts_once() {
    let team = Team::new();
    let mut tally = team.open(rollback());
    // The requester's own device, and another; each answers twice, once byte for byte alike.
    for device in [0, 1] {
        let answer = team.approve(&tally, device);
        let again = team.approve(&tally, device);
        let id = team.devices[device].id();
        assert_eq!(tally.take(&answer, NOW), Ok(id));
        assert_eq!(tally.take(&answer, NOW), Err(TakeError::Repeated(id)));
        assert_eq!(tally.take(&again, NOW), Err(TakeError::Repeated(id)));
    }
    let (approved, needed) = (2, 3);
    assert_eq!(tally.standing(NOW), Standing::Open { approved, needed });
    // One whose share was not good may answer again, and still counts once.
    let id = team.devices[1].id();
    tally.set_aside(&id);
    tally.take(&team.approve(&tally, 1), NOW).unwrap();
    assert_eq!(tally.approvals().count(), 2);
}

#[test]
fn a_denial_ends_it() {
    let team = Team::new();
    let mut tally = team.open(rollback());
    tally.take(&team.approve(&tally, 1), NOW).unwrap();
    let denial = team
        .question(&tally, 2)
        .deny(&team.devices[2].keys)
        .unwrap();
    tally.take(&denial, NOW).unwrap();
    let by = team.devices[2].id();
    assert_eq!(tally.standing(NOW), Standing::Denied { by });
    let late = team.approve(&tally, 3);
    assert_eq!(tally.take(&late, NOW), Err(TakeError::Over));
    assert_eq!(tally.complete(NOW).err(), Some(Standing::Denied { by }));
}

#[test]
fn nothing_counts_after_the_end() {
    let team = Team::new();
    let mut tally = team.open(rollback());
    let end = tally.ceremony().expires_at;
    assert_eq!(end, NOW.plus(LIFETIME));
    for device in [0, 1] {
        tally
            .take(&team.approve(&tally, device), end.plus(-1))
            .unwrap();
    }
    let last = team.approve(&tally, 2);
    assert_eq!(tally.take(&last, end), Err(TakeError::Expired));
    assert_eq!(tally.standing(end), Standing::Expired);
    // Enough, but nobody acted on it in time.
    tally.take(&last, end.plus(-1)).unwrap();
    assert_eq!(tally.standing(end.plus(-1)), Standing::Approved);
    assert_eq!(tally.complete(end).err(), Some(Standing::Expired));

    let tally = team.open(rollback());
    let notice = tally.notice(vec![], None);
    let examined = notice.examine(&team.profile, &team.devices[1].id(), end);
    assert!(matches!(examined, Err(NoticeError::Expired)));
    let early = NOW.plus(-Notice::MAX_SKEW_MS - 1);
    let examined = tally.notice(vec![], None);
    let examined = examined.examine(&team.profile, &team.devices[1].id(), early);
    assert!(matches!(examined, Err(NoticeError::FutureDated)));
}

#[test]
fn an_answer_counts_for_one_ceremony_alone() {
    let team = Team::new();
    let draft = team.profile.draft().unwrap();
    let pairs = [
        // The same subject twice; two kinds with the same fields.
        (rollback(), rollback()),
        (
            Subject::ChangeProfile {
                draft: draft.clone(),
            },
            Subject::FinalizeRecovery { draft },
        ),
    ];
    for (one, other) in pairs {
        let (mut tally, other) = (team.open(one), team.open(other));
        let foreign = team.approve(&other, 1);
        assert!(matches!(tally.take(&foreign, NOW), Err(TakeError::Open(_))));
        // The answer itself, sealed anew by somebody who could read it.
        let plaintext = crate::seal::open(
            ANSWER,
            &other.reply_for_tests(),
            other.ceremony().digest().as_bytes(),
            &foreign,
        )
        .unwrap();
        let digest = tally.ceremony().digest();
        let mut reseal = |bytes: &[u8]| {
            let to = tally.ceremony().reply_to.clone();
            let sealed = seal(Suite::XWing, ANSWER, &to, digest.as_bytes(), bytes);
            tally.take(&sealed.unwrap(), NOW)
        };
        assert_eq!(reseal(&plaintext), Err(TakeError::OtherCeremony));
        let mut relabelled = Answer::from_bytes(&plaintext).unwrap();
        relabelled.ceremony = digest;
        let device = relabelled.device;
        let bytes = canonical::encode(&relabelled);
        assert_eq!(reseal(&bytes), Err(TakeError::Signature(device)));
        // Passed off as another device's.
        let other_device = team.devices[2].id();
        relabelled.device = other_device;
        let bytes = canonical::encode(&relabelled);
        assert_eq!(reseal(&bytes), Err(TakeError::Signature(other_device)));
    }
}

#[test]
fn devices_that_are_not_asked_do_not_count() {
    let (team, others) = (Team::new(), Team::new());
    let mut tally = team.open(rollback());
    let digest = tally.ceremony().digest();
    // A device of another profile, and the key shard server, which is a member but no person.
    for stranger in [&others.devices[1], &team.devices[4]] {
        let (id, key) = (stranger.id(), &stranger.keys.signing);
        let answer = Answer::approve(digest, id, Contribution::Consent, key);
        let sealed = answer.seal(&tally.ceremony().reply_to).unwrap();
        assert_eq!(tally.take(&sealed, NOW), Err(TakeError::NotAsked(id)));
    }
    let kss = team.devices[4].id();
    let examined = tally.notice(vec![], None).examine(&team.profile, &kss, NOW);
    assert!(matches!(examined, Err(NoticeError::NotAsked(id)) if id == kss));
}

#[test]
fn a_contribution_is_the_one_that_is_needed() {
    let team = Team::new();
    let (phone, desk) = (&team.devices[1], team.desk());
    let draft = team.profile.draft().unwrap();
    let mut tally = team.open(Subject::ChangeProfile {
        draft: draft.clone(),
    });
    let other = team.profile.draft().unwrap();
    let wrong = [
        Contribution::Consent,
        Contribution::VersionSignature(other.sign(&phone.keys.signing)),
        Contribution::VersionSignature(draft.sign(&desk.keys.signing)),
    ];
    for contribution in wrong {
        let digest = tally.ceremony().digest();
        let answer = Answer::approve(digest, phone.id(), contribution, &phone.keys.signing);
        let sealed = answer.seal(&tally.ceremony().reply_to).unwrap();
        let refused = Err(TakeError::Contribution(phone.id()));
        assert_eq!(tally.take(&sealed, NOW), refused);
    }
    // A share for nothing, and none where one is needed, are not even sent.
    let question = team.question(&tally, 1);
    assert!(question.approve(&phone.keys, Some(b"share")).is_err());
    let tally = team.open(recover());
    assert!(team.question(&tally, 1).approve(&phone.keys, None).is_err());
    // A share is bound to its ceremony and device.
    let contexts: BTreeSet<_> = [
        (tally.ceremony().digest(), phone.id()),
        (tally.ceremony().digest(), desk.id()),
        (team.open(recover()).ceremony().digest(), phone.id()),
    ]
    .iter()
    .map(|(digest, device)| share_context(digest, device))
    .collect();
    assert_eq!(contexts.len(), 3);
}

#[test]
fn a_ceremony_is_for_one_version_of_one_profile() {
    let (team, others) = (Team::new(), Team::new());
    let tally = team.open(rollback());
    let phone = team.devices[1].id();
    let next = sign(team.profile.draft().unwrap(), &team.devices);
    let first = team.profile.clone();
    let newer = first.advance(next.clone()).unwrap();
    let examine = |tally: &Tally, known: &Profile, versions| {
        tally.notice(versions, None).examine(known, &phone, NOW)
    };
    let error = examine(&tally, &newer, vec![]).unwrap_err();
    let other_version = CeremonyError::OtherVersion;
    assert!(matches!(error, NoticeError::Ceremony(error) if error == other_version));
    let error = examine(&tally, &others.profile, vec![]).unwrap_err();
    let other_profile = CeremonyError::OtherProfile;
    assert!(matches!(error, NoticeError::Ceremony(error) if error == other_profile));

    // A device that has missed a version follows those that come along, and no others.
    let moved = Team {
        profile: newer,
        ..team
    };
    let tally = moved.open(rollback());
    assert!(examine(&tally, &first, vec![next.clone()]).is_ok());
    assert!(examine(&tally, &moved.profile, vec![next]).is_ok());
    let fork = sign(first.draft().unwrap(), &moved.devices);
    assert!(examine(&tally, &first, vec![fork]).is_err());
}

#[test]
fn nobody_but_the_requester_opens() {
    let team = Team::new();
    let phone = &team.devices[1];
    let tally = team.open(rollback());
    let ceremony = tally.ceremony().clone();
    // A relay makes a ceremony of its own in a member's name, with its own one-time key.
    let relay = KemSecret::generate().unwrap();
    let forged = Ceremony {
        reply_to: relay.public().clone(),
        ..ceremony.clone()
    };
    let relay_key = DeviceKeys::generate().unwrap().signing;
    let desk = &team.desk().keys.signing;
    let signatures = [
        desk.sign(OPENING, ceremony.digest().as_bytes()),
        relay_key.sign(OPENING, forged.digest().as_bytes()),
        desk.sign("tests", forged.digest().as_bytes()),
    ];
    for signature in signatures {
        let notice = Notice::new(forged.clone(), signature, vec![], None);
        let examined = notice.examine(&team.profile, &phone.id(), NOW);
        assert!(matches!(examined, Err(NoticeError::Opening)));
    }
    // Nor does the requester's device open one with a key that is not its own.
    let plan = |requester, subject| Plan {
        subject,
        threshold: 1,
        requester,
        lifetime_ms: 1,
    };
    let open = |plan| Tally::open(&team.profile, plan, &relay_key, NOW).err();
    let device = Requester::Device(phone.id());
    let error = open(plan(device, rollback()));
    assert!(matches!(error, Some(OpenCeremonyError::Key)));
    let refused = |requester, subject| {
        let error = open(plan(requester, subject)).unwrap();
        let requester = CeremonyError::Requester;
        assert!(matches!(error, OpenCeremonyError::Ceremony(error) if error == requester));
    };
    // A key shard server asks about itself alone, and no member of the profile at all.
    let record = RootKeyRecord {
        verify: relay_key.verify_key(),
    };
    refused(Requester::Server(record), rollback());
    refused(Requester::Device(team.devices[4].id()), rollback());
    let own = Subject::AcceptRollback {
        kss_id: record.kss_id(),
        epoch: 1,
        counter: 1,
    };
    assert!(open(plan(Requester::Server(record), own)).is_none());
    // A machine that nobody knows asks for a recovery alone, and people compare.
    let keys = DeviceKeys::generate().unwrap();
    let card = keys.card(DeviceKind::Workstation, "new".parse().unwrap());
    let machine = Requester::Machine(card);
    let opened = Tally::open(
        &team.profile,
        plan(machine.clone(), recover()),
        &keys.signing,
        NOW,
    );
    assert!(team.question(&opened.ok().unwrap(), 1).must_compare());
    refused(machine, rollback());
    assert!(!team.question(&tally, 1).must_compare());
}

#[test]
fn notices_are_for_one_device_and_one_ceremony() {
    let team = Team::new();
    let (a, b) = (&team.devices[1], &team.devices[2]);
    let (tally, other) = (team.open(rollback()), team.open(rollback()));
    let sealed = tally.notice_for(&a.card, vec![], None).unwrap();
    let id = tally.ceremony().id;
    assert!(Notice::open(&sealed, &id, &a.id(), &a.keys).is_ok());
    assert!(Notice::open(&sealed, &id, &b.id(), &b.keys).is_err());
    assert!(Notice::open(&sealed, &id, &b.id(), &a.keys).is_err());
    let other = other.ceremony().id;
    assert!(Notice::open(&sealed, &other, &a.id(), &a.keys).is_err());
}

#[test]
fn out_of_bounds_nothing_opens() {
    let team = Team::new();
    let error = |threshold, lifetime| {
        let opened = team.try_open(rollback(), threshold, lifetime);
        match opened.err() {
            Some(OpenCeremonyError::Ceremony(error)) => Some(error),
            _ => None,
        }
    };
    let longest = Ceremony::MAX_LIFETIME_MS;
    assert_eq!(error(3, longest), None);
    for lifetime in [0, -1, longest + 1] {
        assert_eq!(error(3, lifetime), Some(CeremonyError::Lifetime(lifetime)));
    }
    for needed in [0, 5] {
        let devices = 4;
        let refused = CeremonyError::Threshold { needed, devices };
        assert_eq!(error(needed, LIFETIME), Some(refused));
    }
    let mut draft = team.profile.draft().unwrap();
    draft.previous = Some(sha256(b"another branch"));
    let opened = team.try_open(Subject::ChangeProfile { draft }, 3, LIFETIME);
    let refused = CeremonyError::Draft;
    assert!(matches!(opened.err(), Some(OpenCeremonyError::Ceremony(error)) if error == refused));
}

#[test]
fn what_people_read_comes_from_the_fields() {
    let team = Team::new();
    let new = Device::new(DeviceKind::Mobile, "ok` to approve");
    let mut draft = team.profile.draft().unwrap();
    let removed = draft.devices.remove(3);
    draft.devices.push(new.card.clone());
    draft.threshold = 2;
    let tally = team.open(Subject::ChangeProfile { draft });
    let shown = team.question(&tally, 1).description();
    assert_eq!(shown.title, "change the profile's devices");
    let expected = [
        ("adds", format!("mobile `ok' to approve` ({})", new.id())),
        ("removes", format!("mobile `c` ({})", removed.id())),
        ("threshold", "2 of 5, now 3 of 5".to_owned()),
    ];
    assert_eq!(shown.details, expected);
    let titles: BTreeSet<_> = subjects(&team.profile)
        .iter()
        .map(|subject| subject.describe(team.profile.version()).title)
        .collect();
    let kinds: BTreeSet<_> = subjects(&team.profile).iter().map(Subject::kind).collect();
    assert_eq!((titles.len(), kinds.len()), (12, 12));
    let words = tally.ceremony().words();
    assert_eq!(words.iter().count(), 8);
}

#[test]
fn every_field_is_signed() {
    let team = Team::new();
    let ceremony = team.open(rollback()).ceremony().clone();
    let mut others: Vec<Ceremony> = subjects(&team.profile)
        .into_iter()
        .take(6)
        .map(|subject| Ceremony {
            subject,
            ..ceremony.clone()
        })
        .collect();
    let mut change = |change: &dyn Fn(&mut Ceremony)| {
        let mut changed = ceremony.clone();
        change(&mut changed);
        others.push(changed);
    };
    change(&|c| c.id = CeremonyId::from_bytes([0; 16]));
    change(&|c| c.profile = ostrakon_types::ProfileId::from_bytes([0; 16]));
    change(&|c| c.version = sha256(b"another"));
    change(&|c| c.threshold = 2);
    change(&|c| c.requester = Requester::Device(team.devices[1].id()));
    change(&|c| c.reply_to = KemSecret::generate().unwrap().public().clone());
    change(&|c| c.opened_at = NOW.plus(1));
    change(&|c| c.expires_at = NOW);
    let digests: BTreeSet<_> = others.iter().map(Ceremony::digest).collect();
    assert_eq!(digests.len(), 14);
    assert!(!digests.contains(&ceremony.digest()));
}

#[test]
fn every_field_of_an_administration_is_signed_and_shown() {
    let team = Team::new();
    let load = |number, text: &[u8], zone: &str, old: &[u8]| Administration::LoadPolicy {
        number,
        source: sha256(text),
        time_zone: zone.parse().unwrap(),
        replaces: sha256(old),
    };
    let clear = |profiles: &[u8]| {
        let id = |byte: &u8| ostrakon_types::ProfileId::from_bytes([*byte; 16]);
        let profiles = profiles.iter().map(id).collect();
        Administration::ClearQuota { profiles }
    };
    let acts = [
        Administration::Enable,
        load(2, b"a", "UTC", b"x"),
        load(3, b"a", "UTC", b"x"),
        load(2, b"b", "UTC", b"x"),
        load(2, b"a", "Europe/Paris", b"x"),
        load(2, b"a", "UTC", b"y"),
        clear(&[]),
        clear(&[1]),
        clear(&[1, 2]),
    ];
    let certificate = ostrakon_types::CertificateId::from_bytes([5; 16]);
    let (mut encoded, mut shown) = (BTreeSet::new(), BTreeSet::new());
    for act in acts {
        for asked_by in [None, Some(certificate)] {
            let subject = Subject::Administer {
                kss_id: server(),
                act: act.clone(),
                asked_by,
            };
            encoded.insert(canonical::encode(&subject));
            let described = subject.describe(team.profile.version());
            shown.insert(format!("{described:?}"));
        }
    }
    assert_eq!((encoded.len(), shown.len()), (18, 18));
}

#[test]
fn the_texts_of_a_policy_are_those_that_are_signed() {
    let team = Team::new();
    let act = Administration::LoadPolicy {
        number: 2,
        source: sha256(b"new"),
        time_zone: "UTC".parse().unwrap(),
        replaces: sha256(b"old"),
    };
    let texts = |in_force: &str, asked: &str| PolicyTexts {
        in_force: in_force.to_owned(),
        asked: asked.to_owned(),
    };
    let asked = |act: Administration, enclosed: Option<Vec<u8>>| {
        let tally = team.open(administer(act));
        let device = &team.devices[0];
        let sealed = tally.notice_for(&device.card, vec![], enclosed).unwrap();
        let notice = Notice::open(&sealed, &tally.ceremony().id, &device.id(), &device.keys);
        let notice = notice.unwrap();
        notice.examine(&team.profile, &device.id(), NOW).unwrap()
    };
    let right = texts("old", "new");
    let question = asked(act.clone(), right.clone().enclose());
    assert_eq!(question.policy_texts().unwrap(), Some(right.clone()));
    assert!(question.is_about_policy());
    for (in_force, text) in [("old", "new "), ("olD", "new"), ("new", "old")] {
        let question = asked(act.clone(), texts(in_force, text).enclose());
        let refused = question.policy_texts();
        assert!(matches!(refused, Err(PolicyTextsError::OtherText)));
    }
    let unread = asked(act.clone(), Some(b"new".to_vec())).policy_texts();
    assert!(matches!(unread, Err(PolicyTextsError::Decode(_))));
    // What did not come along, or belongs to something else, is none.
    assert_eq!(asked(act, None).policy_texts().unwrap(), None);
    let question = asked(Administration::Enable, right.enclose());
    assert_eq!(question.policy_texts().unwrap(), None);
    assert!(!question.is_about_policy());

    let half = "x".repeat(PolicyTexts::MAX_BYTES / 2);
    assert!(texts(&half, &half).enclose().is_some());
    assert_eq!(texts(&half, &format!("{half}x")).enclose(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever order answers come in, however often, with whatever a relay makes of them: as many
    /// devices count as really approved, and no more.
    #[test]
    fn as_many_count_as_approved(deliveries in prop::collection::vec((0..6usize, any::<prop::sample::Index>(), 0..3u8), 0..14)) {
        let team = Team::new();
        let mut tally = team.open(rollback());
        let answers: Vec<_> = (0..4).map(|device| team.approve(&tally, device)).collect();
        let mut approved = BTreeSet::new();
        for (which, at, damage) in deliveries {
            let Some(answer) = answers.get(which) else { continue };
            let mut bytes = answer.to_bytes();
            if damage == 1 {
                *at.get_mut(&mut bytes) ^= 1;
            }
            let Ok(sealed) = Sealed::from_bytes(&bytes) else { continue };
            let taken = tally.take(&sealed, NOW).is_ok();
            prop_assert_eq!(taken, damage != 1 && approved.insert(which));
        }
        prop_assert_eq!(tally.approvals().count(), approved.len());
        let done = tally.standing(NOW) == Standing::Approved;
        prop_assert_eq!(done, approved.len() >= 3);
    }

    /// A relay between two ceremonies and four devices, that gives any notice to any device under either
    /// name, and any answer to either requester, altered or not, in any order and number. Devices are
    /// asked what their requester asks them, or nothing; requesters count who answered them, once.
    #[test]
    fn a_relay_can_only_withhold(
        notices in prop::collection::vec((0..2usize, 0..4usize, 0..2usize, 0..4usize, any::<bool>()), 0..12),
        answers in prop::collection::vec((any::<prop::sample::Index>(), 0..2usize, any::<bool>()), 0..12),
    ) {
        let team = Team::new();
        let mut tallies = [team.open(rollback()), team.open(rollback())];
        let damaged = |sealed: &Sealed| {
            let mut bytes = sealed.to_bytes();
            *bytes.last_mut().unwrap() ^= 1;
            Sealed::from_bytes(&bytes).unwrap()
        };
        let mut given = Vec::new();
        for (ceremony, device, named, to, damage) in notices {
            let card = &team.devices[device].card;
            let sealed = tallies[ceremony].notice_for(card, vec![], None).unwrap();
            let sealed = if damage { damaged(&sealed) } else { sealed };
            let device_to = &team.devices[to];
            let id = tallies[named].ceremony().id;
            let read = Notice::open(&sealed, &id, &device_to.id(), &device_to.keys);
            let right = ceremony == named && device == to && !damage;
            prop_assert_eq!(read.is_ok(), right);
            if let Ok(notice) = read {
                let question = notice.examine(&team.profile, &device_to.id(), NOW).unwrap();
                prop_assert_eq!(question.ceremony(), tallies[ceremony].ceremony());
                given.push((ceremony, to, question.approve(&device_to.keys, None).unwrap()));
            }
        }
        let mut counted = [BTreeSet::new(), BTreeSet::new()];
        for (which, to, damage) in answers {
            if given.is_empty() { break }
            let (ceremony, device, answer) = &given[which.index(given.len())];
            let answer = if damage { damaged(answer) } else { answer.clone() };
            let taken = tallies[to].take(&answer, NOW).is_ok();
            let new = *ceremony == to && !damage && counted[to].insert(*device);
            prop_assert_eq!(taken, new);
        }
        for (tally, counted) in tallies.iter().zip(&counted) {
            prop_assert_eq!(tally.approvals().count(), counted.len());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Answer::from_bytes(&bytes);
        let _ = canonical::decode::<Notice>(&bytes);
        let _ = canonical::decode::<Ceremony>(&bytes);
    }
}
