//! The way of a request: open the envelope, know the sender, judge each item, settle, release.
//!
//! One direction, no way back. Whatever fails before the sender is known answers alike, so that a
//! stranger learns nothing; whoever is known gets a sealed answer.

mod age;
mod changes;
mod items;
mod refresh;
mod relay;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ostrakon_custody::{
    AuditEvent, Ledger, LedgerError, RequestItem, SettleRequest, ShardKey, Signer, Verdict,
};
use ostrakon_shards::identity::VerifiedKeyserver;
use ostrakon_storage::{ChangeNumber, RequestKey, Store, StoreError};
use ostrakon_transport::{
    envelope::{Authentic, EnvelopeKey, Opened, SealResponseError, SessionMessage, Stranger},
    message::{Answer, ItemAnswer, RefusalCode, RequestBody, ResponseBody},
};
use ostrakon_types::{DeviceId, ErrorChain, UnixMillis};

use self::items::Judged;
pub(crate) use self::items::{ALL_PROFILES, new_profiles};
use crate::{
    administrators::Administrators,
    audit::{Reason, Tallies},
    basis::Basis,
    clock::Clock,
    clock_watch::{ClockFault, ClockWatch},
    directory::{Directory, Member, Seen},
    lineage::Lineage,
    policy::InForce,
    rate::{RateLimit, RateLimits},
    reserve::Reserve,
    sessions::{ResumeError, Sessions},
};

/// All that the way of a request needs.
pub(crate) struct Pipeline {
    pub(crate) clock: Clock,
    pub(crate) watch: ClockWatch,
    pub(crate) store: Arc<Store>,
    pub(crate) keyserver: VerifiedKeyserver,
    pub(crate) lineage: Lineage,
    pub(crate) envelope_key: EnvelopeKey,
    pub(crate) shard_key: ShardKey,
    pub(crate) signer: Signer,
    pub(crate) ledger: Ledger,
    pub(crate) policy: InForce,
    pub(crate) enabled: AtomicBool,
    /// Whether this instance answers none because the database could not be told.
    pub(crate) held_down: AtomicBool,
    /// What of a shared database was looked at last.
    pub(crate) basis: Arc<Basis>,
    pub(crate) refreshing: tokio::sync::Mutex<()>,
    pub(crate) directory: Directory,
    pub(crate) sessions: Sessions,
    pub(crate) administrators: Arc<Administrators>,
    pub(crate) first_contacts: RateLimit,
    pub(crate) relayed: RateLimit,
    /// The same for each device.
    pub(crate) relayed_by: RateLimits<DeviceId>,
    pub(crate) max_new_profiles_per_day: u64,
    pub(crate) tallies: Tallies,
    pub(crate) reserve: Reserve,
}

/// Why a request got no sealed answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// The sender is nobody that is known, or the envelope is nothing that opens.
    #[error("stranger")]
    Stranger(#[source] Stranger),
    /// Too many that are not known yet.
    #[error("too many first contacts")]
    TooMany,
    /// Not known yet, and what is left of the disk is kept back.
    #[error("no room for first contacts")]
    NoRoom,
    /// Too many steps of ceremonies.
    #[error("too many steps of ceremonies")]
    TooManySteps,
    /// Nothing can be decided now.
    #[error("cannot decide now")]
    Unavailable,
    /// It was judged by what another instance has changed since.
    #[error("judged by what has changed since")]
    Outdated,
}

/// How often a request is judged anew at most because others change what it rests on.
const JUDGED: u32 = 8;

impl From<Stranger> for Unanswered {
    fn from(stranger: Stranger) -> Self {
        Self::Stranger(stranger)
    }
}

impl Unanswered {
    /// As what it is counted.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Stranger(stranger) => Reason::from(*stranger),
            Self::TooMany => Reason::TooManyFirstContacts,
            Self::NoRoom => Reason::NoRoom,
            Self::TooManySteps => Reason::TooManySteps,
            Self::Unavailable | Self::Outdated => Reason::Unavailable,
        }
    }
}

impl From<ResumeError> for Unanswered {
    fn from(error: ResumeError) -> Self {
        match error {
            ResumeError::Stranger(stranger) => stranger.into(),
            ResumeError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Unanswered {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %ErrorChain(&error), "cannot read the database");
        Self::Unavailable
    }
}

/// Who sends a request.
enum Sender {
    /// A device of profiles that are registered.
    Member(Seen),
    /// A device of the administrators, whose profile need not be: it may answer ceremonies, and no more.
    Administrator,
    /// A device that is not known yet.
    Newcomer,
}

impl Sender {
    fn member(&self) -> Option<&Member> {
        match self {
            Self::Member(seen) => Some(&seen.member),
            Self::Administrator | Self::Newcomer => None,
        }
    }

