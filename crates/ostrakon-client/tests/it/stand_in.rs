//! Stands in for a key shard server: it answers as told, and can be told to answer wrongly.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, atomic::Ordering},
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ostrakon_client::BaseUrl;
use ostrakon_shards::{
    card::Card,
    identity::{PublicCard, VerifiedKeyserver},
    kem::KemSecret,
    profile::{Profile, SignedHead, SignedVersion},
    sealed_shard::open_at_server,
    share::{FileKey, Threshold, split},
    sign::SigningKey,
};
use ostrakon_transport::{
    binding::{Announcement, EnvelopeBytes, sealed, stranger},
    envelope::{Authentic, EnvelopeKey, ServerSession, SessionId, SessionMessage},
    http::{ListenerLimits, serve},
    message::{
        Answer, Failure, Item, ItemAnswer, LocationEntry, RefusalCode, RequestBody, ResponseBody,
    },
};
use ostrakon_types::{Denial, DeviceId, RequestId};
use tokio::net::TcpListener;

use crate::fixture::{ELAPSED, NOW};

/// How late a request is that is called expired.
const LATE: i64 = 70_000;

/// How to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As a server whose policy allows all.
    Good,
    /// Denying paths that end so.
    Deny(&'static str, Denial),
    /// Doing what is asked, and losing the answer.
    Lose,
    /// With bytes that nobody sealed.
    Garbage,
    /// With the answer to an earlier request.
    Earlier,
    /// With shards of other sets.
    ForeignShards,
    /// With the shards in another order.
    Swapped,
    /// With a shard that does not open.
    Mismatch,
    /// With a clock that differs by so many milliseconds.
    Clock(i64),
    /// As one that has done it already, and forgotten the request.
    Forget,
    /// As one that got the request too late, once.
    ExpireOnce,
    /// With a head that somebody else signed.
    ForeignHead,
    /// As one that cannot decide now.
    Unavailable,
    /// As one of several behind a balancer: sessions are granted, and never known again.
    NoSessions,
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// In an envelope of its own.
    Envelope,
    /// In one that asked for a session.
    Asking,
    /// In a session.
    Session,
}

pub(crate) struct StandIn {
    pub(crate) url: BaseUrl,
    inner: Arc<Inner>,
}

struct Inner {
    root: SigningKey,
    envelope: EnvelopeKey,
    shards: KemSecret,
    card: PublicCard,
    verified: VerifiedKeyserver,
    mode: Mutex<Mode>,
    devices: Mutex<BTreeMap<DeviceId, Card>>,
    profiles: Mutex<BTreeMap<RequestId, SignedVersion>>,
    requests: Mutex<Vec<(RequestId, usize)>>,
    locations: Mutex<Vec<LocationEntry>>,
    earlier: Mutex<Vec<u8>>,
    sessions: Mutex<HashMap<SessionId, ServerSession>>,
    ways: Mutex<Vec<Way>>,
}

