//! One state of the database, read by several statements while others write.

use ostrakon_types::{Digest, ProfileId, Recorded, canonical};

use super::{
    AuditRow, Counter, InstanceId, PolicyVersion, RequestKey, Store,
    audit::audit_page,
    checkpoints::profile_of,
    counters::counters_of,
    policies::newest_policy,
    profiles::{corrupt_version, open_version},
    requests::RECORDED,
};
use crate::{StoreError, engine::Conn};

/// The database as it was when the snapshot was taken. Drop it soon: while it is there, the write-ahead log
/// only grows.
pub struct Snapshot<'s> {
    store: &'s Store,
    tx: Conn,
}

impl Store {
    /// Takes a snapshot.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn snapshot(&self) -> Result<Snapshot<'_>, StoreError> {
        let mut tx = self.db.reader().await?;
        tx.begin_snapshot().await?;
        Ok(Snapshot { store: self, tx })
    }
}

impl Snapshot<'_> {
    /// At most `count` links of the instance's chain from number `from` on, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_page(
        &mut self,
        instance: InstanceId,
        from: u64,
        count: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        audit_page(&mut self.tx, instance, from, count).await
    }

    /// Profiles with counters, at most 500 of them, in order, behind `after`.
    ///
    /// # Errors
    /// When the database fails or an id is damaged.
    pub async fn counting_profiles(
        &mut self,
        after: Option<ProfileId>,
    ) -> Result<Vec<ProfileId>, StoreError> {
        let rows = self.tx.query(
            "SELECT DISTINCT profile FROM counters WHERE profile > ? ORDER BY profile LIMIT 500",
        )
        .bind(after.map_or_else(Vec::new, |id| id.as_bytes().to_vec()))
        .fetch_all(&mut self.tx)
        .await?;
        rows.iter().map(profile_of).collect()
    }

    /// The counters of a profile.
    ///
    /// # Errors
    /// When the database fails or a row is damaged.
    pub async fn counters(&mut self, profile: &ProfileId) -> Result<Vec<Counter>, StoreError> {
        counters_of(&mut self.tx, profile).await
    }

    /// The policy in force, and whether requests are answered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn state(&mut self) -> Result<(Option<PolicyVersion>, bool), StoreError> {
        let policy = newest_policy(&mut self.tx).await?;
        let row = self
            .tx
            .query("SELECT enabled FROM server")
            .fetch_one(&mut self.tx)
            .await?;
        Ok((policy, row.try_get::<i64>("enabled")? != 0))
    }

    /// Number and hash of a profile's newest version, as the profile's own row has them and as that version,
    /// opened, says. `None` when there is no such profile.
    ///
    /// They differ, or there is no hash in the row, where somebody else wrote to the database.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the version is not what the server wrote, or not there.
    pub async fn profile_heads(
        &mut self,
        profile: &ProfileId,
    ) -> Result<Option<[(u64, Option<Digest>); 2]>, StoreError> {
        let row = self
            .tx
            .query(
                "SELECT profiles.number AS number, head, profile_versions.number AS newest, sealed
             FROM profiles LEFT JOIN profile_versions USING (profile)
             WHERE profile = ? ORDER BY newest DESC LIMIT 1",
            )
            .bind(profile.as_bytes().as_slice())
            .fetch_optional(&mut self.tx)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let stored = row.try_get::<Option<&[u8]>>("head")?;
        let stored = stored.and_then(|hash| Some(Digest::from_bytes(hash.try_into().ok()?)));
        let number: i64 = row.try_get("number")?;
        let newest: Option<i64> = row.try_get("newest")?;
        let newest = newest.ok_or_else(corrupt_version)?;
        let version = open_version(self.store, profile, newest, row.try_get("sealed")?)?;
        let version = version.version();
        Ok(Some([
            (number.try_into().unwrap_or(0), stored),
            (version.number, Some(version.hash())),
        ]))
    }

    /// What is remembered of a request, for its retries.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is not what the server wrote.
    pub async fn remembered(&mut self, key: &RequestKey) -> Result<Option<Recorded>, StoreError> {
        let [profile, device, request] = key.row();
        let row = self
            .tx
            .query("SELECT recorded FROM requests WHERE profile = ? AND device = ? AND request = ?")
            .bind(profile)
            .bind(device)
            .bind(request)
            .fetch_optional(&mut self.tx)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let stored = row.try_get("recorded")?;
        let recorded = self
            .store
            .keys
            .authenticated(RECORDED, &key.row(), stored)?;
        let corrupt = |_| StoreError::Corrupt {
            table: RECORDED.0,
            column: RECORDED.1,
        };
        canonical::decode(recorded).map(Some).map_err(corrupt)
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        // The transaction ends with its connection.
        self.tx.close_on_drop();
    }
}
