//! What the ledger's writer asks of a database.
//!
//! It is written down apart from the [`Store`] so that the writer, which has to hold whatever instances,
//! the network and the database do, can be driven by a database that a test has in its hands. What only one
//! kind of job needs (an operator's changes, the relay) stays with the store.

use std::future::Future;

use ostrakon_storage::{
    AuditHead, AuditRow, ChangeNumber, CounterChange, Durability, InstanceId, RequestKey,
    RequestRecord, Store, StoreError, Transaction,
};
use ostrakon_types::{CounterKey, Recorded};
use tokio::{runtime::Handle, task::JoinSet};

use super::{
    Act, SettleRequest, alone,
    job::{Done, Job},
};
use crate::AuditLog;

/// A database in which the ledger is kept.
pub(crate) trait Database: Send + Sync + 'static {
    /// One act on it.
    type Transaction<'d>: Transact;

    /// Whether other instances use it, too.
    fn is_shared(&self) -> bool;

    /// Seals audit records for their places in the chain, of which `first` is the first one's.
    fn seal_audit(
        &self,
        instance: InstanceId,
        first: u64,
        records: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, StoreError>;

    /// The newest link of the instance's chain.
    fn audit_head(
        &self,
        instance: InstanceId,
    ) -> impl Future<Output = Result<AuditHead, StoreError>> + Send;

    /// How far the counters have counted when the last transaction was committed.
    fn counts(
        &self,
        keys: &[&CounterKey],
    ) -> impl Future<Output = Result<Vec<Option<u64>>, StoreError>> + Send;

    /// Begins a transaction. Dropped before its commit, it changes nothing.
    fn begin(&self) -> impl Future<Output = Result<Self::Transaction<'_>, StoreError>> + Send;

    /// Carries out a job that does not [share](Job::shares) its transaction, behind the chain's `head`.
    /// Returns the new head, and how durable it is where that is less than asked for.
    fn carry_out_alone(
        &self,
        audit: &AuditLog,
        head: AuditHead,
        job: &Job,
    ) -> impl Future<Output = Result<(Done, AuditHead, Option<Durability>), StoreError>> + Send;

    /// Has a batch written while the writer goes on with the next one.
    fn write_beside<T: Send + 'static>(
        writing: &mut JoinSet<T>,
        write: impl Future<Output = T> + Send + 'static,
    );
}

/// One act on a [`Database`]: all of it becomes durable, or none.
pub(crate) trait Transact: Send {
    /// How often something has changed on which decisions rest.
    fn change_number(&mut self) -> impl Future<Output = Result<ChangeNumber, StoreError>> + Send;

    /// How durable it will be, where that is less than asked for. It is known once the change number is.
    fn durability(&self) -> Option<Durability>;

    /// What was recorded for earlier tries of the requests, in their order.
    fn recall(
        &mut self,
        keys: &[RequestKey],
    ) -> impl Future<Output = Result<Vec<Option<Recorded>>, StoreError>> + Send;

    /// How far the counters have counted, in their order. Nobody else changes those that are there before
    /// this transaction ends.
    fn counts(
        &mut self,
        keys: &[&CounterKey],
    ) -> impl Future<Output = Result<Vec<Option<u64>>, StoreError>> + Send;

    /// Sets the counters to what they are to hold, each only if it holds what was read.
    fn count(
        &mut self,
        changes: &[CounterChange],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Carries out what an item asks for beside its decision. `false` when it cannot be.
    fn apply(
        &mut self,
        request: &SettleRequest,
        act: &Act,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Records the decisions of requests, none of which has any yet.
    fn record(
        &mut self,
        records: &[RequestRecord],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Appends links to the instance's chain.
    fn append_audit(
        &mut self,
        instance: InstanceId,
        rows: Vec<AuditRow>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes everything durable. After [`StoreError::Unavailable`] it is open whether it was.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl Database for Store {
    type Transaction<'d> = Transaction<'d>;

    fn is_shared(&self) -> bool {
        Self::is_shared(self)
    }

    fn seal_audit(
        &self,
        instance: InstanceId,
        first: u64,
        records: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        Self::seal_audit(self, instance, first, records)
    }

    async fn audit_head(&self, instance: InstanceId) -> Result<AuditHead, StoreError> {
        match Self::audit_head(self, instance).await {
            // Where the state was moved, no link stands at the end of the chain: that is no tampering.
            Err(corrupt @ StoreError::Corrupt { .. }) if self.is_shared() => {
                self.check_here().await?;
                Err(corrupt)
            }
            head => head,
        }
    }

    async fn counts(&self, keys: &[&CounterKey]) -> Result<Vec<Option<u64>>, StoreError> {
        Self::counts(self, keys).await
    }

    async fn begin(&self) -> Result<Transaction<'_>, StoreError> {
        Self::begin(self).await
    }

    async fn carry_out_alone(
        &self,
        audit: &AuditLog,
        head: AuditHead,
        job: &Job,
    ) -> Result<(Done, AuditHead, Option<Durability>), StoreError> {
        alone::carry_out(self, audit, head, job).await
    }

    /// On a thread of its own, which the database's thread wakes at once: a task would wait behind all that
    /// are ready to run, once for each statement.
    fn write_beside<T: Send + 'static>(
        writing: &mut JoinSet<T>,
        write: impl Future<Output = T> + Send + 'static,
    ) {
        let runtime = Handle::current();
        writing.spawn_blocking(move || runtime.block_on(write));
    }
}

impl Transact for Transaction<'_> {
    async fn change_number(&mut self) -> Result<ChangeNumber, StoreError> {
        self.change_number().await
    }

    fn durability(&self) -> Option<Durability> {
        self.durability()
    }

    async fn recall(&mut self, keys: &[RequestKey]) -> Result<Vec<Option<Recorded>>, StoreError> {
        self.recall(keys).await
    }

    async fn counts(&mut self, keys: &[&CounterKey]) -> Result<Vec<Option<u64>>, StoreError> {
        self.counts(keys).await
    }

    async fn count(&mut self, changes: &[CounterChange]) -> Result<(), StoreError> {
        self.count(changes).await
    }

    async fn apply(&mut self, request: &SettleRequest, act: &Act) -> Result<bool, StoreError> {
        match act {
            Act::None | Act::Release(_) => Ok(true),
            Act::CreateProfile(new) => {
                let (profile, signed) = &**new;
                self.insert_profile(profile, signed, request.at).await
            }
            Act::ChangeProfile(next) => {
                let (profile, signed) = &**next;
                self.advance_profile(profile, signed).await
            }
            Act::CreateLocation(record) => self.insert_location(&request.key.profile, record).await,
        }
    }

    async fn record(&mut self, records: &[RequestRecord]) -> Result<(), StoreError> {
        self.record(records).await
    }

    async fn append_audit(
        &mut self,
        instance: InstanceId,
        rows: Vec<AuditRow>,
    ) -> Result<(), StoreError> {
        self.append_audit(instance, rows).await
    }

    async fn commit(self) -> Result<(), StoreError> {
        self.commit().await
    }
}