    fn is_known(&self) -> bool {
        !matches!(self, Self::Newcomer)
    }
}

impl Pipeline {
    /// Answers one envelope with another.
    pub(crate) async fn answer(&self, envelope: &[u8]) -> Result<Vec<u8>, Unanswered> {
        let now = self.clock.now();
        if self.clock_fault().is_some() {
            return Err(Unanswered::Unavailable);
        }
        let (authentic, mut sender) = match SessionMessage::parse(envelope) {
            Some(message) => {
                let resumed = self.sessions.resume(&message, &self.directory, now);
                let (authentic, seen) = resumed.await?;
                (authentic, Sender::Member(seen))
            }
            None => {
                let opened = self.envelope_key.open(&self.keyserver.kss_id(), envelope)?;
                self.authenticate(opened, now).await?
            }
        };
        let device = authentic.device();
        let sealed = match authentic.parse(now) {
            Ok(body) => {
                let answer = self.decide_anew(device, &mut sender, &body, now).await?;
                if let Answer::Refused(code) = answer {
                    self.record_refusal(device, sender.is_known(), Some(&body), &code, now)
                        .await?;
                }
                let newest = self.lineage.newest();
                let response = ResponseBody {
                    request_id: Some(body.request_id()),
                    server_time: now,
                    answer,
                    // A state that is given up is not stated.
                    generation: (body.seen() != Some(&newest) && !self.lineage.is_superseded())
                        .then_some(newest),
                };
                self.seal(&authentic, &response, sender, now)
            }
            Err(code) => {
                tracing::info!(%device, reason = %code, "request refused");
                self.record_refusal(device, sender.is_known(), None, &code, now)
                    .await?;
                authentic.reply().seal(&ResponseBody::refused(now, code))
            }
        };
        sealed.map_err(|error| {
            tracing::error!(%error, "cannot seal the answer");
            Unanswered::Unavailable
        })
    }

    /// Seals the answer, and with it grants the session that a known device may have asked for.
    fn seal(
        &self,
        authentic: &Authentic,
        response: &ResponseBody,
        sender: Sender,
        now: UnixMillis,
    ) -> Result<Vec<u8>, SealResponseError> {
        let asked = authentic.asked_session();
        if let Sender::Member(seen) = sender
            && asked.is_some_and(|id| self.sessions.may_begin(&id))
            && let (sealed, Some(session)) = authentic.grant(response, now)?
            && self.sessions.begin(session, seen, now)
        {
            return Ok(sealed);
        }
        authentic.reply().seal(response)
    }

    /// Checks the signature by the card that is on record, or, on first contact, by the one inside.
    async fn authenticate(
        &self,
        opened: Opened,
        now: UnixMillis,
    ) -> Result<(Authentic, Sender), Unanswered> {
        // Before the look-up, so that it does not tell which devices are known.
        if opened.card().is_some() && !self.first_contacts.pass(now) {
            tracing::warn!("too many first contacts");
            return Err(Unanswered::TooMany);
        }
        if let Some(seen) = self.directory.member(&opened.device()).await? {
            return Ok((opened.verify(&seen.member.card)?, Sender::Member(seen)));
        }
        if opened.card().is_none() {
            if let Some(card) = self.administrators.card(&opened.device()) {
                return Ok((opened.verify(&card)?, Sender::Administrator));
            }
            return Err(opened.verify_nobody().into());
        }
        let first = opened.verify_first_contact()?.0;
        // Whatever is decided would be written, a denial too.
        if !self.reserve.leaves_room() {
            return Err(Unanswered::NoRoom);
        }
        Ok((first, Sender::Newcomer))
    }

    /// Decides a request, and judges it anew as long as another instance changes what it rests on.
    async fn decide_anew(
        &self,
        device: DeviceId,
        sender: &mut Sender,
        body: &RequestBody,
        now: UnixMillis,
    ) -> Result<Answer, Unanswered> {
        for _ in 1..JUDGED {
            match self.decide(device, sender, body, now).await {
                Err(Unanswered::Outdated) => {}
                decided => return decided,
            }
            if let Err(error) = self.refresh().await {
                tracing::error!(error = %ErrorChain(&error), "cannot follow another instance");
                return Err(Unanswered::Unavailable);
            }
            if let Sender::Member(seen) = sender {
                // Whose signature was checked may be no member any more.
                *seen = self
                    .directory
                    .member(&device)
                    .await?
                    .ok_or(Stranger::UnknownDevice)?;
            }
        }
        self.decide(device, sender, body, now).await
    }

