//! A device and its profile.

use std::{io, net::SocketAddr};

use ostrakon_shards::{
    card::{Card, DeviceKind},
    device::DeviceKeys,
    identity::VerifiedKeyserver,
    profile::{ProfileVersion, SignedVersion},
    random,
    sealed_shard::{PublicContext, SealedShard, ShardContext, seal_for_server},
    share::{FileKey, Shard, Threshold, split},
    suite::Suite,
};
use ostrakon_transport::{
    envelope::{ClientSession, Contact, PendingResponse, seal_request},
    message::{Answer, Item, ItemAnswer, RefusalCode, ReleaseKind, RequestBody, ResponseBody},
};
use ostrakon_types::{CryptographicId, Denial, MetaItem, ProfileId, UnixMillis};

use crate::{
    forge::Forged,
    home::now,
    http::{self, HttpAnswer},
};

/// A user with one device, and a profile of that device and a server.
pub struct TestUser {
    /// The device's keys.
    pub keys: DeviceKeys,
    /// The device's card.
    pub card: Card,
    /// The server.
    pub server: VerifiedKeyserver,
    /// The profile.
    pub profile: ProfileId,
    /// The profile's first version, signed by the device alone.
    pub founding: SignedVersion,
}

/// A file's key, as far as the server has to do with it.
pub struct File {
    /// What the server's shard is bound to.
    pub context: ShardContext,
    /// The shard, sealed to the server.
    pub sealed: SealedShard,
    /// The shard itself, which a real user does not keep.
    pub shard: Shard,
}

/// What came of asking.
pub enum Asked {
    /// The answer to each item.
    Items(Vec<ItemAnswer>),
    /// No item was looked at.
    Refused(RefusalCode),
    /// The server answered without a seal.
    Http(HttpAnswer),
}

impl TestUser {
    /// Draws keys and a profile of which `server` does not know yet.
    #[must_use]
    pub fn new(server: &VerifiedKeyserver) -> Self {
        Self::named(server, "user@host")
    }

    /// Like [`new`](Self::new), with a name for the profile.
    #[must_use]
    pub fn named(server: &VerifiedKeyserver, name: &str) -> Self {
        Self::with(DeviceKeys::generate().expect("randomness"), server, name)
    }

    /// The same device as the user of another profile, of which the server does not know yet.
    #[must_use]
    pub fn second_profile(&self, name: &str) -> Self {
        let keys = DeviceKeys::from_bytes(&self.keys.to_bytes()).expect("its own keys");
        Self::with(keys, &self.server, name)
    }

    fn with(keys: DeviceKeys, server: &VerifiedKeyserver, name: &str) -> Self {
        let card = keys.card(DeviceKind::Workstation, "desk".parse().expect("a name"));
        let devices = vec![card.clone(), server.device().clone()];
        let name = name.parse().expect("a name");
        let version = ProfileVersion::first(name, 2, devices).expect("randomness");
        let signature = version.sign(&keys.signing);
        let hash = version.hash();
        Self {
            profile: ProfileId::try_from(&hash.as_bytes()[..16]).expect("16 bytes"),
            founding: SignedVersion::new(version, [(card.id(), signature)]),
            keys,
            card,
            server: server.clone(),
        }
    }

    /// Draws keys and a profile, and registers it.
    #[must_use]
    pub fn onboard(server: &VerifiedKeyserver, at: SocketAddr) -> Self {
        let user = Self::new(server);
        user.register(at);
        user
    }

    /// Registers the profile, which must succeed.
    pub fn register(&self, at: SocketAddr) {
        let (envelope, pending) = self.first_contact(&self.body(vec![self.founding()]));
        match opened(&post(at, &envelope), &pending) {
            Asked::Items(items) => {
                assert!(matches!(items[..], [ItemAnswer::ProfileCreated { .. }]));
            }
            other => panic!("not registered: {other:?}"),
        }
    }

    /// The item that registers the profile.
    #[must_use]
    pub fn founding(&self) -> Item {
        Item::CreateProfile {
            version: self.founding.clone(),
        }
    }

