use ostrakon_storage::StoreError;
use ostrakon_types::{Charge, Decision, Denial, Recorded, Refusal, Reply, Settled, Settling, Step};

use super::{
    Act, Explain, RequestItem, SettleRequest,
    database::Transact,
    draft::Draft,
    job::{Done, Job},
};
use crate::{AuditEvent, AuditRecord, Charged, ProfileHead};

/// Requests that are settled in memory, against a [`Draft`], and what is to be written of them.
#[derive(Default)]
pub(super) struct Made {
    pub(super) draft: Draft,
    pub(super) log: Vec<AuditRecord>,
}

impl Made {
    /// Nothing made yet of what the draft shows.
    pub(super) fn of(draft: Draft) -> Self {
        Self {
            draft,
            log: Vec::new(),
        }
    }

    /// Carries out a job that [shares](Job::shares) its transaction. Without `tx` it must be
    /// [plain](Job::is_plain).
    pub(super) async fn carry_out(
        &mut self,
        job: &Job,
        tx: Option<&mut impl Transact>,
    ) -> Result<Done, StoreError> {
        match job {
            Job::Settle(request, _) => self.settle(request, tx).await.map(Done::Settled),
            Job::Note(record, _) => {
                self.log.push(record.clone());
                Ok(Done::Noted)
            }
            _ => Ok(Done::Settled(Err(Refusal::OutOfTurn))),
        }
    }

    /// Drives the state machine that settles a request.
    async fn settle(
        &mut self,
        request: &SettleRequest,
        mut tx: Option<&mut impl Transact>,
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
                    Some(item) => apply(request, item, tx.as_deref_mut()).await?,
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
            self.log.push(AuditRecord::new(request.at, event));
        }
    }
}

async fn apply(
    request: &SettleRequest,
    item: &RequestItem,
    tx: Option<&mut impl Transact>,
) -> Result<bool, StoreError> {
    if item.act.is_plain() {
        return Ok(true);
    }
    // Whether it can be done, the database alone can tell.
    let tx = tx.ok_or(StoreError::Overtaken)?;
    tx.apply(request, &item.act).await
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
