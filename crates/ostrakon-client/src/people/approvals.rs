//! What waits for this device's approval, and its answers.

use std::time::Duration;

use ostrakon_shards::{
    ceremony::{AnswerError, Need, Notice, Question, Requester},
    generation::Generation,
    identity::VerifiedKeyserver,
    profile::HeadError,
    random::RandomError,
    seal::Sealed,
};
use ostrakon_transport::{
    http::BaseUrl,
    message::{Failure, Item, PendingNotice},
};
use ostrakon_types::{CeremonyId, Denial, ErrorChain, KssId, UnixMillis};

use super::{
    AwayRelay, ContributeError, DigestPrefix, HoldError, PolicyChange, UnreadPolicyError,
    contribution, difference,
    look::{self, Place, Shown},
};
use crate::{
    ask::{AskError, Expect, Link, impatient},
    home::{AnsweredCeremony, KnownBackup, KnownServer},
    refresh::RefreshError,
    workstation::{Member, OpenError, Workstation},
};

/// How often a watcher should look.
const EVERY: Duration = Duration::from_secs(2);

/// What waits for this device, as far as it could be asked for.
#[derive(Debug, Default)]
pub struct Approvals {
    /// What waits, the oldest first.
    pub pending: Vec<PendingApproval>,
    /// What came that this device must not answer, and why, in words.
    pub refused: Vec<String>,
    /// Relays that were named, and of which it is not known what waits there.
    pub away: Vec<AwayRelay>,
}

/// Something that waits for this device's answer.
#[derive(Debug)]
pub struct PendingApproval {
    /// What is asked, checked.
    pub question: Question,
    /// Through whom it came, and the answer goes.
    source: Source,
}

/// A relay.
#[derive(Clone, Debug)]
enum Source {
    /// The profile's key shard server.
    Keyserver,
    /// A command that waits, or a key shard server that is none of the profile's.
    Place(Place),
}