    async fn decide(
        &self,
        device: DeviceId,
        sender: &Sender,
        body: &RequestBody,
        now: UnixMillis,
    ) -> Result<Answer, Unanswered> {
        // Before anything that may change.
        let basis = self.basis.get();
        let administers = self.is_for_administrators(device, body);
        if matches!(sender, Sender::Administrator) && !administers {
            return Ok(refused(device, body, RefusalCode::NotAMember));
        }
        let refusal = self.refuse_by_age(body).await?;
        // That the state may be an old one is what administrators may be asked about.
        if let Some(refusal) = refusal.filter(|_| !administers) {
            return Ok(refused(device, body, refusal));
        }
        let joins = match sender.member() {
            None => self.joins(device, body).await?,
            Some(_) => None,
        };
        let mut judged = Vec::with_capacity(body.items().len());
        for item in body.items() {
            if administers {
                judged.push(Judged::nothing());
                continue;
            }
            match self.judge(device, sender.member(), joins.as_ref(), body, item, now) {
                Some(item) => judged.push(item),
                None => return Ok(refused(device, body, RefusalCode::NotAMember)),
            }
        }
        let items: Vec<_> = judged
            .iter_mut()
            .filter_map(|item| item.request.take())
            .collect();
        let verdicts = match self.settle(device, body, basis, items, now).await {
            Ok(verdicts) => verdicts,
            Err(LedgerError::Refused(_)) => {
                return Ok(refused(device, body, RefusalCode::IdReused));
            }
            Err(LedgerError::Outdated) => return Err(Unanswered::Outdated),
            Err(_) => return Err(Unanswered::Unavailable),
        };
        // The audit log has it; a line for each request is more than a busy server needs.
        tracing::debug!(
            request = %body.request_id(),
            %device,
            profile = %body.profile(),
            items = body.items().len(),
            approved = verdicts.iter().filter(|v| matches!(v, Verdict::Approved(_))).count(),
            denied = verdicts.iter().filter(|v| matches!(v, Verdict::Denied(_))).count(),
            "request decided"
        );
        let mut verdicts = verdicts.into_iter();
        let mut answers = Vec::with_capacity(judged.len());
        for (item, judged) in body.items().iter().zip(judged) {
            let decided = judged.decided;
            let answer = self.carry_out(item, judged, &mut verdicts, device, body, now);
            let answer = answer.await?;
            // What was decided is on record, and what only asks changes nothing.
            if let ItemAnswer::Failed(failure) = &answer
                && !decided
                && !item.asks_for_a_list()
            {
                self.record_refusal(device, sender.is_known(), Some(body), failure, now)
                    .await?;
            }
            answers.push(answer);
        }
        Ok(Answer::Items(answers))
    }

    async fn settle(
        &self,
        device: DeviceId,
        body: &RequestBody,
        basis: ChangeNumber,
        items: Vec<RequestItem>,
        now: UnixMillis,
    ) -> Result<Vec<Verdict>, LedgerError> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let key = RequestKey {
            profile: body.profile(),
            device,
            request: body.request_id(),
        };
        let request = SettleRequest {
            key,
            body: body.digest(),
            at: now,
            basis,
            items,
        };
        if let Err(error) = self.lineage.settling(&self.store, &self.signer, now).await {
            tracing::error!(error = %ErrorChain(&error), "no new generation");
            // So that it is known whether anything can be written.
            self.ledger.probe().await?;
            return Err(LedgerError::Stopped);
        }
        self.ledger.settle(request).await
    }

    /// Puts a refusal on record before it is answered, or counts it where there are too many.
    async fn record_refusal(
        &self,
        device: DeviceId,
        known: bool,
        body: Option<&RequestBody>,
        reason: &(dyn fmt::Display + Sync),
        now: UnixMillis,
    ) -> Result<(), Unanswered> {
        if !known {
            self.tallies.count(Reason::FirstContactRefused);
            return Ok(());
        }
        if !self.tallies.records(device, now) {
            return Ok(());
        }
        let event = AuditEvent::Refused {
            device,
            profile: body.map(RequestBody::profile),
            request: body.map(RequestBody::request_id),
            reason: reason.to_string(),
        };
        let recorded = self.ledger.note(event, now).await;
        recorded.map_err(|_| Unanswered::Unavailable)
    }

    /// Why the clock is not believed, and so nothing decided, if that is so.
    pub(crate) fn clock_fault(&self) -> Option<ClockFault> {
        self.watch.fault(self.clock.now(), self.clock.since_boot())
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }
}

fn refused(device: DeviceId, body: &RequestBody, code: RefusalCode) -> Answer {
    tracing::info!(request = %body.request_id(), %device, reason = %code, "request refused");
    Answer::Refused(code)
}
