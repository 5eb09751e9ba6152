//! Planted bugs that these tests were seen to catch: the signature of a file not verified; its lines
//! for people not compared with the content; a proof that does not cover the challenge; a share that
//! is not checked against the manifest.

use std::sync::LazyLock;

use ostrakon_types::{DeviceId, UnixMillis, canonical};
use serde_json::{Value, json};

use super::*;
use crate::{
    card::{Card, DeviceKind},
    device::DeviceKeys,
    generation::Generation,
    identity::PublicCard,
    kem::KemSecret,
    name::Name,
    profile::{ProfileVersion, SignedVersion},
    random::{Seeded, Source},
    record::RecordKey,
    share::{CombineError, Shard},
    sign::SigningKey,
    suite::Suite,
};

const IDENTITY: &[u8] = b"the server's private keys";
const ROOT_KEY: [u8; 32] = [7; 32];
const KINDS: [DeviceKind; 6] = [
    DeviceKind::Workstation,
    DeviceKind::Mobile,
    DeviceKind::Keyserver,
    DeviceKind::Mobile,
    DeviceKind::Recovery,
    DeviceKind::Recovery,
];

/// A server, and a profile of five devices and another key shard server, of which three are needed.
struct Maker {
    source: Seeded,
    root: SigningKey,
    card: PublicCard,
    devices: Vec<(DeviceKeys, Card)>,
    versions: Vec<SignedVersion>,
}

impl Maker {
    fn new(seed: &'static str) -> Self {
        let mut source = Seeded::new(seed);
        let root = SigningKey::generate_impl(&mut source).unwrap();
        let kems = [(); 2].map(|()| KemSecret::generate_impl(&mut source).unwrap());
        let name = Name::new("keys.example").unwrap();
        let card = PublicCard::issue(&root, 1, name, kems[0].public(), kems[1].public());
        let devices: Vec<_> = KINDS
            .iter()
            .zip(1..)
            .map(|(kind, number)| {
                let keys = DeviceKeys::generate_impl(&mut source).unwrap();
                let card = keys.card(*kind, Name::new(&format!("device {number}")).unwrap());
                (keys, card)
            })
            .collect();
        let mut nonce = [0; 16];
        source.fill(&mut nonce).unwrap();
        let version = ProfileVersion {
            number: 1,
            previous: None,
            nonce,
            name: Name::new("administrators").unwrap(),
            threshold: 3,
            devices: devices.iter().map(|(_, card)| card.clone()).collect(),
        };
        let signatures = devices
            .iter()
            .map(|(keys, card)| (card.id(), version.sign(&keys.signing)));
        Self {
            versions: vec![SignedVersion::new(version.clone(), signatures)],
            source,
            root,
            card,
            devices,
        }
    }

    fn file(&mut self, counter: u64) -> BackupFile {
        let backup = Backup {
            card: &self.card,
            generation: Generation { epoch: 0, counter },
            created_at: UnixMillis(1_800_000_000_000),
            versions: &self.versions,
            identity: IDENTITY,
            root_key: Some(&RecordKey::from_bytes(&ROOT_KEY)),
            suite: Suite::XWing,
        };
        backup.make_impl(&self.root, &mut self.source).unwrap()
    }

    /// The devices that hold shares.
    fn holders(&self) -> impl Iterator<Item = (&DeviceKeys, DeviceId)> {
        let people = |(_, card): &&(DeviceKeys, Card)| card.kind != DeviceKind::Keyserver;
        let devices = self.devices.iter().filter(people);
        devices.map(|(keys, card)| (keys, card.id()))
    }

    fn shares(&self, file: &BackupFile) -> Vec<Shard> {
        let holders = self.holders();
        holders
            .map(|(keys, device)| file.open_share(keys, device).unwrap())
            .collect()
    }
}

/// Made once: the keys of six devices take a while.
static MADE: LazyLock<(Maker, BackupFile)> = LazyLock::new(|| {
    let mut maker = Maker::new("backup vectors, version 1");
    let file = maker.file(2);
    (maker, file)
});

#[test]
fn any_three_of_five_devices_recover_the_identity() {
    let (maker, file) = &*MADE;
    let read = BackupFile::parse(&file.to_text()).unwrap();
    assert_eq!(&read, file);
    assert_eq!(read.kss_id(), maker.card.claimed_id());
    assert_eq!(read.threshold().shares(), 5, "a server holds none");
    let mut recovered = 0;
    for left in 0..5 {
        for out in left + 1..5 {
            let mut shares = maker.shares(&read);
            shares.remove(out);
            shares.remove(left);
            let opened = read.recover(&shares).unwrap();
            assert_eq!(*opened.identity, IDENTITY);
            assert_eq!(*opened.root_key.unwrap().to_bytes(), ROOT_KEY);
            assert!(opened.bad.is_empty());
            recovered += 1;
        }
    }
    assert_eq!(recovered, 10);
}

