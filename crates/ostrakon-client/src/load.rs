//! Load: real decrypt requests, as fast as a server answers them, each answer verified.
//!
//! A [`LoadClient`] has a profile at the server, its own or one that it registers for the purpose. It
//! makes file keys, seals the server's share of each as encrypting would, and then asks for them over
//! many connections at once. What a released share is worth is checked against the file's commitment,
//! so that a fast server that answers wrongly is found out.
//!
//! These are requests like any other: they are judged, charged and logged, and a profile that is
//! registered stays registered.

mod files;
mod latency;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ostrakon_shards::{
    card::{Card, DeviceKind},
    device::DeviceKeys,
    identity::{VerifiedKeyserver, VerifyPublicCardError},
    name::{Name, NameError},
    profile::{ChainError, ProfileVersion, SignedVersion},
    random::{self, RandomError},
    suite::Suite,
};
use ostrakon_transport::{
    binding::single_connection,
    http::{BaseUrl, SingleConnection},
    message::{Item, ItemAnswer, MAX_ITEMS, RequestBody},
};
use ostrakon_types::{Denial, ErrorChain, ProfileId};
use tokio::{task::JoinSet, time::Instant};

use self::files::{Files, PrepareError};
use crate::{
    ask::{AskError, Expect, Link},
    config::Config,
    environment::Environment,
    onboard::profile_id,
    workstation::Workstation,
};

pub use latency::Latencies;

/// The most connections of a run.
pub const MAX_CONNECTIONS: usize = 4096;

/// The greatest number of items in a request of a run.
pub const MAX_BATCH: usize = MAX_ITEMS;

/// File keys that the requests of a run go round.
const FILES: usize = 512;

/// What to ask, and for how long.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Requests under way at once, each on a connection of its own: 1 to [`MAX_CONNECTIONS`].
    pub connections: usize,
    /// How long requests are counted.
    pub duration: Duration,
    /// For how long requests are sent before they are counted.
    pub warm_up: Duration,
    /// Items in each request: 1 to [`MAX_BATCH`].
    pub batch: usize,
    /// The suite of the shares, and so of the envelopes.
    pub suite: Suite,
    /// Whether every request has an envelope of its own, rather than a session for all.
    pub fresh: bool,
    /// What the paths of the files begin with.
    pub path: String,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LoadReport {
    /// How long requests were counted.
    pub elapsed: Duration,
    /// Requests that were answered.
    pub requests: u64,
    /// Shares that were released, and verified.
    pub released: u64,
    /// Items that the policy denied.
    pub denied_policy: u64,
    /// Items that a quota denied.
    pub denied_quota: u64,
    /// Items that were denied because the server is disabled, or for another reason.
    pub denied_other: u64,
    /// Items that were granted but not released, or with a share that is not the file's.
    pub wrong: u64,
    /// Requests without an answer to go by.
    pub failed: u64,
    /// What the first of those met, in words.
    pub first_failure: Option<String>,
    /// How long the answered requests took.
    pub latencies: Latencies,
}

