/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk or the database is full: nothing was written.
    #[error("no space left for the database")]
    Full(#[source] sqlx::Error),
    /// The database or its file system takes no writes.
    #[error("database is read-only")]
    ReadOnly(#[source] sqlx::Error),
    /// The file is no database of this program, or is damaged.
    #[error("database file is damaged or not a database")]
    Damaged(#[source] sqlx::Error),
    /// The database did not answer, or answered with a fault; the outcome of a commit is unknown.
    #[error("database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// Another writer changed meanwhile what was read to decide on: nothing was written.
    #[error("another writer was faster")]
    Overtaken,
    /// The schema could not be brought up to date.
    #[error("cannot migrate the database")]
    Migrate(#[source] Box<sqlx::migrate::MigrateError>),
    /// The database was written by a newer release.
    #[error("database has schema version {found}, this release knows up to {known}")]
    NewerSchema {
        /// The newest version in the database.
        found: i64,
        /// The newest version that this release knows.
        known: i64,
    },
    /// The file of the database could not be made or opened.
    #[error("cannot open the database file")]
    File(#[source] std::io::Error),
    /// There is no database at the path.
    #[error("there is no database")]
    Missing,
    /// There is a database at the path already.
    #[error("there is a database already")]
    Exists,
    /// The instance's key is not the one under which this database is sealed.
    #[error("wrong root key: the instance's key file does not belong to this database")]
    WrongRootKey,
    /// A value does not open or does not decode: the row was damaged or tampered with.
    #[error("value in column `{column}` of table `{table}` is damaged or was tampered with")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// A value could not be sealed, for lack of random bytes.
    #[error("cannot seal a value")]
    Seal(#[from] ostrakon_shards::record::SealRecordError),
}

impl StoreError {
    /// Whether it is about the database as a whole: any other act on it would have met it, too.
    #[must_use]
    pub fn is_general(&self) -> bool {
        match self {
            Self::Full(_) | Self::ReadOnly(_) => true,
            Self::Unavailable(error @ sqlx::Error::Database(_)) => match code(error) {
                // To read one row may fail where others do not.
                Some((READ | SHORT_READ | CHECKSUM | CORRUPT_FILE_SYSTEM, _)) => false,
                // Locked, an I/O error, or a file that cannot be opened.
                code => matches!(code, Some((_, 5 | 6 | 10 | 14))),
            },
            Self::Unavailable(_) => true,
            _ => false,
        }
    }
}

const READ: u32 = 266;
const SHORT_READ: u32 = 522;
const CHECKSUM: u32 = 8202;
const CORRUPT_FILE_SYSTEM: u32 = 8458;

/// SQLite's extended result code, and the primary one, which is its lowest byte.
fn code(error: &sqlx::Error) -> Option<(u32, u32)> {
    let code = error.as_database_error()?.code()?.parse::<u32>().ok()?;
    Some((code, code & 0xff))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // 4874 is how a full disk shows when the write-ahead log's index cannot grow.
        match code(&error) {
            Some((4874, _) | (_, 13)) => Self::Full(error),
            Some((_, 8)) => Self::ReadOnly(error),
            Some((_, 11 | 26)) => Self::Damaged(error),
            _ => Self::Unavailable(error),
        }
    }
}
