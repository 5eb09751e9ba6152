//! How the schema of a shared database is brought up to date while instances of an older release use it.
//!
//! A change comes in two releases: the first adds what the new code needs and leaves what the old code
//! uses, the second takes that away. So each version names the oldest release, by its schema, that still
//! works with it. Every statement may be run again: two instances that begin at once, or one that is
//! interrupted, do no harm.

use super::{Conn, Kind, Text, or_nothing};
use crate::StoreError;

/// A version of the schema.
#[derive(Debug)]
struct Version {
    number: i64,
    /// The oldest version whose code works with this schema.
    usable_from: i64,
    statements: Text,
}

/// Every version, oldest first. One that was released never changes.
const VERSIONS: &[Version] = &[
    Version {
        number: 1,
        usable_from: 1,
        statements: Text {
            sqlite: "",
            mysql: include_str!("../../migrations/mysql/0001_foundation.sql"),
            postgres: include_str!("../../migrations/postgres/0001_foundation.sql"),
        },
    },
    Version {
        number: 2,
        usable_from: 1,
        statements: Text {
            sqlite: "",
            mysql: include_str!("../../migrations/mysql/0002_ceremonies.sql"),
            postgres: include_str!("../../migrations/postgres/0002_ceremonies.sql"),
        },
    },
    Version {
        number: 3,
        usable_from: 1,
        statements: Text {
            sqlite: "",
            mysql: include_str!("../../migrations/mysql/0003_authority.sql"),
            postgres: include_str!("../../migrations/postgres/0003_authority.sql"),
        },
    },
    // What a next release adds: the tests upgrade to it from this one. No released program has it.
    #[cfg(feature = "next-schema")]
    Version {
        number: 1000,
        usable_from: 1,
        statements: Text {
            sqlite: "",
            mysql: "ALTER TABLE requests ADD COLUMN IF NOT EXISTS next_release BIGINT;\n",
            postgres: "ALTER TABLE requests ADD COLUMN IF NOT EXISTS next_release BIGINT;\n",
        },
    },
];

const TABLE: Text = Text {
    sqlite: "",
    mysql: "CREATE TABLE IF NOT EXISTS schema_versions
            (number BIGINT PRIMARY KEY, usable_from BIGINT NOT NULL) ENGINE = InnoDB",
    postgres: "CREATE TABLE IF NOT EXISTS schema_versions
               (number BIGINT PRIMARY KEY, usable_from BIGINT NOT NULL)",
};

/// How often what several instances did at once is tried again.
const TRIES: u32 = 5;

/// Brings the schema up to date.
///
/// # Errors
/// [`StoreError::NewerSchema`] when it is too new for this release.
pub(super) async fn migrate(conn: &mut Conn) -> Result<(), StoreError> {
    let mut tried = try_migrate(conn).await;
    for _ in 1..TRIES {
        match tried {
            // Somebody else made the same thing at the same time.
            Err(StoreError::Taken(_) | StoreError::Overtaken) => tried = try_migrate(conn).await,
            tried => return tried,
        }
    }
    tried
}

async fn try_migrate(conn: &mut Conn) -> Result<(), StoreError> {
    conn.run(TABLE).await?;
    let rows = conn
        .query("SELECT number, usable_from FROM schema_versions ORDER BY number")
        .fetch_all(conn)
        .await?;
    let mut newest = 0;
    for row in rows {
        newest = row.try_get::<i64>("number")?;
        let known = VERSIONS.last().map_or(0, |version| version.number);
        if row.try_get::<i64>("usable_from")? > known {
            return Err(StoreError::NewerSchema {
                found: newest,
                known,
            });
        }
    }
    for version in VERSIONS.iter().filter(|version| version.number > newest) {
        let statements = version.statements.of(conn.kind());
        for statement in statements.split_inclusive(";\n") {
            if !statement.trim().is_empty() {
                conn.run(statement).await?;
            }
        }
        let text = or_nothing!("INSERT INTO schema_versions (number, usable_from) VALUES (?, ?)");
        conn.query(text)
            .bind(version.number)
            .bind(version.usable_from)
            .add(conn)
            .await?;
    }
    debug_assert_ne!(
        conn.kind(),
        Kind::Sqlite,
        "SQLite has migrations of its own"
    );
    Ok(())
}
