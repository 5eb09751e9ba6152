use super::Store;
use crate::{
    StoreError,
    engine::{Conn, Text},
};

/// One act on the database: all of it becomes durable at [`Transaction::commit`], or none.
///
/// Dropped without a commit, it closes its connection, which undoes it for certain: after some
/// failures, a full disk among them, SQLite has undone it already and the connection no longer knows
/// where it stands.
pub struct Transaction<'s> {
    pub(super) store: &'s Store,
    pub(super) tx: Conn,
    finished: bool,
}

impl<'s> Transaction<'s> {
    pub(super) async fn begin(store: &'s Store) -> Result<Self, StoreError> {
        let mut transaction = Self {
            store,
            tx: store.db.writer().await?,
            finished: false,
        };
        transaction.tx.begin().await?;
        Ok(transaction)
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] leaves open whether it was.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.tx.commit().await?;
        self.finished = true;
        Ok(())
    }

    /// Writes something, so that a commit shows whether the disk takes writes. An act that changes no
    /// row touches no file, and succeeds on a disk that is full.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn probe(&mut self) -> Result<(), StoreError> {
        let random = ostrakon_shards::random::array::<16>()
            .map_err(ostrakon_shards::record::SealRecordError::from)?;
        self.set("probe", &random).await
    }

    /// Stores a setting in place of what it was.
    pub(super) async fn set(&mut self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.tx
            .query(SET)
            .bind(name)
            .bind(value)
            .execute(&mut self.tx)
            .await?;
        Ok(())
    }

    /// Takes a setting away.
    pub(super) async fn unset(&mut self, name: &str) -> Result<(), StoreError> {
        self.tx
            .query("DELETE FROM settings WHERE name = ?")
            .bind(name)
            .execute(&mut self.tx)
            .await?;
        Ok(())
    }
}

const SET: Text = Text {
    sqlite: "INSERT INTO settings (name, value) VALUES (?, ?)
             ON CONFLICT DO UPDATE SET value = excluded.value",
    mysql: "REPLACE INTO settings (name, value) VALUES (?, ?)",
    postgres: "INSERT INTO settings (name, value) VALUES (?, ?)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value",
};

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.tx.close_on_drop();
        }
    }
}
