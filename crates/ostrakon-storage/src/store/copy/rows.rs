//! Rows of any table, as values of three types, and the statements that read and write them.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::tables::{Column, Holds, SETTINGS, Table};
use crate::{
    StoreError,
    engine::{Bound, Conn, Kind, Row, numbered},
};

/// One statement writes at most so many bytes, but for a row that is larger.
const STATEMENT_BYTES: usize = 1 << 20;

/// And has at most so many values: SQLite takes 32,766, the others 65,535.
const STATEMENT_VALUES: usize = 30_000;

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Value {
    Int(i64),
    Bytes(Option<Vec<u8>>),
    Text(String),
}

impl Value {
    fn of(row: &Row, (name, holds): Column) -> Result<Self, StoreError> {
        Ok(match holds {
            Holds::Int => Self::Int(row.try_get(name)?),
            Holds::Bytes => Self::Bytes(Some(row.try_get(name)?)),
            Holds::BytesOrNull => Self::Bytes(row.try_get(name)?),
            Holds::Text => Self::Text(row.try_get(name)?),
        })
    }

    fn bind(&self, query: Bound) -> Bound {
        match self {
            Self::Int(value) => query.bind(*value),
            Self::Bytes(value) => query.bind(value.clone()),
            Self::Text(value) => query.bind(value.clone()),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Int(_) | Self::Bytes(None) => 8,
            Self::Bytes(Some(value)) => value.len(),
            Self::Text(value) => value.len(),
        }
    }

    /// Takes the value into a digest, such that no two rows give it the same bytes.
    fn digest(&self, into: &mut Sha256) {
        let (kind, bytes): (u8, &[u8]) = match self {
            Self::Int(value) => (0, &value.to_be_bytes()),
            Self::Bytes(None) => (1, &[]),
            Self::Bytes(Some(value)) => (2, value),
            Self::Text(value) => (3, value.as_bytes()),
        };
        into.update([kind]);
        into.update((bytes.len() as u64).to_be_bytes());
        into.update(bytes);
    }
}

/// A row of a table: the values of its columns, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Record(pub(in crate::store) Vec<Value>);

impl Record {
    /// The name, where it is a setting.
    pub(in crate::store) fn setting(&self, table: &Table) -> Option<&str> {
        match self.0.first() {
            Some(Value::Text(name)) if table.name == SETTINGS => Some(name),
            _ => None,
        }
    }

    fn size(&self) -> usize {
        self.0.iter().map(Value::size).sum()
    }
}

/// How many rows a table has, and what they say, in whatever order they are read. Rows have keys: no two are
/// alike, so none takes another out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Summary {
    pub(in crate::store) rows: u64,
    digest: [u8; 32],
}

impl Summary {
    pub(in crate::store) fn add(&mut self, record: &Record) {
        let mut hash = Sha256::new();
        for value in &record.0 {
            value.digest(&mut hash);
        }
        self.rows += 1;
        for (sum, byte) in self.digest.iter_mut().zip(hash.finalize()) {
            *sum ^= byte;
        }
    }
}

/// Reads a table from its beginning to its end, a page at a time, by its primary key.
pub(in crate::store) struct Pages<'t> {
    table: &'t Table,
    last: Option<Record>,
    ended: bool,
}

impl<'t> Pages<'t> {
    pub(in crate::store) fn of(table: &'t Table) -> Self {
        Self {
            table,
            last: None,
            ended: false,
        }
    }

    /// The next rows; none at the end.
    pub(in crate::store) async fn next(
        &mut self,
        conn: &mut Conn,
    ) -> Result<Vec<Record>, StoreError> {
        if self.ended {
            return Ok(Vec::new());
        }
        let text = page_text(self.table, conn.kind(), self.last.is_some());
        let mut query = made(conn.kind(), text);
        if let Some(last) = &self.last {
            for place in bound_places(self.table, conn.kind()) {
                if let Some(value) = last.0.get(place) {
                    query = value.bind(query);
                }
            }
        }
        let rows = query.fetch_all(conn).await?;
        let columns = self.table.columns.iter();
        let records = rows.iter().map(|row| {
            let values = columns.clone().map(|column| Value::of(row, *column));
            Ok(Record(values.collect::<Result<_, StoreError>>()?))
        });
        let records = records.collect::<Result<Vec<_>, StoreError>>()?;
        self.ended = records.len() < self.table.page;
        self.last = records.last().cloned();
        Ok(records)
    }
}

