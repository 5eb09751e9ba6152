mod later;

use ostrakon_shards::{
    backup::{Backup, Challenge},
    card::{Card, DeviceKind},
    ceremony::{Notice, Question, Subject},
    device::DeviceKeys,
    generation::Generation,
    identity::PublicCard,
    kem::KemSecret,
    name::Name,
    profile::ProfileVersion,
    random,
    sealed_shard::{FileShare, PublicContext, ShardContext, open_as_owner, seal_for_owner},
    share::{FileKey, split},
    sign::SigningKey,
    suite::Suite,
};

use ostrakon_types::MetaItem;

use super::*;
use crate::{Clock, Home};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const WAIT_MS: i64 = 60_000;

struct Team {
    devices: Vec<(DeviceKeys, Card)>,
    profile: Profile,
    file: BackupFile,
}

impl Team {
    fn new() -> Self {
        let kinds = [
            DeviceKind::Workstation,
            DeviceKind::Mobile,
            DeviceKind::Mobile,
            DeviceKind::Recovery,
            DeviceKind::Recovery,
        ];
        let devices = kinds.map(|kind| {
            let keys = DeviceKeys::generate().unwrap();
            let card = keys.card(kind, Name::new("device").unwrap());
            (keys, card)
        });
        let cards = devices.iter().map(|(_, card)| card.clone()).collect();
        let version = ProfileVersion::first(Name::new("admins").unwrap(), 3, cards).unwrap();
        let signatures: Vec<_> = devices
            .iter()
            .map(|(keys, card)| (card.id(), version.sign(&keys.signing)))
            .collect();
        let versions = [SignedVersion::new(version, signatures)];
        let root = SigningKey::generate().unwrap();
        let [shard, envelope] = [(); 2].map(|()| KemSecret::generate().unwrap());
        let name = Name::new("server").unwrap();
        let card = PublicCard::issue(&root, 1, name, shard.public(), envelope.public());
        let (signing, opening, asking) = (root.to_bytes(), shard.to_bytes(), envelope.to_bytes());
        let secrets = [&[1][..], signing.as_ref(), &opening, &asking];
        let backup = Backup {
            card: &card,
            generation: Generation {
                epoch: 0,
                counter: 1,
            },
            created_at: NOW,
            versions: &versions,
            identity: &secrets.concat(),
            root_key: None,
            suite: Suite::X25519,
        };
        Self {
            profile: Profile::from_chain(versions.iter().cloned()).unwrap(),
            file: backup.make(&root).unwrap(),
            devices: devices.into(),
        }
    }

    async fn all_approve(&self, asking: &mut impl Asking) {
        let convened = asking.convened().clone();
        let answers = (0..self.devices.len()).map(|device| {
            let (question, keys, _) = self.question(&convened, device);
            question.approve(keys, None).unwrap()
        });
        let progress = asking.take(answers.collect()).await.unwrap();
        assert_eq!(progress.stand, Stand::Approved);
    }

    fn question(&self, convened: &Convened, device: usize) -> (Question, &DeviceKeys, DeviceId) {
        let (keys, card) = &self.devices[device];
        let id = card.id();
        let mut notices = convened.notices.iter();
        let (_, sealed) = notices.find(|(to, _)| *to == id).unwrap();
        let notice = Notice::open(sealed, &convened.id, &id, keys).unwrap();
        (notice.examine(&self.profile, &id, NOW).unwrap(), keys, id)
    }
}

fn clock() -> Clock {
    Clock::from_fn(|| NOW)
}

fn machine() -> Name {
    Name::new("machine").unwrap()
}

