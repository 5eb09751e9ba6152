use ostrakon_types::{DeviceId, ProfileId, Recorded, RequestId, UnixMillis, canonical};

use super::{
    Transaction,
    rows::{Parts, Rows},
};
use crate::{
    StoreError,
    engine::{Bound, Text},
};

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

/// Each wanted row is looked up by the primary key, in this order of loops: so `CROSS JOIN` says to
/// SQLite, and `STRAIGHT_JOIN` to MySQL.
pub(super) static RECALL: Rows = Rows::of(
    Parts {
        before: "WITH wanted (number, profile, device, request) AS (VALUES ",
        row: "(?, ?, ?, ?)",
        between: ", ",
        after: ") SELECT number, recorded FROM wanted
                CROSS JOIN requests USING (profile, device, request)",
    },
    Parts {
        before: "SELECT wanted.number AS number, kept.recorded AS recorded FROM (",
        row: "SELECT ? AS number, ? AS profile, ? AS device, ? AS request",
        between: " UNION ALL ",
        after: ") AS wanted STRAIGHT_JOIN requests AS kept ON kept.profile = wanted.profile
                AND kept.device = wanted.device AND kept.request = wanted.request",
    },
    Parts {
        before: "WITH wanted (number, profile, device, request) AS (VALUES ",
        row: "(?, ?, ?, ?)",
        between: ", ",
        after: ") SELECT number, recorded FROM wanted
                JOIN requests USING (profile, device, request)",
    },
);

static RECORD: Rows = Rows::new(
    "INSERT INTO requests (profile, device, request, recorded, decided_at) VALUES ",
    "(?, ?, ?, ?, ?)",
    "",
);

const FORGET: Text = Text {
    mysql: "DELETE FROM requests WHERE decided_at < ? ORDER BY decided_at LIMIT ?",
    ..Text::all(
        "DELETE FROM requests WHERE (profile, device, request) IN
         (SELECT profile, device, request FROM requests WHERE decided_at < ?
          ORDER BY decided_at LIMIT ?)",
    )
};

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
        for query in RECALL.over(self.tx.kind(), keys.iter().enumerate(), bind) {
            for row in query.fetch_all(&mut self.tx).await? {
                let number = usize::try_from(row.try_get::<i64>("number")?).ok();
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
        for query in RECORD.over(self.tx.kind(), records.iter(), bind) {
            query.execute(&mut self.tx).await?;
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
        self.tx
            .query(FORGET)
            .bind(now.plus(-REQUESTS_KEPT).0)
            .bind(i64::from(count))
            .execute(&mut self.tx)
            .await
    }
}

fn bind(query: Bound, key: &RequestKey) -> Bound {
    query
        .bind(key.profile.as_bytes().as_slice())
        .bind(key.device.as_bytes().as_slice())
        .bind(key.request.as_bytes().as_slice())
}
