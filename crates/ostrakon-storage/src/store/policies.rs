use ostrakon_types::UnixMillis;

use super::{Store, Transaction};
use crate::{
    StoreError,
    engine::{Conn, Row},
};

/// A policy as it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVersion {
    /// Its number, from 1, in the order of loading.
    pub version: i64,
    /// The server's time zone at that time, an IANA name.
    pub time_zone: String,
    /// The text of the file.
    pub source: String,
    /// When it was loaded.
    pub loaded_at: UnixMillis,
    /// Whether administrators put it in force, and no file of the home did.
    pub approved: bool,
}

impl PolicyVersion {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            version: row.try_get("version")?,
            time_zone: row.try_get("time_zone")?,
            source: row.try_get("source")?,
            loaded_at: UnixMillis(row.try_get("loaded_at")?),
            approved: row.try_get::<i64>("approved")? > 0,
        })
    }
}

impl Store {
    /// The policy in force: the one that was loaded last.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn policy(&self) -> Result<Option<PolicyVersion>, StoreError> {
        newest_policy(&mut self.db.reader().await?).await
    }

    /// Whether a policy of this text was ever in force.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn had_policy(&self, source: &str) -> Result<bool, StoreError> {
        let row = self
            .db
            .query("SELECT version FROM policies WHERE source = ? LIMIT 1")
            .bind(source)
            .fetch_optional(&mut self.db.reader().await?)
            .await?;
        Ok(row.is_some())
    }
}

pub(super) async fn newest_policy(conn: &mut Conn) -> Result<Option<PolicyVersion>, StoreError> {
    let row = conn
        .query(
            "SELECT version, time_zone, source, loaded_at, (SELECT COUNT(*) FROM approved_policies
             WHERE approved_policies.version = policies.version) AS approved FROM policies
         ORDER BY version DESC LIMIT 1",
        )
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(PolicyVersion::from_row).transpose()
}

impl Transaction<'_> {
    /// The number of the policy in force; 0 where there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn policy_version(&mut self) -> Result<i64, StoreError> {
        let policy = newest_policy(&mut self.tx).await?;
        Ok(policy.map_or(0, |policy| policy.version))
    }

    /// Puts a policy in force and returns its number. `approved` says that administrators did.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_policy(
        &mut self,
        time_zone: &str,
        source: &str,
        approved: bool,
        now: UnixMillis,
    ) -> Result<i64, StoreError> {
        let newest = newest_policy(&mut self.tx).await?;
        let version = newest.map_or(0, |policy| policy.version) + 1;
        self.tx
            .query(
                "INSERT INTO policies (version, time_zone, source, loaded_at) VALUES (?, ?, ?, ?)",
            )
            .bind(version)
            .bind(time_zone)
            .bind(source)
            .bind(now.0)
            .execute(&mut self.tx)
            .await
            .map_err(StoreError::or_overtaken)?;
        if approved {
            self.tx
                .query("INSERT INTO approved_policies (version) VALUES (?)")
                .bind(version)
                .execute(&mut self.tx)
                .await?;
        }
        self.change().await?;
        Ok(version)
    }
}
