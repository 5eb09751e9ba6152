use ostrakon_storage::{AuditHead, AuditRow, CounterChange, RequestRecord, Store, StoreError};
use ostrakon_types::CounterKey;

use super::{
    draft::Draft,
    job::{Done, Waiting},
    known::Known,
    made::Made,
};
use crate::AuditLog;

/// A batch of [plain](super::job::Job::is_plain) jobs that is settled, and not written yet.
///
/// It is made without a look at the database, of what the writer knows, so that it can be made while the
/// batch before it is still being written. What it rests on is made sure of when it is written: no
/// request has a record yet, and each counter that it charges, or for which it denies, holds what was
/// assumed. Otherwise nothing is written.
pub(super) struct Plan {
    pub(super) done: Vec<Done>,
    /// What the counters hold once it is written.
    pub(super) counts: Vec<(CounterKey, Option<u64>)>,
    /// The chain's newest link once it is written.
    pub(super) head: AuditHead,
    changes: Vec<CounterChange>,
    records: Vec<RequestRecord>,
    rows: Vec<AuditRow>,
}

impl Plan {
    /// Settles the jobs behind the chain's `head`.
    pub(super) async fn make(
        store: &Store,
        audit: &AuditLog,
        known: &Known,
        head: AuditHead,
        jobs: &[Waiting],
    ) -> Result<Self, StoreError> {
        let requests = jobs.iter().filter_map(|waiting| waiting.job.request());
        let mut made = Made::of(Draft::assume(store, known, requests).await?);
        let mut done = Vec::with_capacity(jobs.len());
        for waiting in jobs {
            done.push(made.carry_out(&waiting.job, None).await?);
        }
        let (rows, head) = audit.link(store, head, &made.log)?;
        let counts = made.draft.counts();
        Ok(Self {
            done,
            counts: counts.map(|(key, count)| (key.clone(), count)).collect(),
            head,
            changes: made.draft.changes(),
            records: made.draft.into_records(),
            rows,
        })
    }

    /// Writes it. Nothing has happened unless it returns `Ok`, but for a commit whose outcome the
    /// database did not tell.
    pub(super) async fn write(
        self,
        store: &Store,
        audit: &AuditLog,
    ) -> Result<Vec<Done>, StoreError> {
        let mut tx = store.begin().await?;
        tx.count(&self.changes).await?;
        tx.record(&self.records).await?;
        tx.append_audit(audit.instance(), self.rows).await?;
        tx.commit().await?;
        Ok(self.done)
    }
}
