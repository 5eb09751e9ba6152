//! The databases that can keep a server's state, behind one face.
//!
//! SQLite is embedded: a file that one process at a time uses. A MySQL-compatible database or PostgreSQL
//! is shared by all instances of a server. Each has a typed pool of its own; what they have in common is
//! [`Conn`], [`Bound`] and [`Row`], and a statement says for itself where they want other words.

mod conn;
mod demands;
mod mysql;
mod postgres;
mod query;
mod schema;
mod sqlite;

use std::{fs::File, path::Path};

pub(crate) use self::{
    conn::Conn,
    query::{Bound, Row, Text, numbered, or_nothing},
};
use self::{mysql::MySqlPools, postgres::PgPools, sqlite::SqlitePools};
use crate::{DatabaseUri, StoreError, uri::Scheme};

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    MySql,
    Postgres,
}

/// A database, open.
#[derive(Debug)]
pub(crate) enum Db {
    Sqlite(SqlitePools),
    MySql(MySqlPools),
    Postgres(PgPools),
}

impl Db {
    /// Makes a database file, mode 0600.
    pub(crate) async fn create_file(path: &Path) -> Result<Self, StoreError> {
        SqlitePools::create(path).await.map(Self::Sqlite)
    }

    /// Opens a database file and brings its schema up to date.
    pub(crate) async fn open_file(path: &Path) -> Result<Self, StoreError> {
        SqlitePools::open(path).await.map(Self::Sqlite)
    }

    /// Connects to a shared database and brings its schema up to date. The database itself must be there.
    pub(crate) async fn connect(uri: &DatabaseUri) -> Result<Self, StoreError> {
        if let Some(ca) = uri.ca() {
            // The drivers do not say which file it was.
            File::open(ca).map_err(StoreError::Authority)?;
        }
        match uri.scheme() {
            Scheme::MySql => MySqlPools::connect(uri).await.map(Self::MySql),
            Scheme::Postgres => PgPools::connect(uri).await.map(Self::Postgres),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(_) => Kind::Sqlite,
            Self::MySql(_) => Kind::MySql,
            Self::Postgres(_) => Kind::Postgres,
        }
    }

    /// Whether other instances use it, too.
    pub(crate) fn is_shared(&self) -> bool {
        self.kind() != Kind::Sqlite
    }

    /// What an operator calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::MySql(_) => "mysql",
            Self::Postgres(_) => "postgresql",
        }
    }

    /// A statement for it, without values yet.
    pub(crate) fn query(&self, text: impl Into<Text>) -> Bound {
        Bound::new(self.kind(), text)
    }

    /// A connection that reads.
    pub(crate) async fn reader(&self) -> Result<Conn, StoreError> {
        Ok(match self {
            Self::Sqlite(pools) => Conn::Sqlite(pools.reader.acquire().await?),
            Self::MySql(pools) => Conn::MySql(pools.reader.acquire().await?),
            Self::Postgres(pools) => Conn::Postgres(pools.reader.acquire().await?),
        })
    }

    /// A connection that writes. There are few: whoever has one gives it back soon.
    pub(crate) async fn writer(&self) -> Result<Conn, StoreError> {
        Ok(match self {
            Self::Sqlite(pools) => Conn::Sqlite(pools.writer.acquire().await?),
            Self::MySql(pools) => Conn::MySql(pools.writer.acquire().await?),
            Self::Postgres(pools) => Conn::Postgres(pools.writer.acquire().await?),
        })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pools) => pools.close().await,
            Self::MySql(pools) => pools.close().await,
            Self::Postgres(pools) => pools.close().await,
        }
    }
}
