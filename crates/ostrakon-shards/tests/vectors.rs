//! What version 1 wrote, every later version opens: `vectors/project-v1.json`, through the public
//! interface alone.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers fail their tests by panicking"
)]

use hex::decode as unhex;
use ostrakon_shards::{
    backup::{BackupFile, Challenge, ShareProof},
    card::{Card, DeviceKind},
    device::DeviceKeys,
    identity::PublicCard,
    kem::KemSecret,
    profile::{Profile, SignedHead, SignedVersion},
    record::{RecordKey, open_record},
    seal::{self, Sealed},
    sealed_shard::{
        PublicContext, SealedOwnerShare, SealedShard, ShardContext, open_as_owner, open_at_server,
    },
    share::{Manifest, Shard, combine},
    sign::SigningKey,
    suite::Suite,
    words::RecoveryWords,
};
use ostrakon_types::{DeviceId, Digest, KssId, MetaItem, UnixMillis, canonical};
use serde_json::Value;

struct Vectors(Value);

impl Vectors {
    fn of(section: &str) -> Self {
        let all: Value = serde_json::from_str(include_str!("../vectors/project-v1.json")).unwrap();
        Self(all[section].clone())
    }

    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        unhex(self.text(name)).unwrap()
    }

    fn key(&self, name: &str) -> [u8; 32] {
        self.bytes(name).try_into().unwrap()
    }

    fn list(&self, name: &str) -> Vec<Vec<u8>> {
        let texts = self.0[name].as_array().unwrap().iter();
        texts
            .map(|text| unhex(text.as_str().unwrap()).unwrap())
            .collect()
    }
}

fn owner() -> DeviceKeys {
    DeviceKeys::from_bytes(&Vectors::of("devices").bytes("secret")).unwrap()
}

fn server_shards() -> KemSecret {
    KemSecret::from_bytes(&Vectors::of("identity").bytes("shards")).unwrap()
}

#[test]
fn devices() {
    let vectors = Vectors::of("devices");
    let card = Card::from_bytes(&vectors.bytes("card")).unwrap();
    assert_eq!(card.id().to_string(), vectors.text("id"));
    assert_eq!(
        owner().card(DeviceKind::Workstation, card.name.clone()),
        card
    );
    assert_eq!(*owner().to_bytes(), vectors.bytes("secret"));

    let words = RecoveryWords::parse(vectors.text("recovery_words")).unwrap();
    let card = Card::from_bytes(&vectors.bytes("recovery_card")).unwrap();
    let again = words
        .device_keys()
        .card(DeviceKind::Recovery, card.name.clone());
    assert_eq!(again, card);
}

#[test]
fn identity() {
    let vectors = Vectors::of("identity");
    let kss_id: KssId = vectors.text("kss_id").parse().unwrap();
    let card = PublicCard::from_bytes(&vectors.bytes("card")).unwrap();
    let verified = card.verify(&kss_id).unwrap();
    assert_eq!(verified.name().as_str(), "keys.example");
    assert_eq!(verified.device().kem, *server_shards().public());
    let envelope = KemSecret::from_bytes(&vectors.bytes("envelope")).unwrap();
    assert_eq!(verified.envelope_key(), envelope.public());
    let root = SigningKey::from_bytes(&vectors.key("root"));
    assert_eq!(*verified.root_key(), root.verify_key());
}