    /// A request under a fresh id, issued now.
    #[must_use]
    pub fn body(&self, items: Vec<Item>) -> RequestBody {
        self.body_at(now(), items)
    }

    /// A request under a fresh id, issued at a time.
    #[must_use]
    pub fn body_at(&self, at: UnixMillis, items: Vec<Item>) -> RequestBody {
        let id = random::request_id(at).expect("randomness");
        RequestBody::new(id, at, self.profile, items).expect("a request")
    }

    /// The same request, issued now: what a client sends again once the first envelope has expired.
    #[must_use]
    pub fn again(&self, body: &RequestBody) -> RequestBody {
        let items = body.items().to_vec();
        RequestBody::new(body.request_id(), now(), self.profile, items).expect("a request")
    }

    /// Seals a request.
    #[must_use]
    pub fn seal(&self, body: &RequestBody) -> (Vec<u8>, PendingResponse) {
        self.seal_as(Contact::Known, body)
    }

    /// Seals a request with the device's card inside.
    #[must_use]
    pub fn first_contact(&self, body: &RequestBody) -> (Vec<u8>, PendingResponse) {
        self.seal_as(Contact::First, body)
    }

    fn seal_as(&self, contact: Contact, body: &RequestBody) -> (Vec<u8>, PendingResponse) {
        let (keys, card, server) = (&self.keys, &self.card, &self.server);
        seal_request(keys, card, contact, server, Suite::X25519, body).expect("sealed")
    }

    /// Seals a request that asks for a session.
    #[must_use]
    pub fn lasting(&self, body: &RequestBody) -> (Vec<u8>, PendingResponse) {
        self.seal_as(Contact::Lasting, body)
    }

    /// Asks for a session, and for nothing much beside; `None` where it is not granted.
    #[must_use]
    pub fn session(&self, at: SocketAddr, now: UnixMillis) -> Option<ClientSession> {
        let (envelope, pending) = self.lasting(&self.body_at(now, vec![Item::ProfileHead]));
        let answer = post(at, &envelope);
        assert_eq!(answer.status, 200);
        let received = pending.receive(&answer.body).expect("the server's answer");
        received.session
    }

    /// The parts of an envelope of this device with any bytes as its body.
    #[must_use]
    pub fn forge<'a>(&'a self, body: &'a [u8]) -> Forged<'a> {
        Forged {
            version: 1,
            suite: Suite::X25519,
            kss: self.server.kss_id(),
            key: self.server.envelope_key(),
            device: self.card.id(),
            card: None,
            body,
        }
    }

    /// Seals and sends a request, and opens the answer.
    #[must_use]
    pub fn ask(&self, at: SocketAddr, body: &RequestBody) -> Asked {
        self.try_ask(at, body).expect("an answer")
    }

    /// Like [`ask`](Self::ask), where the server may go away.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub fn try_ask(&self, at: SocketAddr, body: &RequestBody) -> io::Result<Asked> {
        let (envelope, pending) = self.seal(body);
        Ok(opened(&http::post(at, &envelope)?, &pending))
    }

    /// Asks for the shard of one file.
    #[must_use]
    pub fn decrypt(&self, at: SocketAddr, file: &File) -> Asked {
        self.ask(at, &self.body(vec![file.item()]))
    }

    /// Makes a file's key and seals the server's shard of it under a path.
    #[must_use]
    pub fn file(&self, path: &str) -> File {
        let key = FileKey::generate(16).expect("randomness");
        let threshold = Threshold::new(2, 2).expect("2 of 2");
        let mut split = split(&key, threshold).expect("randomness");
        let shard = split.shards.pop().expect("a shard");
        let context = ShardContext {
            public: PublicContext {
                set_id: shard.set_id(),
                cryptographic_id: random::id::<CryptographicId>().expect("randomness"),
                profile: self.profile,
                device: self.server.device_id(),
                threshold: shard.threshold(),
                index: shard.index(),
                manifest: split.manifest.digest(),
            },
            meta: MetaItem {
                meta: path.to_owned(),
                complete: true,
            },
        };
        let kem = &self.server.device().kem;
        let sealed = seal_for_server(Suite::X25519, &shard, &context, kem).expect("sealed");
        File {
            context,
            sealed,
            shard,
        }
    }
}

