//! The durable ledger.
//!
//! One task per process writes. It takes every request that waits, settles all of them in one
//! transaction, commits, and only then answers: many waiting requests cost one commit, and a request
//! that comes alone waits for no timer. When a transaction fails, each of its requests is tried alone,
//! so that one cannot spoil the others.

mod writer;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ostrakon_shards::profile::{Profile, SignedVersion};
use ostrakon_storage::{LocationRecord, RequestKey, Store, StoreError};
use ostrakon_types::{
    Charge, CryptographicId, Denial, Digest, MetaItem, Proposal, Refusal, RequestKind, UnixMillis,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{Approval, AuditEvent, AuditLog, AuditRecord};

/// A request whose items are to be decided.
#[derive(Debug)]
pub struct SettleRequest {
    /// What names it over its retries.
    pub key: RequestKey,
    /// The digest of its body.
    pub body: Digest,
    /// The instant for which its proposals were made.
    pub at: UnixMillis,
    /// Its items, in order.
    pub items: Vec<RequestItem>,
}

/// One item of a request.
#[derive(Debug)]
pub struct RequestItem {
    /// What it asks for.
    pub kind: RequestKind,
    /// The file key that it means, if any.
    pub cryptographic_id: Option<CryptographicId>,
    /// The files that it means.
    pub meta: Vec<MetaItem>,
    /// What the policy says of it.
    pub proposal: Proposal,
    /// Why it is denied, if it is.
    pub explanation: Option<Explain>,
    /// What an approval does.
    pub act: Act,
}

/// Makes words of the charges that do not fit.
type ByCharges = dyn Fn(&[Charge]) -> String + Send + Sync;

/// Why an item is denied, in words for the operator.
pub enum Explain {
    /// The policy denies it.
    Policy(String),
    /// Its quotas may be used up, which settling finds out: the words are made of the charges that do not
    /// fit.
    Quota(Box<ByCharges>),
}

impl fmt::Debug for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy(_) => "Policy",
            Self::Quota(_) => "Quota",
        })
    }
}

/// What the approval of an item does, in the same transaction.
#[derive(Debug)]
#[non_exhaustive]
pub enum Act {
    /// Nothing beside being approved.
    None,
    /// Allows the release of the shard with this [`binding`](crate::binding).
    Release(Digest),
    /// Registers a profile.
    CreateProfile(Box<(Profile, SignedVersion)>),
    /// Registers a secure folder.
    CreateLocation(LocationRecord),
}

/// What an operator changes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Change {
    /// Answer requests, or none.
    SetEnabled(bool),
    /// Put a policy in force.
    LoadPolicy {
        /// The IANA name of the zone in which its times are meant.
        time_zone: String,
        /// The text of the file.
        source: String,
    },
}

/// The answer to one item.
#[derive(Debug)]
pub enum Verdict {
    /// Approved; with the approval where a shard is to be released.
    Approved(Option<Approval>),
    /// Denied.
    Denied(Denial),
}

/// Why a request was not settled.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The request gets no decisions.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The ledger cannot be written. Whether a decision was recorded is open until the request is
    /// tried again with the same id.
    #[error("ledger cannot be written")]
    Unavailable(#[source] Arc<StoreError>),
    /// The ledger was shut down.
    #[error("ledger is shut down")]
    Stopped,
}

/// How much the ledger takes on.
#[derive(Clone, Copy, Debug)]
pub struct LedgerLimits {
    /// Requests that wait for the writer at most; more wait for a place among them.
    pub queue: usize,
    /// Requests that are settled in one transaction at most.
    pub batch: usize,
}

impl Default for LedgerLimits {
    fn default() -> Self {
        Self {
            queue: 1024,
            batch: 256,
        }
    }
}

enum Job {
    Settle(
        Box<SettleRequest>,
        oneshot::Sender<Result<Vec<Verdict>, LedgerError>>,
    ),
    Administer(
        Change,
        UnixMillis,
        oneshot::Sender<Result<i64, LedgerError>>,
    ),
    Forget(UnixMillis, oneshot::Sender<Result<i64, LedgerError>>),
    Note(AuditRecord, oneshot::Sender<Result<i64, LedgerError>>),
}

/// A handle to the durable ledger.
#[derive(Clone)]
pub struct Ledger {
    jobs: mpsc::Sender<Job>,
    writable: Arc<AtomicBool>,
}

impl Ledger {
    /// Starts the writer. It ends, with all that waits settled, when the last handle is dropped.
    #[must_use]
    pub fn start(
        store: Arc<Store>,
        audit: AuditLog,
        limits: LedgerLimits,
    ) -> (Self, JoinHandle<()>) {
        let (jobs, waiting) = mpsc::channel(limits.queue.max(1));
        let writable = Arc::new(AtomicBool::new(true));
        let writer = writer::Writer::new(store, audit, Arc::clone(&writable), limits.batch.max(1));
        (Self { jobs, writable }, tokio::spawn(writer.run(waiting)))
    }

    /// Decides the items of a request, durably, and answers with one verdict for each.
    ///
    /// A request that was settled before gets its first verdicts again, at no charge.
    ///
    /// # Errors
    /// When the request's id was used for another body, or nothing can be recorded: then nothing may
    /// be released.
    pub async fn settle(&self, request: SettleRequest) -> Result<Vec<Verdict>, LedgerError> {
        self.ask(|reply| Job::Settle(Box::new(request), reply))
            .await
    }

    /// Makes a change of an operator's, with its audit record. Answers with the number of the policy
    /// in force when one was loaded.
    ///
    /// # Errors
    /// When nothing can be recorded.
    pub async fn administer(&self, change: Change, now: UnixMillis) -> Result<i64, LedgerError> {
        self.ask(|reply| Job::Administer(change, now, reply)).await
    }

    /// Records that the approved shard of an item did not open, and so was not released.
    ///
    /// # Errors
    /// When nothing can be recorded.
    pub async fn unreleased(
        &self,
        key: &RequestKey,
        item: u32,
        now: UnixMillis,
    ) -> Result<(), LedgerError> {
        let event = AuditEvent::Unreleased {
            profile: key.profile,
            device: key.device,
            request: key.request,
            item,
        };
        let record = AuditRecord { at: now, event };
        self.ask(|reply| Job::Note(record, reply)).await.map(|_| ())
    }

    /// Forgets requests that are too old to be retried. Finds out, too, whether the ledger can be
    /// written.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn forget(&self, now: UnixMillis) -> Result<(), LedgerError> {
        self.ask(|reply| Job::Forget(now, reply)).await.map(|_| ())
    }

    /// Whether the last transaction could be written.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, LedgerError>>) -> Job,
    ) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.jobs
            .send(job(reply))
            .await
            .map_err(|_| LedgerError::Stopped)?;
        answer.await.map_err(|_| LedgerError::Stopped)?
    }
}

#[cfg(test)]
mod tests;