#[test]
fn profile() {
    let vectors = Vectors::of("profile");
    let chain = vectors.list("chain");
    let chain = chain
        .iter()
        .map(|bytes| SignedVersion::from_bytes(bytes).unwrap());
    let profile = Profile::from_chain(chain).unwrap();
    assert_eq!(profile.id().to_string(), vectors.text("id"));
    let words: Vec<&str> = vectors.0["words"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    assert_eq!(profile.words().as_str(), words.join(" "));
    let root = SigningKey::from_bytes(&Vectors::of("identity").key("root"));
    let head = SignedHead::from_bytes(&vectors.bytes("head")).unwrap();
    let issued_at = UnixMillis(vectors.0["issued_at"].as_i64().unwrap());
    let verified = head.verify(&root.verify_key());
    assert_eq!(verified, Ok((profile.head(), issued_at)));
}

#[test]
fn shares() {
    let vectors = Vectors::of("shares");
    let manifest = Manifest::from_bytes(&vectors.bytes("manifest")).unwrap();
    let shards = vectors
        .list("shards")
        .iter()
        .map(|bytes| Shard::from_bytes(bytes).unwrap())
        .collect::<Vec<_>>();
    let combined = combine(&manifest, &shards).unwrap();
    assert_eq!(combined.key.as_bytes(), vectors.bytes("file_key"));
    assert!(combined.bad.is_empty());

    let meta: MetaItem = serde_json::from_value(vectors.0["meta"].clone()).unwrap();
    let public = |name| PublicContext::from_bytes(&vectors.bytes(name)).unwrap();
    let at_server = ShardContext {
        public: public("server_context"),
        meta,
    };
    let digest: Digest = vectors.text("server_context_digest").parse().unwrap();
    assert_eq!(at_server.digest(), digest);
    let at_owner = public("owner_context");
    let sealed = vectors.0["sealed"].as_array().unwrap();
    assert_eq!(sealed.len(), Suite::ALL.len());
    for (sealed, suite) in sealed.iter().zip(Suite::ALL) {
        let sealed = Vectors(sealed.clone());
        assert_eq!(sealed.text("suite"), suite.as_str());
        let server = SealedShard::from_bytes(&sealed.bytes("server")).unwrap();
        let released = open_at_server(&server_shards(), &at_server, &server).unwrap();
        let own = SealedOwnerShare::from_bytes(&sealed.bytes("owner")).unwrap();
        let own = open_as_owner(&owner().kem, &at_owner, &own).unwrap();
        assert_eq!(own.meta, at_server.meta);
        let combined = combine(&own.manifest, &[released, own.shard]).unwrap();
        assert_eq!(combined.key.as_bytes(), vectors.bytes("file_key"));
    }
}

#[test]
fn seals() {
    let vectors = Vectors::of("seals");
    assert_eq!(vectors.text("purpose"), "vectors");
    let context = vectors.text("context").as_bytes();
    for (bytes, suite) in vectors.list("boxes").iter().zip(Suite::ALL) {
        let sealed = Sealed::from_bytes(bytes).unwrap();
        assert_eq!(sealed.suite(), suite);
        let opened = seal::open("vectors", &owner().kem, context, &sealed).unwrap();
        assert_eq!(*opened, vectors.text("message").as_bytes());
    }
}

#[test]
fn records() {
    let vectors = Vectors::of("records");
    let root = RecordKey::from_bytes(&vectors.key("root"));
    let data = RecordKey::unwrap_from(&root, "data key", &vectors.bytes("wrapped")).unwrap();
    assert_eq!(*data.to_bytes(), vectors.key("data"));
    let opened = open_record(&data, "folders", "name", b"row", &vectors.bytes("sealed"));
    assert_eq!(*opened.unwrap(), b"payroll");
    let root = SigningKey::from_bytes(&Vectors::of("identity").key("root"));
    let chain = root.derive_chain_key("audit");
    let verified = chain.verify(&[b"one", b"two"], &vectors.key("mac"));
    assert_eq!(verified, Ok(()));
}

#[test]
fn backup_file() {
    let all = serde_json::from_str(include_str!("../vectors/backup-v1.json")).unwrap();
    let vectors = Vectors(all);
    let mut text = String::new();
    for line in vectors.0["file"].as_array().unwrap() {
        text.push_str(line.as_str().unwrap());
        text.push('\n');
    }
    let file = BackupFile::parse(&text).unwrap();
    assert_eq!(file.generation().to_string(), vectors.text("generation"));
    let created_at = vectors.0["created_at"].as_i64().unwrap();
    assert_eq!(file.created_at(), UnixMillis(created_at));
    let challenge: Challenge = canonical::decode(&vectors.bytes("challenge")).unwrap();
    let mut shares = Vec::new();
    for device in vectors.0["devices"].as_array().unwrap() {
        let device = Vectors(device.clone());
        let id: DeviceId = device.text("id").parse().unwrap();
        let keys = DeviceKeys::from_bytes(&device.bytes("secret")).unwrap();
        let proof: ShareProof = canonical::decode(&device.bytes("proof")).unwrap();
        assert_eq!(file.verify_proof(id, &challenge, &proof), Ok(()));
        shares.push(file.open_share(&keys, id).unwrap());
    }
    assert_eq!(shares.len(), 5);
    let recovered = file.recover(&shares[2..]).unwrap();
    assert_eq!(*recovered.identity, vectors.bytes("identity"));
    let root_key = recovered.root_key.unwrap();
    assert_eq!(*root_key.to_bytes(), vectors.key("root_key"));
}
