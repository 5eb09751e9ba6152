//! Asking a key shard server.

mod item;

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use hyper::{Request, StatusCode, Uri};
use ostrakon_shards::{
    card::Card,
    device::DeviceKeys,
    identity::{PublicCard, VerifiedKeyserver},
    random::{self, RandomError},
    suite::Suite,
};
use ostrakon_transport::{
    binding::{Announcement, ExchangeError, KEYSERVER_PATH, exchange, exchange_on},
    envelope::{ClientSession, Contact, SealRequestError, VALIDITY_MILLIS, seal_request},
    http::{BaseUrl, ClientConfig, HttpClient, RequestError, SingleConnection, TlsError},
    message::{Answer, Item, ItemAnswer, RefusalCode, RequestBody, RequestBodyError},
};
use ostrakon_types::UnixMillis;
use tokio::time::Instant;

use crate::{
    config::Config,
    environment::Environment,
    kept::{GenerationError, Kept},
};

/// How long one envelope is sent again and again. It is valid for longer, so that the last try can
/// still be answered.
const ENVELOPE_USE: Duration = Duration::from_secs(40);

/// After this, an envelope that is called expired may have become so on its way.
const SLOW_MILLIS: i64 = VALIDITY_MILLIS / 2;

/// Fresh envelopes for one request.
const MAX_ENVELOPES: u32 = 10;

/// Sessions that may end before their time until no more are asked for. Behind a balancer that spreads
/// requests over several servers, a session is of no use: it is with one of them.
const BROKEN_SESSIONS: u32 = 3;

/// Whether more requests will follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// This may be the only one.
    Nothing,
    /// So that a session pays.
    More,
}

