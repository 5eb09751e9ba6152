use sqlx::{MySql, Postgres, Sqlite, pool::PoolConnection};

use super::{Bound, Kind, Text, query::in_time};
use crate::StoreError;

/// A connection to a database of any kind.
pub(crate) enum Conn {
    Sqlite(PoolConnection<Sqlite>),
    MySql(PoolConnection<MySql>),
    Postgres(PoolConnection<Postgres>),
}

impl Conn {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(_) => Kind::Sqlite,
            Self::MySql(_) => Kind::MySql,
            Self::Postgres(_) => Kind::Postgres,
        }
    }

    /// A statement for it, without values yet.
    pub(crate) fn query(&self, text: impl Into<Text>) -> Bound {
        Bound::new(self.kind(), text)
    }

    /// Runs statements without values, as they stand: those that cannot be prepared.
    pub(crate) async fn run(&mut self, text: impl Into<Text>) -> Result<(), StoreError> {
        let query = sqlx::raw_sql(text.into().of(self.kind()));
        match self {
            Self::Sqlite(on) => query.execute(&mut **on).await.map(drop)?,
            Self::MySql(on) => in_time(query.execute(&mut **on)).await.map(drop)?,
            Self::Postgres(on) => in_time(query.execute(&mut **on)).await.map(drop)?,
        }
        Ok(())
    }

    /// Begins a transaction that writes.
    pub(crate) async fn begin(&mut self) -> Result<(), StoreError> {
        self.run(Text {
            // The write lock is taken at the start, so that no statement in the middle can lose it.
            sqlite: "BEGIN IMMEDIATE",
            mysql: "START TRANSACTION",
            postgres: "BEGIN",
        })
        .await
    }

    /// Begins a transaction in which all statements read one state.
    pub(crate) async fn begin_snapshot(&mut self) -> Result<(), StoreError> {
        if self.kind() == Kind::MySql {
            self.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                .await?;
        }
        self.run(Text {
            sqlite: "BEGIN",
            mysql: "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
            postgres: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        })
        .await?;
        // The snapshot is of the moment of the first statement that reads.
        self.query("SELECT count(*) FROM server")
            .fetch_one(self)
            .await
            .map(drop)
    }

    pub(crate) async fn commit(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT").await
    }

    /// Has the connection closed when it is given back, which undoes what was not committed for certain.
    pub(crate) fn close_on_drop(&mut self) {
        match self {
            Self::Sqlite(on) => on.close_on_drop(),
            Self::MySql(on) => on.close_on_drop(),
            Self::Postgres(on) => on.close_on_drop(),
        }
    }
}
