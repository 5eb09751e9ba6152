//! One face for the three typed drivers: a statement with its values, and a row.

use std::{sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, ColumnIndex, Decode, Encode, MySql, Postgres, Row as _, Sqlite, Type,
    mysql::{MySqlArguments, MySqlRow},
    postgres::{PgArguments, PgRow},
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{Conn, Kind};
use crate::StoreError;

/// A statement's text, as each kind of database wants it. Every `?` stands for a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub(crate) sqlite: &'static str,
    pub(crate) mysql: &'static str,
    pub(crate) postgres: &'static str,
}

impl Text {
    /// A text that all of them understand.
    pub(crate) const fn all(text: &'static str) -> Self {
        Self {
            sqlite: text,
            mysql: text,
            postgres: text,
        }
    }

    /// The text for this kind of database.
    pub(crate) const fn of(&self, kind: Kind) -> &'static str {
        match kind {
            Kind::Sqlite => self.sqlite,
            Kind::MySql => self.mysql,
            Kind::Postgres => self.postgres,
        }
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::all(text)
    }
}

/// A text that adds rows, and adds none where there is one of its key: to be run by [`Bound::add`].
///
/// MySQL's `INSERT IGNORE` would also cut what is too long, so there the error says it.
macro_rules! or_nothing {
    ($insert:literal) => {
        $crate::engine::Text {
            sqlite: concat!($insert, " ON CONFLICT DO NOTHING"),
            mysql: $insert,
            postgres: concat!($insert, " ON CONFLICT DO NOTHING"),
        }
    };
}
pub(crate) use or_nothing;

/// The text with PostgreSQL's numbered placeholders. None of our texts has a `?` of another meaning.
pub(crate) fn numbered(text: &str) -> String {
    let mut numbered = String::with_capacity(text.len() + 16);
    for (number, part) in text.split('?').enumerate() {
        if number > 0 {
            numbered.push('$');
            numbered.push_str(&number.to_string());
        }
        numbered.push_str(part);
    }
    numbered
}

/// A statement with its values.
pub(crate) enum Bound {
    Sqlite(Query<'static, Sqlite, SqliteArguments>),
    MySql(Query<'static, MySql, MySqlArguments>),
    Postgres(Query<'static, Postgres, PgArguments>),
}

impl Bound {
    /// A statement without values yet.
    pub(crate) fn new(kind: Kind, text: impl Into<Text>) -> Self {
        let text = text.into().of(kind);
        match kind {
            Kind::Sqlite => Self::Sqlite(sqlx::query(text)),
            Kind::MySql => Self::MySql(sqlx::query(text)),
            // Constants of this crate alone come here.
            Kind::Postgres => Self::Postgres(sqlx::query(AssertSqlSafe(numbered(text)))),
        }
    }

    /// A statement whose text is made of constants and is as the database wants it.
    pub(crate) fn made(kind: Kind, text: Arc<str>) -> Self {
        let text = AssertSqlSafe(text);
        match kind {
            Kind::Sqlite => Self::Sqlite(sqlx::query(text)),
            Kind::MySql => Self::MySql(sqlx::query(text)),
            Kind::Postgres => Self::Postgres(sqlx::query(text)),
        }
    }

    /// Binds the next value.
    pub(crate) fn bind<'t, T>(self, value: T) -> Self
    where
        T: Encode<'t, Sqlite> + Type<Sqlite>,
        T: Encode<'t, MySql> + Type<MySql>,
        T: Encode<'t, Postgres> + Type<Postgres>,
    {
        match self {
            Self::Sqlite(query) => Self::Sqlite(query.bind(value)),
            Self::MySql(query) => Self::MySql(query.bind(value)),
            Self::Postgres(query) => Self::Postgres(query.bind(value)),
        }
    }

    /// Runs the statement, and says how many rows it wrote, or found as they should be.
    pub(crate) async fn execute(self, on: &mut Conn) -> Result<u64, StoreError> {
        Ok(match (self, on) {
            (Self::Sqlite(query), Conn::Sqlite(on)) => {
                query.execute(&mut **on).await?.rows_affected()
            }
            (Self::MySql(query), Conn::MySql(on)) => {
                in_time(query.execute(&mut **on)).await?.rows_affected()
            }
            (Self::Postgres(query), Conn::Postgres(on)) => {
                in_time(query.execute(&mut **on)).await?.rows_affected()
            }
            _ => return Err(StoreError::OtherKind),
        })
    }

    /// Runs the statement, which adds one row, and says whether it did: `false` when there is one of its
    /// key already. The text is made by [`or_nothing`].
    pub(crate) async fn add(self, on: &mut Conn) -> Result<bool, StoreError> {
        match self.execute(on).await {
            Ok(rows) => Ok(rows > 0),
            Err(StoreError::Taken(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All rows that the statement finds.
    pub(crate) async fn fetch_all(self, on: &mut Conn) -> Result<Vec<Row>, StoreError> {
        Ok(match (self, on) {
            (Self::Sqlite(query), Conn::Sqlite(on)) => {
                let rows = query.fetch_all(&mut **on).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            (Self::MySql(query), Conn::MySql(on)) => {
                let rows = in_time(query.fetch_all(&mut **on)).await?;
                rows.into_iter().map(Row::MySql).collect()
            }
            (Self::Postgres(query), Conn::Postgres(on)) => {
                let rows = in_time(query.fetch_all(&mut **on)).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
            _ => return Err(StoreError::OtherKind),
        })
    }

    /// The first row that the statement finds, if it finds one.
    pub(crate) async fn fetch_optional(self, on: &mut Conn) -> Result<Option<Row>, StoreError> {
        Ok(match (self, on) {
            (Self::Sqlite(query), Conn::Sqlite(on)) => {
                query.fetch_optional(&mut **on).await?.map(Row::Sqlite)
            }
            (Self::MySql(query), Conn::MySql(on)) => in_time(query.fetch_optional(&mut **on))
                .await?
                .map(Row::MySql),
            (Self::Postgres(query), Conn::Postgres(on)) => in_time(query.fetch_optional(&mut **on))
                .await?
                .map(Row::Postgres),
            _ => return Err(StoreError::OtherKind),
        })
    }

    /// The one row that the statement finds.
    pub(crate) async fn fetch_one(self, on: &mut Conn) -> Result<Row, StoreError> {
        let row = self.fetch_optional(on).await?;
        row.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }
}

/// How long a database behind a network may take for one statement. It ends long ones itself before that:
/// this is for one that has gone quiet.
const QUIET: Duration = Duration::from_secs(8);

/// The outcome, or an error when the database says nothing for too long.
pub(super) async fn in_time<T>(
    outcome: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(QUIET, outcome).await {
        Ok(outcome) => outcome,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

/// A row that a statement found.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    MySql(MySqlRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of a column.
    pub(crate) fn try_get<'r, T>(&'r self, column: &str) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite>,
        T: Decode<'r, MySql> + Type<MySql>,
        T: Decode<'r, Postgres> + Type<Postgres>,
        for<'c> &'c str: ColumnIndex<SqliteRow> + ColumnIndex<MySqlRow> + ColumnIndex<PgRow>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::MySql(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn placeholders_are_numbered() {
        assert_eq!(numbered("a = ? AND b = ?"), "a = $1 AND b = $2");
        assert_eq!(numbered("SELECT 1"), "SELECT 1");
    }
}
