use ostrakon_types::{Digest, KssId, UnixMillis};
use sqlx::Row as _;
use zeroize::Zeroizing;

use super::{Store, Transaction};
use crate::StoreError;

const IDENTITY: (&str, &str) = ("server", "sealed");

/// The setting that is there while a recovered server waits to be enabled.
const STAGED: &str = "staged";

/// The server that a database belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRecord {
    /// Its id.
    pub kss_id: KssId,
    /// Its public card, encoded.
    pub public_card: Vec<u8>,
    /// Whether it answers requests.
    pub enabled: bool,
    /// When it was made.
    pub created_at: UnixMillis,
}

impl Store {
    /// The server's record, if one was made.
    ///
    /// # Errors
    /// When the database fails or the record is damaged.
    pub async fn server(&self) -> Result<Option<ServerRecord>, StoreError> {
        let row = sqlx::query("SELECT kss_id, public_card, enabled, created_at FROM server")
            .fetch_optional(&self.db.reader)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let corrupt = |_| StoreError::Corrupt {
            table: "server",
            column: "kss_id",
        };
        let kss_id = Digest::try_from(row.try_get::<&[u8], _>("kss_id")?).map_err(corrupt)?;
        Ok(Some(ServerRecord {
            kss_id: KssId::from_digest(kss_id),
            public_card: row.try_get("public_card")?,
            enabled: row.try_get("enabled")?,
            created_at: UnixMillis(row.try_get("created_at")?),
        }))
    }

    /// Whether the server was recovered, and waits to be enabled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_staged(&self) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT 1 FROM settings WHERE name = ?")
            .bind(STAGED)
            .fetch_optional(&self.db.reader)
            .await?;
        Ok(row.is_some())
    }

    /// The server's secrets, as [`Transaction::insert_server`] got them.
    ///
    /// # Errors
    /// When there is no server, the database fails or the value is damaged.
    pub async fn identity(&self) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let row = sqlx::query("SELECT kss_id, sealed FROM server")
            .fetch_optional(&self.db.reader)
            .await?
            .ok_or(StoreError::Missing)?;
        self.keys
            .open(IDENTITY, row.try_get("kss_id")?, row.try_get("sealed")?)
    }
}

impl Transaction<'_> {
    /// Stores a new server with its secrets, sealed.
    ///
    /// # Errors
    /// When there is one already, or the database fails.
    pub async fn insert_server(
        &mut self,
        record: &ServerRecord,
        identity: &[u8],
    ) -> Result<(), StoreError> {
        let kss_id = record.kss_id.digest().as_bytes().as_slice();
        let sealed = self.store.keys.seal(IDENTITY, kss_id, identity)?;
        let inserted = sqlx::query(
            "INSERT INTO server (id, kss_id, public_card, sealed, enabled, created_at)
             VALUES (1, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(kss_id)
        .bind(&record.public_card)
        .bind(sealed)
        .bind(record.enabled)
        .bind(record.created_at.0)
        .execute(&mut *self.tx)
        .await?;
        if inserted.rows_affected() == 1 {
            Ok(())
        } else {
            Err(StoreError::Exists)
        }
    }

    /// Makes a recovered server wait until it is enabled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stage(&mut self) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO settings (name, value) VALUES (?, x'01') ON CONFLICT DO NOTHING")
            .bind(STAGED)
            .execute(&mut *self.tx)
            .await?;
        self.set_enabled(false).await
    }

    /// Makes the server answer requests, or none. One that waited to be enabled waits no more.
    ///
    /// # Errors
    /// When there is no server, or the database fails.
    pub async fn set_enabled(&mut self, enabled: bool) -> Result<(), StoreError> {
        if enabled {
            sqlx::query("DELETE FROM settings WHERE name = ?")
                .bind(STAGED)
                .execute(&mut *self.tx)
                .await?;
        }
        let updated = sqlx::query("UPDATE server SET enabled = ?")
            .bind(enabled)
            .execute(&mut *self.tx)
            .await?;
        if updated.rows_affected() == 1 {
            Ok(())
        } else {
            Err(StoreError::Missing)
        }
    }
}
