//! What waits for this device's approval, and its answers.

use std::time::Duration;

use ostrakon_shards::{
    ceremony::{AnswerError, Need, Notice, Question},
    generation::Generation,
    profile::HeadError,
    random::RandomError,
    seal::Sealed,
};
use ostrakon_transport::{
    http::BaseUrl,
    message::{Failure, Item, ItemAnswer, PendingNotice},
};
use ostrakon_types::{CeremonyId, Denial, ErrorChain, UnixMillis};

use super::{ContributeError, HoldError, contribution};
use crate::{
    ask::{AskError, Link, impatient},
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
    /// A command that waits.
    Device(BaseUrl),
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
    #[error(
        "this backup key may be out of date: this device has approved the making of a newer one, {newer}"
    )]
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

    /// Asks for what waits for this device: the key shard server, and the relays that `urls` names or, where
    /// there is neither, those that this device knows. A relay where nobody waits any more is passed over.
    ///
    /// # Errors
    /// When there is no profile, or its key shard server cannot be asked.
    pub async fn approvals(&mut self, urls: &[BaseUrl]) -> Result<Approvals, ListApprovalsError> {
        let member = self.member().ok_or(ListApprovalsError::NoProfile)?;
        let mut found = Approvals::default();
        if member.keyserver.is_some() {
            if urls.is_empty() {
                self.waits_at_server(&mut found).await?;
            } else {
                // Who is told where to look need not reach the server: it may be the one that is lost.
                let patient = impatient(&self.config);
                let patient = std::mem::replace(&mut self.config, patient);
                let _ = self.waits_at_server(&mut found).await;
                self.config = patient;
            }
        }
        let member = self.member().ok_or(ListApprovalsError::NoProfile)?;
        let known = match &member.keyserver {
            // Who is told where to look need not look where nobody may wait any more.
            _ if !urls.is_empty() => None,
            // There, the server relays.
            Some(_) => None,
            None => self.state().people.as_ref(),
        };
        // Where this device itself waits, others on this machine may wait meanwhile.
        let own = known.and_then(|people| people.listen.as_ref());
        let own = own.map(|address| format!("http://{address}"));
        let known = known.map_or(&[][..], |people| &people.relays);
        let known = known.iter().chain(&own);
        let mut relays: Vec<BaseUrl> = known.filter_map(|url| url.parse().ok()).collect();
        relays.extend_from_slice(urls);
        for url in relays {
            let source = Source::Device(url);
            if let Ok(notices) = self.notices_at(member, &source).await {
                self.sort(&mut found, member, &source, notices);
            }
        }
        found.pending.sort_by_key(|pending| {
            let ceremony = pending.question.ceremony();
            (ceremony.opened_at, ceremony.id)
        });
        Ok(found)
    }

    /// Learns of the profile's newest version from the key shard server, and asks it for what waits there.
    async fn waits_at_server(&mut self, found: &mut Approvals) -> Result<(), ListApprovalsError> {
        self.refresh_profile().await.map_err(Box::new)?;
        let member = self.member().ok_or(ListApprovalsError::NoProfile)?;
        let notices = self.notices_at(member, &Source::Keyserver).await?;
        self.sort(found, member, &Source::Keyserver, notices);
        Ok(())
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

    async fn notices_at(
        &self,
        member: &Member,
        source: &Source,
    ) -> Result<Vec<PendingNotice>, HoldError> {
        let link = self.link_to(member, source).await?;
        match self
            .ask_relay(member, &link, Item::PendingCeremonies)
            .await?
        {
            ItemAnswer::Notices(notices) => Ok(notices),
            _ => Err(HoldError::BadAnswer),
        }
    }

    async fn link_to(&self, member: &Member, source: &Source) -> Result<Link, AskError> {
        match source {
            Source::Keyserver => {
                let keyserver = member.keyserver.clone().ok_or(AskError::NoUrl)?;
                Link::new(&self.config, self.config.urls_or(&member.urls), keyserver)
            }
            Source::Device(url) => {
                let config = impatient(&self.config);
                let urls = vec![url.clone()];
                // Whoever answers there is trusted with nothing: see the notices.
                let card = Link::fetch_card(&config, urls.clone()).await?;
                let identity = card.verify(&card.claimed_id());
                let identity = identity.map_err(|_| AskError::NoUrl)?;
                Link::new(&config, urls, identity)
            }
        }
    }

    /// The newer backup key of the same server that this device has approved the making of, where an older
    /// one is to be used.
    #[must_use]
    pub fn newer_backup(&self, question: &Question) -> Option<Generation> {
        let (kss_id, used) = contribution::used(question)?;
        let people = self.state().people.as_ref()?;
        let known = people.backups.iter().flatten();
        let newest = known.filter(|known| known.kss_id == kss_id);
        newest
            .map(|known| known.generation)
            .filter(|known| *known > used)
            .max()
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
    /// of, or the answer cannot be delivered.
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
        let member = self.member().ok_or(AnswerApprovalError::NoProfile)?.clone();
        let answer = contribution::approve(question, &member.keys, member.device.id())?;
        self.deliver(&member, pending, answer).await?;
        if let Some((kss_id, generation)) = contribution::made(question) {
            let lock = self.lock()?;
            self.change(&lock, |state| {
                state.people_mut().note_backup(kss_id, generation);
            })?;
        }
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
        let link = self.link_to(member, &pending.source).await?;
        let id = pending.id();
        let item = Item::AnswerCeremony { id, answer };
        match self.ask_relay(member, &link, item).await {
            Ok(_) => Ok(()),
            Err(HoldError::Relay(failure)) => Err(AnswerApprovalError::Failed(failure)),
            Err(HoldError::Denied(denial)) => Err(AnswerApprovalError::Denied(denial)),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps the newer versions of the profile that came along, so that nobody can show this device an
    /// older one again.
    fn take_over(&mut self, question: &Question) -> Result<(), AnswerApprovalError> {
        let lock = self.lock()?;
        let known = self.state().membership.as_ref();
        let known = known.ok_or(AnswerApprovalError::NoProfile)?;
        let head = known.head.follow(question.profile())?;
        if head == known.head {
            return Ok(());
        }
        let from = known.head.number;
        let new: Vec<_> = question
            .versions()
            .iter()
            .filter(|signed| signed.version().number > from)
            .cloned()
            .collect();
        self.change(&lock, |state| {
            if let Some(membership) = &mut state.membership {
                membership.versions.extend(new);
                membership.head = head;
            }
        })?;
        Ok(())
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
    notice
        .and_then(|notice| notice.examine(&member.profile, &device, now))
        .map_err(|error| ErrorChain(&error).to_string())
}