#[test]
fn two_devices_recover_nothing() {
    let (maker, file) = &*MADE;
    let mut shares = maker.shares(file);
    shares.truncate(2);
    let error = file.recover(&shares).err().unwrap();
    let RecoverError::Combine(CombineError::TooFew {
        needed: 3, good: 2, ..
    }) = error
    else {
        panic!("{error:?}")
    };
    // Nor do two and one of them again, or one of another file.
    shares.push(maker.shares(file).remove(0));
    assert!(file.recover(&shares).is_err());
    let mut other = Maker::new("another server");
    let elsewhere = other.file(2);
    shares.pop();
    shares.push(other.shares(&elsewhere).remove(2));
    assert!(file.recover(&shares).is_err());
}

#[test]
fn a_share_of_another_file_of_the_same_server_is_of_no_use() {
    let mut maker = Maker::new("backup vectors, version 1");
    let (old, new) = (maker.file(2), maker.file(3));
    assert!(new.generation() > old.generation());
    let mut shares = maker.shares(&new);
    shares.truncate(2);
    shares.extend(maker.shares(&old).pop());
    assert!(new.recover(&shares).is_err());
    // What the documents warn of: the old file and old shares go on working.
    assert!(old.recover(&maker.shares(&old)).is_ok());
}

#[test]
fn a_device_of_another_profile_opens_nothing() {
    let (_, file) = &*MADE;
    let other = Maker::new("another server");
    let (keys, device) = other.holders().next().unwrap();
    let stranger = file.open_share(keys, device);
    assert!(matches!(
        stranger,
        Err(OpenBackupShareError::NoHolder { .. })
    ));
    let member = file.holders()[0].device;
    let opened = file.open_share(keys, member);
    assert!(matches!(opened, Err(OpenBackupShareError::Sealed { .. })));
}

#[test]
fn a_device_proves_its_share_and_nothing_else_does() {
    let (maker, file) = &*MADE;
    let challenge = Challenge::from_bytes([1; 32]);
    let proofs: Vec<_> = maker
        .holders()
        .map(|(keys, device)| (device, file.prove(keys, device, &challenge).unwrap()))
        .collect();
    for (device, proof) in &proofs {
        assert_eq!(file.verify_proof(*device, &challenge, proof), Ok(()));
        let later = Challenge::from_bytes([2; 32]);
        let replayed = file.verify_proof(*device, &later, proof);
        assert_eq!(replayed, Err(ProveError::Wrong { device: *device }));
        for (other, _) in proofs.iter().filter(|(other, _)| other != device) {
            assert!(file.verify_proof(*other, &challenge, proof).is_err());
        }
    }
    let mut again = Maker::new("backup vectors, version 1");
    again.file(2);
    let newer = again.file(3);
    let (device, proof) = proofs[0];
    assert!(newer.verify_proof(device, &challenge, &proof).is_err());
    let nobody = DeviceId::from_bytes([9; 16]);
    let error = file.verify_proof(nobody, &challenge, &proof);
    assert_eq!(error, Err(ProveError::NoHolder { device: nobody }));
}

#[test]
fn a_share_that_was_exchanged_is_named() {
    let (maker, file) = &*MADE;
    let mut changed = file.clone();
    let (keys, device) = maker.holders().next().unwrap();
    // Sealed to the right device and for the right place, but another share.
    let other = maker.shares(file).remove(1);
    let context = file::ShareContext::new(&file.body, device);
    let context = canonical::encode(&context);
    let bytes = other.to_bytes();
    let kem = keys.kem.public();
    changed.body.holders[0].share =
        crate::seal::seal(Suite::X25519, file::SHARE, kem, &context, &bytes).unwrap();
    let opened = changed.open_share(keys, device);
    assert!(matches!(opened, Err(OpenBackupShareError::Other { .. })));
    let challenge = Challenge::generate().unwrap();
    assert!(changed.prove(keys, device, &challenge).is_err());
}

#[test]
fn any_changed_byte_of_the_text_is_refused() {
    let text = MADE.1.to_text();
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        for flip in [0x01, 0x0f, 0x20] {
            let mut changed = bytes.to_vec();
            changed[at] ^= flip;
            let changed = String::from_utf8(changed).unwrap();
            let refused = BackupFile::parse(&changed);
            assert!(refused.is_err(), "byte {at} changed by {flip:#x}");
        }
    }
    for cut in (0..text.len()).step_by(97) {
        assert!(BackupFile::parse(&text[..cut]).is_err(), "cut to {cut}");
    }
    assert!(BackupFile::parse(&text[..text.len() - 1]).is_err());
    assert!(BackupFile::parse(&format!("{text}\n")).is_err());
}

