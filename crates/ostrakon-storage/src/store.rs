mod audit;
mod backups;
mod ceremonies;
mod checkpoints;
mod counters;
mod generations;
mod keys;
mod policies;
mod profiles;
mod requests;
mod rows;
mod server;
mod snapshot;
mod transaction;

use std::path::Path;

pub use audit::{AuditHead, AuditRow, InstanceId};
pub use ceremonies::{CeremonyRecord, NoticeRecord};
pub use checkpoints::{ArchiveRow, CheckpointRow};
pub use counters::{Counter, CounterChange, LONGEST_WINDOW};
pub use generations::StateDoubt;
pub use policies::PolicyVersion;
pub use profiles::{LocationRecord, MAX_LOCATIONS};
pub use requests::{REQUESTS_KEPT, RequestKey, RequestRecord};
pub use server::ServerRecord;
pub use snapshot::Snapshot;
pub use transaction::Transaction;

use ostrakon_shards::record::RecordKey;

use self::keys::Keys;
use crate::{ProtectorKey, StoreError, sqlite::Sqlite};

/// One key shard server's database, unlocked.
pub struct Store {
    db: Sqlite,
    keys: Keys,
}

impl Store {
    /// Makes a new database at `path`, with fresh keys under `protector`.
    ///
    /// # Errors
    /// When there is a database already, or it cannot be written.
    pub async fn create(path: &Path, protector: &ProtectorKey) -> Result<Self, StoreError> {
        let db = Sqlite::create(path).await?;
        let keys = Keys::create(&db, protector).await?;
        Ok(Self { db, keys })
    }

    /// Opens the database at `path` and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::WrongRootKey`] when `protector` is another database's, [`StoreError::Corrupt`]
    /// when it is the right one and the keys do not open all the same, and whatever the file meets.
    pub async fn open(path: &Path, protector: &ProtectorKey) -> Result<Self, StoreError> {
        let db = Sqlite::open(path).await?;
        match Keys::load(&db, protector).await {
            Ok(keys) => Ok(Self { db, keys }),
            Err(error) => {
                db.close().await;
                Err(error)
            }
        }
    }

    /// The key under which everything in this database is sealed, to go into a backup file.
    ///
    /// # Errors
    /// When `protector` is another database's, or the database fails.
    pub async fn root_key(&self, protector: &ProtectorKey) -> Result<RecordKey, StoreError> {
        Keys::root(&self.db, protector).await
    }

    /// Finishes what is under way and closes the database.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// Begins a transaction, after every other one has ended.
    ///
    /// # Errors
    /// When the database is locked by another process for too long, or fails.
    pub async fn begin(&self) -> Result<Transaction<'_>, StoreError> {
        Transaction::begin(self).await
    }

    /// Asks the database for an answer.
    ///
    /// # Errors
    /// When it gives none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.db.reader).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
