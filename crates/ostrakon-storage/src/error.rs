use sqlx::{mysql::MySqlDatabaseError, postgres::PgDatabaseError};

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
    /// There is a row of that key already: nothing was written.
    #[error("there is such a row already")]
    Taken(#[source] sqlx::Error),
    /// The database does not let this user in, or do what the server must do.
    #[error("the database does not allow that to this user")]
    Denied(#[source] sqlx::Error),
    /// The connection cannot be protected as the URI demands.
    #[error("no protected connection to the database")]
    Unprotected(#[source] sqlx::Error),
    /// The file with the authority's certificate cannot be read.
    #[error("cannot read the file that the database URI names as `ca`")]
    Authority(#[source] std::io::Error),
    /// The server of databases runs, and has no database of that name.
    #[error("there is no database of that name: make an empty one first")]
    NoDatabase(#[source] sqlx::Error),
    /// The database runs, but what it has written can be lost when it or its machine fails.
    #[error("the database may lose what it has committed: {0}")]
    NotDurable(String),
    /// The database takes no write that a standby has, too.
    #[error("no durable replica: the database's synchronous standby is away")]
    NoReplica,
    /// The server of databases is too old.
    #[error("the database is {found}; {needed} or newer is needed")]
    OldServer {
        /// What runs.
        found: String,
        /// What is needed.
        needed: &'static str,
    },
    /// A statement met a connection of another kind.
    #[error("statement for another kind of database")]
    OtherKind,
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
    /// The state is in another database now.
    #[error("the server's state was moved to `{to}`")]
    Moved {
        /// Where it is.
        to: String,
    },
    /// A copy was begun there, and is not finished.
    #[error("that database holds an unfinished copy of a server's state")]
    Unfinished,
    /// The instance's key is not the one under which this database is sealed.
    #[error("wrong root key: the instance's key file does not belong to this database")]
    WrongRootKey,
    /// The instance was not let into the shared database.
    #[error("this instance is not part of the cluster in that database")]
    NotJoined,
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
            Self::Full(_) | Self::ReadOnly(_) | Self::Denied(_) | Self::NoDatabase(_) => true,
            Self::NoReplica | Self::NotDurable(_) => true,
            Self::Unavailable(error @ sqlx::Error::Database(_)) => match fault(error) {
                // To read one row may fail where others do not.
                Fault::Sqlite(READ | SHORT_READ | CHECKSUM | CORRUPT_FILE_SYSTEM) => false,
                // Locked, an I/O error, or a file that cannot be opened.
                Fault::Sqlite(code) => matches!(code & 0xff, 5 | 6 | 10 | 14),
                Fault::MySql(code) => MYSQL_AWAY.contains(&code),
                // Connections, resources, operators, the system.
                Fault::Postgres(state) => ["08", "53", "57", "58"]
                    .iter()
                    .any(|class| state.starts_with(class)),
                Fault::None => false,
            },
            Self::Unavailable(_) => true,
            _ => false,
        }
    }

    /// The error of a write that takes the next free number: somebody else may have taken it meanwhile.
    pub(crate) fn or_overtaken(self) -> Self {
        match self {
            Self::Taken(_) => Self::Overtaken,
            error => error,
        }
    }

    /// Whether a shared database, or the way to it, was lost, so that it is worth trying again soon.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_)) && self.is_general()
    }
}

const READ: u32 = 266;
const SHORT_READ: u32 = 522;
const CHECKSUM: u32 = 8202;
const CORRUPT_FILE_SYSTEM: u32 = 8458;

/// Too many connections, shutting down, a node that is not part of the cluster or that does not hear from the
/// others, an interrupted or timed out statement, a lost connection.
const MYSQL_AWAY: [u16; 14] = [
    1040, 1047, 1053, 1077, 1158, 1159, 1160, 1161, 1180, 1203, LOCK_WAIT, 1317, 1927, 1969,
];

/// What MySQL says when a lock was waited for in vain. A Galera node says so, too, where it waited in vain for
/// what others have committed: it is cut off from them.
const LOCK_WAIT: u16 = 1205;

/// How such a node words it.
const CUT_OFF: &str = "Synchronous wait failed";

/// What a database calls a fault.
enum Fault {
    /// SQLite's extended result code; the primary one is its lowest byte.
    Sqlite(u32),
    MySql(u16),
    /// An SQLSTATE.
    Postgres(String),
    None,
}

fn fault(error: &sqlx::Error) -> Fault {
    let Some(error) = error.as_database_error() else {
        return Fault::None;
    };
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return Fault::MySql(error.number());
    }
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        return Fault::Postgres(error.code().to_owned());
    }
    let code = error.code().and_then(|code| code.parse().ok());
    code.map_or(Fault::None, Fault::Sqlite)
}

fn is_cut_off(error: &sqlx::Error) -> bool {
    let said = error.as_database_error().map(|error| error.message());
    said.is_some_and(|said| said.contains(CUT_OFF))
}

/// Whether the other side does not do TLS, or is not who it should be. What the driver finds out while it
/// connects, it may also tell as an error of the connection.
fn is_of_tls(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let is_taken = error
            .as_database_error()
            .is_some_and(|error| error.is_unique_violation());
        if is_taken {
            return Self::Taken(error);
        }
        if is_of_tls(&error) {
            return Self::Unprotected(error);
        }
        match fault(&error) {
            // 4874 is how a full disk shows when the write-ahead log's index cannot grow.
            Fault::Sqlite(4874) => Self::Full(error),
            Fault::Sqlite(code) => match code & 0xff {
                13 => Self::Full(error),
                8 => Self::ReadOnly(error),
                11 | 26 => Self::Damaged(error),
                _ => Self::Unavailable(error),
            },
            Fault::MySql(code) => match code {
                LOCK_WAIT if is_cut_off(&error) => Self::Unavailable(error),
                LOCK_WAIT | 1213 => Self::Overtaken,
                3 | 1021 | 1114 => Self::Full(error),
                1290 | 1792 | 1836 => Self::ReadOnly(error),
                1044 | 1045 | 1142 | 1143 | 1227 | 1698 => Self::Denied(error),
                1049 => Self::NoDatabase(error),
                _ => Self::Unavailable(error),
            },
            Fault::Postgres(state) => match state.as_str() {
                "40001" | "40P01" | "55P03" => Self::Overtaken,
                "53100" => Self::Full(error),
                "25006" => Self::ReadOnly(error),
                "28000" | "28P01" | "42501" => Self::Denied(error),
                "3D000" => Self::NoDatabase(error),
                _ => Self::Unavailable(error),
            },
            Fault::None => Self::Unavailable(error),
        }
    }
}