/// Planted bug that this was seen to catch: a proof that is there taken for a good one.
#[tokio::test]
async fn a_bad_share_is_named_and_does_not_count() {
    let team = Team::new();
    let mut verification =
        Verification::open(team.file.clone(), &[], machine(), WAIT_MS, &clock()).unwrap();
    let convened = verification.convened().clone();
    let (question, ..) = team.question(&convened, 0);
    assert_eq!(question.enclosed(), Some(&*team.file.to_bytes()));
    let Subject::VerifyBackup { challenge, .. } = question.ceremony().subject else {
        panic!("something else is asked");
    };
    // A good one; one that does not open; one over an old challenge; a denial; no answer at all.
    let other = Challenge::generate().unwrap();
    let mut answers = Vec::new();
    for (device, over) in [(0, Some(challenge)), (1, None), (2, Some(other))] {
        let (question, keys, id) = team.question(&convened, device);
        let proof = over.map(|over| team.file.prove(keys, id, &over).unwrap());
        answers.push(question.prove(keys, proof).unwrap());
    }
    let progress = verification.take(answers).await.unwrap();
    assert_eq!(progress.answered.len(), 3);
    assert!(matches!(
        progress.stand,
        Stand::Open {
            approved: 3,
            needed: 5
        }
    ));
    let (question, keys, _) = team.question(&convened, 3);
    let denial = question.deny(keys).unwrap();
    verification.take(vec![denial]).await.unwrap();
    let report = verification.report();
    let proved: Vec<_> = report.iter().map(|holder| holder.proved).collect();
    assert_eq!(
        proved,
        [
            Proved::Good,
            Proved::Bad,
            Proved::Bad,
            Proved::Denied,
            Proved::NoAnswer
        ]
    );
    for (holder, (_, card)) in report.iter().zip(&team.devices) {
        assert_eq!(holder.card.as_ref(), Some(card));
    }
}

/// Planted bug that this was seen to catch: a share that is not the device's own left to count.
#[tokio::test]
async fn a_share_that_is_not_the_devices_own_is_refused_and_others_suffice() {
    let team = Team::new();
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().join("home"));
    let mut ingestion =
        Ingestion::open(&home, team.file.clone(), &[], machine(), WAIT_MS, &clock()).unwrap();
    let convened = ingestion.convened().clone();
    assert!(convened.words.is_some());
    let answer = |device: usize, of: usize| {
        let (question, keys, _) = team.question(&convened, device);
        let (other, card) = &team.devices[of];
        let share = team.file.open_share(other, card.id()).unwrap();
        question.approve(keys, Some(&share.to_bytes())).unwrap()
    };
    let progress = ingestion
        .take(vec![answer(0, 1), answer(1, 1)])
        .await
        .unwrap();
    assert_eq!(progress.refused.len(), 1);
    let culprit = team.devices[0].1.id().to_string();
    assert!(progress.refused[0].contains(&culprit), "{progress:?}");
    assert!(matches!(progress.stand, Stand::Open { approved: 1, .. }));
    let progress = ingestion.take(vec![answer(2, 2)]).await.unwrap();
    assert!(matches!(progress.stand, Stand::Open { approved: 2, .. }));
    let progress = ingestion.take(vec![answer(4, 4)]).await.unwrap();
    assert_eq!(progress.stand, Stand::Approved);
    let ingested = ingestion.finish().await.unwrap();
    assert_eq!(ingested.keyserver.kss_id(), team.file.kss_id());
    assert!(crate::setup::is_staged(&home).await.unwrap());
    let status = crate::setup::stopped_status(&home).await.unwrap();
    assert!(status.staged);
    assert!(
        status.audit.trouble.is_empty(),
        "{:?}",
        status.audit.trouble
    );
}

