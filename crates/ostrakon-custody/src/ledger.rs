//! The durable ledger.
//!
//! One task per process writes. It takes every request that waits, settles all of them in one
//! transaction, commits, and only then answers: many waiting requests cost one commit and a handful of
//! statements, and a request that comes alone waits for no timer. When a transaction fails, each half
//! of its requests is tried for itself, down to a single one, so that one cannot spoil the others.
//!
//! While the database writes one batch, the next is settled in memory, on what the writer knows of the
//! counters: see [`plan::Plan`]. A batch that turns out to rest on something that is not so any more is
//! settled again, on what its own transaction reads.
//!
//! That a limit holds does not rest on there being one writer: counters are written on condition that
//! they hold what was read, so other processes may settle on the same database. Where they do, each
//! transaction also looks whether a policy, a profile or the server's state has changed since a request was
//! judged: such a request is given back, to be judged anew.

mod administer;
mod alone;
mod batch;
mod ceremonies;
pub(crate) mod database;
mod draft;
pub(crate) mod head_file;
mod job;
mod known;
mod made;
mod plan;
mod writer;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use ostrakon_shards::{
    generation::Generation,
    profile::{Profile, SignedVersion},
    seal::Sealed,
};
use ostrakon_storage::{
    ArchiveRow, CarriedLocation, CeremonyRecord, CertificateRow, ChangeNumber, CheckpointRow,
    InstanceId, LocationRecord, RequestKey, Store, StoreError,
};
use ostrakon_types::{
    CeremonyId, Charge, CryptographicId, Denial, DeviceId, Digest, MetaItem, ProfileId, Proposal,
    Refusal, RequestKind, UnixMillis,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
};

pub use head_file::HeadFileError;

use self::{
    database::Database,
    job::{Answer, Job, Waiting},
};
use crate::{Approval, AuditEvent, AuditLog, AuditRecord, Break};

/// A request whose items are to be decided.
#[derive(Debug)]
pub struct SettleRequest {
    /// What names it over its retries.
    pub key: RequestKey,
    /// The digest of its body.
    pub body: Digest,
    /// The instant for which its proposals were made.
    pub at: UnixMillis,
    /// How often something had changed before its proposals were made.
    pub basis: ChangeNumber,
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
    /// Puts a profile's next version in force.
    ChangeProfile(Box<(Profile, SignedVersion)>),
}

impl Act {
    /// Whether it changes nothing in the database, so that nothing there can forbid it.
    fn is_plain(&self) -> bool {
        matches!(self, Self::None | Self::Release(_))
    }
}

/// What the relay of ceremonies keeps or forgets. It reads nothing of what is sealed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Relay {
    /// Keeps a ceremony's notices for their devices.
    Open {
        /// The ceremony.
        ceremony: CeremonyRecord,
        /// What it is about, where the relay is to know.
        opening: Option<Vec<u8>>,
        /// What is for whom.
        notices: Vec<(DeviceId, Sealed)>,
        /// How many its requester may have open.
        most: u32,
    },
    /// Keeps a device's answer for the requester.
    Answer {
        /// The profile.
        profile: ProfileId,
        /// The ceremony.
        ceremony: CeremonyId,
        /// The device that answers.
        device: DeviceId,
        /// Its answer.
        answer: Sealed,
    },
    /// Forgets a ceremony.
    Close {
        /// The profile.
        profile: ProfileId,
        /// The ceremony.
        ceremony: CeremonyId,
        /// The device that opened it.
        requester: DeviceId,
        /// How it ended, as the requester says.
        outcome: &'static str,
    },
    /// Forgets a ceremony, whoever opened it, because the operator wants it so.
    Cancel {
        /// The ceremony.
        ceremony: CeremonyId,
        /// The server.
        by: DeviceId,
    },
}

