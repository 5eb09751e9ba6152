use std::sync::Arc;

use ostrakon_storage::StoreError;
use ostrakon_types::{Decision, Refusal, Settled, UnixMillis};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Act, Change, LedgerError, Relay, SettleRequest, Verdict};
use crate::{Approval, AuditRecord};

/// Tells the one who asked.
pub(super) type Answer<T> = oneshot::Sender<Result<T, LedgerError>>;

/// What the writer is asked for.
pub(crate) enum Job {
    Settle(Box<SettleRequest>, Answer<Vec<Verdict>>),
    Note(AuditRecord, Answer<()>),
    Administer(Change, UnixMillis, Answer<i64>),
    /// Answers whether it could be.
    Relay(Box<Relay>, UnixMillis, Answer<bool>),
    /// Answers whether there is more to forget.
    Forget(UnixMillis, Answer<bool>),
    Probe(Answer<()>),
}

/// A job with its place in the queue, which is free again once it is answered.
pub(super) struct Waiting {
    pub(super) job: Job,
    pub(super) _place: OwnedSemaphorePermit,
}

/// What became of a job inside its transaction: told to the one who asked only after the commit.
pub(crate) enum Done {
    Settled(Result<Settled, Refusal>),
    /// It was judged by what has changed since, and nothing was recorded of it.
    Outdated,
    Noted,
    Administered(i64),
    Relayed(bool),
    Forgotten {
        more: bool,
    },
    Probed,
}

impl Job {
    /// How many items are to be settled; 1 for everything else.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Settle(request, _) => request.items.len().max(1),
            _ => 1,
        }
    }

    /// Whether it may share a transaction with others of its kind. What changes counters or requests
    /// by other ways than settling may not: a batch keeps in memory what it read of them.
    pub(super) fn shares(&self) -> bool {
        matches!(self, Self::Settle(..) | Self::Note(..))
    }

    /// Whether it can be settled without a look at the database.
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Settle(request, _) => request.items.iter().all(|item| item.act.is_plain()),
            Self::Note(..) => true,
            _ => false,
        }
    }

    /// Whether it may make or change a profile.
    pub(super) fn changes_profiles(&self) -> bool {
        let changes = |act: &Act| matches!(act, Act::CreateProfile(_) | Act::ChangeProfile(_));
        match self {
            Self::Settle(request, _) => request.items.iter().any(|item| changes(&item.act)),
            Self::Administer(change, ..) => matches!(change, Change::TakeProfile { .. }),
            _ => false,
        }
    }

    pub(super) fn request(&self) -> Option<&SettleRequest> {
        match self {
            Self::Settle(request, _) => Some(request),
            _ => None,
        }
    }

    /// Tells the one who asked. Approvals are made here and nowhere else: after the commit.
    pub(super) fn answer(self, done: Done) {
        match (self, done) {
            (Self::Settle(request, answer), Done::Settled(settled)) => {
                let verdicts = settled.and_then(|settled| verdicts(&request, &settled));
                let _ = answer.send(verdicts.map_err(LedgerError::from));
            }
            (Self::Settle(_, answer), Done::Outdated) => {
                let _ = answer.send(Err(LedgerError::Outdated));
            }
            (Self::Note(_, answer), Done::Noted) | (Self::Probe(answer), Done::Probed) => {
                let _ = answer.send(Ok(()));
            }
            (Self::Administer(_, _, answer), Done::Administered(number)) => {
                let _ = answer.send(Ok(number));
            }
            (Self::Relay(_, _, answer), Done::Relayed(done)) => {
                let _ = answer.send(Ok(done));
            }
            (Self::Forget(_, answer), Done::Forgotten { more }) => {
                let _ = answer.send(Ok(more));
            }
            (job, _) => job.refuse(Refusal::OutOfTurn.into()),
        }
    }

    pub(super) fn fail(self, error: &Arc<StoreError>) {
        self.refuse(LedgerError::Unavailable(Arc::clone(error)));
    }

    fn refuse(self, error: LedgerError) {
        match self {
            Self::Settle(_, answer) => drop(answer.send(Err(error))),
            Self::Note(_, answer) | Self::Probe(answer) => drop(answer.send(Err(error))),
            Self::Administer(_, _, answer) => drop(answer.send(Err(error))),
            Self::Relay(_, _, answer) | Self::Forget(_, answer) => drop(answer.send(Err(error))),
        }
    }
}

/// One verdict for each item. A retry whose items are not those of the first try gets none: its
/// decisions would be given to others than they were made for.
fn verdicts(request: &SettleRequest, settled: &Settled) -> Result<Vec<Verdict>, Refusal> {
    if request.items.len() != settled.decisions.len() {
        return Err(Refusal::IdReused);
    }
    let verdicts = (0..).zip(request.items.iter().zip(&settled.decisions)).map(
        |(number, (item, decision))| match (decision, &item.act) {
            (Decision::Approve { .. }, Act::Release(binding)) => {
                Verdict::Approved(Some(Approval::grant(request.key, number, *binding)))
            }
            (Decision::Approve { .. }, _) => Verdict::Approved(None),
            (Decision::Deny { denial }, _) => Verdict::Denied(*denial),
        },
    );
    Ok(verdicts.collect())
}
