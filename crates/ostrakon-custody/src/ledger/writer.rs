use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ostrakon_storage::{AuditHead, Durability, StoreError};
use ostrakon_types::ErrorChain;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::Instant,
};

use super::{
    batch::Batch,
    database::Database,
    job::{Done, Waiting},
    known::Known,
    plan::Plan,
};
use crate::AuditLog;

/// How often a batch is settled when other writers change its counters in between, or when a shared
/// database is away for a moment.
const TRIES: u32 = 10;

/// How long the last of the pauses between these tries is: each is twice the one before, so that together
/// they take some three seconds.
const LONGEST_PAUSE: Duration = Duration::from_millis(1600);

/// How long a batch is tried again, however few tries that were: with each one waiting for a database that is
/// away, all of them would take longer than anybody waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// How many batches are settled on what their own transaction reads once another writer was faster: a
/// plan would most likely rest on what is not so any more.
const WARY: u32 = 16;

/// The task that owns the audit chain and every write.
pub(super) struct Writer<D> {
    store: Arc<D>,
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
    /// Whether it goes on without the replica that there should be.
    pub(super) local: Arc<AtomicBool>,
    pub(super) profile_changes: Arc<AtomicU64>,
}

/// What was carried out in one transaction, the chain's new head, and how durable that is where it is less
/// than asked for.
type Committed = (Vec<Done>, AuditHead, Option<Durability>);

/// What became of a plan: the chain's new head, or its jobs again.
type Written = Result<AuditHead, (Vec<Waiting>, StoreError)>;

impl<D: Database> Writer<D> {
    pub(super) fn new(store: Arc<D>, audit: AuditLog, told: Told, batch: usize) -> Self {
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
        // What is planned while another batch is being written.
        let mut plan: Option<Plan> = None;
        loop {
            let planned = plan.as_ref().map_or(0, |plan| plan.items);
            let first = tokio::select! {
                biased;
                Some(written) = self.writing.join_next() => {
                    let holds = self.take_in(written).await;
                    self.send_off(plan.take(), holds).await;
                    continue;
                }
                first = queue.recv(), if planned < self.batch => first,
            };
            let Some(first) = first else { break };
            if self.writing.is_empty() {
                // Whoever is about to ask does so first: no time passes when there is nobody.
                tokio::task::yield_now().await;
            }
            let mut items = planned + first.job.weight();
            let mut jobs = vec![first];
            while items < self.batch
                && let Ok(next) = queue.try_recv()
            {
                items += next.job.weight();
                jobs.push(next);
            }
            plan = self.take_on(plan, jobs).await;
        }
        self.land(plan).await;
    }

    /// Plans the jobs behind those that are planned, and has all of them written if nothing else is
    /// being written. What cannot be planned is carried out.
    async fn take_on(&mut self, plan: Option<Plan>, mut jobs: Vec<Waiting>) -> Option<Plan> {
        let wary = self.wary > 0;
        self.wary = self.wary.saturating_sub(1);
        if wary || !jobs.iter().all(|waiting| waiting.job.is_plain()) {
            self.land(plan).await;
            self.carry_out(&mut jobs).await;
            return None;
        }
        let mut plan = match plan {
            Some(plan) => plan,
            None => match self.head().await {
                Ok(head) => Plan::behind(head),
                // The same error tells it to those who wait.
                Err(_) => {
                    self.carry_out(&mut jobs).await;
                    return None;
                }
            },
        };
        let added = plan.add(&*self.store, &self.audit, &self.known, jobs).await;
        if added.is_err() {
            self.land(None).await;
            self.carry_out(&mut plan.jobs).await;
            None
        } else if self.writing.is_empty() {
            self.launch(plan);
            None
        } else {
            Some(plan)
        }
    }

    /// Has the plan written, if what it rests on holds.
    async fn send_off(&mut self, plan: Option<Plan>, holds: bool) {
        match plan {
            Some(plan) if holds => self.launch(plan),
            Some(mut plan) => self.carry_out(&mut plan.jobs).await,
            None => {}
        }
    }

    /// Has the plan written and, behind its commit, the jobs answered, while the writer goes on.
    fn launch(&mut self, plan: Plan) {
        let (jobs, done, write) = plan.close(&mut self.known);
        self.head = Some(write.head);
        let store = Arc::clone(&self.store);
        let audit = Arc::clone(&self.audit);
        let told = self.told.clone();
        D::write_beside(&mut self.writing, async move {
            match write.carry_out(&*store, &audit).await {
                Ok(head) => {
                    committed(&audit, &told, &head, None);
                    for (waiting, done) in jobs.into_iter().zip(done) {
                        waiting.job.answer(done);
                    }
                    Ok(head)
                }
                Err(error) => Err((jobs, error)),
            }
        });
    }

