//! The rows that bound the audit chains: checkpoints, which say how far they came, and archives, which say
//! where they begin.

use ostrakon_types::{ProfileId, UnixMillis};

use super::{
    AuditHead, AuditRow, InstanceId, Store, Transaction,
    audit::{audit_page, audit_row_of, head_of},
};
use crate::{
    StoreError,
    engine::{Conn, Row, Text},
};

/// A checkpoint as the database keeps it. What is in it, its signature alone vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRow {
    /// Its number, from 1.
    pub number: u64,
    /// When it was made.
    pub at: UnixMillis,
    /// Its bytes, signed.
    pub signed: Vec<u8>,
}

/// An archive's manifest as the database keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveRow {
    /// Its number, from 1.
    pub number: u64,
    /// Its bytes, signed.
    pub signed: Vec<u8>,
}

impl CheckpointRow {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            number: unsigned("checkpoints", row)?,
            at: UnixMillis(row.try_get("at")?),
            signed: row.try_get("signed")?,
        })
    }
}

impl Store {
    /// The newest checkpoint.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError> {
        self.checkpoint_until(UnixMillis(i64::MAX)).await
    }

    /// The newest of the checkpoints that were made at `at` or before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn checkpoint_until(
        &self,
        at: UnixMillis,
    ) -> Result<Option<CheckpointRow>, StoreError> {
        let row = self
            .db
            .query(
                "SELECT number, at, signed FROM checkpoints WHERE at <= ?
             ORDER BY at DESC, number DESC LIMIT 1",
            )
            .bind(at.0)
            .fetch_optional(&mut self.db.reader().await?)
            .await?;
        row.as_ref().map(CheckpointRow::from_row).transpose()
    }

    /// At most `count` checkpoints from number `from` on, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn checkpoint_page(
        &self,
        from: u64,
        count: u32,
    ) -> Result<Vec<CheckpointRow>, StoreError> {
        let rows = self
            .db
            .query(
                "SELECT number, at, signed FROM checkpoints WHERE number >= ?
             ORDER BY number LIMIT ?",
            )
            .bind(signed(from))
            .bind(i64::from(count))
            .fetch_all(&mut self.db.reader().await?)
            .await?;
        rows.iter().map(CheckpointRow::from_row).collect()
    }

    /// The manifests of all archives, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn archives(&self) -> Result<Vec<ArchiveRow>, StoreError> {
        let rows = self
            .db
            .query("SELECT number, signed FROM archives ORDER BY number")
            .fetch_all(&mut self.db.reader().await?)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(ArchiveRow {
                    number: unsigned("archives", row)?,
                    signed: row.try_get("signed")?,
                })
            })
            .collect()
    }

    /// The newest link of every chain, in the order of their instances.
    ///
    /// # Errors
    /// When the database fails or a row is damaged.
    pub async fn audit_heads(&self) -> Result<Vec<(InstanceId, AuditHead)>, StoreError> {
        audit_heads(&mut self.db.reader().await?).await
    }

    /// The newest links of the instance's chain, at most `count` before number `before`, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_page_back(
        &self,
        instance: InstanceId,
        before: u64,
        count: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let rows = self
            .db
            .query(
                "SELECT sequence, sealed, mac FROM audit WHERE instance = ? AND sequence < ?
             ORDER BY sequence DESC LIMIT ?",
            )
            .bind(instance.as_bytes().as_slice())
            .bind(signed(before))
            .bind(i64::from(count))
            .fetch_all(&mut self.db.reader().await?)
            .await?;
        rows.iter().map(audit_row_of).collect()
    }

    /// The link of the instance's chain with this number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_row(
        &self,
        instance: InstanceId,
        sequence: u64,
    ) -> Result<Option<AuditRow>, StoreError> {
        let page = audit_page(&mut self.db.reader().await?, instance, sequence, 1).await?;
        Ok(page.into_iter().find(|row| row.sequence == sequence))
    }

    /// The profiles with a counter that has counted to `count` at least, at most 500 of them, in order,
    /// behind `after`.
    ///
    /// # Errors
    /// When the database fails or an id is damaged.
    pub async fn profiles_that_counted(
        &self,
        count: u64,
        after: Option<ProfileId>,
    ) -> Result<Vec<ProfileId>, StoreError> {
        let rows = self
            .db
            .query(
                "SELECT DISTINCT profile FROM counters WHERE profile > ? AND count >= ?
             ORDER BY profile LIMIT 500",
            )
            .bind(after.map_or_else(Vec::new, |id| id.as_bytes().to_vec()))
            .bind(signed(count))
            .fetch_all(&mut self.db.reader().await?)
            .await?;
        rows.iter().map(profile_of).collect()
    }

    /// The profile whose first four words these are.
    ///
    /// # Errors
    /// When the database fails or an id is damaged.
    pub async fn profile_by_words(&self, words: &str) -> Result<Option<ProfileId>, StoreError> {
        let row = self
            .db
            .query("SELECT profile FROM profiles WHERE first_words = ?")
            .bind(words)
            .fetch_optional(&mut self.db.reader().await?)
            .await?;
        row.as_ref().map(profile_of).transpose()
    }
}

