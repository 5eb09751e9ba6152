//! Holding a ceremony: from its opening to its end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ostrakon_shards::{
    card::Card,
    ceremony::{
        AnswerError, Completed, NoticeError, OpenCeremonyError, Plan, Requester, Standing, Subject,
        TakeError, Tally, recent,
    },
    profile::{Profile, SignedVersion},
    random::RandomError,
    seal::{SealError, Sealed},
};
use ostrakon_transport::message::{CeremonyOutcome, Failure, Item, ItemAnswer};
use ostrakon_types::{Denial, DeviceId};
use tokio::time::{sleep, timeout};

use super::{
    News, Person,
    front::{Front, Relayed},
};
use crate::{
    ask::{AskError, Expect, Link},
    workstation::{Member, Workstation},
};

/// How often the relay is asked for answers.
const POLL: Duration = Duration::from_secs(1);

/// Why other devices have not approved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HoldError {
    /// It cannot be asked.
    #[error(transparent)]
    Open(#[from] OpenCeremonyError),
    /// This device's own answer could not be made.
    #[error(transparent)]
    Own(#[from] NoticeError),
    /// This device's own answer could not be sealed.
    #[error(transparent)]
    OwnAnswer(#[from] AnswerError),
    /// This device's own answer does not count.
    #[error(transparent)]
    OwnTake(#[from] TakeError),
    /// A notice could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The key shard server could not be asked to relay.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The key shard server does not relay it.
    #[error("the key shard server does not relay the request for approval")]
    Relay(#[source] Failure),
    /// The key shard server is disabled.
    #[error("the key shard server denied to relay the request for approval")]
    Denied(Denial),
    /// The key shard server answered something else than was asked.
    #[error("the key shard server's answer makes no sense")]
    BadAnswer,
    /// A device denied it.
    #[error("device {by} denied it")]
    DeniedBy {
        /// Which.
        by: DeviceId,
    },
    /// The key shard server's operator ended it.
    #[error("it was cancelled at the key shard server")]
    Cancelled,
    /// Whoever asked gave it up.
    #[error("interrupted: nobody is asked any more")]
    GivenUp,
    /// Not enough devices answered in time.
    #[error("not enough devices approved in time")]
    Expired,
}

impl Workstation {
    /// Asks the profile's devices to approve `subject`, this one included, and waits for `needed` of
    /// them: through `front` where there is one, else through the key shard server.
    pub(crate) async fn hold(
        &self,
        member: &Member,
        subject: Subject,
        needed: u8,
        lifetime_ms: i64,
        front: Option<&Front>,
        person: &mut dyn Person,
    ) -> Result<Completed, HoldError> {
        let now = self.environment.now();
        let plan = Plan {
            subject,
            threshold: needed,
            requester: Requester::Device(member.device.id()),
            lifetime_ms,
        };
        let mut tally = Tally::open(&member.profile, plan, &member.keys.signing, now)?;
        let own = tally.notice(Vec::new(), None);
        let question = own.examine(&member.profile, &member.device.id(), now)?;
        let answer = question.approve(&member.keys, None)?;
        tally.take(&answer, now)?;
        if tally.standing(now) != Standing::Approved {
            let known = self.state().membership.as_ref();
            let versions = known.map_or(&[][..], |membership| &membership.versions);
            let notices = notices(&tally, Some(&member.device), versions)?;
            match front {
                Some(front) => {
                    self.wait_here(&member.profile, &mut tally, notices, front, person)
                        .await
                }
                None => self.wait_there(member, &mut tally, notices, person).await,
            }?;
        }
        tally
            .complete(self.environment.now())
            .map_err(|standing| match standing {
                Standing::Denied { by } => HoldError::DeniedBy { by },
                _ => HoldError::Expired,
            })
    }

    /// Has the devices of a profile asked by this machine, which is none of them.
    pub(super) async fn wait_for(
        &self,
        profile: &Arc<Profile>,
        versions: &[SignedVersion],
        tally: &mut Tally,
        front: &Front,
        person: &mut dyn Person,
    ) -> Result<(), HoldError> {
        let notices = notices(tally, None, versions)?;
        self.wait_here(profile, tally, notices, front, person).await
    }

    fn opened(
        &self,
        profile: &Profile,
        tally: &Tally,
        front: Option<&Front>,
        person: &mut dyn Person,
    ) {
        let ceremony = tally.ceremony();
        person.hear(&News::Opened {
            id: ceremony.id,
            description: ceremony.subject.describe(profile.version()),
            standing: tally.standing(self.environment.now()),
            expires_at: ceremony.expires_at,
            here: front.map(Front::address),
            words: matches!(ceremony.requester, Requester::Machine(_)).then(|| ceremony.words()),
        });
    }

    /// Relays the ceremony in this very process.
    async fn wait_here(
        &self,
        profile: &Arc<Profile>,
        tally: &mut Tally,
        notices: BTreeMap<DeviceId, Sealed>,
        front: &Front,
        person: &mut dyn Person,
    ) -> Result<(), HoldError> {
        let ceremony = tally.ceremony();
        front.relay(Some(Relayed {
            profile: Arc::clone(profile),
            id: ceremony.id,
            expires_at: ceremony.expires_at,
            notices,
            answers: BTreeMap::new(),
        }));
        self.opened(profile, tally, Some(front), person);
        while self.is_open(tally) {
            let _ = timeout(POLL, front.changed()).await;
            self.take_all(tally, &front.answers(), person);
        }
        front.relay(None);
        Ok(())
    }

    /// Relays the ceremony through the key shard server.
    async fn wait_there(
        &self,
        member: &Member,
        tally: &mut Tally,
        notices: BTreeMap<DeviceId, Sealed>,
        person: &mut dyn Person,
    ) -> Result<(), HoldError> {
        let keyserver = member.keyserver.clone().ok_or(AskError::NoUrl)?;
        let link = Link::new(&self.config, self.config.urls_or(&member.urls), keyserver)?;
        let (id, expires_at) = (tally.ceremony().id, tally.ceremony().expires_at);
        let notices = notices.into_iter().collect();
        let open = Item::OpenCeremony {
            id,
            expires_at,
            notices,
        };
        // From here on: what is given up while it is opened must be withdrawn, too.
        let given_up = person.gives_up();
        self.ask_relay(member, &link, open).await?;
        self.opened(&member.profile, tally, None, person);
        let waited = tokio::select! {
            waited = self.answers_there(member, tally, &link, person) => waited,
            () = given_up => Err(HoldError::GivenUp),
        };
        match waited {
            Ok(()) | Err(HoldError::GivenUp) => {}
            Err(error) => return Err(error),
        }
        let outcome = match tally.standing(self.environment.now()) {
            Standing::Approved => CeremonyOutcome::Approved,
            Standing::Denied { .. } => CeremonyOutcome::Denied,
            Standing::Open { .. } => CeremonyOutcome::Cancelled,
            Standing::Expired => CeremonyOutcome::Expired,
        };
        // For the server's records alone: whether it is heard changes nothing.
        let close = Item::CloseCeremony { id, outcome };
        let _ = self.ask_relay(member, &link, close).await;
        waited
    }

    /// Fetches answers from the key shard server until there are enough, or it is over.
    async fn answers_there(
        &self,
        member: &Member,
        tally: &mut Tally,
        link: &Link,
        person: &mut dyn Person,
    ) -> Result<(), HoldError> {
        let id = tally.ceremony().id;
        while self.is_open(tally) {
            match self
                .ask_relay(member, link, Item::CeremonyAnswers { id })
                .await
            {
                Ok(ItemAnswer::CeremonyAnswers(answers)) => self.take_all(tally, &answers, person),
                // It went with its time, which the loop finds out; or the server's operator ended it.
                Err(HoldError::Relay(Failure::NoCeremony)) if !self.is_open(tally) => break,
                Err(HoldError::Relay(Failure::NoCeremony)) => return Err(HoldError::Cancelled),
                Ok(_) => return Err(HoldError::BadAnswer),
                Err(error) => return Err(error),
            }
            if self.is_open(tally) {
                sleep(POLL).await;
            }
        }
        Ok(())
    }

    fn is_open(&self, tally: &Tally) -> bool {
        let standing = tally.standing(self.environment.now());
        matches!(standing, Standing::Open { .. })
    }

    /// Counts what is new and good among the answers. What a relay makes up is passed over.
    fn take_all(&self, tally: &mut Tally, answers: &[Sealed], person: &mut dyn Person) {
        for answer in answers {
            if let Ok(device) = tally.take(answer, self.environment.now()) {
                person.hear(&News::Answered(device));
            }
        }
    }

    pub(crate) async fn ask_relay(
        &self,
        member: &Member,
        link: &Link,
        item: Item,
    ) -> Result<ItemAnswer, HoldError> {
        match self.ask_item(member, link, item, Expect::More).await? {
            Some(ItemAnswer::Denied(denial)) => Err(HoldError::Denied(denial)),
            Some(ItemAnswer::Failed(failure)) => Err(HoldError::Relay(failure)),
            Some(answer) => Ok(answer),
            None => Err(HoldError::BadAnswer),
        }
    }
}

/// What is for whom: everyone who is asked, but for the device that asks.
fn notices(
    tally: &Tally,
    own: Option<&Card>,
    versions: &[SignedVersion],
) -> Result<BTreeMap<DeviceId, Sealed>, SealError> {
    let versions = recent(versions);
    let others = tally.asked().filter(|card| Some(*card) != own);
    others
        .map(|card| Ok((card.id(), tally.notice_for(card, versions.clone(), None)?)))
        .collect()
}
