use ostrakon_types::{DeviceId, ProfileId, Recorded, RequestId, UnixMillis, canonical};
use sqlx::Row as _;

use super::{
    Transaction,
    rows::{Bound, Rows},
};
use crate::StoreError;

/// How long a request's decisions are kept for its retries: 24 hours, in milliseconds.
pub const REQUESTS_KEPT: i64 = 24 * 60 * 60 * 1000;

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

/// What is remembered of a request: not secret, but who could change it could have shards released.
pub(super) const RECORDED: (&str, &str) = ("requests", "recorded");

impl RequestKey {
    /// The parts of the row that it names.
    pub(super) fn row(&self) -> [&[u8]; 3] {
        [
            self.profile.as_bytes(),
            self.device.as_bytes(),
            self.request.as_bytes(),
        ]
    }
}

/// The decisions of a request, to be kept for its retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// The request.
    pub key: RequestKey,
    /// What was decided.
    pub recorded: Recorded,
    /// When.
    pub decided_at: UnixMillis,
}

/// CROSS JOIN: each wanted row is looked up by the primary key, in this order of loops.
pub(super) static RECALL: Rows = Rows::new(
    "WITH wanted (number, profile, device, request) AS (VALUES ",
    "(?, ?, ?, ?)",
    ") SELECT number, recorded FROM wanted CROSS JOIN requests USING (profile, device, request)",
);

static RECORD: Rows = Rows::new(
    "INSERT INTO requests (profile, device, request, recorded, decided_at) VALUES ",
    "(?, ?, ?, ?, ?)",
    "",
);

impl Transaction<'_> {
    /// What was recorded for earlier tries of the requests, in their order.
    ///
    /// # Errors
    /// When the database fails or a record is damaged.
    pub async fn recall(
        &mut self,
        keys: &[RequestKey],
    ) -> Result<Vec<Option<Recorded>>, StoreError> {
        let corrupt = || StoreError::Corrupt {
            table: RECORDED.0,
            column: RECORDED.1,
        };
        let mut recalled = vec![None; keys.len()];
        let bind = |query: Bound, (number, key): (usize, &RequestKey)| {
            bind(query.bind(i64::try_from(number).unwrap_or(i64::MAX)), key)
        };
        for query in RECALL.over(keys.iter().enumerate(), bind) {
            for row in query.fetch_all(&mut *self.tx).await? {
                let number = usize::try_from(row.try_get::<i64, _>("number")?).ok();
                let key = number.and_then(|number| keys.get(number));
                let row_of = key.ok_or_else(corrupt)?.row();
                let stored = row.try_get("recorded")?;
                let stored = self.store.keys.authenticated(RECORDED, &row_of, stored)?;
                let recorded = canonical::decode(stored).map_err(|_| corrupt())?;
                let place = number.and_then(|number| recalled.get_mut(number));
                *place.ok_or_else(corrupt)? = Some(recorded);
            }
        }
        Ok(recalled)
    }

    /// Records the decisions of requests for their retries.
    ///
    /// # Errors
    /// When a request has a record already, or the database fails.
    pub async fn record(&mut self, records: &[RequestRecord]) -> Result<(), StoreError> {
        let keys = &self.store.keys;
        let bind = |query: Bound, record: &RequestRecord| {
            let recorded = canonical::encode(&record.recorded);
            bind(query, &record.key)
                .bind(keys.authenticate(RECORDED, &record.key.row(), recorded))
                .bind(record.decided_at.0)
        };
        for query in RECORD.over(records.iter(), bind) {
            query.execute(&mut *self.tx).await?;
        }
        Ok(())
    }

    /// Forgets requests that are too old to be retried, the oldest first and at most `count` of them.
    /// Returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_requests(
        &mut self,
        now: UnixMillis,
        count: u32,
    ) -> Result<u64, StoreError> {
        let forgotten = sqlx::query(
            "DELETE FROM requests WHERE (profile, device, request) IN
             (SELECT profile, device, request FROM requests WHERE decided_at < ?
              ORDER BY decided_at LIMIT ?)",
        )
        .bind(now.plus(-REQUESTS_KEPT).0)
        .bind(count)
        .execute(&mut *self.tx)
        .await?;
        Ok(forgotten.rows_affected())
    }
}

fn bind(query: Bound, key: &RequestKey) -> Bound {
    query
        .bind(key.profile.as_bytes().as_slice())
        .bind(key.device.as_bytes().as_slice())
        .bind(key.request.as_bytes().as_slice())
}