impl File {
    /// The item that asks for the shard.
    #[must_use]
    pub fn item(&self) -> Item {
        self.item_in(self.context.clone())
    }

    /// The item that asks for the shard in a context that may be another.
    #[must_use]
    pub fn item_in(&self, context: ShardContext) -> Item {
        Item::Release {
            kind: ReleaseKind::Decrypt,
            context,
            sealed: self.sealed.clone(),
        }
    }

    /// Whether the answer holds this file's shard.
    #[must_use]
    pub fn is_in(&self, answer: &ItemAnswer) -> bool {
        match answer {
            ItemAnswer::Released(shard) => *shard.to_bytes() == *self.shard.to_bytes(),
            _ => false,
        }
    }
}

impl Asked {
    /// The answers to the items.
    #[must_use]
    pub fn items(self) -> Vec<ItemAnswer> {
        match self {
            Self::Items(items) => items,
            other => panic!("no items: {other:?}"),
        }
    }

    /// The answer to the only item.
    #[must_use]
    pub fn only(self) -> ItemAnswer {
        let mut items = self.items();
        assert_eq!(items.len(), 1);
        items.remove(0)
    }

    /// Whether the only item was answered with this file's shard.
    #[must_use]
    pub fn is(&self, file: &File) -> bool {
        matches!(self, Self::Items(items) if items.len() == 1 && file.is_in(&items[0]))
    }

    /// Whether any item was answered with a shard.
    #[must_use]
    pub fn releases(&self) -> bool {
        let released = |item: &ItemAnswer| matches!(item, ItemAnswer::Released(_));
        matches!(self, Self::Items(items) if items.iter().any(released))
    }

    /// Why the only item was denied, if it was.
    #[must_use]
    pub fn denial(&self) -> Option<Denial> {
        match self {
            Self::Items(items) => match items[..] {
                [ItemAnswer::Denied(denial)] => Some(denial),
                _ => None,
            },
            _ => None,
        }
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(code) => write!(f, "Refused({code:?})"),
            Self::Http(answer) => write!(f, "{answer:?}"),
            Self::Items(items) => f
                .debug_list()
                .entries(items.iter().map(|item| match item {
                    ItemAnswer::Released(_) => "released".to_owned(),
                    ItemAnswer::ProfileCreated { .. } => "profile created".to_owned(),
                    ItemAnswer::LocationCreated { .. } => "location created".to_owned(),
                    ItemAnswer::Locations(_) => "locations".to_owned(),
                    ItemAnswer::Head { .. } => "head".to_owned(),
                    ItemAnswer::Denied(denial) => format!("{denial:?}"),
                    ItemAnswer::Failed(failure) => format!("{failure:?}"),
                    _ => "something new".to_owned(),
                }))
                .finish(),
        }
    }
}

/// Sends a request in a session, and opens the answer.
#[must_use]
pub fn ask_in(session: &ClientSession, at: SocketAddr, body: &RequestBody) -> Asked {
    let (message, pending) = session.seal(body).expect("a session that has not ended");
    opened(&post(at, &message), &pending)
}

/// Posts an envelope; the server must answer.
#[must_use]
pub fn post(at: SocketAddr, envelope: &[u8]) -> HttpAnswer {
    http::post(at, envelope).expect("an answer")
}

/// Opens an answer.
#[must_use]
pub fn opened(answer: &HttpAnswer, pending: &PendingResponse) -> Asked {
    if answer.status != 200 {
        return Asked::Http(answer.clone());
    }
    let ResponseBody { answer, .. } = pending.open(&answer.body).expect("the server's answer");
    match answer {
        Answer::Items(items) => Asked::Items(items),
        Answer::Refused(code) => Asked::Refused(code),
    }
}
