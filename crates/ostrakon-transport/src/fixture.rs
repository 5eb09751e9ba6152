//! A server, a device that it knows, and requests, for tests.

use ostrakon_shards::{
    card::{Card, DeviceKind},
    device::DeviceKeys,
    identity::{PublicCard, VerifiedKeyserver},
    kem::KemSecret,
    profile::{ProfileVersion, SignedVersion},
    sealed_shard::{self, PublicContext, ShardContext},
    share::{FileKey, Shard, Threshold, split},
    sign::SigningKey,
    suite::Suite,
};
use ostrakon_types::{CryptographicId, LocationId, MetaItem, ProfileId, RequestId, UnixMillis};

use crate::{
    envelope::{Authentic, Contact, EnvelopeKey, Opened, PendingResponse, Stranger, seal_request},
    message::{Item, ReleaseKind, RequestBody},
};

pub(crate) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
pub(crate) const PROFILE: ProfileId = ProfileId::from_bytes([7; 16]);

pub(crate) struct Server {
    pub(crate) root: SigningKey,
    pub(crate) key: EnvelopeKey,
    pub(crate) shards: KemSecret,
    pub(crate) card: PublicCard,
    pub(crate) verified: VerifiedKeyserver,
}

pub(crate) struct Device {
    pub(crate) keys: DeviceKeys,
    pub(crate) card: Card,
}

impl Server {
    pub(crate) fn new() -> Self {
        let [shards, envelope] = [(); 2].map(|()| KemSecret::generate().unwrap());
        Self::with(SigningKey::generate().unwrap(), shards, envelope)
    }

    pub(crate) fn with(root: SigningKey, shards: KemSecret, envelope: KemSecret) -> Self {
        let name = "kss".parse().unwrap();
        let card = PublicCard::issue(&root, 1, name, shards.public(), envelope.public());
        Self {
            verified: card.verify(&card.claimed_id()).unwrap(),
            key: EnvelopeKey::new(envelope),
            root,
            shards,
            card,
        }
    }

    /// The same one every time.
    pub(crate) fn fixed() -> Self {
        let kem = |byte| KemSecret::from_bytes(&[&[1], &[byte; 64][..]].concat()).unwrap();
        Self::with(SigningKey::from_bytes(&[1; 32]), kem(2), kem(3))
    }

    pub(crate) fn open(&self, bytes: &[u8]) -> Result<Opened, Stranger> {
        self.key.open(&self.verified.kss_id(), bytes)
    }

    /// Opens and verifies as from a device that the server knows.
    pub(crate) fn accept(&self, device: &Device, bytes: &[u8]) -> Result<Authentic, Stranger> {
        self.open(bytes)?.verify(&device.card)
    }
}

impl Device {
    pub(crate) fn new() -> Self {
        Self::with(DeviceKeys::generate().unwrap())
    }

    /// The same one every time.
    pub(crate) fn fixed() -> Self {
        let bytes = [&[1], &[4; 32][..], &[1], &[5; 64]].concat();
        Self::with(DeviceKeys::from_bytes(&bytes).unwrap())
    }

    pub(crate) fn with(keys: DeviceKeys) -> Self {
        let card = keys.card(DeviceKind::Workstation, "desk".parse().unwrap());
        Self { keys, card }
    }

    pub(crate) fn seal(&self, server: &Server, body: &RequestBody) -> (Vec<u8>, PendingResponse) {
        self.seal_as(Contact::Known, Suite::X25519, server, body)
    }

    pub(crate) fn seal_as(
        &self,
        contact: Contact,
        suite: Suite,
        server: &Server,
        body: &RequestBody,
    ) -> (Vec<u8>, PendingResponse) {
        let server = &server.verified;
        seal_request(&self.keys, &self.card, contact, server, suite, body).unwrap()
    }
}

/// A request for these items, issued now.
pub(crate) fn request(items: Vec<Item>) -> RequestBody {
    let id = RequestId::from_parts(NOW, [9; 10]);
    RequestBody::new(id, NOW, PROFILE, items).unwrap()
}

pub(crate) fn location() -> Item {
    Item::CreateLocation {
        location: LocationId::from_bytes([3; 16]),
        name: "Payroll".parse().unwrap(),
    }
}

/// A shard, sealed to the server, of a file of [`PROFILE`].
pub(crate) fn release(server: &Server, path: &str) -> (Item, Shard) {
    let key = FileKey::generate(16).unwrap();
    let mut split = split(&key, Threshold::new(2, 3).unwrap()).unwrap();
    let shard = split.shards.pop().unwrap();
    let context = ShardContext {
        public: PublicContext {
            set_id: shard.set_id(),
            cryptographic_id: CryptographicId::from_bytes([5; 16]),
            profile: PROFILE,
            device: server.verified.device_id(),
            threshold: shard.threshold(),
            index: shard.index(),
            manifest: split.manifest.digest(),
        },
        meta: MetaItem {
            meta: path.into(),
            complete: true,
        },
    };
    let kem = server.shards.public();
    let sealed = sealed_shard::seal_for_server(Suite::X25519, &shard, &context, kem).unwrap();
    let kind = ReleaseKind::Decrypt;
    (
        Item::Release {
            kind,
            context,
            sealed,
        },
        shard,
    )
}

/// A first version of a profile of this device, and the profile's id.
pub(crate) fn new_profile(device: &Device) -> (SignedVersion, ProfileId) {
    let name = "user@host".parse().unwrap();
    let version = ProfileVersion::first(name, 1, vec![device.card.clone()]).unwrap();
    let signature = version.sign(&device.keys.signing);
    let id = ProfileId::try_from(&version.hash().as_bytes()[..16]).unwrap();
    (
        SignedVersion::new(version, [(device.card.id(), signature)]),
        id,
    )
}
