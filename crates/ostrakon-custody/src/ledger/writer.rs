use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use ostrakon_storage::{AuditHead, Store, StoreError};
use ostrakon_types::ErrorChain;
use tokio::sync::mpsc;

use super::{
    alone,
    batch::Batch,
    job::{Done, Waiting},
};
use crate::AuditLog;

/// How often a batch is settled when other writers change its counters in between.
const TRIES: u32 = 8;

/// The task that owns the audit chain and every write.
pub(super) struct Writer {
    store: Arc<Store>,
    audit: AuditLog,
    /// The chain's newest link; `None` when it must be read again, after a failure.
    head: Option<AuditHead>,
    told: Told,
    batch: usize,
}

/// What the writer tells the handles beside its answers.
pub(super) struct Told {
    pub(super) writable: Arc<AtomicBool>,
    pub(super) profile_changes: Arc<AtomicU64>,
}

impl Writer {
    pub(super) fn new(store: Arc<Store>, audit: AuditLog, told: Told, batch: usize) -> Self {
        Self {
            store,
            audit,
            head: None,
            told,
            batch,
        }
    }

    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        let mut jobs = Vec::new();
        while let Some(first) = queue.recv().await {
            // Whoever is about to ask does so first: no time passes when there is nobody.
            tokio::task::yield_now().await;
            let mut items = first.job.weight();
            jobs.push(first);
            while items < self.batch
                && let Ok(next) = queue.try_recv()
            {
                items += next.job.weight();
                jobs.push(next);
            }
            self.carry_out(&mut jobs).await;
        }
    }

    /// Carries out the jobs, in order, in as few transactions as may be, and answers each after its
    /// commit.
    ///
    /// When a transaction fails, one of its jobs may be at fault: then each half is tried for itself, so
    /// that it takes no other with it.
    async fn carry_out(&mut self, jobs: &mut Vec<Waiting>) {
        // How many jobs each transaction takes, the next one last.
        let shared = |one: &Waiting, next: &Waiting| one.job.shares() && next.job.shares();
        let mut parts: Vec<usize> = jobs.chunk_by(shared).rev().map(<[_]>::len).collect();
        while let Some(part) = parts.pop() {
            let Some(taken) = jobs.get(..part) else {
                return;
            };
            let written = self.write(taken).await;
            // Also after a failure, which may be a commit of unknown outcome.
            if taken.iter().any(|one| one.job.changes_profiles()) {
                self.told.profile_changes.fetch_add(1, Ordering::AcqRel);
            }
            match written {
                Ok(done) => {
                    for (waiting, done) in jobs.drain(..part).zip(done) {
                        waiting.job.answer(done);
                    }
                }
                Err(error) if part > 1 && !error.is_general() => {
                    parts.extend([part - part / 2, part / 2]);
                }
                Err(error) => {
                    let error = Arc::new(error);
                    for waiting in jobs.drain(..part) {
                        waiting.job.fail(&error);
                    }
                }
            }
        }
    }

    /// Carries out the jobs in one transaction. Nothing has happened unless it returns `Ok`, but for a
    /// commit whose outcome the database did not tell.
    async fn write(&mut self, jobs: &[Waiting]) -> Result<Vec<Done>, StoreError> {
        let mut written = self.try_write(jobs).await;
        for _ in 1..TRIES {
            if !matches!(written, Err(StoreError::Overtaken)) {
                break;
            }
            written = self.try_write(jobs).await;
        }
        match &written {
            Ok((_, head)) => self.committed(*head),
            Err(error) => {
                self.head = None;
                self.told.writable.store(false, Ordering::Relaxed);
                tracing::error!(error = %ErrorChain(error), "the ledger cannot be written");
            }
        }
        written.map(|(done, _)| done)
    }

    async fn try_write(&self, jobs: &[Waiting]) -> Result<(Vec<Done>, AuditHead), StoreError> {
        let head = match self.head {
            Some(head) => head,
            None => {
                let stored = self.store.audit_head(self.audit.instance()).await?;
                self.audit.resume(stored)
            }
        };
        if let [Waiting { job, .. }] = jobs
            && !job.shares()
        {
            let (done, head) = alone::carry_out(&self.store, &self.audit, head, job).await?;
            return Ok((vec![done], head));
        }
        let jobs = jobs.iter().map(|waiting| &waiting.job);
        let mut done = Vec::with_capacity(jobs.len());
        let mut batch = Batch::begin(&self.store, &self.audit, jobs.clone()).await?;
        for job in jobs {
            done.push(batch.carry_out(job).await?);
        }
        let head = batch.commit(head).await?;
        Ok((done, head))
    }

    /// What there is to do after a commit, before anybody is answered.
    fn committed(&mut self, head: AuditHead) {
        self.audit.note(&head);
        self.audit.raise_floor(head);
        self.head = Some(head);
        if !self.told.writable.swap(true, Ordering::Relaxed) {
            tracing::info!("the ledger can be written again");
        }
    }
}