/// Why it is not known what waits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListApprovalsError {
    /// There is no profile.
    #[error("there is no profile")]
    NoProfile,
    /// The home folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The key shard server's word on the profile cannot be followed.
    #[error(transparent)]
    Refresh(#[from] Box<RefreshError>),
    /// The key shard server could not be asked.
    #[error(transparent)]
    Relay(#[from] HoldError),
}

/// Why an answer did not arrive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerApprovalError {
    /// There is no profile.
    #[error("there is no profile")]
    NoProfile,
    /// People must have compared the ceremony's words, and have not.
    #[error("nobody knows who asks: compare the words that the asking machine shows")]
    NotCompared,
    /// Other words than those of what waits.
    #[error("these are not the words of what waits here: somebody else may be asking")]
    OtherWords,
    /// Nobody can have read the policy that is to be put in force.
    #[error(transparent)]
    Unread(#[from] UnreadPolicyError),
    /// It is too late.
    #[error("it has expired")]
    Expired,
    /// The home folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What came along is not this device's profile.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// An older backup key is to be used than this device knows of.
    #[error("this backup key is out of date: a newer one was made, {newer}")]
    OldBackup {
        /// The newer one.
        newer: Generation,
    },
    /// What the operation needs of this device could not be made.
    #[error(transparent)]
    Contribute(#[from] ContributeError),
    /// It could not be made.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The relay cannot be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The relay does not take it.
    #[error("the answer was not taken")]
    Failed(#[source] Failure),
    /// The key shard server is disabled.
    #[error("the key shard server denied to relay the answer")]
    Denied(Denial),
    /// The relay could not be asked, or answered something else.
    #[error(transparent)]
    Relay(#[from] HoldError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// What a person says with an approval.
#[derive(Clone, Debug, Default)]
pub struct ApproveOptions {
    /// The words that the asking machine shows, where they must be compared.
    pub words: Option<String>,
    /// That a backup key may be used although it is out of date.
    pub old_backup: bool,
    /// The digest of a policy that was read elsewhere, where not all of it is shown.
    pub policy: Option<DigestPrefix>,
}

impl PendingApproval {
    /// The ceremony.
    #[must_use]
    pub fn id(&self) -> CeremonyId {
        self.question.ceremony().id
    }
}

impl Workstation {
    /// How often a watcher should look for what waits.
    pub const WATCH_EVERY: Duration = EVERY;

    /// Asks for what waits for this device, everywhere at once: the key shard servers that this device knows,
    /// and the relays that `urls` names or, where it names none and the profile has no server, those that it
    /// knows. A place that was not named, and where nobody waits any more, is passed over. What the servers say of their backup keys is noted.
    ///
    /// # Errors
    /// When there is no profile, or its key shard server cannot be asked.
    pub async fn approvals(&mut self, urls: &[BaseUrl]) -> Result<Approvals, ListApprovalsError> {
        let member = self.member().ok_or(ListApprovalsError::NoProfile)?;
        let mut found = Approvals::default();
        let mut newest = Vec::new();
        if member.keyserver.is_some() {
            if urls.is_empty() {
                self.waits_at_server(&mut found, &mut newest).await?;
            } else {
                // Who is told where to look need not reach the server: it may be the one that is lost.
                let patient = impatient(&self.config);
                let patient = std::mem::replace(&mut self.config, patient);
                let _ = self.waits_at_server(&mut found, &mut newest).await;
                self.config = patient;
            }
        }
        let member = self.member().ok_or(ListApprovalsError::NoProfile)?;
        let places = self.places(member, urls);
        let (looks, away) = self.look_at(member, &places).await;
        found.away = away;
        for (_, shown) in &looks {
            self.follow_profile(&shown.versions)?;
        }
        let member = self.member().ok_or(ListApprovalsError::NoProfile)?;
        for (place, shown) in looks {
            newest.extend(shown.newest);
            self.sort(&mut found, member, &Source::Place(place), shown.notices);
        }
        found.pending.sort_by_key(|pending| {
            let ceremony = pending.question.ceremony();
            (ceremony.opened_at, ceremony.id)
        });
        self.note_newest(&newest)?;
        Ok(found)
    }

    /// Opens and checks each notice.
    fn sort(
        &self,
        found: &mut Approvals,
        member: &Member,
        source: &Source,
        notices: Vec<PendingNotice>,
    ) {
        let now = self.environment.now();
        for PendingNotice { id, notice, .. } in notices {
            match read(member, &id, &notice, now) {
                Ok(question) => {
                    let source = source.clone();
                    if found.pending.iter().all(|known| known.id() != id) {
                        found.pending.push(PendingApproval { question, source });
                    }
                }
                Err(why) => found.refused.push(format!("{id}: {why}")),
            }
        }
    }

    /// Looks at this profile's server.
    async fn waits_at_server(
        &mut self,
        found: &mut Approvals,
        newest: &mut Vec<KnownBackup>,
    ) -> Result<(), ListApprovalsError> {
        self.refresh_profile().await.map_err(Box::new)?;
        let member = self.member().ok_or(ListApprovalsError::NoProfile)?;
        let shown = self.shown_by_keyserver(member).await?;
        newest.extend(shown.newest);
        self.sort(found, member, &Source::Keyserver, shown.notices);
        Ok(())
    }

    async fn shown_by_keyserver(&self, member: &Member) -> Result<Shown, HoldError> {
        let (link, keyserver) = self.link_to(member, &Source::Keyserver).await?;
        let asked = self.ask_item(member, &link, look::pending(member), Expect::More);
        look::shown(asked.await?, &keyserver)
    }

    /// The way to a relay, and who is there.
    async fn link_to(
        &self,
        member: &Member,
        source: &Source,
    ) -> Result<(Link, VerifiedKeyserver), AskError> {
        match source {
            Source::Keyserver => {
                let keyserver = member.keyserver.clone().ok_or(AskError::NoUrl)?;
                let urls = self.config.urls_or(&member.urls);
                Ok((Link::new(&self.config, urls, keyserver.clone())?, keyserver))
            }
            Source::Place(place) => {
                let named = true;
                let urls = place.urls.clone();
                look::link(&self.config, &Place { urls, named }).await
            }
        }
    }

    /// Whether this device has answered a ceremony whose id begins so, and which may still be open.
    #[must_use]
    pub fn has_answered(&self, id: &str) -> bool {
        let people = self.state().people.as_ref();
        let past = people.and_then(|people| people.ceremonies.as_ref());
        let mut answered = past.into_iter().flat_map(|past| &past.answered);
        let now = self.environment.now();
        !id.is_empty()
            && answered.any(|past| now < past.expires_at && past.id.to_string().starts_with(id))
    }

    /// How the policy that is to be put in force differs from the one that is; `None` when something else is
    /// asked.
    #[must_use]
    pub fn policy_change(&self, question: &Question) -> Option<PolicyChange> {
        // What came along was compared with what is asked when it came.
        difference::policy_change(question).ok().flatten()
    }

    /// The path of the file that a machine asks to read, as this device's own share of its key says. `None` when
    /// something else is asked.
    #[must_use]
    pub fn asked_path(&self, question: &Question) -> Option<Result<String, ContributeError>> {
        let member = self.member()?;
        contribution::path(question, &member.keys, member.device.id())
    }

    /// Approves what waits.
    ///
    /// # Errors
    /// When it is too late, the words differ, an older backup key is to be used than this device knows
    /// of, a policy is not shown whole and its digest not given, or the answer cannot be delivered.
    pub async fn approve(
        &mut self,
        pending: &PendingApproval,
        options: &ApproveOptions,
    ) -> Result<(), AnswerApprovalError> {
        let question = &pending.question;
        let gives = question.ceremony().subject.need() == Need::Share;
        if let Some(newer) = self.newer_backup(question)
            && gives
            && !options.old_backup
        {
            return Err(AnswerApprovalError::OldBackup { newer });
        }
        if question.must_compare() {
            let words = question.ceremony().words();
            let typed = options.words.as_deref();
            let typed = typed.map(ostrakon_types::ProfileWords::new);
            match typed {
                None => return Err(AnswerApprovalError::NotCompared),
                Some(typed) if typed != words => return Err(AnswerApprovalError::OtherWords),
                Some(_) => {}
            }
        }
        difference::check_read(question, options.policy.as_ref())?;
        let member = self.member().ok_or(AnswerApprovalError::NoProfile)?.clone();
        let answer = contribution::approve(question, &member.keys, member.device.id())?;
        self.deliver(&member, pending, answer).await?;
        self.note_approval(question)?;
        Ok(())
    }

    /// Denies what waits.
    ///
    /// # Errors
    /// When it is too late, or the answer cannot be delivered.
    pub async fn deny(&mut self, pending: &PendingApproval) -> Result<(), AnswerApprovalError> {
        let member = self.member().ok_or(AnswerApprovalError::NoProfile)?.clone();
        let answer = pending.question.deny(&member.keys)?;
        self.deliver(&member, pending, answer).await
    }

    async fn deliver(
        &mut self,
        member: &Member,
        pending: &PendingApproval,
        answer: Sealed,
    ) -> Result<(), AnswerApprovalError> {
        if pending
            .question
            .ceremony()
            .has_expired(self.environment.now())
        {
            return Err(AnswerApprovalError::Expired);
        }
        self.take_over(&pending.question)?;
        let (link, relay) = self.link_to(member, &pending.source).await?;
        let id = pending.id();
        let item = Item::AnswerCeremony { id, answer };
        match self.ask_relay(member, &link, item).await {
            Ok(_) => Ok(self.note_answer(pending, relay.kss_id())?),
            Err(HoldError::Relay(failure)) => Err(AnswerApprovalError::Failed(failure)),
            Err(HoldError::Denied(denial)) => Err(AnswerApprovalError::Denied(denial)),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes that this device has answered; and where the server is that asked, if it relayed that itself.
    fn note_answer(&mut self, pending: &PendingApproval, relay: KssId) -> Result<(), OpenError> {
        let ceremony = pending.question.ceremony();
        let answered = AnsweredCeremony {
            id: ceremony.id,
            expires_at: ceremony.expires_at,
        };
        let server = match (&ceremony.requester, &pending.source) {
            (Requester::Server(record), Source::Place(place)) if record.kss_id() == relay => {
                Some(KnownServer {
                    kss_id: relay,
                    urls: place.urls.iter().map(ToString::to_string).collect(),
                })
            }
            _ => None,
        };
        let now = self.environment.now();
        let lock = self.lock()?;
        self.change(&lock, |state| {
            let past = state.people_mut().ceremonies_mut();
            past.note_answer(answered, now);
            if let Some(server) = server {
                past.note_server(server);
            }
        })
    }
}

fn read(
    member: &Member,
    id: &CeremonyId,
    notice: &Sealed,
    now: UnixMillis,
) -> Result<Question, String> {
    let device = member.device.id();
    let notice = Notice::open(notice, id, &device, &member.keys);
    let question = notice
        .and_then(|notice| notice.examine(&member.profile, &device, now))
        .map_err(|error| ErrorChain(&error).to_string())?;
    // Nobody is asked about a policy and shown another one.
    let texts = question.policy_texts();
    texts.map_err(|error| ErrorChain(&error).to_string())?;
    Ok(question)
}
