use ostrakon_types::{CounterKey, Period, ProfileId, UnixMillis};

use super::{
    Store, Transaction,
    rows::{Parts, Rows},
};
use crate::{
    StoreError,
    engine::{Bound, Conn, Text},
};

/// More than any window lasts, in milliseconds: 26 hours. The longest is a day on which clocks are set
/// back.
pub const LONGEST_WINDOW: i64 = 26 * 60 * 60 * 1000;

/// A counter and how far it has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Which counter.
    pub key: CounterKey,
    /// Approvals so far in its window.
    pub count: u64,
}

/// What a counter is to hold, if it still holds what was read.
#[derive(Clone, Debug)]
pub struct CounterChange {
    /// Which counter.
    pub key: CounterKey,
    /// What [`Transaction::counts`] read; none where there was no such counter.
    pub read: Option<u64>,
    /// What it is to hold.
    pub count: u64,
}

/// Each wanted row is looked up by the primary key, in this order of loops: so `CROSS JOIN` says to
/// SQLite, and `STRAIGHT_JOIN` to MySQL.
pub(super) static READ: Rows = Rows::of(SQLITE_READ, MYSQL_READ, POSTGRES_READ);

/// The same, which also keeps others from changing the rows before this transaction ends. SQLite has one
/// writer at a time.
static LOCK: Rows = Rows::of(
    SQLITE_READ,
    Parts {
        after: ") AS wanted STRAIGHT_JOIN counters AS held
                ON held.profile = wanted.profile AND held.rule = wanted.rule
                AND held.period = wanted.period AND held.\"window\" = wanted.\"window\" FOR UPDATE",
        ..MYSQL_READ
    },
    Parts {
        after: ") SELECT wanted.number, counters.count FROM wanted
                JOIN counters USING (profile, rule, period, \"window\") FOR UPDATE OF counters",
        ..POSTGRES_READ
    },
);

const SQLITE_READ: Parts = Parts {
    before: "WITH wanted (number, profile, rule, period, \"window\") AS (VALUES ",
    row: "(?, ?, ?, ?, ?)",
    between: ", ",
    after: ") SELECT number, count FROM wanted
            CROSS JOIN counters USING (profile, rule, period, \"window\")",
};

const MYSQL_READ: Parts = Parts {
    before: "SELECT wanted.number AS number, held.count AS count FROM (",
    row: "SELECT ? AS number, ? AS profile, ? AS rule, ? AS period, ? AS \"window\"",
    between: " UNION ALL ",
    after: ") AS wanted STRAIGHT_JOIN counters AS held
            ON held.profile = wanted.profile AND held.rule = wanted.rule
            AND held.period = wanted.period AND held.\"window\" = wanted.\"window\"",
};

const POSTGRES_READ: Parts = Parts {
    before: "WITH wanted (number, profile, rule, period, \"window\") AS (VALUES ",
    row: "(?, ?, ?, ?, ?)",
    between: ", ",
    after: ") SELECT wanted.number, counters.count FROM wanted
            JOIN counters USING (profile, rule, period, \"window\")",
};

static ADD: Rows = Rows::of(
    Parts {
        after: " ON CONFLICT DO NOTHING",
        ..ADD_ROWS
    },
    ADD_ROWS,
    Parts {
        after: " ON CONFLICT DO NOTHING",
        ..ADD_ROWS
    },
);

const ADD_ROWS: Parts = Parts {
    before: "INSERT INTO counters (profile, rule, period, \"window\", count) VALUES ",
    row: "(?, ?, ?, ?, ?)",
    between: ", ",
    after: "",
};

pub(super) static CHANGE: Rows = Rows::of(
    CHANGE_FROM_VALUES,
    Parts {
        before: "UPDATE (",
        row: "SELECT ? AS profile, ? AS rule, ? AS period, ? AS \"window\", ? AS was, ? AS becomes",
        between: " UNION ALL ",
        after: ") AS wanted STRAIGHT_JOIN counters AS held
                ON held.profile = wanted.profile AND held.rule = wanted.rule
                AND held.period = wanted.period AND held.\"window\" = wanted.\"window\"
                SET held.count = wanted.becomes WHERE held.count = wanted.was",
    },
    CHANGE_FROM_VALUES,
);

const CHANGE_FROM_VALUES: Parts = Parts {
    before: "WITH change (profile, rule, period, \"window\", was, becomes) AS (VALUES ",
    row: "(?, ?, ?, ?, ?, ?)",
    between: ", ",
    after: ") UPDATE counters SET count = change.becomes FROM change
            WHERE counters.profile = change.profile AND counters.rule = change.rule
              AND counters.period = change.period AND counters.\"window\" = change.\"window\"
              AND counters.count = change.was",
};

const FORGET: Text = Text {
    mysql: "DELETE FROM counters WHERE \"window\" < ? ORDER BY \"window\" LIMIT ?",
    ..Text::all(
        "DELETE FROM counters WHERE (profile, rule, period, \"window\") IN
         (SELECT profile, rule, period, \"window\" FROM counters WHERE \"window\" < ?
          ORDER BY \"window\" LIMIT ?)",
    )
};

impl Transaction<'_> {
    /// How far the counters have counted, in their order; none where there is no such counter. Nobody else
    /// changes those that are there before this transaction ends.
    ///
    /// This serves to plan with. That a limit holds rests on [`Transaction::count`] alone.
    ///
    /// # Errors
    /// When the database fails or a row is damaged.
    pub async fn counts(&mut self, keys: &[&CounterKey]) -> Result<Vec<Option<u64>>, StoreError> {
        counts(&LOCK, &mut self.tx, keys).await
    }

    /// Sets the counters to what they are to hold, each only if it holds what was read: looking and
    /// counting are one act, whatever others have done since.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] when one holds something else: the transaction must be dropped. And
    /// when the database fails.
    pub async fn count(&mut self, changes: &[CounterChange]) -> Result<(), StoreError> {
        let stored = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (new, old): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.read.is_none());
        let add = |query: Bound, change: &CounterChange| {
            bind(query, &change.key).bind(stored(change.count))
        };
        let change = |query: Bound, change: &CounterChange| {
            bind(query, &change.key)
                .bind(change.read.map(stored))
                .bind(stored(change.count))
        };
        let kind = self.tx.kind();
        let added = ADD.over(kind, new.into_iter(), add);
        let mut changed = 0;
        for query in added.chain(CHANGE.over(kind, old.into_iter(), change)) {
            // Not every database says by the number of rows that another writer has made one meanwhile.
            changed += query
                .execute(&mut self.tx)
                .await
                .map_err(StoreError::or_overtaken)?;
        }
        if changed == changes.len() as u64 {
            Ok(())
        } else {
            Err(StoreError::Overtaken)
        }
    }

    /// Forgets counters whose windows have ended, the oldest first and at most `count` of them. Returns
    /// how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_counters(
        &mut self,
        now: UnixMillis,
        count: u32,
    ) -> Result<u64, StoreError> {
        self.tx
            .query(FORGET)
            .bind(now.plus(-LONGEST_WINDOW).0)
            .bind(i64::from(count))
            .execute(&mut self.tx)
            .await
    }
}

impl Store {
    /// How far the counters have counted when the last transaction was committed, in their order; none
    /// where there is no such counter.
    ///
    /// # Errors
    /// When the database fails or a row is damaged.
    pub async fn counts(&self, keys: &[&CounterKey]) -> Result<Vec<Option<u64>>, StoreError> {
        counts(&READ, &mut self.db.reader().await?, keys).await
    }

    /// The counters of a profile, in all windows that are kept.
    ///
    /// # Errors
    /// When the database fails or a row is damaged.
    pub async fn counters(&self, profile: &ProfileId) -> Result<Vec<Counter>, StoreError> {
        counters_of(&mut self.db.reader().await?, profile).await
    }
}

async fn counts(
    read: &'static Rows,
    connection: &mut Conn,
    keys: &[&CounterKey],
) -> Result<Vec<Option<u64>>, StoreError> {
    let mut counts = vec![None; keys.len()];
    let bind = |query: Bound, (number, key): (usize, &&CounterKey)| {
        bind(query.bind(i64::try_from(number).unwrap_or(i64::MAX)), key)
    };
    for query in read.over(connection.kind(), keys.iter().enumerate(), bind) {
        for row in query.fetch_all(connection).await? {
            let number = usize::try_from(row.try_get::<i64>("number")?).ok();
            let count = row.try_get::<i64>("count")?.try_into().ok();
            let place = number.and_then(|number| counts.get_mut(number));
            *place.ok_or_else(corrupt_count)? = Some(count.ok_or_else(corrupt_count)?);
        }
    }
    Ok(counts)
}

/// The counters of a profile, in all windows that are kept.
pub(super) async fn counters_of(
    conn: &mut Conn,
    profile: &ProfileId,
) -> Result<Vec<Counter>, StoreError> {
    let rows = conn
        .query(
            "SELECT rule, period, \"window\", count FROM counters WHERE profile = ?
             ORDER BY rule, period, \"window\"",
        )
        .bind(profile.as_bytes().as_slice())
        .fetch_all(conn)
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
                rule_id: row.try_get("rule")?,
                period,
                window: UnixMillis(row.try_get("window")?),
            };
            let count = row.try_get::<i64>("count")?;
            let count = count.try_into().map_err(|_| corrupt("count"))?;
            Ok(Counter { key, count })
        })
        .collect()
}

fn bind(query: Bound, key: &CounterKey) -> Bound {
    query
        .bind(key.profile.as_bytes().as_slice())
        .bind(&key.rule_id)
        .bind(period_code(key.period))
        .bind(key.window.0)
}

fn corrupt_count() -> StoreError {
    StoreError::Corrupt {
        table: "counters",
        column: "count",
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
