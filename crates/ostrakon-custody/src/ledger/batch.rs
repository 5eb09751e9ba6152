use ostrakon_storage::{AuditHead, ChangeNumber, Durability, StoreError};

use super::{
    database::{Database, Transact as _},
    draft::Draft,
    job::{Done, Job},
    made::Made,
};
use crate::AuditLog;

/// How many audit records are sealed while the database writes as many others.
const SEALED_AT_ONCE: usize = 128;

/// Jobs that share one transaction, settled against what is read in it.
///
/// It costs a fixed handful of statements: what all requests need is read at once, each is settled in
/// memory, and what all of them made is written at once. Only a new profile or folder is a statement of
/// its own.
pub(super) struct Batch<'j, D: Database> {
    store: &'j D,
    audit: &'j AuditLog,
    tx: D::Transaction<'j>,
    made: Made,
    changed: ChangeNumber,
}

impl<'j, D: Database> Batch<'j, D> {
    pub(super) async fn begin(
        store: &'j D,
        audit: &'j AuditLog,
        jobs: impl Iterator<Item = &'j Job> + Clone,
    ) -> Result<Self, StoreError> {
        let mut tx = store.begin().await?;
        let changed = tx.change_number().await?;
        let current = jobs.filter_map(Job::request);
        let current = current.filter(|request| request.basis >= changed);
        let draft = Draft::read(&mut tx, current).await?;
        Ok(Self {
            store,
            audit,
            tx,
            made: Made::of(draft),
            changed,
        })
    }

    /// Carries out a job that [shares](Job::shares) its transaction.
    pub(super) async fn carry_out(&mut self, job: &Job) -> Result<Done, StoreError> {
        if job
            .request()
            .is_some_and(|request| request.basis < self.changed)
        {
            return Ok(Done::Outdated);
        }
        self.made.carry_out(job, Some(&mut self.tx)).await
    }

    /// Writes everything behind the chain's `head`, and commits. Returns the new head, and how durable it is
    /// where that is less than asked for.
    pub(super) async fn commit(
        self,
        head: AuditHead,
    ) -> Result<(AuditHead, Option<Durability>), StoreError> {
        let Self {
            store,
            audit,
            mut tx,
            made: Made { draft, mut log },
            ..
        } = self;
        let durability = tx.durability();
        for record in &mut log {
            record.durability = durability;
        }
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
        Ok((head, durability))
    }
}