impl StandIn {
    pub(crate) async fn new() -> Self {
        let root = SigningKey::generate().unwrap();
        let [shards, envelope] = [(); 2].map(|()| KemSecret::generate().unwrap());
        let name = "kss".parse().unwrap();
        let card = PublicCard::issue(&root, 1, name, shards.public(), envelope.public());
        let verified = card.verify(&card.claimed_id()).unwrap();
        let inner = Arc::new(Inner {
            root,
            envelope: EnvelopeKey::new(envelope),
            shards,
            card,
            verified,
            mode: Mutex::new(Mode::Good),
            devices: Mutex::default(),
            profiles: Mutex::default(),
            requests: Mutex::default(),
            locations: Mutex::default(),
            earlier: Mutex::default(),
            sessions: Mutex::default(),
            ways: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let router = Router::new()
            .route("/v1/keyserver", get(card_route))
            .route("/v1/requests", post(request_route))
            .with_state(Arc::clone(&inner));
        tokio::spawn(serve(
            listener,
            router,
            ListenerLimits::default(),
            std::future::pending(),
        ));
        Self { url, inner }
    }

    pub(crate) fn kss_id(&self) -> ostrakon_types::KssId {
        self.inner.verified.kss_id()
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.inner.mode.lock().unwrap() = mode;
    }

    /// The requests that were answered, with how many items each had.
    pub(crate) fn requests(&self) -> Vec<(RequestId, usize)> {
        self.inner.requests.lock().unwrap().clone()
    }

    /// How the requests came that were opened.
    pub(crate) fn ways(&self) -> Vec<Way> {
        self.inner.ways.lock().unwrap().clone()
    }

    /// As a restart does it.
    pub(crate) fn forget_sessions(&self) {
        self.inner.sessions.lock().unwrap().clear();
    }

    pub(crate) fn profiles(&self) -> usize {
        self.inner.profiles.lock().unwrap().len()
    }
}

async fn card_route(State(inner): State<Arc<Inner>>) -> Json<Announcement> {
    Json(Announcement::from(inner.card.clone()))
}

async fn request_route(State(inner): State<Arc<Inner>>, envelope: EnvelopeBytes) -> Response {
    let mode = *inner.mode.lock().unwrap();
    let Some((authentic, way)) = inner.open(&envelope.0) else {
        return stranger();
    };
    inner.ways.lock().unwrap().push(way);
    let now = match mode {
        Mode::Clock(millis) => NOW.plus(millis),
        _ => NOW,
    };
    if mode == Mode::ExpireOnce {
        ELAPSED.store(LATE, Ordering::SeqCst);
        *inner.mode.lock().unwrap() = Mode::Clock(LATE);
    }
    let (request_id, answer) = match authentic.parse(now) {
        Ok(body) if mode == Mode::ExpireOnce => {
            let sent = (body.request_id(), body.items().len());
            inner.requests.lock().unwrap().push(sent);
            (None, Answer::Refused(RefusalCode::Expired))
        }
        Ok(_) if mode == Mode::Unavailable => (None, Answer::Refused(RefusalCode::Unavailable)),
        Ok(body) => {
            let sent = (body.request_id(), body.items().len());
            inner.requests.lock().unwrap().push(sent);
            let mut answers: Vec<_> = body
                .items()
                .iter()
                .map(|item| inner.answer(&body, item, mode))
                .collect();
            if mode == Mode::Swapped {
                answers.reverse();
            }
            (Some(body.request_id()), Answer::Items(answers))
        }
        Err(refusal) => (None, Answer::Refused(refusal)),
    };
    let response = ResponseBody {
        request_id,
        server_time: now,
        answer,
        generation: None,
    };
    let (bytes, session) = authentic.grant(&response, NOW).unwrap();
    if let Some(session) = session
        && mode != Mode::NoSessions
    {
        let mut sessions = inner.sessions.lock().unwrap();
        sessions.insert(session.id(), session);
    }
    let earlier = std::mem::replace(&mut *inner.earlier.lock().unwrap(), bytes.clone());
    match mode {
        Mode::Lose => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mode::Garbage => sealed(vec![1; 300]),
        Mode::Earlier => sealed(earlier),
        _ => sealed(bytes),
    }
}

impl Inner {
    fn open(&self, bytes: &[u8]) -> Option<(Authentic, Way)> {
        if let Some(message) = SessionMessage::parse(bytes) {
            let sessions = self.sessions.lock().unwrap();
            let opened = sessions.get(&message.session())?.open(&message, NOW).ok()?;
            return Some((opened, Way::Session));
        }
        let opened = self.envelope.open(&self.verified.kss_id(), bytes).ok()?;
        let known = self.devices.lock().unwrap().get(&opened.device()).cloned();
        let authentic = match known {
            Some(card) => opened.verify(&card).ok()?,
            None => opened.verify_first_contact().ok()?.0,
        };
        let way = match authentic.asked_session() {
            Some(_) => Way::Asking,
            None => Way::Envelope,
        };
        Some((authentic, way))
    }

    fn answer(&self, body: &RequestBody, item: &Item, mode: Mode) -> ItemAnswer {
        match (item, mode) {
            (Item::CreateProfile { .. } | Item::CreateLocation { .. }, Mode::Forget) => {
                ItemAnswer::Denied(Denial::Conflict)
            }
            (Item::ListLocations, _) => ItemAnswer::Locations(self.locations()),
            (_, Mode::Deny("", denial)) => ItemAnswer::Denied(denial),
            (Item::CreateProfile { version }, _) => self.create_profile(body, version, mode),
            (Item::CreateLocation { location, name }, _) => {
                let entry = LocationEntry {
                    location: *location,
                    name: name.clone(),
                    created_at: NOW,
                };
                self.locations.lock().unwrap().push(entry);
                let location = *location;
                ItemAnswer::LocationCreated { location }
            }
            (Item::Release { context, .. }, Mode::Deny(end, denial))
                if context.meta.meta.ends_with(end) =>
            {
                ItemAnswer::Denied(denial)
            }
            (Item::Release { .. }, Mode::Mismatch) => ItemAnswer::Failed(Failure::ShardMismatch),
            (Item::Release { .. }, Mode::ForeignShards) => {
                let key = FileKey::generate(16).unwrap();
                let mut other = split(&key, Threshold::new(2, 2).unwrap()).unwrap();
                ItemAnswer::Released(other.shards.pop().unwrap())
            }
            (
                Item::Release {
                    context, sealed, ..
                },
                _,
            ) => match open_at_server(&self.shards, context, sealed) {
                Ok(shard) => ItemAnswer::Released(shard),
                Err(_) => ItemAnswer::Failed(Failure::ShardMismatch),
            },
            (Item::ProfileHead, _) => {
                let profiles = self.profiles.lock().unwrap();
                let version = profiles.values().next().unwrap().clone();
                let head = self.head(&version, mode);
                ItemAnswer::Head { version, head }
            }
            _ => ItemAnswer::Failed(Failure::ShardMismatch),
        }
    }

    fn locations(&self) -> Vec<LocationEntry> {
        self.locations.lock().unwrap().clone()
    }

    fn create_profile(&self, body: &RequestBody, signed: &SignedVersion, mode: Mode) -> ItemAnswer {
        let version = signed.version().clone();
        let own = (self.verified.device_id(), version.sign(&self.root));
        let signatures = signed.signatures().iter().copied().chain([own]);
        let signed = SignedVersion::new(version, signatures.collect::<Vec<_>>());
        for card in &signed.version().devices {
            self.devices.lock().unwrap().insert(card.id(), card.clone());
        }
        self.profiles
            .lock()
            .unwrap()
            .insert(body.request_id(), signed.clone());
        let head = self.head(&signed, mode);
        ItemAnswer::ProfileCreated {
            version: signed,
            head,
        }
    }

    fn head(&self, signed: &SignedVersion, mode: Mode) -> SignedHead {
        let head = Profile::found(signed.clone()).unwrap().head();
        let other = SigningKey::generate().unwrap();
        let key = if mode == Mode::ForeignHead {
            &other
        } else {
            &self.root
        };
        SignedHead::issue(key, head, NOW)
    }
}
