use ostrakon_types::{
    Charge, CounterKey, DeviceId, Period, ProfileId, Recorded, RequestId, UnixMillis, canonical,
};
use sqlx::{Row as _, Sqlite, pool::PoolConnection};

use super::Store;
use crate::StoreError;

/// How long a request's decisions are kept for its retries: 24 hours, in milliseconds.
const KEPT: i64 = 24 * 60 * 60 * 1000;

/// More than any window lasts, in milliseconds: 26 hours. The longest is a day on which clocks are set
/// back.
const LONGEST_WINDOW: i64 = 26 * 60 * 60 * 1000;

/// What names a request, over all its retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey {
    /// The profile for which it is made.
    pub profile: ProfileId,
    /// The device that makes it.
    pub device: DeviceId,
    /// Its id.
    pub request: RequestId,
}

/// A counter and how far it has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Which counter.
    pub key: CounterKey,
    /// Approvals so far in its window.
    pub count: u64,
}

/// One act on the database: all of it becomes durable at [`Transaction::commit`], or none.
///
/// Dropped without a commit, it closes its connection, which undoes it for certain: after some
/// failures, a full disk among them, SQLite has undone it already and the connection no longer knows
/// where it stands.
pub struct Transaction<'s> {
    pub(super) store: &'s Store,
    pub(super) tx: PoolConnection<Sqlite>,
    finished: bool,
}

impl<'s> Transaction<'s> {
    pub(super) async fn begin(store: &'s Store) -> Result<Self, StoreError> {
        let tx = store.db.writer.acquire().await?;
        let mut transaction = Self {
            store,
            tx,
            finished: false,
        };
        // The write lock is taken at the start, so that no statement in the middle can lose it.
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut *transaction.tx)
            .await?;
        Ok(transaction)
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] leaves open whether it was.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        sqlx::query("COMMIT").execute(&mut *self.tx).await?;
        self.finished = true;
        Ok(())
    }

    /// What was recorded for an earlier try of the request.
    ///
    /// # Errors
    /// When the database fails or the record is damaged.
    pub async fn recall(&mut self, key: &RequestKey) -> Result<Option<Recorded>, StoreError> {
        let row = sqlx::query(
            "SELECT recorded FROM requests WHERE profile = ? AND device = ? AND request = ?",
        )
        .bind(key.profile.as_bytes().as_slice())
        .bind(key.device.as_bytes().as_slice())
        .bind(key.request.as_bytes().as_slice())
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        canonical::decode(row.try_get("recorded")?)
            .map(Some)
            .map_err(|_| StoreError::Corrupt {
                table: "requests",
                column: "recorded",
            })
    }

    /// Records the decisions of a request for its retries.
    ///
    /// # Errors
    /// When the request has a record already, or the database fails.
    pub async fn record(
        &mut self,
        key: &RequestKey,
        recorded: &Recorded,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO requests (profile, device, request, recorded, decided_at)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(key.profile.as_bytes().as_slice())
        .bind(key.device.as_bytes().as_slice())
        .bind(key.request.as_bytes().as_slice())
        .bind(canonical::encode(recorded))
        .bind(now.0)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Counts one on the charge's counter if it is under the limit, in one statement.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn charge(&mut self, charge: &Charge) -> Result<bool, StoreError> {
        let limit = i64::try_from(charge.limit).unwrap_or(i64::MAX);
        let counted = sqlx::query(
            "INSERT INTO counters (profile, rule, period, window, count)
             SELECT ?, ?, ?, ?, 1 WHERE ? > 0
             ON CONFLICT DO UPDATE SET count = count + 1 WHERE count < ?",
        )
        .bind(charge.key.profile.as_bytes().as_slice())
        .bind(&*charge.key.rule_id)
        .bind(period_code(charge.key.period))
        .bind(charge.key.window.0)
        .bind(limit)
        .bind(limit)
        .execute(&mut *self.tx)
        .await?;
        Ok(counted.rows_affected() == 1)
    }

    /// Takes back what [`Transaction::charge`] counted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn refund(&mut self, charge: &Charge) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE counters SET count = count - 1
             WHERE profile = ? AND rule = ? AND period = ? AND window = ?",
        )
        .bind(charge.key.profile.as_bytes().as_slice())
        .bind(&*charge.key.rule_id)
        .bind(period_code(charge.key.period))
        .bind(charge.key.window.0)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Writes something, so that a commit shows whether the disk takes writes. An act that changes no
    /// row touches no file, and succeeds on a disk that is full.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn probe(&mut self) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ('probe', randomblob(16))
             ON CONFLICT DO UPDATE SET value = excluded.value",
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Forgets counters whose windows have ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_counters(&mut self, now: UnixMillis) -> Result<u64, StoreError> {
        let forgotten = sqlx::query("DELETE FROM counters WHERE window < ?")
            .bind(now.plus(-LONGEST_WINDOW).0)
            .execute(&mut *self.tx)
            .await?;
        Ok(forgotten.rows_affected())
    }

    /// Forgets requests that are too old to be retried.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_requests(&mut self, now: UnixMillis) -> Result<u64, StoreError> {
        let forgotten = sqlx::query("DELETE FROM requests WHERE decided_at < ?")
            .bind(now.plus(-KEPT).0)
            .execute(&mut *self.tx)
            .await?;
        Ok(forgotten.rows_affected())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.tx.close_on_drop();
        }
    }
}

impl Store {
    /// The counters of a profile, in all windows that are kept.
    ///
    /// # Errors
    /// When the database fails or a row is damaged.
    pub async fn counters(&self, profile: &ProfileId) -> Result<Vec<Counter>, StoreError> {
        let rows = sqlx::query(
            "SELECT rule, period, window, count FROM counters WHERE profile = ?
             ORDER BY rule, period, window",
        )
        .bind(profile.as_bytes().as_slice())
        .fetch_all(&self.db.reader)
        .await?;
        rows.iter()
            .map(|row| {
                let corrupt = |column| StoreError::Corrupt {
                    table: "counters",
                    column,
                };
                let period = match row.try_get("period")? {
                    0_i64 => Period::Hour,
                    1 => Period::Day,
                    2 => Period::Minute,
                    3 => Period::SlidingMinute,
                    4 => Period::SlidingHour,
                    5 => Period::SlidingDay,
                    _ => return Err(corrupt("period")),
                };
                let key = CounterKey {
                    profile: *profile,
                    rule_id: row.try_get::<String, _>("rule")?.into(),
                    period,
                    window: UnixMillis(row.try_get("window")?),
                };
                let count = row.try_get::<i64, _>("count")?;
                let count = count.try_into().map_err(|_| corrupt("count"))?;
                Ok(Counter { key, count })
            })
            .collect()
    }
}

/// The number by which the database knows a period.
fn period_code(period: Period) -> i64 {
    match period {
        Period::Hour => 0,
        Period::Day => 1,
        Period::Minute => 2,
        Period::SlidingMinute => 3,
        Period::SlidingHour => 4,
        Period::SlidingDay => 5,
        // A period that this release cannot name cannot come from it.
        _ => i64::MAX,
    }
}
