use ostrakon_storage::{AuditHead, Store, StoreError, Transaction};
use ostrakon_types::{Charge, Decision, Denial, Recorded, Refusal, Reply, Settled, Settling, Step};

use super::{
    Act, Explain, RequestItem, SettleRequest,
    draft::Draft,
    job::{Done, Job},
};
use crate::{AuditEvent, AuditLog, AuditRecord, Charged, ProfileHead};

/// How many audit records are sealed while the database writes as many others.
const SEALED_AT_ONCE: usize = 128;

/// Jobs that share one transaction.
///
/// It costs a fixed handful of statements: what all requests need is read at once, each is settled in
/// memory against that [`Draft`], and what all of them made is written at once. Only a new profile or
/// folder is a statement of its own.
pub(super) struct Batch<'j> {
    store: &'j Store,
    audit: &'j AuditLog,
    tx: Transaction<'j>,
    draft: Draft<'j>,
    log: Vec<AuditRecord>,
}

impl<'j> Batch<'j> {
    pub(super) async fn begin(
        store: &'j Store,
        audit: &'j AuditLog,
        jobs: impl Iterator<Item = &'j Job> + Clone,
    ) -> Result<Self, StoreError> {
        let records = jobs.clone().map(Job::weight).sum();
        let mut tx = store.begin().await?;
        let draft = Draft::read(&mut tx, jobs.filter_map(Job::request)).await?;
        Ok(Self {
            store,
            audit,
            tx,
            draft,
            log: Vec::with_capacity(records),
        })
    }

    /// Carries out a job that [shares](Job::shares) its transaction.
    pub(super) async fn carry_out(&mut self, job: &Job) -> Result<Done, StoreError> {
        match job {
            Job::Settle(request, _) => self.settle(request).await.map(Done::Settled),
            Job::Note(record, _) => {
                self.log.push(record.clone());
                Ok(Done::Noted)
            }
            _ => Ok(Done::Settled(Err(Refusal::OutOfTurn))),
        }
    }

    /// Writes everything behind the chain's `head`, and commits. Returns the new head.
    pub(super) async fn commit(self, head: AuditHead) -> Result<AuditHead, StoreError> {
        let Self {
            store,
            audit,
            mut tx,
            draft,
            log,
        } = self;
        tx.count(&draft.changes()).await?;
        // While the database writes one part, on its own thread, the next one is sealed.
        let mut parts = log.chunks(SEALED_AT_ONCE);
        let mut link = |head| audit.link(store, head, parts.next().unwrap_or_default());
        let (written, linked) =
            tokio::join!(biased; tx.record(draft.records()), async { link(head) });
        written?;
        let (mut rows, mut head) = linked?;
        while !rows.is_empty() {
            let (written, linked) = tokio::join!(
                biased;
                tx.append_audit(audit.instance(), rows),
                async { link(head) }
            );
            written?;
            (rows, head) = linked?;
        }
        tx.commit().await?;
        Ok(head)
    }

    /// Drives the state machine that settles a request.
    async fn settle(
        &mut self,
        request: &SettleRequest,
    ) -> Result<Result<Settled, Refusal>, StoreError> {
        let proposals = request.items.iter().map(|item| &item.proposal).collect();
        let mut settling = Settling::new(request.body, proposals);
        let mut refused = Vec::new();
        let mut reply = Reply::Start;
        loop {
            reply = match settling.next(reply) {
                Step::Recall => Reply::Recalled(self.draft.recall(&request.key)),
                Step::Charge(charge) => {
                    let fits = self.draft.charge(charge);
                    if !fits {
                        refused.push(charge.clone());
                    }
                    Reply::Charged(fits)
                }
                Step::Refund(charge) => {
                    self.draft.refund(charge);
                    Reply::Done
                }
                Step::Apply(item) => Reply::Applied(match request.items.get(item) {
                    Some(item) => self.apply(request, item).await?,
                    None => false,
                }),
                Step::Record(recorded) => {
                    self.draft.record(request.key, recorded, request.at);
                    self.log_decisions(request, recorded, &refused);
                    Reply::Done
                }
                Step::Finish(settled) => return Ok(settled),
            };
        }
    }

    async fn apply(
        &mut self,
        request: &SettleRequest,
        item: &RequestItem,
    ) -> Result<bool, StoreError> {
        match &item.act {
            Act::None | Act::Release(_) => Ok(true),
            Act::CreateProfile(new) => {
                let (profile, signed) = &**new;
                self.tx.insert_profile(profile, signed, request.at).await
            }
            Act::ChangeProfile(next) => {
                let (profile, signed) = &**next;
                self.tx.advance_profile(profile, signed).await
            }
            Act::CreateLocation(record) => {
                self.tx.insert_location(&request.key.profile, record).await
            }
        }
    }

    fn log_decisions(&mut self, request: &SettleRequest, recorded: &Recorded, refused: &[Charge]) {
        for (number, (item, decision)) in (0..).zip(request.items.iter().zip(&recorded.decisions)) {
            let event = AuditEvent::Decided {
                profile: request.key.profile,
                device: request.key.device,
                request: request.key.request,
                item: number,
                kind: item.kind,
                cryptographic_id: item.cryptographic_id,
                meta: item.meta.clone(),
                decision: decision.clone(),
                explanation: explained(item, decision, refused),
                charged: Charged::by(&item.proposal, decision, &request.key.profile),
                head: put_in_force(item, decision),
            };
            self.log.push(AuditRecord {
                at: request.at,
                event,
            });
        }
    }
}

/// The version of a profile that the decision put in force, if it did.
fn put_in_force(item: &RequestItem, decision: &Decision) -> Option<ProfileHead> {
    match &item.act {
        Act::CreateProfile(of) | Act::ChangeProfile(of) if decision.is_approved() => {
            Some(of.0.head().into())
        }
        _ => None,
    }
}

/// Why the item is denied, if it is, in words for the operator.
fn explained(item: &RequestItem, decision: &Decision, refused: &[Charge]) -> Option<String> {
    match (decision, item.explanation.as_ref()?) {
        (Decision::Approve { .. }, _) => None,
        (Decision::Deny { .. }, Explain::Policy(text)) => Some(text.clone()),
        (
            Decision::Deny {
                denial: Denial::Quota { .. },
            },
            Explain::Quota(explain),
        ) => Some(explain(refused)),
        (Decision::Deny { .. }, Explain::Quota(_)) => None,
    }
}