/// Why a key shard server gave no answer to go by.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No address of the server is known.
    #[error("no address of the key shard server is configured")]
    NoUrl,
    /// The file of certificate authorities cannot be read.
    #[error("cannot read the certificate authorities `{}`", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What came of it.
        #[source]
        cause: io::Error,
    },
    /// Servers could not be verified.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No server answered.
    #[error("cannot reach the key shard server")]
    Unreachable(#[source] Box<RequestError>),
    /// The answer does not come from the server, or not to this request.
    #[error("the key shard server's answer cannot be used")]
    Exchange(#[source] Box<ExchangeError>),
    /// What answers has no card.
    #[error("`{KEYSERVER_PATH}` answers with status {0}: there is no key shard server")]
    NoCard(StatusCode),
    /// The card is not one.
    #[error("the key shard server's card is malformed")]
    Card(#[source] serde_json::Error),
    /// This machine's clock and the server's differ by too much.
    #[error("this machine's clock and the key shard server's differ by {} s", ahead_millis.abs() / 1000)]
    Clock {
        /// By how many milliseconds this machine's is ahead; negative when it is behind.
        ahead_millis: i64,
    },
    /// The server did not look at the request.
    #[error("the key shard server refused the request")]
    Refused(#[source] RefusalCode),
    /// The server shows an older state than it did, or another than it was.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The request could not be made.
    #[error(transparent)]
    Body(#[from] RequestBodyError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The request could not be sealed.
    #[error("cannot seal the request")]
    Seal(#[from] SealRequestError),
}

/// A way to one key shard server, at one or more addresses.
pub(crate) struct Link {
    http: HttpClient,
    keyserver: VerifiedKeyserver,
    patience: Duration,
    kept: Arc<Kept>,
    sessions: Mutex<Sessions>,
}

/// The session with the server, if there is one.
#[derive(Default)]
struct Sessions {
    current: Option<Arc<ClientSession>>,
    /// Whether a request that asks for one is under way.
    asked: bool,
    broken: u32,
}

/// The right to ask for a session, until it is dropped: of many requests at once, one does.
struct Asking<'a>(&'a Link);

impl Link {
    pub(crate) fn new(
        config: &Config,
        urls: Vec<BaseUrl>,
        keyserver: VerifiedKeyserver,
    ) -> Result<Self, AskError> {
        Ok(Self {
            http: http(config, urls)?,
            keyserver,
            patience: config.request_timeout,
            kept: Arc::default(),
            sessions: Mutex::default(),
        })
    }

    /// The same way, on which the server must not show an older state than the one that was kept, and is
    /// shown the profile where it does not know it.
    pub(crate) fn keeping(self, kept: &Arc<Kept>) -> Self {
        let kept = Arc::clone(kept);
        Self { kept, ..self }
    }

    /// The server.
    pub(crate) fn keyserver(&self) -> &VerifiedKeyserver {
        &self.keyserver
    }

    /// Fetches the card that a server shows. It is not verified yet.
    pub(crate) async fn fetch_card(
        config: &Config,
        urls: Vec<BaseUrl>,
    ) -> Result<PublicCard, AskError> {
        Self::card_by(http(config, urls)?).await
    }

    /// The same of a server that may not be there: each address is tried once.
    pub(crate) async fn glance_at_card(
        config: &Config,
        urls: Vec<BaseUrl>,
    ) -> Result<PublicCard, AskError> {
        let mut once = client_config(config, urls)?;
        once.again = false;
        Self::card_by(HttpClient::new(once)?).await
    }

    async fn card_by(http: HttpClient) -> Result<PublicCard, AskError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = Uri::from_static(KEYSERVER_PATH);
        let response = http.send(&request).await;
        let response = response.map_err(|error| AskError::Unreachable(Box::new(error)))?;
        if response.status() != StatusCode::OK {
            return Err(AskError::NoCard(response.status()));
        }
        let announcement: Announcement =
            serde_json::from_slice(response.body()).map_err(AskError::Card)?;
        Ok(announcement.card)
    }

    /// Asks as a device that the server knows. There is one answer to each item.
    pub(crate) async fn ask(
        &self,
        keys: &DeviceKeys,
        card: &Card,
        body: RequestBody,
        expect: Expect,
        environment: &Environment,
    ) -> Result<Vec<ItemAnswer>, AskError> {
        let expect = Some(expect);
        let asked = self
            .send(None, keys, card, expect, body.clone(), environment)
            .await;
        let first = match &asked {
            Err(AskError::Refused(RefusalCode::ShowProfile)) => Some(Expect::Nothing),
            Err(AskError::Exchange(error)) if matches!(**error, ExchangeError::Stranger) => None,
            _ => return asked,
        };
        match self.show_profile(keys, card, first, environment).await {
            Ok(Some(ItemAnswer::ProfileShown)) => {}
            // Whoever denies that denies everything: it is disabled.
            Ok(Some(ItemAnswer::Denied(denial))) => {
                let items = body.items().iter();
                return Ok(items.map(|_| ItemAnswer::Denied(denial)).collect());
            }
            Err(error @ AskError::Generation(_)) => return Err(error),
            Ok(_) | Err(_) => return asked,
        }
        self.send(None, keys, card, expect, body, environment).await
    }

    /// Asks on one connection, which tries nothing again.
    pub(crate) async fn ask_on(
        &self,
        connection: &mut SingleConnection,
        keys: &DeviceKeys,
        card: &Card,
        body: RequestBody,
        expect: Expect,
        environment: &Environment,
    ) -> Result<Vec<ItemAnswer>, AskError> {
        let (on, expect) = (Some(connection), Some(expect));
        self.send(on, keys, card, expect, body, environment).await
    }

    /// Shows the profile to a server that was recovered or put back. Gives what it says to that.
    async fn show_profile(
        &self,
        keys: &DeviceKeys,
        card: &Card,
        expect: Option<Expect>,
        environment: &Environment,
    ) -> Result<Option<ItemAnswer>, AskError> {
        let Some((profile, item)) = self.kept.shown_profile() else {
            return Ok(None);
        };
        let now = environment.now();
        let id = random::request_id(now)?;
        let body = RequestBody::new(id, now, profile, vec![item])?;
        let shown = self
            .send(None, keys, card, expect, body, environment)
            .await?;
        Ok(shown.into_iter().next())
    }

    /// Asks as a device that the server does not know yet.
    pub(crate) async fn first_contact(
        &self,
        keys: &DeviceKeys,
        card: &Card,
        body: RequestBody,
        environment: &Environment,
    ) -> Result<Vec<ItemAnswer>, AskError> {
        self.send(None, keys, card, None, body, environment).await
    }

    /// Sends the request, in a session if there is one and then in as many envelopes as it takes. It
    /// stays the same one to the server. To expect nothing at all is to be unknown.
    async fn send(
        &self,
        mut on: Option<&mut SingleConnection>,
        keys: &DeviceKeys,
        card: &Card,
        expect: Option<Expect>,
        mut body: RequestBody,
        environment: &Environment,
    ) -> Result<Vec<ItemAnswer>, AskError> {
        let deadline = Instant::now() + self.patience;
        let suite = suite(&body);
        let mut envelopes = 0;
        loop {
            envelopes += 1;
            let again = envelopes < MAX_ENVELOPES && Instant::now() < deadline;
            let issued_at = environment.now();
            body = body.reissued(issued_at).showing(self.kept.generation());
            let session = expect.and_then(|_| self.session(suite, issued_at));
            let sealed = session
                .as_ref()
                .and_then(|session| session.seal(&body).ok());
            let in_session = sealed.is_some();
            let asking = match expect {
                Some(Expect::More) if !in_session => self.may_ask(),
                _ => None,
            };
            let contact = match (expect, &asking) {
                (None, _) => Contact::First,
                (Some(_), Some(_)) => Contact::Lasting,
                (Some(_), None) => Contact::Known,
            };
            let (envelope, pending) = match sealed {
                Some(sealed) => sealed,
                None => seal_request(keys, card, contact, &self.keyserver, suite, &body)?,
            };
            let exchanged = match on.as_deref_mut() {
                Some(connection) => exchange_on(connection, &envelope, &pending).await,
                None => exchange(&self.http, envelope, &pending).await,
            };
            let response = match exchanged {
                Ok(received) => {
                    if let Some(session) = received.session {
                        self.sessions(|sessions| sessions.current = Some(Arc::new(session)));
                    }
                    received.response
                }
                // Forgotten, or a copy of the message was taken: an envelope of its own tells.
                Err(error) if in_session && !matches!(error, ExchangeError::Request(_)) => {
                    self.session_broke(session.as_ref());
                    continue;
                }
                Err(ExchangeError::Request(RequestError::NoAnswer { .. }))
                    if again && self.patience > ENVELOPE_USE =>
                {
                    continue;
                }
                Err(ExchangeError::Request(error)) => {
                    return Err(AskError::Unreachable(Box::new(error)));
                }
                Err(error) => return Err(AskError::Exchange(Box::new(error))),
            };
            let now = environment.now();
            if let Some(shown) = response.generation {
                self.kept.take(shown, &self.keyserver)?;
            }
            match response.answer {
                Answer::Items(answers) => return Ok(answers),
                Answer::Refused(RefusalCode::Expired)
                    if again
                        && is_worth_another(now.since(issued_at), now, response.server_time) => {}
                Answer::Refused(RefusalCode::Expired | RefusalCode::FutureDated) => {
                    let ahead_millis = now.since(response.server_time);
                    return Err(AskError::Clock { ahead_millis });
                }
                Answer::Refused(refusal) => return Err(AskError::Refused(refusal)),
            }
        }
    }
}

impl Link {
    /// The session, where one may be used: it is as strong as the envelope would be, and not over.
    fn session(&self, suite: Suite, now: UnixMillis) -> Option<Arc<ClientSession>> {
        self.sessions(|sessions| {
            if sessions.current.as_ref().is_some_and(|s| s.is_over(now)) {
                sessions.current = None;
            }
            let session = sessions.current.as_ref()?;
            (session.suite() >= suite).then(|| Arc::clone(session))
        })
    }

    fn may_ask(&self) -> Option<Asking<'_>> {
        self.sessions(|sessions| {
            let may = !sessions.asked && sessions.broken < BROKEN_SESSIONS;
            sessions.asked |= may;
            may.then(|| Asking(self))
        })
    }

    /// Gives up a session that the server did not take, unless another took its place meanwhile.
    fn session_broke(&self, broken: Option<&Arc<ClientSession>>) {
        self.sessions(|sessions| {
            let is_it =
                |current: &Arc<_>| broken.is_some_and(|broken| Arc::ptr_eq(current, broken));
            if sessions.current.as_ref().is_some_and(is_it) {
                sessions.current = None;
                sessions.broken += 1;
            }
        });
    }

    fn sessions<T>(&self, change: impl FnOnce(&mut Sessions) -> T) -> T {
        change(&mut self.sessions.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.sessions(|sessions| sessions.asked = false);
    }
}

/// Whether an envelope that is called expired may have become so on its way, or was made before a server
/// started that takes none from before: then a fresh one is none of both.
fn is_worth_another(age: i64, now: UnixMillis, server_time: UnixMillis) -> bool {
    age >= SLOW_MILLIS || now.since(server_time).abs() < SLOW_MILLIS
}

/// The suite of the envelope: what must outlive today's curves in a file must do so on its way, too.
fn suite(body: &RequestBody) -> Suite {
    let suites = body.items().iter().map(|item| match item {
        Item::Release { sealed, .. } => sealed.suite(),
        _ => Suite::X25519,
    });
    suites.max().unwrap_or(Suite::X25519)
}

/// A client for devices that wait nearby, or do not: it does not try for long.
pub(crate) fn quick_http(config: &Config, urls: Vec<BaseUrl>) -> Result<HttpClient, AskError> {
    http(&impatient(config), urls)
}

/// The configuration, for who may not be there at all.
pub(crate) fn impatient(config: &Config) -> Config {
    let (connecting, trying) = (Duration::from_secs(1), Duration::from_secs(5));
    Config {
        connect_timeout: config.connect_timeout.min(connecting),
        attempt_timeout: config.attempt_timeout.min(trying),
        request_timeout: config.request_timeout.min(trying),
        ..config.clone()
    }
}

fn http(config: &Config, urls: Vec<BaseUrl>) -> Result<HttpClient, AskError> {
    Ok(HttpClient::new(client_config(config, urls)?)?)
}

fn client_config(config: &Config, urls: Vec<BaseUrl>) -> Result<ClientConfig, AskError> {
    if urls.is_empty() {
        return Err(AskError::NoUrl);
    }
    let mut client = ClientConfig::new(urls);
    client.connect_timeout = config.connect_timeout;
    client.attempt_timeout = config.attempt_timeout;
    client.deadline = config.request_timeout.min(ENVELOPE_USE);
    if let Some(path) = &config.ca_file {
        client.extra_roots = fs::read(path).map_err(|cause| AskError::CaFile {
            path: path.clone(),
            cause,
        })?;
    }
    Ok(client)
}
