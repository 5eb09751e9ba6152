use ostrakon_types::{Digest, KssId, UnixMillis};
use zeroize::Zeroizing;

use super::{Store, Transaction};
use crate::{StoreError, engine::or_nothing};

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
        let row = self
            .db
            .query("SELECT kss_id, public_card, enabled, created_at FROM server")
            .fetch_optional(&mut self.db.reader().await?)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let corrupt = |_| StoreError::Corrupt {
            table: "server",
            column: "kss_id",
        };
        let kss_id = Digest::try_from(row.try_get::<&[u8]>("kss_id")?).map_err(corrupt)?;
        Ok(Some(ServerRecord {
            kss_id: KssId::from_digest(kss_id),
            public_card: row.try_get("public_card")?,
            enabled: row.try_get::<i64>("enabled")? != 0,
            created_at: UnixMillis(row.try_get("created_at")?),
        }))
    }

    /// Whether the server was recovered, and waits to be enabled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_staged(&self) -> Result<bool, StoreError> {
        let row = self
            .db
            .query("SELECT 1 FROM settings WHERE name = ?")
            .bind(STAGED)
            .fetch_optional(&mut self.db.reader().await?)
            .await?;
        Ok(row.is_some())
    }

    /// The server's secrets, as [`Transaction::insert_server`] got them.
    ///
    /// # Errors
    /// When there is no server, the database fails or the value is damaged.
    pub async fn identity(&self) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let row = self
            .db
            .query("SELECT kss_id, sealed FROM server")
            .fetch_optional(&mut self.db.reader().await?)
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
    /// When there is one already, or another is being made there by now, or the database fails.
    pub async fn insert_server(
        &mut self,
        record: &ServerRecord,
        identity: &[u8],
    ) -> Result<(), StoreError> {
        let kss_id = record.kss_id.digest().as_bytes().as_slice();
        self.store.keys.hold(&mut self.tx).await?;
        let sealed = self.store.keys.seal(IDENTITY, kss_id, identity)?;
        let inserted = self
            .tx
            .query(or_nothing!(
                "INSERT INTO server (id, kss_id, public_card, sealed, enabled, created_at)
                 VALUES (1, ?, ?, ?, ?, ?)"
            ))
            .bind(kss_id)
            .bind(&record.public_card)
            .bind(sealed)
            .bind(i64::from(record.enabled))
            .bind(record.created_at.0)
            .add(&mut self.tx)
            .await?;
        if inserted {
            self.begin_changes().await
        } else {
            Err(StoreError::Exists)
        }
    }

    /// Makes a recovered server wait until it is enabled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stage(&mut self) -> Result<(), StoreError> {
        self.set(STAGED, &[1]).await?;
        self.set_enabled(false).await
    }

    /// Whether the server is to answer requests.
    ///
    /// # Errors
    /// When there is no server, or the database fails.
    pub async fn is_enabled(&mut self) -> Result<bool, StoreError> {
        let row = self
            .tx
            .query("SELECT enabled FROM server")
            .fetch_optional(&mut self.tx)
            .await?;
        let row = row.ok_or(StoreError::Missing)?;
        Ok(row.try_get::<i64>("enabled")? != 0)
    }

    /// Makes the server answer requests, or none. One that waited to be enabled waits no more.
    ///
    /// # Errors
    /// When there is no server, or the database fails.
    pub async fn set_enabled(&mut self, enabled: bool) -> Result<(), StoreError> {
        if enabled {
            self.unset(STAGED).await?;
        }
        let updated = self
            .tx
            .query("UPDATE server SET enabled = ?")
            .bind(i64::from(enabled))
            .execute(&mut self.tx)
            .await?;
        if updated == 1 {
            self.change().await
        } else {
            Err(StoreError::Missing)
        }
    }
}
