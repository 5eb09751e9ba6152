//! How instances that share a database learn of what one of them changed.
//!
//! One number counts the changes on which decisions rest: of the policy, of enabled and disabled, of
//! profiles, of what is known about the state's age. It grows in the transaction that makes the change, and
//! is read in the transaction that records a decision: so nothing is decided by what was replaced before.

use super::{Durability, Store, Transaction, keys::Keys, moves::moved_in};
use crate::{
    StoreError,
    engine::{Conn, Kind, Text},
};

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
    /// standby is asked for and away, it says so, before anything is written that waits for it; or it goes on
    /// without, as the store is set, and [`Transaction::durability`] says that.
    ///
    /// # Errors
    /// [`StoreError::NoReplica`] then, and when the database fails.
    pub async fn change_number(&mut self) -> Result<ChangeNumber, StoreError> {
        if !self.store.db.is_shared() {
            return Ok(ChangeNumber::default());
        }
        let row = self.tx.query(READ).fetch_one(&mut self.tx).await?;
        self.found_replica(row.try_get::<i64>("replica")? > 0)
            .await?;
        Ok(ChangeNumber(row.try_get("number")?))
    }

    /// Has the transaction not wait for a replica. What it writes must be such that it may be lost.
    pub(super) async fn forgo_replica(&mut self) -> Result<(), StoreError> {
        self.replica = Some(Durability::Local);
        if self.tx.kind() == Kind::Postgres {
            self.tx.run("SET LOCAL synchronous_commit = local").await?;
        }
        Ok(())
    }

    /// Makes sure that there is a replica where one must be, unless that was done.
    pub(super) async fn check_replica(&mut self) -> Result<(), StoreError> {
        if self.replica.is_some() || self.tx.kind() != Kind::Postgres {
            return Ok(());
        }
        let row = self.tx.query(REPLICA).fetch_one(&mut self.tx).await?;
        self.found_replica(row.try_get::<i64>("replica")? > 0).await
    }

    async fn found_replica(&mut self, found: bool) -> Result<(), StoreError> {
        match self.store.durability {
            Durability::Replicated if !found => return Err(StoreError::NoReplica),
            Durability::Replicated => self.replica = Some(Durability::Replicated),
            Durability::Local => {
                self.tx.query(NAMED).fetch_one(&mut self.tx).await?;
                self.replica = Some(Durability::Replicated);
                if !found {
                    self.forgo_replica().await?;
                    // What has waited since before the replica went holds rows that this one needs.
                    self.tx.query(GO_ON).fetch_one(&mut self.tx).await?;
                }
            }
        }
        Ok(())
    }

    /// Has all instances look again at what decisions rest on.
    pub(super) async fn change(&mut self) -> Result<(), StoreError> {
        self.stay().await?;
        self.count_change().await
    }

    /// Has all instances look again, also where that the state was moved is what they are to see.
    pub(super) async fn count_change(&mut self) -> Result<(), StoreError> {
        if self.store.db.is_shared() {
            self.tx
                .query("UPDATE changes SET number = number + 1 WHERE id = 1")
                .execute(&mut self.tx)
                .await?;
        }
        Ok(())
    }

    /// Has the state stay in this database until the transaction ends: it is not moved to another one before
    /// what this writes has gone along, and nothing is written where it was moved.
    ///
    /// A database that is not shared has one process that writes, and needs none of that.
    pub(super) async fn stay(&mut self) -> Result<(), StoreError> {
        if self.store.db.is_shared() {
            lock_changes(&mut self.tx, &self.store.keys).await?;
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

/// Locks the row of the number in a shared database, which whoever moves the state locks, too.
///
/// # Errors
/// [`StoreError::Moved`] when it was moved already.
pub(super) async fn lock_changes(conn: &mut Conn, keys: &Keys) -> Result<(), StoreError> {
    let query = conn.query("UPDATE changes SET number = number WHERE id = 1");
    query.execute(conn).await?;
    match moved_in(conn, keys).await? {
        Some(moved) => Err(StoreError::Moved { to: moved.to }),
        None => Ok(()),
    }
}

/// 1 where a commit finds as many synchronous standbys as it must wait for, and 0 where it would wait in vain.
/// Who may not read the states of standbys, which takes the role `pg_monitor`, counts those that are connected.
macro_rules! replica {
    () => {
        "CASE
             WHEN current_setting('synchronous_standby_names') = '' THEN 1
             WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 1
             WHEN (SELECT count(*) FROM pg_stat_replication
                   WHERE sync_state IN ('sync', 'quorum') OR sync_state IS NULL)
                  >= coalesce(substring(current_setting('synchronous_standby_names')
                                        from '(?i)^\\s*(?:first|any)?\\s*(\\d+)\\s*[(]')::bigint, 1) THEN 1
             ELSE 0 END::bigint AS replica"
    };
}

pub(super) const REPLICA: Text = Text {
    sqlite: "SELECT 1 AS replica",
    mysql: "SELECT 1 AS replica",
    postgres: concat!("SELECT ", replica!()),
};

const READ: Text = Text {
    sqlite: "",
    mysql: "SELECT number, 1 AS replica FROM changes WHERE id = 1",
    postgres: concat!("SELECT number, ", replica!(), " FROM changes WHERE id = 1"),
};

/// Tells sessions that may go on without a replica from those that may not.
const NAMED: Text = Text {
    sqlite: "SELECT 1 AS one",
    mysql: "SELECT 1 AS one",
    postgres: "SELECT set_config('application_name', 'ostrakon-local', false)",
};

/// Ends the waits for a replica that is away: what waits is committed, and its session goes on.
const GO_ON: Text = Text {
    sqlite: "SELECT 1 AS one",
    mysql: "SELECT 1 AS one",
    postgres: "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
               WHERE application_name = 'ostrakon-local' AND wait_event = 'SyncRep'
                 AND datname = current_database() AND usename = current_user",
};
