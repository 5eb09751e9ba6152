//! How instances that share a database learn of what one of them changed.
//!
//! One number counts the changes on which decisions rest: of the policy, of enabled and disabled, of
//! profiles, of what is known about the state's age. It grows in the transaction that makes the change, and
//! is read in the transaction that records a decision: so nothing is decided by what was replaced before.

use super::{Store, Transaction};
use crate::{StoreError, engine::Text};

/// How often something changed on which decisions rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeNumber(i64);

impl From<i64> for ChangeNumber {
    fn from(number: i64) -> Self {
        Self(number)
    }
}

impl Store {
    /// How often something has changed. Always the same for a database that is not shared.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn change_number(&self) -> Result<ChangeNumber, StoreError> {
        if !self.db.is_shared() {
            return Ok(ChangeNumber::default());
        }
        let row = self
            .db
            .query("SELECT number FROM changes WHERE id = 1")
            .fetch_one(&mut self.db.reader().await?)
            .await?;
        Ok(ChangeNumber(row.try_get("number")?))
    }
}

impl Transaction<'_> {
    /// How often something has changed before this transaction records what it decides. Where a synchronous
    /// standby is asked for and away, it says so, before anything is written that waits for it.
    ///
    /// # Errors
    /// [`StoreError::NoReplica`] then, and when the database fails.
    pub async fn change_number(&mut self) -> Result<ChangeNumber, StoreError> {
        if !self.store.db.is_shared() {
            return Ok(ChangeNumber::default());
        }
        let row = self.tx.query(READ).fetch_one(&mut self.tx).await?;
        if row.try_get::<i64>("replica")? == 0 {
            return Err(StoreError::NoReplica);
        }
        Ok(ChangeNumber(row.try_get("number")?))
    }

    /// Has all instances look again at what decisions rest on.
    pub(super) async fn change(&mut self) -> Result<(), StoreError> {
        if self.store.db.is_shared() {
            self.tx
                .query("UPDATE changes SET number = number + 1 WHERE id = 1")
                .execute(&mut self.tx)
                .await?;
        }
        Ok(())
    }

    /// Begins to count, with a new server.
    pub(super) async fn begin_changes(&mut self) -> Result<(), StoreError> {
        if self.store.db.is_shared() {
            self.tx
                .query("INSERT INTO changes (id, number) VALUES (1, 0)")
                .execute(&mut self.tx)
                .await?;
        }
        Ok(())
    }
}

/// Whose standby is away sees none in the view; who may not see that learns it from a commit that takes too
/// long.
const READ: Text = Text {
    sqlite: "",
    mysql: "SELECT number, 1 AS replica FROM changes WHERE id = 1",
    postgres: "SELECT number, CASE
                   WHEN current_setting('synchronous_standby_names') = '' THEN 1
                   WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 1
                   WHEN EXISTS (SELECT 1 FROM pg_stat_replication
                                WHERE sync_state IN ('sync', 'quorum') OR sync_state IS NULL) THEN 1
                   ELSE 0 END::bigint AS replica
               FROM changes WHERE id = 1",
};
