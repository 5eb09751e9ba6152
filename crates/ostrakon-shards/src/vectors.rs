//! Makes the project's own vectors, `vectors/project-v1.json`, which `tests/vectors.rs` opens.
//!
//! With fixed keys and randomness the formats of version 1 come out the same, byte for byte. If this
//! test fails, a format has changed: the recorded file stays, what it holds must still open, and the
//! new format gets a version and a file of its own.

use hex::encode as hex;
use ostrakon_types::{CryptographicId, MetaItem, UnixMillis};
use serde_json::{Value, json};

use crate::{
    card::{Card, DeviceKind},
    device::DeviceKeys,
    identity::PublicCard,
    kem::KemSecret,
    name::Name,
    profile::{Profile, ProfileVersion, SignedHead, SignedVersion},
    random::{Seeded, Source},
    record::{self, RecordKey},
    seal,
    sealed_shard::{PublicContext, ShardContext, seal_for_owner_impl, seal_for_server_impl},
    share::{FileKey, Threshold, split_impl},
    sign::SigningKey,
    suite::Suite,
    words::RecoveryWords,
};

const RECORDED: &str = include_str!("../vectors/project-v1.json");

struct Maker {
    source: Seeded,
    owner: DeviceKeys,
    root: SigningKey,
    shards: KemSecret,
    envelope: KemSecret,
}

impl Maker {
    fn new() -> Self {
        let mut source = Seeded::new("project vectors, version 1");
        Self {
            owner: DeviceKeys::generate_impl(&mut source).unwrap(),
            root: SigningKey::generate_impl(&mut source).unwrap(),
            shards: KemSecret::generate_impl(&mut source).unwrap(),
            envelope: KemSecret::generate_impl(&mut source).unwrap(),
            source,
        }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.source.fill(&mut bytes).unwrap();
        bytes
    }

    fn owner_card(&self) -> Card {
        let name = Name::new("Zoë's laptop").unwrap();
        self.owner.card(DeviceKind::Workstation, name)
    }

    fn public_card(&self) -> PublicCard {
        let name = Name::new("keys.example").unwrap();
        let (shards, envelope) = (self.shards.public(), self.envelope.public());
        PublicCard::issue(&self.root, 1, name, shards, envelope)
    }

    fn devices(&mut self) -> Value {
        let words: [u8; 32] = self.array();
        let words = crate::words::words(&ostrakon_types::Digest::from_bytes(words));
        let recovery = RecoveryWords::parse(words.as_str()).unwrap().device_keys();
        let recovery_card = recovery.card(DeviceKind::Recovery, Name::new("paper").unwrap());
        let card = self.owner_card();
        json!({
            "secret": hex(self.owner.to_bytes()),
            "card": hex(card.to_bytes()),
            "id": card.id(),
            "recovery_words": words.as_str(),
            "recovery_card": hex(recovery_card.to_bytes()),
        })
    }

    fn identity(&self) -> Value {
        let card = self.public_card();
        json!({
            "root": hex(*self.root.to_bytes()),
            "shards": hex(self.shards.to_bytes()),
            "envelope": hex(self.envelope.to_bytes()),
            "card": hex(card.to_bytes()),
            "kss_id": card.claimed_id(),
        })
    }

    /// A workstation and a key shard server; then the server leaves.
    fn chain(&mut self) -> (Value, Profile) {
        let (owner, server) = (self.owner_card(), self.server_card());
        let (owner_id, server_id) = (owner.id(), server.id());
        let first = ProfileVersion {
            number: 1,
            previous: None,
            nonce: self.array(),
            name: Name::new("team").unwrap(),
            threshold: 2,
            devices: vec![owner.clone(), server],
        };
        let second = ProfileVersion {
            number: 2,
            previous: Some(first.hash()),
            nonce: self.array(),
            name: Name::new("team").unwrap(),
            threshold: 1,
            devices: vec![owner],
        };
        let chain = [first, second].map(|version| {
            let own = (owner_id, version.sign(&self.owner.signing));
            let server = (server_id, version.sign(&self.root));
            SignedVersion::new(version, [own, server])
        });
        let bytes = chain.each_ref().map(|version| hex(version.to_bytes()));
        let profile = Profile::from_chain(chain).unwrap();
        let issued_at = UnixMillis(1_800_000_000_000);
        let head = SignedHead::issue(&self.root, profile.head(), issued_at);
        let value = json!({
            "chain": bytes,
            "id": profile.id(),
            "words": profile.words(),
            "head": hex(head.to_bytes()),
            "issued_at": issued_at,
        });
        (value, profile)
    }