    /// Waits until the plan, and what is being written before it, is written.
    async fn land(&mut self, plan: Option<Plan>) {
        let mut holds = true;
        if let Some(written) = self.writing.join_next().await {
            holds = self.take_in(written).await;
        }
        self.send_off(plan, holds).await;
        if let Some(written) = self.writing.join_next().await {
            self.take_in(written).await;
        }
    }

    /// Takes note of what became of a batch. `false` when what was planned behind it does not hold.
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
        // Where the database is shared, what was lost is tried again: it may be back, or another node of it.
        if error.is_general() && !(error.is_passing() && self.store.is_shared()) {
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
        let until = Instant::now() + PATIENCE;
        let mut written = self.try_write(jobs).await;
        for tried in 1..TRIES {
            match &written {
                Err(error) if Instant::now() < until && self.is_worth_trying(error, jobs) => {}
                _ => break,
            }
            if self.store.is_shared() {
                self.pause(tried).await;
            }
            // A commit whose outcome was not told may have moved the chain.
            self.head = None;
            written = self.try_write(jobs).await;
        }
        match &written {
            Ok((_, head, durability)) => {
                self.durable = *head;
                self.head = Some(*head);
                // Before anybody is answered.
                committed(&self.audit, &self.told, head, *durability);
            }
            Err(error) => {
                self.forget();
                self.failed(error);
            }
        }
        written.map(|(done, ..)| done)
    }

    /// Whether another try may succeed. A request that was recorded after all is found again by its id;
    /// what has a transaction to itself has none, so it is tried again only where nothing was written.
    /// While the database is known to be away, each batch tries once.
    fn is_worth_trying(&self, error: &StoreError, jobs: &[Waiting]) -> bool {
        match error {
            StoreError::Overtaken => true,
            error => {
                self.store.is_shared()
                    && error.is_passing()
                    && self.told.writable.load(Ordering::Relaxed)
                    && jobs.iter().all(|waiting| waiting.job.shares())
            }
        }
    }

    async fn try_write(&self, jobs: &[Waiting]) -> Result<Committed, StoreError> {
        let head = self.head().await?;
        if let [Waiting { job, .. }] = jobs
            && !job.shares()
        {
            let alone = self.store.carry_out_alone(&self.audit, head, job);
            let (done, head, durability) = alone.await?;
            return Ok((vec![done], head, durability));
        }
        let jobs = jobs.iter().map(|waiting| &waiting.job);
        let mut done = Vec::with_capacity(jobs.len());
        let mut batch = Batch::begin(&*self.store, &self.audit, jobs.clone()).await?;
        for job in jobs {
            done.push(batch.carry_out(job).await?);
        }
        let (head, durability) = batch.commit(head).await?;
        Ok((done, head, durability))
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

    /// Lets a moment pass, not the same for all instances that wait, which would meet again: their ids are
    /// random.
    async fn pause(&self, tried: u32) {
        let most = LONGEST_PAUSE / 2_u32.saturating_pow(TRIES.saturating_sub(1 + tried));
        let instance = self.audit.instance();
        let mut bytes = instance.as_bytes().iter().cycle();
        let random = bytes.nth(tried as usize).copied().unwrap_or(128);
        tokio::time::sleep(most * (128 + u32::from(random) / 2) / 256).await;
    }

    fn failed(&self, error: &StoreError) {
        self.told.writable.store(false, Ordering::Relaxed);
        tracing::error!(error = %ErrorChain(error), "the ledger cannot be written");
    }
}

/// What there is to do after a commit, before anybody is answered.
fn committed(audit: &AuditLog, told: &Told, head: &AuditHead, durability: Option<Durability>) {
    audit.note(head);
    if !told.writable.swap(true, Ordering::Relaxed) {
        tracing::info!("the ledger can be written again");
    }
    let local = durability.is_some();
    if told.local.swap(local, Ordering::Relaxed) != local {
        if local {
            tracing::warn!("no durable replica: what is decided is in one database alone");
        } else {
            tracing::info!("there is a durable replica again");
        }
    }
}