/// What an operator changes, or what the server does about itself.
#[derive(Debug)]
#[non_exhaustive]
pub enum Change {
    /// Keep a backup file that was made.
    SaveBackup {
        /// Its generation.
        generation: Generation,
        /// Its text.
        file: String,
        /// Who approved, for the record.
        detail: String,
    },
    /// Let a server that was recovered wait until it is enabled.
    Stage,
    /// Take a profile, or its newer versions, which a member has shown.
    TakeProfile {
        /// The profile in its newest version.
        profile: Box<Profile>,
        /// All its versions.
        versions: Vec<SignedVersion>,
        /// How many of them are there already.
        known: u64,
    },
    /// Take a profile's secure folder from a backup. The answer is 0 where it is there.
    TakeLocation {
        /// Whose.
        profile: ProfileId,
        /// The folder, with its key.
        carried: Box<CarriedLocation>,
    },
    /// Answer requests, or none.
    SetEnabled {
        /// Which.
        enabled: bool,
        /// On whose word, where it is not the operator's alone.
        by: Option<String>,
        /// The ceremony in which that was approved, where it was. It ends with it; where it has ended before,
        /// nothing is done, and the answer is 0 in place of 1.
        spends: Option<Spends>,
    },
    /// Put a policy in force.
    LoadPolicy {
        /// The IANA name of the zone in which its times are meant.
        time_zone: String,
        /// Its text.
        source: String,
        /// The number for which it was approved, where it needed that: if the next one is another, nothing
        /// is done, and the answer is 0.
        number: Option<i64>,
        /// On whose word, where it is not the operator's alone.
        by: Option<String>,
    },
    /// Set counters back to zero.
    ClearQuota {
        /// A profile's; nobody means every profile's.
        profile: Option<ProfileId>,
        /// On whose word, where it is not the operator's alone.
        by: Option<String>,
    },
    /// Keep what is known of a certificate that the server issued, or revoked.
    Certificate {
        /// What is known.
        row: CertificateRow,
        /// The record of what was done.
        event: AuditEvent,
    },
    /// Put on record that a chain is not where a witness saw it, and answer no more requests.
    Break(Break),
    /// Keep a checkpoint. It is about the log, not in it.
    Checkpoint(CheckpointRow),
    /// Keep an archive's manifest, from which the chains begin.
    Archive {
        /// The manifest.
        row: ArchiveRow,
        /// The record of it: [`AuditEvent::Archived`].
        event: AuditEvent,
    },
    /// Take at most some records away from the beginning of a chain, which an archive holds.
    PruneRecords {
        /// Whose chain.
        instance: InstanceId,
        /// The last number that may go.
        through: u64,
        /// At most so many.
        count: u32,
    },
    /// Take at most some checkpoints away, which an archive holds.
    PruneCheckpoints {
        /// The first number that stays.
        before: u64,
        /// At most so many.
        count: u32,
    },
}

/// A ceremony whose approval is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spends {
    /// The profile whose devices approved.
    pub profile: ProfileId,
    /// The ceremony.
    pub ceremony: CeremonyId,
    /// Who opened it.
    pub requester: DeviceId,
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
    /// Something changed, on another instance, on which the proposals rest: they are to be made again.
    #[error("the request was judged by what has changed since")]
    Outdated,
    /// The ledger was shut down.
    #[error("ledger is shut down")]
    Stopped,
}

/// How much the ledger takes on. A request counts by its items.
#[derive(Clone, Copy, Debug)]
pub struct LedgerLimits {
    /// Items that wait for the writer at most; more wait for a place among them.
    pub queue: usize,
    /// A transaction takes no further request once it has so many items.
    pub batch: usize,
}

impl Default for LedgerLimits {
    fn default() -> Self {
        Self {
            queue: 4096,
            batch: 512,
        }
    }
}

/// A handle to the durable ledger.
#[derive(Clone)]
pub struct Ledger {
    jobs: mpsc::Sender<Waiting>,
    places: Arc<Semaphore>,
    limits: LedgerLimits,
    writable: Arc<AtomicBool>,
    profile_changes: Arc<AtomicU64>,
}

impl Ledger {
    /// Starts the writer. It ends, with all that waits settled, when the last handle is dropped.
    #[must_use]
    pub fn start(
        store: Arc<Store>,
        audit: AuditLog,
        limits: LedgerLimits,
    ) -> (Self, JoinHandle<()>) {
        Self::start_on(store, audit, limits)
    }

