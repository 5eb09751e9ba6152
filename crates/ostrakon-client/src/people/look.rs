//! Looking at many relays at once: each may be gone, and none holds up the others.

use ostrakon_shards::{
    identity::{PublicCard, VerifiedKeyserver},
    profile::SignedVersion,
    random,
};
use ostrakon_transport::{
    binding::ExchangeError,
    http::BaseUrl,
    message::{Item, ItemAnswer, PendingNotice, RefusalCode, RequestBody},
};
use tokio::task::JoinSet;

use super::HoldError;
use crate::{
    ask::{AskError, Expect, Link, impatient},
    config::Config,
    environment::Environment,
    home::KnownBackup,
    workstation::{Member, Workstation},
};

/// Where devices are asked: one place, that may have several addresses.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) urls: Vec<BaseUrl>,
    /// Whether it was named by whoever looks: then it is waited for.
    pub(super) named: bool,
}

/// A relay that was named, and of which it is not known what waits there.
#[derive(Debug)]
pub struct AwayRelay {
    /// Where.
    pub url: BaseUrl,
    /// Why.
    pub error: LookError,
}

/// Why it is not known what waits at a relay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookError {
    /// No relay answers there.
    #[error("nobody answers")]
    Away(#[source] AskError),
    /// One is there, and does not say it.
    #[error("it is not known what waits there")]
    Unsaid(#[source] HoldError),
}

/// What a relay shows to a device.
pub(super) struct Shown {
    pub(super) notices: Vec<PendingNotice>,
    /// The newest backup key of a server, as that server itself says.
    pub(super) newest: Option<KnownBackup>,
    /// Versions of the profile that this device does not know.
    pub(super) versions: Vec<SignedVersion>,
}

impl Workstation {
    /// Where to look beside the profile's own server.
    pub(super) fn places(&self, member: &Member, urls: &[BaseUrl]) -> Vec<Place> {
        let people = self.state().people.as_ref();
        let mut places = Vec::new();
        let mut add = |urls: Vec<BaseUrl>, named| {
            let there = |place: &Place| place.urls == urls;
            if !urls.is_empty() && !places.iter().any(there) {
                places.push(Place { urls, named });
            }
        };
        for url in urls {
            add(vec![url.clone()], true);
        }
        let own = member.keyserver.as_ref().map(VerifiedKeyserver::kss_id);
        if self.config.keyserver_id.is_some_and(|id| Some(id) != own) {
            add(self.config.keyserver_urls.clone(), false);
        }
        let servers = people.and_then(|people| people.ceremonies.as_ref());
        for server in servers.into_iter().flat_map(|past| &past.servers) {
            if Some(server.kss_id) != own {
                add(parsed(&server.urls), false);
            }
        }
        // Who is told where to look need not look where nobody may wait any more; and a profile's own server
        // relays what its devices ask.
        if let Some(people) = people.filter(|_| urls.is_empty() && own.is_none()) {
            // Where this device itself waits, others on this machine may wait meanwhile.
            let here = people.listen.iter().map(|at| format!("http://{at}"));
            for url in people.relays.iter().cloned().chain(here) {
                add(parsed(&[url]), false);
            }
        }
        places
    }

    /// Looks at all places at once. Where it is not said what waits, nothing is shown; those of them that were
    /// named are told.
    pub(super) async fn look_at(
        &self,
        member: &Member,
        places: &[Place],
    ) -> (Vec<(Place, Shown)>, Vec<AwayRelay>) {
        let mut looks = JoinSet::new();
        for (number, place) in places.iter().enumerate() {
            let (config, environment) = (self.config.clone(), self.environment.clone());
            let (member, place) = (member.clone(), place.clone());
            looks.spawn(async move {
                let shown = look(&config, &environment, &member, &place).await;
                (number, place, shown)
            });
        }
        let mut found = looks.join_all().await;
        found.sort_by_key(|(number, ..)| *number);
        let (mut seen, mut away) = (Vec::new(), Vec::new());
        for (_, place, shown) in found {
            match shown {
                Ok(Some(shown)) => seen.push((place, shown)),
                Err(error) if place.named => away.extend(
                    place
                        .urls
                        .first()
                        .cloned()
                        .map(|url| AwayRelay { url, error }),
                ),
                Ok(None) | Err(_) => {}
            }
        }
        (seen, away)
    }
}

async fn look(
    config: &Config,
    environment: &Environment,
    member: &Member,
    place: &Place,
) -> Result<Option<Shown>, LookError> {
    let (link, relay) = link(config, place).await.map_err(LookError::Away)?;
    match shown_by(environment, member, &link, &relay).await {
        Ok(shown) => Ok(Some(shown)),
        // Who is there and does not know this device has nothing for it.
        Err(HoldError::Ask(error)) if is_strange_to(&error) => Ok(None),
        Err(error) => Err(LookError::Unsaid(error)),
    }
}

/// Whether whoever was asked does not know the device.
fn is_strange_to(error: &AskError) -> bool {
    match error {
        AskError::Refused(code) => *code == RefusalCode::NotAMember,
        AskError::Exchange(error) => matches!(**error, ExchangeError::Stranger),
        _ => false,
    }
}

async fn shown_by(
    environment: &Environment,
    member: &Member,
    link: &Link,
    relay: &VerifiedKeyserver,
) -> Result<Shown, HoldError> {
    let id = random::request_id(environment.now())?;
    let items = vec![pending(member)];
    let body = RequestBody::new(id, environment.now(), member.profile.id(), items);
    let body = body.map_err(AskError::from)?;
    let (keys, card) = (&member.keys, &member.device);
    let answers = link.ask(keys, card, body, Expect::Nothing, environment);
    shown(answers.await?.into_iter().next(), relay)
}

/// The way to a place, and who is there. Whoever answers is trusted with nothing: see the notices.
pub(super) async fn link(
    config: &Config,
    place: &Place,
) -> Result<(Link, VerifiedKeyserver), AskError> {
    let config = impatient(config);
    let card: PublicCard = if place.named {
        Link::fetch_card(&config, place.urls.clone()).await?
    } else {
        Link::glance_at_card(&config, place.urls.clone()).await?
    };
    let identity = card.verify(&card.claimed_id());
    let identity = identity.map_err(|_| AskError::NoUrl)?;
    let link = Link::new(&config, place.urls.clone(), identity.clone())?;
    Ok((link, identity))
}

/// Asks what waits and, where no server of its own tells the device so, how its profile has changed.
pub(super) fn pending(member: &Member) -> Item {
    let alone = member.keyserver.is_none();
    Item::PendingCeremonies {
        known: alone.then(|| member.profile.head().number),
    }
}

/// What an answer shows.
pub(super) fn shown(
    answer: Option<ItemAnswer>,
    relay: &VerifiedKeyserver,
) -> Result<Shown, HoldError> {
    match answer {
        Some(ItemAnswer::Notices {
            notices,
            backup,
            versions,
        }) => {
            let newest = backup.and_then(|newest| newest.verify(relay).ok());
            let newest = newest.map(|generation| KnownBackup {
                kss_id: relay.kss_id(),
                generation,
            });
            Ok(Shown {
                notices,
                newest,
                versions,
            })
        }
        Some(ItemAnswer::Denied(denial)) => Err(HoldError::Denied(denial)),
        Some(ItemAnswer::Failed(failure)) => Err(HoldError::Relay(failure)),
        _ => Err(HoldError::BadAnswer),
    }
}

fn parsed(urls: &[String]) -> Vec<BaseUrl> {
    urls.iter().filter_map(|url| url.parse().ok()).collect()
}