/// The statement that reads a page, behind a row where there is one. SQLite and PostgreSQL find that row in
/// the key's index when rows are compared as such, MySQL when each column is compared for itself.
pub(in crate::store) fn page_text(table: &Table, kind: Kind, behind: bool) -> String {
    let all = names(table.columns);
    let key = table.key(kind).into_iter();
    let key: Vec<_> = key.filter_map(|place| table.columns.get(place)).collect();
    let behind = match kind {
        _ if !behind => String::new(),
        Kind::Sqlite | Kind::Postgres => {
            let values = vec!["?"; key.len()].join(", ");
            format!(" WHERE ({}) > ({values})", names(key.iter().copied()))
        }
        Kind::MySql => {
            let arms = (0..key.len()).map(|arm| {
                let columns = key.iter().take(arm + 1).enumerate();
                let columns = columns.map(|(place, (name, _))| {
                    let compared = if place == arm { '>' } else { '=' };
                    format!("\"{name}\" {compared} ?")
                });
                format!("({})", columns.collect::<Vec<_>>().join(" AND "))
            });
            format!(" WHERE {}", arms.collect::<Vec<_>>().join(" OR "))
        }
    };
    let (name, page, key) = (table.name, table.page, names(key));
    format!("SELECT {all} FROM {name}{behind} ORDER BY {key} LIMIT {page}")
}

/// Which columns of the last row are bound to [`page_text`], in order.
fn bound_places(table: &Table, kind: Kind) -> Vec<usize> {
    let key = table.key(kind);
    match kind {
        Kind::Sqlite | Kind::Postgres => key,
        Kind::MySql => {
            let arms = (0..key.len()).map(|arm| key.iter().take(arm + 1).copied());
            arms.flatten().collect()
        }
    }
}

/// Adds rows to a table.
pub(in crate::store) async fn insert(
    conn: &mut Conn,
    table: &Table,
    mut records: &[Record],
) -> Result<(), StoreError> {
    while !records.is_empty() {
        let mut bytes = 0;
        let most = STATEMENT_VALUES / table.columns.len().max(1);
        let fit = records.iter().take(most).take_while(|record| {
            bytes += record.size();
            bytes <= STATEMENT_BYTES
        });
        let (now, later) = records.split_at(fit.count().max(1));
        let row = format!("({})", vec!["?"; table.columns.len()].join(", "));
        let rows = vec![row; now.len()].join(", ");
        let text = format!(
            "INSERT INTO {} ({}) VALUES {rows}",
            table.name,
            names(table.columns)
        );
        let query = made(conn.kind(), text);
        let values = now.iter().flat_map(|record| &record.0);
        let query = values.fold(query, |query, value| value.bind(query));
        query.execute(conn).await?;
        records = later;
    }
    Ok(())
}

/// Whether a table has no rows.
pub(in crate::store) async fn is_empty(conn: &mut Conn, table: &Table) -> Result<bool, StoreError> {
    let text = format!("SELECT 1 AS one FROM {} LIMIT 1", table.name);
    let found = made(conn.kind(), text).fetch_optional(conn).await?;
    Ok(found.is_none())
}

/// About how many rows a table has; none where the database does not say in time.
pub(in crate::store) async fn count(conn: &mut Conn, table: &Table) -> u64 {
    let text = format!("SELECT count(*) AS rows_of FROM {}", table.name);
    let counted = made(conn.kind(), text).fetch_one(conn).await;
    let counted = counted.and_then(|row| Ok(row.try_get::<i64>("rows_of")?));
    counted.map_or(0, |rows| rows.try_into().unwrap_or(0))
}

/// Takes all rows out of a table but `kept`, the setting of that name, a thousand at a time.
pub(in crate::store) async fn clear(
    conn: &mut Conn,
    table: &Table,
    kept: &str,
) -> Result<(), StoreError> {
    let name = table.name;
    let (but, only) = match name {
        SETTINGS => (" WHERE name <> ?", true),
        _ => ("", false),
    };
    let text = match conn.kind() {
        Kind::Sqlite => format!("DELETE FROM {name}{but}"),
        Kind::MySql => format!("DELETE FROM {name}{but} LIMIT 1000"),
        Kind::Postgres => format!(
            "DELETE FROM {name} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {name}{but} LIMIT 1000))"
        ),
    };
    loop {
        let query = made(conn.kind(), text.clone());
        let query = if only { query.bind(kept) } else { query };
        if query.execute(conn).await? == 0 {
            return Ok(());
        }
    }
}

/// The names of columns, quoted: `window` is a word of its own in some databases.
fn names<'c>(columns: impl IntoIterator<Item = &'c Column>) -> String {
    let names = columns.into_iter().map(|(name, _)| format!("\"{name}\""));
    names.collect::<Vec<_>>().join(", ")
}

/// A statement made of the constants in `tables`.
pub(in crate::store) fn made(kind: Kind, text: String) -> Bound {
    let text: Arc<str> = match kind {
        Kind::Sqlite | Kind::MySql => text.into(),
        Kind::Postgres => numbered(&text).into(),
    };
    Bound::made(kind, text)
}