    fn server_card(&self) -> Card {
        let card = self.public_card();
        let verified = card.verify(&card.claimed_id()).unwrap();
        verified.device().clone()
    }

    fn shares(&mut self, profile: &Profile) -> Value {
        let key: [u8; 16] = self.array();
        let file_key = FileKey::new(&key).unwrap();
        let threshold = Threshold::new(2, 3).unwrap();
        let split = split_impl(&file_key, threshold, &mut self.source).unwrap();
        let cryptographic_id = CryptographicId::from_bytes(self.array());
        let context = |index: u8, device: &Card| ShardContext {
            public: PublicContext {
                set_id: split.set_id,
                cryptographic_id,
                profile: profile.id(),
                device: device.id(),
                threshold: 2,
                index,
                manifest: split.manifest.digest(),
            },
            meta: MetaItem {
                meta: "payroll/2026.xlsx".into(),
                complete: true,
            },
        };
        let at_server = context(1, &self.server_card());
        let at_owner = context(2, &self.owner_card());
        let Self {
            source,
            shards,
            owner,
            ..
        } = self;
        let mut sealed = Vec::new();
        for suite in Suite::ALL {
            let [first, second, _] = &split.shards[..] else {
                panic!("three shards")
            };
            let server =
                seal_for_server_impl(suite, first, &at_server, shards.public(), source).unwrap();
            let owner = seal_for_owner_impl(
                suite,
                second,
                &split.manifest,
                &at_owner,
                owner.kem.public(),
                source,
            )
            .unwrap();
            let (server, owner) = (hex(server.to_bytes()), hex(owner.to_bytes()));
            sealed.push(json!({ "suite": suite, "server": server, "owner": owner }));
        }
        let all: Vec<String> = split.shards.iter().map(|s| hex(s.to_bytes())).collect();
        json!({
            "file_key": hex(key),
            "shards": all,
            "manifest": hex(split.manifest.to_bytes()),
            "server_context": hex(at_server.public.to_bytes()),
            "server_context_digest": at_server.digest(),
            "owner_context": hex(at_owner.public.to_bytes()),
            "meta": at_server.meta,
            "sealed": sealed,
        })
    }

    fn boxes(&mut self) -> Value {
        let Self { source, owner, .. } = self;
        let public = owner.kem.public();
        let boxes = Suite::ALL.map(|suite| {
            let sealed =
                seal::seal_impl(suite, "vectors", public, b"context", b"message", source).unwrap();
            hex(sealed.to_bytes())
        });
        json!({ "purpose": "vectors", "context": "context", "message": "message", "boxes": boxes })
    }

    fn records(&mut self) -> Value {
        let (key, data): ([u8; 32], [u8; 32]) = (self.array(), self.array());
        let (root, data_key) = (RecordKey::from_bytes(&key), RecordKey::from_bytes(&data));
        let source = &mut self.source;
        let sealed =
            record::seal_record_impl(&data_key, "folders", "name", b"row", b"payroll", source);
        let wrapped = data_key.wrap_impl(&root, "data key", source);
        let mac = self.root.derive_chain_key("audit").mac(&[b"one", b"two"]);
        json!({
            "root": hex(key),
            "data": hex(data),
            "wrapped": hex(wrapped.unwrap()),
            "sealed": hex(sealed.unwrap()),
            "mac": hex(mac),
        })
    }
}

#[test]
fn formats_are_those_that_were_recorded() {
    let mut maker = Maker::new();
    let devices = maker.devices();
    let identity = maker.identity();
    let (chain, profile) = maker.chain();
    let made = json!({
        "devices": devices,
        "identity": identity,
        "profile": chain,
        "shares": maker.shares(&profile),
        "seals": maker.boxes(),
        "records": maker.records(),
    });
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    assert!(made == recorded, "these are made now:\n{made:#}\n");
}