/// Planted bug that this was seen to catch: what a device gives taken as it comes.
#[tokio::test]
async fn a_bad_share_of_a_file_is_named_and_others_open_it() {
    let team = Team::new();
    let key = FileKey::generate(16).unwrap();
    let set = split(&key, team.profile.threshold()).unwrap();
    let cryptographic_id = random::id().unwrap();
    let shares: Vec<FileShare> = set
        .shards
        .iter()
        .zip(&team.devices)
        .map(|(shard, (_, card))| {
            let public = PublicContext {
                set_id: set.set_id,
                cryptographic_id,
                profile: team.profile.id(),
                device: card.id(),
                threshold: shard.threshold(),
                index: shard.index(),
                manifest: set.manifest.digest(),
            };
            let meta = MetaItem {
                meta: "Safe/backup-key.txt".to_owned(),
                complete: true,
            };
            let context = ShardContext { public, meta };
            let sealed =
                seal_for_owner(Suite::X25519, shard, &set.manifest, &context, &card.kem).unwrap();
            FileShare { public, sealed }
        })
        .collect();
    let open = |shares: &[FileShare]| {
        let versions = team.file.versions();
        FileOpening::open(shares.to_vec(), versions, machine(), WAIT_MS, &clock())
    };
    let few = open(&shares[..2]).err().unwrap();
    assert!(matches!(
        few,
        ConveneError::NotOfProfile(NotOfProfile::TooFew { needed: 3, left: 2 })
    ));
    let mut opening = open(&shares).unwrap();
    let convened = opening.convened().clone();
    assert!(convened.words.is_some());
    let answer = |device: usize, of: usize| {
        let (question, keys, _) = team.question(&convened, device);
        // Each device gets its own share and no other.
        assert_eq!(question.enclosed(), Some(&*shares[device].to_bytes()));
        let (owner, _) = &team.devices[of];
        let share = open_as_owner(&owner.kem, &shares[of].public, &shares[of].sealed).unwrap();
        let given = share.give().to_bytes();
        question.approve(keys, Some(&given)).unwrap()
    };
    let progress = opening.take(vec![answer(0, 1), answer(1, 1), answer(2, 2)]);
    let progress = progress.await.unwrap();
    let culprit = team.devices[0].1.id().to_string();
    assert_eq!(progress.refused.len(), 1);
    assert!(progress.refused[0].contains(&culprit), "{progress:?}");
    assert!(matches!(progress.stand, Stand::Open { approved: 2, .. }));
    let progress = opening.take(vec![answer(4, 4)]).await.unwrap();
    assert_eq!(progress.stand, Stand::Approved);
    assert_eq!(opening.finish().unwrap().as_bytes(), key.as_bytes());
}

/// Planted bug that this was seen to catch: a backup key put on record before its file is kept.
#[tokio::test]
async fn a_backup_key_whose_file_is_not_kept_replaces_none() {
    let team = Team::new();
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().join("home"));
    let versions = team.file.versions();
    let mut creation =
        Creation::open(&home, machine(), None, versions, true, WAIT_MS, &clock()).unwrap();
    team.all_approve(&mut creation).await;
    let mut first = None;
    let keep = |made: &BackupFile| {
        first = Some(made.generation());
        Ok::<_, ConveneError>(())
    };
    creation.finish(keep).await.unwrap();
    let newest = async || {
        let opened = crate::offline::Opened::open(&home).await.unwrap();
        let newest = newest_backup(&opened.store).await.unwrap();
        opened.store.close().await;
        newest.map(|file| file.generation())
    };
    assert_eq!(newest().await, first);

    for kept in [false, true] {
        let operation = Operation::SaveBackupKey {
            ignore_security_checks: true,
        };
        let ask = Ask {
            operation,
            profile: Vec::new(),
            wait_ms: WAIT_MS,
        };
        let mut asking = OfServer::open(&home, &clock(), ask).await.unwrap();
        team.all_approve(&mut asking).await;
        let keep = |_: &Fulfilled| kept.then_some(()).ok_or(ConveneError::NoCeremony);
        assert_eq!(asking.finish(keep).await.is_ok(), kept);
        assert_eq!(newest().await == first, !kept);
    }
}

#[test]
fn a_profile_is_followed_and_never_back_or_aside() {
    let team = Team::new();
    let first = team.file.versions().to_vec();
    let sign = |draft: ProfileVersion| {
        let signatures: Vec<_> = team.devices[..3]
            .iter()
            .map(|(keys, card)| (card.id(), draft.sign(&keys.signing)))
            .collect();
        SignedVersion::new(draft, signatures)
    };
    let next = |threshold| {
        let mut draft = team.profile.draft().unwrap();
        draft.threshold = threshold;
        [&first[..], &[sign(draft)]].concat()
    };
    let (one, other) = (next(4), next(5));
    let of = |known: &[SignedVersion], given: &[SignedVersion]| {
        profile::newest(known, given).map(|(_, versions)| versions.len())
    };
    assert_eq!(of(&first, &[]).unwrap(), 1);
    assert_eq!(of(&first, &one).unwrap(), 2);
    assert_eq!(of(&one, &first).unwrap(), 2);
    assert!(matches!(of(&one, &other), Err(ConveneError::Fork)));
    assert!(matches!(of(&[], &[]), Err(ConveneError::NoProfile)));
    let stranger = Team::new().file.versions().to_vec();
    assert!(matches!(
        of(&first, &stranger),
        Err(ConveneError::OtherProfile { .. })
    ));
}
