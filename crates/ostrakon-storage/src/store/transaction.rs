use sqlx::{Sqlite, pool::PoolConnection};

use super::Store;
use crate::StoreError;

/// One act on the database: all of it becomes durable at [`Transaction::commit`], or none.
///
/// Dropped without a commit, it closes its connection, which undoes it for certain: after some
/// failures, a full disk among them, SQLite has undone it already and the connection no longer knows
/// where it stands.
pub struct Transaction<'s> {
    pub(super) store: &'s Store,
    pub(super) tx: PoolConnection<Sqlite>,
    finished: bool,
}

impl<'s> Transaction<'s> {
    pub(super) async fn begin(store: &'s Store) -> Result<Self, StoreError> {
        let tx = store.db.writer.acquire().await?;
        let mut transaction = Self {
            store,
            tx,
            finished: false,
        };
        // The write lock is taken at the start, so that no statement in the middle can lose it.
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut *transaction.tx)
            .await?;
        Ok(transaction)
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] leaves open whether it was.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        sqlx::query("COMMIT").execute(&mut *self.tx).await?;
        self.finished = true;
        Ok(())
    }

    /// Writes something, so that a commit shows whether the disk takes writes. An act that changes no
    /// row touches no file, and succeeds on a disk that is full.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn probe(&mut self) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ('probe', randomblob(16))
             ON CONFLICT DO UPDATE SET value = excluded.value",
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.tx.close_on_drop();
        }
    }
}