    fn start_on<D: Database>(
        store: Arc<D>,
        audit: AuditLog,
        limits: LedgerLimits,
    ) -> (Self, JoinHandle<()>) {
        let limits = LedgerLimits {
            queue: limits.queue.clamp(1, Semaphore::MAX_PERMITS),
            batch: limits.batch.max(1),
        };
        // Each job has a place, so there are never more of them.
        let (jobs, queue) = mpsc::channel(limits.queue);
        let writable = Arc::new(AtomicBool::new(true));
        let profile_changes = Arc::new(AtomicU64::new(0));
        let told = writer::Told {
            writable: Arc::clone(&writable),
            local: Arc::default(),
            profile_changes: Arc::clone(&profile_changes),
        };
        let writer = writer::Writer::new(store, audit, told, limits.batch);
        let ledger = Self {
            jobs,
            places: Arc::new(Semaphore::new(limits.queue)),
            limits,
            writable,
            profile_changes,
        };
        (ledger, tokio::spawn(writer.run(queue)))
    }

    /// Decides the items of a request, durably, and answers with one verdict for each.
    ///
    /// A request that was settled before gets its first verdicts again, at no charge.
    ///
    /// # Errors
    /// When the request's id was used for another body, or nothing can be recorded: then nothing may
    /// be released.
    pub async fn settle(&self, request: SettleRequest) -> Result<Vec<Verdict>, LedgerError> {
        self.ask(|answer| Job::Settle(Box::new(request), answer))
            .await
    }

    /// Makes a change, with its audit record. Answers with the number of the policy in force when one was
    /// loaded, or of rows that were taken away; 1 when a profile was taken, 0 when it was not.
    ///
    /// # Errors
    /// When nothing can be recorded.
    pub async fn administer(&self, change: Change, now: UnixMillis) -> Result<i64, LedgerError> {
        self.ask(|answer| Job::Administer(change, now, answer))
            .await
    }

    /// Carries out what a device asks of the relay, with its audit record. `false` when it cannot be:
    /// too many ceremonies, or none such.
    ///
    /// # Errors
    /// When nothing can be recorded.
    pub async fn relay(&self, relay: Relay, now: UnixMillis) -> Result<bool, LedgerError> {
        self.ask(|answer| Job::Relay(Box::new(relay), now, answer))
            .await
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
        self.note(event, now).await
    }

    /// Writes a record of what needs no change.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn note(&self, event: AuditEvent, now: UnixMillis) -> Result<(), LedgerError> {
        let record = AuditRecord::new(now, event);
        self.ask(|answer| Job::Note(record, answer)).await
    }

    /// Forgets requests that are too old to be retried, counters whose windows have ended, and ceremonies
    /// that have expired: a few at a time, between the requests that wait.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub async fn forget(&self, now: UnixMillis) -> Result<(), LedgerError> {
        while self.ask(|answer| Job::Forget(now, answer)).await? {}
        Ok(())
    }

    /// Finds out whether the ledger can be written, by a write.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn probe(&self) -> Result<(), LedgerError> {
        self.ask(Job::Probe).await
    }

    /// How often this process may have made or changed profiles. It grows between the commit and its
    /// answer, also when nobody waits for the answer any more.
    #[must_use]
    pub fn profile_changes(&self) -> u64 {
        self.profile_changes.load(Ordering::Acquire)
    }

    /// Whether the last transaction could be written.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    async fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, LedgerError> {
        let (answer, answered) = oneshot::channel();
        let job = job(answer);
        // A request that is larger than the queue takes all of it.
        let weight = u32::try_from(job.weight().min(self.limits.queue)).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.places).acquire_many_owned(weight).await;
        let place = place.map_err(|_| LedgerError::Stopped)?;
        let waiting = Waiting { job, _place: place };
        self.jobs
            .send(waiting)
            .await
            .map_err(|_| LedgerError::Stopped)?;
        answered.await.map_err(|_| LedgerError::Stopped)?
    }
}

#[cfg(test)]
pub(crate) mod tests;