/// Why there is no run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no profile with a server to ask.
    #[error("there is no profile with a key shard server")]
    NoProfile,
    /// The server could not be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The server's card is not one.
    #[error("the server's card cannot be verified")]
    Card(#[from] VerifyPublicCardError),
    /// A profile could not be made.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The names of user and machine make no profile.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The server did not register the profile.
    #[error("the key shard server denied the new profile")]
    Denied(Denial),
    /// The server answered something else than was asked.
    #[error("the key shard server's answer makes no sense")]
    BadAnswer,
    /// The files could not be made.
    #[error("cannot make files to ask for")]
    Prepare(#[from] PrepareError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A device that asks a server for its shares.
pub struct LoadClient {
    link: Link,
    /// Where the server is, in the order in which to try.
    urls: Vec<BaseUrl>,
    keys: Arc<DeviceKeys>,
    card: Card,
    profile: ProfileId,
    keyserver: VerifiedKeyserver,
    environment: Environment,
}

impl LoadClient {
    /// Asks as this workstation: against its quotas, and on its record.
    ///
    /// # Errors
    /// When it has no profile with a server, or no address of the server.
    pub fn of(workstation: &Workstation) -> Result<Self, LoadError> {
        let member = workstation.member().ok_or(LoadError::NoProfile)?;
        let keyserver = member.keyserver.as_ref().ok_or(LoadError::NoProfile)?;
        let urls = workstation.config.urls_or(&member.urls);
        Ok(Self {
            link: Link::new(&workstation.config, urls.clone(), keyserver.clone())?,
            urls,
            keys: Arc::clone(&member.keys),
            card: member.device.clone(),
            profile: member.profile.id(),
            keyserver: keyserver.clone(),
            environment: workstation.environment.clone(),
        })
    }

    /// Registers a profile that nobody keeps, at whichever server answers at `url`, and asks as that.
    ///
    /// # Errors
    /// When no server answers, or it denies the profile.
    pub async fn register(
        config: &Config,
        url: &BaseUrl,
        environment: Environment,
    ) -> Result<Self, LoadError> {
        let urls = vec![url.clone()];
        let card = Link::fetch_card(config, urls.clone()).await?;
        // Whoever it says it is: nothing of worth is sealed to it.
        let keyserver = card.verify(&card.claimed_id())?;
        let keys = DeviceKeys::generate()?;
        let own = keys.card(DeviceKind::Workstation, Name::new("bench")?);
        let devices = vec![own.clone(), keyserver.device().clone()];
        let version = ProfileVersion::first(Name::new("bench")?, 2, devices)?;
        let profile = profile_id(&version);
        let signature = version.sign(&keys.signing);
        let version = SignedVersion::new(version, [(own.id(), signature)]);
        let now = environment.now();
        let items = vec![Item::CreateProfile { version }];
        let body = RequestBody::new(random::request_id(now)?, now, profile, items);
        let link = Link::new(config, urls, keyserver.clone())?;
        let asked = link.first_contact(&keys, &own, body.map_err(AskError::from)?, &environment);
        match asked.await?.pop() {
            Some(ItemAnswer::ProfileCreated { .. }) => Ok(Self {
                link,
                urls: vec![url.clone()],
                keys: Arc::new(keys),
                card: own,
                profile,
                keyserver,
                environment,
            }),
            Some(ItemAnswer::Denied(denial)) => Err(LoadError::Denied(denial)),
            _ => Err(LoadError::BadAnswer),
        }
    }

    /// Whether the server is asked on this machine alone.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.urls.iter().all(BaseUrl::is_loopback)
    }

    /// Sends requests for as long as the options say. Numbers out of range are taken as the nearest
    /// within it.
    ///
    /// # Errors
    /// When no files can be made, or the very first request has no answer.
    pub async fn run(self, options: &LoadOptions) -> Result<LoadReport, LoadError> {
        let batch = options.batch.clamp(1, MAX_BATCH);
        let files = Files::prepare(FILES.max(batch), options, self.profile, &self.keyserver)?;
        let run = Arc::new(Run {
            client: self,
            files,
            batch,
            expect: if options.fresh {
                Expect::Nothing
            } else {
                Expect::More
            },
            report: Mutex::default(),
        });
        // Alone, so that what is wrong is found at once, and with one session for all that follow.
        run.ask(None, 0, &mut LoadReport::default()).await?;
        let begin = Instant::now() + options.warm_up;
        let end = begin + options.duration;
        let mut connections = JoinSet::new();
        for number in 0..options.connections.clamp(1, MAX_CONNECTIONS) {
            connections.spawn(Arc::clone(&run).connection(number, begin, end));
        }
        while connections.join_next().await.is_some() {}
        let mut report = run.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.elapsed = begin.elapsed();
        Ok(std::mem::take(&mut report))
    }
}

/// What the connections of a run share.
struct Run {
    client: LoadClient,
    files: Files,
    batch: usize,
    expect: Expect,
    report: Mutex<LoadReport>,
}

impl Run {
    /// One request after the other until `end`; those that were begun from `begin` on are counted.
    async fn connection(self: Arc<Self>, number: usize, begin: Instant, end: Instant) {
        let mut report = LoadReport::default();
        // Through TLS, or to one of several servers, as every client does; else in the leanest way.
        let mut connection = match &self.client.urls[..] {
            [url] => single_connection(url),
            _ => None,
        };
        let mut first = number * self.batch;
        loop {
            let sent = Instant::now();
            if sent >= end {
                break;
            }
            let mut asked = LoadReport::default();
            let outcome = self.ask(connection.as_mut(), first, &mut asked).await;
            first += self.batch;
            if sent < begin {
                continue;
            }
            match outcome {
                Ok(()) => {
                    asked.requests = 1;
                    asked.latencies.add(sent.elapsed());
                }
                Err(error) => {
                    asked.failed = 1;
                    asked.first_failure = Some(ErrorChain(&error).to_string());
                    // A server that is gone is not asked in a busy loop.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            report.add(asked);
        }
        let mut whole = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        whole.add(report);
    }

    /// Asks for the files from number `first` on, and verifies what is released.
    async fn ask(
        &self,
        connection: Option<&mut SingleConnection>,
        first: usize,
        report: &mut LoadReport,
    ) -> Result<(), AskError> {
        let client = &self.client;
        let now = client.environment.now();
        let id = random::request_id(now).map_err(AskError::Random)?;
        let items = self.files.items(first, self.batch);
        let body = RequestBody::new(id, now, client.profile, items)?;
        let (keys, card) = (&client.keys, &client.card);
        let (link, environment) = (&client.link, &client.environment);
        let expect = self.expect;
        let answers = match connection {
            Some(on) => link.ask_on(on, keys, card, body, expect, environment).await,
            None => link.ask(keys, card, body, expect, environment).await,
        };
        for (number, answer) in (first..).zip(answers?) {
            match answer {
                ItemAnswer::Released(shard) if self.files.check(number, &shard) => {
                    report.released += 1;
                }
                ItemAnswer::Denied(Denial::Policy) => report.denied_policy += 1,
                ItemAnswer::Denied(Denial::Quota { .. }) => report.denied_quota += 1,
                ItemAnswer::Denied(_) => report.denied_other += 1,
                _ => report.wrong += 1,
            }
        }
        Ok(())
    }
}

impl LoadReport {
    fn add(&mut self, other: Self) {
        let Self {
            elapsed: _,
            requests,
            released,
            denied_policy,
            denied_quota,
            denied_other,
            wrong,
            failed,
            first_failure,
            latencies,
        } = other;
        self.requests += requests;
        self.released += released;
        self.denied_policy += denied_policy;
        self.denied_quota += denied_quota;
        self.denied_other += denied_other;
        self.wrong += wrong;
        self.failed += failed;
        self.first_failure = self.first_failure.take().or(first_failure);
        self.latencies.merge(latencies);
    }

    /// Items that were denied, for whatever reason.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.denied_policy + self.denied_quota + self.denied_other
    }
}
