use super::{Durability, Store, settings};
use crate::{StoreError, engine::Conn};

/// One act on the database: all of it becomes durable at [`Transaction::commit`], or none.
///
/// Dropped without a commit, it closes its connection, which undoes it for certain: after some
/// failures, a full disk among them, SQLite has undone it already and the connection no longer knows
/// where it stands.
pub struct Transaction<'s> {
    pub(super) store: &'s Store,
    pub(super) tx: Conn,
    finished: bool,
    /// Whether a replica has it once it is committed; nothing before that was looked at.
    pub(super) replica: Option<Durability>,
}

impl<'s> Transaction<'s> {
    pub(super) async fn begin(store: &'s Store) -> Result<Self, StoreError> {
        let mut transaction = Self {
            store,
            tx: store.db.writer().await?,
            finished: false,
            replica: None,
        };
        transaction.tx.begin().await?;
        Ok(transaction)
    }

    /// How durable it will be, where that is less than the database was set up for.
    #[must_use]
    pub fn durability(&self) -> Option<Durability> {
        self.replica
            .filter(|durability| *durability == Durability::Local)
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// [`StoreError::NoReplica`] when that cannot be, and nothing was; [`StoreError::Unavailable`] leaves open
    /// whether it was.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.check_replica().await?;
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
        settings::set(&mut self.tx, name, value).await
    }

    /// Takes a setting away.
    pub(super) async fn unset(&mut self, name: &str) -> Result<(), StoreError> {
        settings::unset(&mut self.tx, name).await
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.tx.close_on_drop();
        }
    }
}
