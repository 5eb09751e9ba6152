//! The databases that can keep a server's state, behind one face.
//!
//! SQLite is embedded: a file that one process at a time uses. A MySQL-compatible database or PostgreSQL
//! is shared by all instances of a server. Each has a typed pool of its own; what they have in common is
//! [`Conn`], [`Bound`] and [`Row`], and a statement says for itself where they want other words.

mod conn;
mod demands;
mod mysql;
mod pools;
mod postgres;
mod query;
mod schema;
mod sqlite;

use std::{fs::File, path::Path};

use self::pools::Pools;
pub(crate) use self::{
    conn::Conn,
    query::{Bound, Row, Text, numbered, or_nothing},
};
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
    Sqlite(Pools<sqlx::Sqlite>),
    MySql(Pools<sqlx::MySql>),
    Postgres(Pools<sqlx::Postgres>),
}

impl Db {
    /// Makes a database file, mode 0600.
    pub(crate) async fn create_file(path: &Path) -> Result<Self, StoreError> {
        Pools::create(path).await.map(Self::Sqlite)
    }

    /// Opens a database file and brings its schema up to date.
    pub(crate) async fn open_file(path: &Path) -> Result<Self, StoreError> {
        Pools::open(path).await.map(Self::Sqlite)
    }

    /// Connects to a shared database and brings its schema up to date. The database itself must be there.
    pub(crate) async fn connect(uri: &DatabaseUri) -> Result<Self, StoreError> {
        if let Some(ca) = uri.ca() {
            // The drivers do not say which file it was.
            File::open(ca).map_err(StoreError::Authority)?;
        }
        let db = match uri.scheme() {
            Scheme::MySql => Self::MySql(mysql::connect(uri).await?),
            Scheme::Postgres => Self::Postgres(postgres::connect(uri).await?),
        };
        let migrated = async { schema::migrate(&mut db.writer().await?).await };
        match migrated.await {
            Ok(()) => Ok(db),
            Err(error) => {
                db.close().await;
                Err(error)
            }
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
