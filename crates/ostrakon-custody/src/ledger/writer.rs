use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use ostrakon_storage::{AuditHead, Store, StoreError};
use ostrakon_types::ErrorChain;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};

use super::{
    alone,
    batch::Batch,
    job::{Done, Waiting},
    known::Known,
    plan::Plan,
};
use crate::AuditLog;

/// How often a batch is settled when other writers change its counters in between.
const TRIES: u32 = 8;

/// How many batches are settled on what their own transaction reads once another writer was faster: a
/// plan would most likely rest on what is not so any more.
const WARY: u32 = 16;

/// The task that owns the audit chain and every write.
pub(super) struct Writer {
    store: Arc<Store>,
    audit: Arc<AuditLog>,
    /// The chain's newest link, written or about to be; `None` when it must be read again, after a
    /// failure.
    head: Option<AuditHead>,
    /// The newest link that is known to be durable.
    durable: AuditHead,
    known: Known,
    /// How many batches are not to be planned.
    wary: u32,
    /// The batch that is being written, at most one. It is given up with the writer.
    writing: JoinSet<Written>,
    told: Told,
    batch: usize,
}

/// What the writer tells the handles beside its answers.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) writable: Arc<AtomicBool>,
    pub(super) profile_changes: Arc<AtomicU64>,
}

/// What became of a plan: the chain's new head, or its jobs again.
type Written = Result<AuditHead, (Vec<Waiting>, StoreError)>;

impl Writer {
    pub(super) fn new(store: Arc<Store>, audit: AuditLog, told: Told, batch: usize) -> Self {
        Self {
            store,
            durable: audit.floor(),
            audit: Arc::new(audit),
            head: None,
            known: Known::default(),
            wary: 0,
            writing: JoinSet::new(),
            told,
            batch,
        }
    }

    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        loop {
            let first = tokio::select! {
                biased;
                Some(written) = self.writing.join_next() => {
                    self.take_in(written).await;
                    continue;
                }
                first = queue.recv() => first,
            };
            let Some(first) = first else { break };
            // Whoever is about to ask does so first: no time passes when there is nobody.
            tokio::task::yield_now().await;
            let mut items = first.job.weight();
            let mut jobs = vec![first];
            while items < self.batch
                && let Ok(next) = queue.try_recv()
            {
                items += next.job.weight();
                jobs.push(next);
            }
            self.take_on(jobs).await;
        }
        self.land().await;
    }

    /// Plans the jobs while the batch before them is being written, and has them written then. What
    /// cannot be planned is carried out.
    async fn take_on(&mut self, mut jobs: Vec<Waiting>) {
        let plan = match self.wary.checked_sub(1) {
            None if jobs.iter().all(|waiting| waiting.job.is_plain()) => {
                self.plan(&jobs).await.ok()
            }
            None => None,
            Some(wary) => {
                self.wary = wary;
                None
            }
        };
        let landed = self.land().await;
        match plan {
            Some(plan) if landed => self.launch(plan, jobs),
            _ => self.carry_out(&mut jobs).await,
        }
    }

    async fn plan(&mut self, jobs: &[Waiting]) -> Result<Plan, StoreError> {
        let head = self.head().await?;
        self.head = Some(head);
        Plan::make(&self.store, &self.audit, &self.known, head, jobs).await
    }

    /// Has the plan written and, behind its commit, the jobs answered, while the writer goes on.
    fn launch(&mut self, plan: Plan, jobs: Vec<Waiting>) {
        self.head = Some(plan.head);
        let (store, audit, told) = (
            Arc::clone(&self.store),
            Arc::clone(&self.audit),
            self.told.clone(),
        );
        let mut plan = plan;
        for (key, count) in plan.counts.drain(..) {
            self.known.set(key, count);
        }
        self.writing.spawn(async move {
            let head = plan.head;
            match plan.write(&store, &audit).await {
                Ok(done) => {
                    committed(&audit, &told, &head);
                    for (waiting, done) in jobs.into_iter().zip(done) {
                        waiting.job.answer(done);
                    }
                    Ok(head)
                }
                Err(error) => Err((jobs, error)),
            }
        });
    }

    /// Waits until nothing is being written. `false` when what was planned on it does not hold.
    async fn land(&mut self) -> bool {
        match self.writing.join_next().await {
            Some(written) => self.take_in(written).await,
            None => true,
        }
    }

    async fn take_in(&mut self, written: Result<Written, JoinError>) -> bool {
        let (mut jobs, error) = match written {
            Ok(Ok(head)) => {
                self.durable = head;
                return true;
            }
            Ok(Err(failed)) => failed,
            Err(error) => {
                tracing::error!(error = %ErrorChain(&error), "a batch was given up");
                self.forget();
                return false;
            }
        };
        self.forget();
        if error.is_general() {
            self.failed(&error);
            let error = Arc::new(error);
            for waiting in jobs {
                waiting.job.fail(&error);
            }
            return false;
        }
        if matches!(error, StoreError::Overtaken) {
            self.wary = WARY;
        }
        self.carry_out(&mut jobs).await;
        false
    }

    /// Carries out the jobs, in order, in as few transactions as may be, and answers each after its
    /// commit.
    ///
    /// When a transaction fails, one of its jobs may be at fault: then each half is tried for itself, so
    /// that it takes no other with it.
    async fn carry_out(&mut self, jobs: &mut Vec<Waiting>) {
        self.known.forget();
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
            Ok((_, head)) => {
                self.durable = *head;
                self.head = Some(*head);
                // Before anybody is answered.
                committed(&self.audit, &self.told, head);
            }
            Err(error) => {
                self.forget();
                self.failed(error);
            }
        }
        written.map(|(done, _)| done)
    }

    async fn try_write(&self, jobs: &[Waiting]) -> Result<(Vec<Done>, AuditHead), StoreError> {
        let head = self.head().await?;
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

    /// The chain's newest link, written or about to be.
    async fn head(&self) -> Result<AuditHead, StoreError> {
        match self.head {
            Some(head) => Ok(head),
            None => {
                let stored = self.store.audit_head(self.audit.instance()).await?;
                Ok(AuditLog::resume(self.durable, stored))
            }
        }
    }

    /// After a failure: what is in the database is to be read again.
    fn forget(&mut self) {
        self.head = None;
        self.known.forget();
    }

    fn failed(&self, error: &StoreError) {
        self.told.writable.store(false, Ordering::Relaxed);
        tracing::error!(error = %ErrorChain(error), "the ledger cannot be written");
    }
}

/// What there is to do after a commit, before anybody is answered.
fn committed(audit: &AuditLog, told: &Told, head: &AuditHead) {
    audit.note(head);
    if !told.writable.swap(true, Ordering::Relaxed) {
        tracing::info!("the ledger can be written again");
    }
}