/// The newest link of every chain, in the order of their instances.
pub(super) async fn audit_heads(
    conn: &mut Conn,
) -> Result<Vec<(InstanceId, AuditHead)>, StoreError> {
    let mut heads = Vec::new();
    let mut after = Vec::new();
    // From one chain to the next by the index: their records are not read.
    while let Some(row) = conn
        .query("SELECT instance FROM audit WHERE instance > ? ORDER BY instance LIMIT 1")
        .bind(&after)
        .fetch_optional(conn)
        .await?
    {
        after = row.try_get("instance")?;
        let corrupt = |_| StoreError::Corrupt {
            table: "audit",
            column: "instance",
        };
        let instance = InstanceId::from_bytes(after.as_slice().try_into().map_err(corrupt)?);
        heads.push((instance, head_of(conn, instance).await?));
    }
    Ok(heads)
}

const PRUNE_AUDIT: Text = Text {
    mysql: "DELETE FROM audit WHERE instance = ? AND sequence <= ? ORDER BY sequence LIMIT ?",
    ..Text::all(
        "DELETE FROM audit WHERE (instance, sequence) IN
         (SELECT instance, sequence FROM audit WHERE instance = ? AND sequence <= ?
          ORDER BY sequence LIMIT ?)",
    )
};

const PRUNE_CHECKPOINTS: Text = Text {
    mysql: "DELETE FROM checkpoints WHERE number < ? ORDER BY number LIMIT ?",
    ..Text::all(
        "DELETE FROM checkpoints WHERE number IN
         (SELECT number FROM checkpoints WHERE number < ? ORDER BY number LIMIT ?)",
    )
};

impl Transaction<'_> {
    /// Adds a checkpoint.
    ///
    /// # Errors
    /// When its number is taken, or the database fails.
    pub async fn insert_checkpoint(&mut self, row: &CheckpointRow) -> Result<(), StoreError> {
        self.stay().await?;
        self.tx
            .query("INSERT INTO checkpoints (number, at, signed) VALUES (?, ?, ?)")
            .bind(signed(row.number))
            .bind(row.at.0)
            .bind(&row.signed)
            .execute(&mut self.tx)
            .await
            .map_err(StoreError::or_overtaken)?;
        Ok(())
    }

    /// Adds an archive's manifest.
    ///
    /// # Errors
    /// When its number is taken, or the database fails.
    pub async fn insert_archive(&mut self, row: &ArchiveRow) -> Result<(), StoreError> {
        self.tx
            .query("INSERT INTO archives (number, signed) VALUES (?, ?)")
            .bind(signed(row.number))
            .bind(&row.signed)
            .execute(&mut self.tx)
            .await
            .map_err(StoreError::or_overtaken)?;
        Ok(())
    }

    /// Takes at most `count` links away from the beginning of the instance's chain, up to number
    /// `through`. The newest one stays whatever its number, so that the chain is known to go on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prune_audit(
        &mut self,
        instance: InstanceId,
        through: u64,
        count: u32,
    ) -> Result<u64, StoreError> {
        // The newest one, which stays.
        let newest = head_of(&mut self.tx, instance).await?.sequence;
        self.tx
            .query(PRUNE_AUDIT)
            .bind(instance.as_bytes().as_slice())
            .bind(signed(through.min(newest.saturating_sub(1))))
            .bind(i64::from(count))
            .execute(&mut self.tx)
            .await
    }

    /// Takes at most `count` checkpoints away that come before number `before`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prune_checkpoints(&mut self, before: u64, count: u32) -> Result<u64, StoreError> {
        let pruned = self
            .tx
            .query(PRUNE_CHECKPOINTS)
            .bind(signed(before))
            .bind(i64::from(count))
            .execute(&mut self.tx)
            .await?;
        Ok(pruned)
    }

    /// Sets a profile's counters, or every profile's, back to zero. What the server counts over all
    /// profiles stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn clear_counters(&mut self, profile: Option<&ProfileId>) -> Result<u64, StoreError> {
        let cleared = match profile {
            Some(profile) => self
                .tx
                .query("DELETE FROM counters WHERE profile = ?")
                .bind(profile.as_bytes().as_slice()),
            None => self
                .tx
                .query("DELETE FROM counters WHERE profile <> ?")
                .bind([0_u8; 16].as_slice()),
        };
        cleared.execute(&mut self.tx).await
    }
}

pub(super) fn profile_of(row: &Row) -> Result<ProfileId, StoreError> {
    let corrupt = |_| StoreError::Corrupt {
        table: "counters",
        column: "profile",
    };
    ProfileId::try_from(row.try_get::<&[u8]>("profile")?).map_err(corrupt)
}

fn unsigned(table: &'static str, row: &Row) -> Result<u64, StoreError> {
    let column = "number";
    let number: i64 = row.try_get(column)?;
    let corrupt = |_| StoreError::Corrupt { table, column };
    number.try_into().map_err(corrupt)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
