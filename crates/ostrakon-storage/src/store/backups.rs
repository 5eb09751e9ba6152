use ostrakon_shards::generation::Generation;
use ostrakon_types::UnixMillis;

use super::{Store, Transaction};
use crate::{StoreError, engine::Db};

impl Store {
    /// The newest backup file that was made, if any was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_backup(&self) -> Result<Option<String>, StoreError> {
        newest_in(&self.db).await
    }
}

/// The newest backup file in a database.
pub(super) async fn newest_in(db: &Db) -> Result<Option<String>, StoreError> {
    let row = db
        .query("SELECT file FROM backups ORDER BY epoch DESC, counter DESC LIMIT 1")
        .fetch_optional(&mut db.reader().await?)
        .await?;
    Ok(row.map(|row| row.try_get("file")).transpose()?)
}

impl Transaction<'_> {
    /// Stores a backup file that was made.
    ///
    /// # Errors
    /// When there is one of that generation, or the database fails.
    pub async fn insert_backup(
        &mut self,
        generation: Generation,
        file: &str,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        self.tx
            .query("INSERT INTO backups (epoch, counter, file, made_at) VALUES (?, ?, ?, ?)")
            .bind(i64::try_from(generation.epoch).unwrap_or(i64::MAX))
            .bind(i64::try_from(generation.counter).unwrap_or(i64::MAX))
            .bind(file)
            .bind(now.0)
            .execute(&mut self.tx)
            .await?;
        self.change().await
    }
}
