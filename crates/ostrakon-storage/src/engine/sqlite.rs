//! The embedded engine: how a SQLite database is opened and brought up to date.

use std::{
    borrow::Cow, fs::OpenOptions, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration,
};

use sqlx::{
    SqlSafeStr as _, Sqlite, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::Pools;
use crate::StoreError;

/// Every schema version, oldest first. A version that was released never changes.
const MIGRATIONS: [(i64, &str, &str); 7] = [
    (
        1,
        "foundation",
        include_str!("../../migrations/sqlite/0001_foundation.sql"),
    ),
    (
        2,
        "audit",
        include_str!("../../migrations/sqlite/0002_audit.sql"),
    ),
    (
        3,
        "ledger",
        include_str!("../../migrations/sqlite/0003_ledger.sql"),
    ),
    (
        4,
        "generations",
        include_str!("../../migrations/sqlite/0004_generations.sql"),
    ),
    (
        5,
        "people",
        include_str!("../../migrations/sqlite/0005_people.sql"),
    ),
    (
        6,
        "ceremonies",
        include_str!("../../migrations/sqlite/0006_ceremonies.sql"),
    ),
    (
        7,
        "authority",
        include_str!("../../migrations/sqlite/0007_authority.sql"),
    ),
];

/// How long a statement waits for another process's lock on the file.
const BUSY: Duration = Duration::from_secs(5);
const READERS: u32 = 4;

/// Pages of the write-ahead log (of 4 KiB, so 32 MiB) after which it is copied into the database: a page
/// that changes often is copied once for many times. All of the log is read at the start after a crash.
const CHECKPOINT: &str = "8192";

/// What the writer keeps of the database, in KiB: the pages that most writes touch.
const WRITER_CACHE: &str = "-8192";

/// One connection that writes, a few that read.
impl Pools<Sqlite> {
    /// Makes a new, empty database file, mode 0600.
    pub(super) async fn create(path: &Path) -> Result<Self, StoreError> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => StoreError::Exists,
                _ => StoreError::File(error),
            })?;
        Self::connect(path).await
    }

    /// Opens the database file and migrates it to the newest schema.
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        match path.try_exists() {
            Ok(true) => Self::connect(path).await,
            Ok(false) => Err(StoreError::Missing),
            Err(error) => Err(StoreError::File(error)),
        }
    }

    async fn connect(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            // What a statement undoes when it fails stays in memory, and off the disk's temporary folder.
            .pragma("temp_store", "memory")
            .pragma("wal_autocheckpoint", CHECKPOINT);
        // Connections are opened when needed and then kept: a pool that closes idle ones would let
        // SQLite delete the write-ahead log under load.
        let pool = |size| {
            SqlitePoolOptions::new()
                .max_connections(size)
                .acquire_timeout(BUSY)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let writing = options.clone().pragma("cache_size", WRITER_CACHE);
        let writer = pool(1).connect_with(writing).await?;
        migrate(&writer).await?;
        let reader = pool(READERS).connect_lazy_with(options.pragma("query_only", "1"));
        Ok(Self { writer, reader })
    }
}

async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    let migrations = MIGRATIONS.map(|(version, description, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(
            version,
            Cow::Borrowed(description),
            kind,
            sql.into_sql_str(),
            false,
        )
    });
    match Migrator::with_migrations(migrations.to_vec())
        .run(pool)
        .await
    {
        Ok(()) => Ok(()),
        Err(sqlx::migrate::MigrateError::VersionMissing(found)) => {
            let known = MIGRATIONS
                .iter()
                .map(|(version, ..)| *version)
                .max()
                .unwrap_or(0);
            Err(StoreError::NewerSchema { found, known })
        }
        Err(sqlx::migrate::MigrateError::Execute(error)) => Err(error.into()),
        Err(error) => Err(StoreError::Migrate(Box::new(error))),
    }
}