/// Whoever changes the content changes its checksum too: the signature tells.
#[test]
fn any_changed_byte_of_the_content_is_refused() {
    let content = MADE.1.to_bytes();
    assert!(BackupFile::from_bytes(&content).is_ok());
    let mut changed = content.clone();
    for at in 0..content.len() {
        changed[at] ^= 1 << (at % 8);
        assert!(BackupFile::from_bytes(&changed).is_err(), "byte {at}");
        changed[at] = content[at];
    }
}

#[test]
fn what_is_wrong_is_named() {
    let file = &MADE.1;
    let text = file.to_text();
    let error = |text: &str| BackupFile::parse(text).unwrap_err().to_string();
    assert!(error("").starts_with("it is not a backup file"));
    assert!(error("age-encryption.org/v1\n").starts_with("it is not a backup file"));
    let newer = text.replacen("version 1", "version 2", 1);
    assert!(error(&newer).contains("another version"));
    let id = file.kss_id().to_string();
    let other = Maker::new("another server").card.claimed_id().to_string();
    let expected = format!("line 2 was changed: it should be `key shard server {id}`");
    assert_eq!(error(&text.replacen(&id, &other, 1)), expected);
    let dashed = text.replacen("-----END", "-----ENT", 1);
    assert!(error(&dashed).contains("line 5") || error(&dashed).contains("damaged"));
    let (head, _) = text.split_at(text.len() / 2);
    assert!(error(head).contains("cut off") || error(head).contains("damaged"));
    let mut signed = file.clone();
    signed.body.generation.counter += 1;
    assert!(error(&signed.to_text()).contains("not signed"));
    let mut holders = file.clone();
    holders.body.holders.swap(0, 1);
    assert!(error(&holders.to_text()).contains("not signed"));
}

#[test]
fn line_ends_of_another_system_are_no_change() {
    let text = MADE.1.to_text();
    let windows = text.replace('\n', "\r\n");
    assert_eq!(BackupFile::parse(&windows).unwrap(), MADE.1);
    let mixed = windows.replacen("\r\n", "\n", 1);
    assert!(BackupFile::parse(&mixed).is_err());
}

/// A server that signs what does not hold together makes no backup file either.
#[test]
fn signed_nonsense_is_refused() {
    let (maker, file) = &*MADE;
    let resigned = |change: fn(&mut file::Body)| {
        let mut body = file.body.clone();
        change(&mut body);
        BackupFile::sign(body, file.profile().clone(), &maker.root).unwrap()
    };
    let error = |file: BackupFile| BackupFile::parse(&file.to_text()).unwrap_err();
    let swapped = error(resigned(|body| body.holders.swap(0, 1)));
    assert!(matches!(swapped, ParseBackupError::Holders));
    let fewer = error(resigned(|body| drop(body.holders.pop())));
    assert!(matches!(fewer, ParseBackupError::Holders));
    let chainless = resigned(|body| body.versions.clear());
    assert!(matches!(error(chainless), ParseBackupError::Profile(_)));
    let other = Maker::new("another server");
    let signed = BackupFile::sign(file.body.clone(), file.profile().clone(), &other.root);
    assert!(matches!(signed, Err(MakeBackupError::OtherRoot)));
}

const RECORDED: &str = include_str!("../../vectors/backup-v1.json");

/// Makes `vectors/backup-v1.json`, which `tests/vectors.rs` opens. If this fails, the format has
/// changed: see `vectors.rs`.
#[test]
fn the_format_is_the_one_that_was_recorded() {
    let (maker, file) = &*MADE;
    let challenge = Challenge::from_bytes([1; 32]);
    let devices: Vec<Value> = maker
        .holders()
        .map(|(keys, device)| {
            let proof = file.prove(keys, device, &challenge);
            json!({
                "id": device,
                "secret": hex::encode(keys.to_bytes()),
                "proof": hex::encode(canonical::encode(&proof.unwrap())),
            })
        })
        .collect();
    let text = file.to_text();
    let made = json!({
        "file": text.lines().collect::<Vec<_>>(),
        "devices": devices,
        "challenge": hex::encode(canonical::encode(&challenge)),
        "identity": hex::encode(IDENTITY),
        "root_key": hex::encode(ROOT_KEY),
        "generation": file.generation().to_string(),
        "created_at": file.created_at(),
    });
    let recorded: Value = serde_json::from_str(RECORDED).unwrap_or_default();
    if made != recorded {
        eprintln!("{made:#}");
    }
    assert!(made == recorded, "the format has changed");
}
