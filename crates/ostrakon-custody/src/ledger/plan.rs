use ostrakon_storage::{
    AuditHead, AuditRow, ChangeNumber, CounterChange, RequestRecord, StoreError,
};

use super::{
    database::{Database, Transact},
    job::{Done, Waiting},
    known::Known,
    made::Made,
};
use crate::AuditLog;

/// A batch of [plain](super::job::Job::is_plain) jobs that is settled as they come, and not written yet.
///
/// It is made of what the writer knows, without a look at what is being written, so that it can grow
/// while the batch before it is. What it rests on is made sure of when it is written: no request has a
/// record yet, each counter that it charges, or for which it denies, holds what was assumed, and nothing
/// has changed on which a request was judged. Otherwise nothing is written.
pub(super) struct Plan {
    /// The jobs, in order.
    pub(super) jobs: Vec<Waiting>,
    /// How many items they have.
    pub(super) items: usize,
    done: Vec<Done>,
    made: Made,
    rows: Vec<AuditRow>,
    head: AuditHead,
    /// The oldest of what its requests were judged by.
    basis: Option<ChangeNumber>,
}

/// What is to be written of a plan.
pub(super) struct Write {
    /// The chain's newest link once it is written.
    pub(super) head: AuditHead,
    changes: Vec<CounterChange>,
    records: Vec<RequestRecord>,
    rows: Vec<AuditRow>,
    basis: Option<ChangeNumber>,
}

impl Plan {
    /// An empty plan behind the chain's `head`.
    pub(super) fn behind(head: AuditHead) -> Self {
        Self {
            jobs: Vec::new(),
            items: 0,
            done: Vec::new(),
            made: Made::default(),
            rows: Vec::new(),
            head,
            basis: None,
        }
    }

    /// Settles more jobs. After an error the plan is good for nothing but its jobs.
    pub(super) async fn add<D: Database>(
        &mut self,
        store: &D,
        audit: &AuditLog,
        known: &Known,
        jobs: Vec<Waiting>,
    ) -> Result<(), StoreError> {
        let from = self.jobs.len();
        self.jobs.extend(jobs);
        let jobs = self.jobs.iter().skip(from).map(|waiting| &waiting.job);
        let requests = jobs.clone().filter_map(|job| job.request());
        let oldest = requests.clone().map(|request| request.basis).min();
        self.basis = self.basis.into_iter().chain(oldest).min();
        self.made.draft.assume(store, known, requests).await?;
        for job in jobs {
            self.items += job.weight();
            self.done.push(
                self.made
                    .carry_out(job, None::<&mut D::Transaction<'_>>)
                    .await?,
            );
        }
        let (rows, head) = audit.link(store, self.head, &self.made.log)?;
        self.made.log.clear();
        self.rows.extend(rows);
        self.head = head;
        Ok(())
    }

    /// Its jobs, what becomes of each, and what is to be written first. What the counters hold then is
    /// known.
    pub(super) fn close(mut self, known: &mut Known) -> (Vec<Waiting>, Vec<Done>, Write) {
        let write = Write {
            head: self.head,
            changes: self.made.draft.changes(),
            records: self.made.draft.take_records(),
            rows: self.rows,
            basis: self.basis,
        };
        for (key, count) in self.made.draft.into_counts() {
            known.set(key, count);
        }
        (self.jobs, self.done, write)
    }
}

impl Write {
    /// Writes it. Nothing has happened unless it returns `Ok`, but for a commit whose outcome the
    /// database did not tell.
    pub(super) async fn carry_out(
        self,
        store: &impl Database,
        audit: &AuditLog,
    ) -> Result<AuditHead, StoreError> {
        let mut tx = store.begin().await?;
        let number = tx.change_number().await?;
        // Its records do not say that no replica has them: those of a batch do.
        if self.basis.is_some_and(|basis| basis < number) || tx.durability().is_some() {
            return Err(StoreError::Overtaken);
        }
        tx.count(&self.changes).await?;
        tx.record(&self.records).await?;
        tx.append_audit(audit.instance(), self.rows).await?;
        tx.commit().await?;
        Ok(self.head)
    }
}
