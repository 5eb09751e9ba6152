//! The listener of a command that waits for other devices.
//!
//! It has an identity of its own that lasts as long as the command, so that devices speak to it as they
//! speak to a key shard server, in envelopes. It is a relay: what it keeps is sealed.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ostrakon_shards::{
    identity::{PublicCard, VerifiedKeyserver, VerifyPublicCardError},
    kem::KemSecret,
    name::Name,
    profile::Profile,
    random::RandomError,
    seal::Sealed,
    sign::SigningKey,
};
use ostrakon_transport::{
    binding::{Announcement, ENVELOPE_TYPE, KEYSERVER_PATH, REQUESTS_PATH},
    envelope::EnvelopeKey,
    http::{Desk, Drained, ListenerLimits, serve_desk},
    message::{
        Answer, Failure, Item, ItemAnswer, PendingNotice, RefusalCode, RequestBody, ResponseBody,
    },
};
use ostrakon_types::{CeremonyId, DeviceId, UnixMillis, canonical};
use tokio::{
    net::TcpListener,
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use super::{
    desk::HostSide,
    wire::{PAIRING_PATH, PAIRING_TYPE},
};

/// How long answers may take to be sent at the end.
const DRAIN: Duration = Duration::from_secs(3);

/// Why a command cannot wait for other devices.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address cannot be had.
    #[error("cannot listen on {at}")]
    Bind {
        /// Where.
        at: SocketAddr,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The identity that was made does not verify.
    #[error(transparent)]
    Identity(#[from] VerifyPublicCardError),
}

/// The listener, while it stands.
pub(crate) struct Front {
    address: SocketAddr,
    state: Arc<Shared>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Drained>,
}

struct Shared {
    announcement: Vec<u8>,
    envelope_key: EnvelopeKey,
    identity: VerifiedKeyserver,
    clock: fn() -> UnixMillis,
    inner: Mutex<Inner>,
    /// Something came.
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    pairing: Option<HostSide>,
    relay: Option<Relayed>,
}

/// The one ceremony that is relayed.
pub(crate) struct Relayed {
    pub(crate) profile: Arc<Profile>,
    pub(crate) id: CeremonyId,
    pub(crate) expires_at: UnixMillis,
    pub(crate) notices: BTreeMap<DeviceId, Sealed>,
    pub(crate) answers: BTreeMap<DeviceId, Sealed>,
}

impl Front {
    /// Begins to listen.
    pub(crate) async fn open(
        at: SocketAddr,
        clock: fn() -> UnixMillis,
    ) -> Result<Self, ListenError> {
        let listener = TcpListener::bind(at).await;
        let bind = |cause| ListenError::Bind { at, cause };
        let listener = listener.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let (root, envelope) = (SigningKey::generate()?, KemSecret::generate()?);
        let shards = KemSecret::generate()?;
        let name = Name::new("waiting device").map_err(|_| VerifyPublicCardError::Device)?;
        let card = PublicCard::issue(&root, 1, name, shards.public(), envelope.public());
        let identity = card.verify(&card.claimed_id())?;
        let announcement = serde_json::to_vec(&Announcement::from(card)).unwrap_or_default();
        let state = Arc::new(Shared {
            announcement,
            envelope_key: EnvelopeKey::new(envelope),
            identity,
            clock,
            inner: Mutex::default(),
            changed: Notify::new(),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let desk = Arc::clone(&state) as Arc<dyn Desk>;
        let mut limits = ListenerLimits::default();
        limits.connections = 32;
        limits.body_bytes_total = 16 << 20;
        limits.drain_timeout = DRAIN;
        let serving = tokio::spawn(serve_desk(listener, desk, limits, async move {
            let _ = stopped.await;
        }));
        Ok(Self {
            address,
            state,
            stop,
            serving,
        })
    }

    /// Ends it, once all that was answered is sent.
    pub(crate) async fn close(self) {
        drop(self.stop);
        let _ = self.serving.await;
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address for other devices.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until something has come since the last look.
    pub(crate) async fn changed(&self) {
        self.state.changed.notified().await;
    }

    /// Lets a guest come.
    pub(crate) fn host(&self, side: HostSide) {
        self.inner().pairing = Some(side);
    }

    /// Looks at the pairing.
    pub(crate) fn pairing<T>(&self, look: impl FnOnce(&mut HostSide) -> T) -> Option<T> {
        self.inner().pairing.as_mut().map(look)
    }

    /// Relays a ceremony, instead of the one before.
    pub(crate) fn relay(&self, relayed: Option<Relayed>) {
        self.inner().relay = relayed;
    }

    /// The answers so far.
    pub(crate) fn answers(&self) -> Vec<Sealed> {
        let inner = self.inner();
        let answers = inner.relay.as_ref().map(|relay| relay.answers.values());
        answers.into_iter().flatten().cloned().collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.state.inner()
    }
}

impl Desk for Shared {
    fn answer(&self, path: &str, body: &[u8]) -> Option<(&'static str, Vec<u8>)> {
        match path {
            KEYSERVER_PATH => Some(("application/json", self.announcement.clone())),
            REQUESTS_PATH => Some((ENVELOPE_TYPE, self.envelope(body)?)),
            PAIRING_PATH => Some((PAIRING_TYPE, self.call(body)?)),
            _ => None,
        }
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a member's envelope, as a key shard server would.
    fn envelope(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let opened = self
            .envelope_key
            .open(&self.identity.kss_id(), bytes)
            .ok()?;
        let mut inner = self.inner();
        let relay = inner.relay.as_mut()?;
        let card = relay.profile.member(&opened.device()).cloned()?;
        let authentic = opened.verify(&card).ok()?;
        let now = (self.clock)();
        let response = match authentic.parse(now) {
            Ok(body) if body.profile() != relay.profile.id() => {
                ResponseBody::refused(now, RefusalCode::NotAMember)
            }
            Ok(body) => {
                let device = authentic.device();
                let answer = |item| relay.answer(device, item, now);
                let answers = body.items().iter().map(answer).collect();
                respond(&body, now, answers)
            }
            Err(code) => ResponseBody::refused(now, code),
        };
        drop(inner);
        self.changed.notify_one();
        authentic.reply().seal(&response).ok()
    }

    /// Answers a guest.
    fn call(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let call = canonical::decode(bytes).ok()?;
        let mut inner = self.inner();
        let reply = inner.pairing.as_mut()?.answer(call, bytes);
        drop(inner);
        self.changed.notify_one();
        Some(reply)
    }
}

fn respond(body: &RequestBody, now: UnixMillis, answers: Vec<ItemAnswer>) -> ResponseBody {
    ResponseBody {
        request_id: Some(body.request_id()),
        server_time: now,
        answer: Answer::Items(answers),
        generation: None,
    }
}

impl Relayed {
    fn answer(&mut self, device: DeviceId, item: &Item, now: UnixMillis) -> ItemAnswer {
        let open = now < self.expires_at;
        match item {
            Item::PendingCeremonies { .. } => {
                let waits = open && !self.answers.contains_key(&device);
                let notice = self.notices.get(&device).filter(|_| waits);
                let pending = notice.map(|notice| PendingNotice {
                    id: self.id,
                    expires_at: self.expires_at,
                    notice: notice.clone(),
                });
                ItemAnswer::Notices {
                    notices: pending.into_iter().collect(),
                    backup: None,
                    versions: Vec::new(),
                }
            }
            Item::AnswerCeremony { id, answer }
                if open && *id == self.id && self.notices.contains_key(&device) =>
            {
                self.answers.insert(device, answer.clone());
                ItemAnswer::Relayed
            }
            // Nothing else is kept here.
            _ => ItemAnswer::Failed(Failure::NoCeremony),
        }
    }
}
