//! What a server of databases must be, before anything is asked of it: new enough, and set so that what it
//! has committed outlives its end and the end of its machine.
//!
//! They are looked at when a connection is first made, not again: who changes them while the server runs, or
//! has another server take over, sees to it that they hold there, too.

use sqlx::{Executor as _, MySqlConnection, PgConnection, Row as _};

use crate::StoreError;

const MARIADB: [u64; 3] = [10, 6, 0];
const MYSQL: [u64; 3] = [8, 0, 19];

/// PostgreSQL 13, as it counts its versions.
const POSTGRES: u64 = 130_000;

/// Looks at a MySQL-compatible server.
pub(super) async fn of_mysql(connection: &mut MySqlConnection) -> Result<(), StoreError> {
    const SETTINGS: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
         ('version', 'innodb_flush_log_at_trx_commit', 'log_bin', 'sync_binlog')";
    let rows = connection.fetch_all(SETTINGS).await?;
    let mut settings = Settings::default();
    for row in rows {
        settings.add(row.try_get(0)?, row.try_get(1)?);
    }
    mysql(&settings)
}

/// Looks at a PostgreSQL server.
pub(super) async fn of_postgres(connection: &mut PgConnection) -> Result<(), StoreError> {
    const SETTINGS: &str = "SELECT name, setting FROM pg_settings WHERE name IN \
         ('server_version', 'server_version_num', 'fsync', 'full_page_writes', 'synchronous_commit')";
    let rows = connection.fetch_all(SETTINGS).await?;
    let mut settings = Settings::default();
    for row in rows {
        settings.add(row.try_get(0)?, row.try_get(1)?);
    }
    postgres(&settings)
}

/// How a server is set. What it does not know, as those that only speak the same protocol, it has in its own
/// way.
#[derive(Default)]
struct Settings(Vec<(String, String)>);

impl Settings {
    fn add(&mut self, name: String, value: String) {
        self.0.push((name, value));
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Refuses every value but those that are good.
    fn demand(&self, name: &str, good: &[&str]) -> Result<(), StoreError> {
        match self.get(name) {
            Some(value) if !good.contains(&value) => Err(StoreError::NotDurable(format!(
                "`{name}` is `{value}`, and must be `{}`",
                good.first().copied().unwrap_or_default()
            ))),
            _ => Ok(()),
        }
    }
}

fn mysql(settings: &Settings) -> Result<(), StoreError> {
    let version = settings.get("version").unwrap_or_default();
    // TiDB tells the version of MySQL that it is like.
    let (name, oldest, needed) = match version {
        _ if version.contains("TiDB") => ("TiDB", [0; 3], ""),
        _ if version.contains("MariaDB") => ("MariaDB", MARIADB, "MariaDB 10.6"),
        _ => ("MySQL", MYSQL, "MySQL 8.0.19"),
    };
    if numbers(version) < oldest {
        return Err(StoreError::OldServer {
            found: format!("{name} {}", digits(version)),
            needed,
        });
    }
    // 3 is MariaDB's, and as durable.
    settings.demand("innodb_flush_log_at_trx_commit", &["1", "3"])?;
    if settings.get("log_bin") == Some("ON") {
        // With a binary log, a transaction that is not in it is undone when the server comes up again.
        settings.demand("sync_binlog", &["1"])?;
    }
    Ok(())
}

fn postgres(settings: &Settings) -> Result<(), StoreError> {
    let number = settings.get("server_version_num");
    let number = number.and_then(|number| number.parse().ok());
    if number.is_some_and(|number: u64| number < POSTGRES) {
        let version = settings.get("server_version").unwrap_or_default();
        return Err(StoreError::OldServer {
            found: format!("PostgreSQL {}", digits(version)),
            needed: "PostgreSQL 13",
        });
    }
    settings.demand("fsync", &["on"])?;
    settings.demand("full_page_writes", &["on"])?;
    let waits = ["on", "local", "remote_write", "remote_apply"];
    settings.demand("synchronous_commit", &waits)
}

/// The beginning of a version: digits and dots.
fn digits(version: &str) -> &str {
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.');
    version
        .get(..end.unwrap_or(version.len()))
        .unwrap_or(version)
}

fn numbers(version: &str) -> [u64; 3] {
    let mut parts = digits(version)
        .split('.')
        .map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Settings {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Settings(pairs.iter().map(owned).collect())
    }

    fn said(judged: Result<(), StoreError>) -> String {
        judged.map_or_else(|error| error.to_string(), |()| "good".to_owned())
    }

    #[test]
    fn old_servers_are_told_from_new_ones() {
        let of = |version| said(mysql(&set(&[("version", version)])));
        for good in [
            "10.6.0-MariaDB",
            "10.11.14-MariaDB-0+deb12u2",
            "11.4.2-MariaDB-log",
            "8.0.19",
            "8.0.30-Vitess",
            "8.4.0-cluster",
            "9.7.0",
            "5.7.25-TiDB-v6.5.0",
        ] {
            assert_eq!(of(good), "good", "{good}");
        }
        assert_eq!(
            of("10.5.23-MariaDB-log"),
            "the database is MariaDB 10.5.23; MariaDB 10.6 or newer is needed"
        );
        assert_eq!(
            of("8.0.18"),
            "the database is MySQL 8.0.18; MySQL 8.0.19 or newer is needed"
        );
        let of = |number, version| {
            let pairs = [("server_version_num", number), ("server_version", version)];
            said(postgres(&set(&pairs)))
        };
        assert_eq!(of("130000", "13.0"), "good");
        assert_eq!(
            of("120018", "12.18 (Debian 12.18-1)"),
            "the database is PostgreSQL 12.18; PostgreSQL 13 or newer is needed"
        );
    }

    #[test]
    fn what_may_lose_commits_is_named() {
        let mut pairs = vec![("version", "10.11.14-MariaDB"), ("sync_binlog", "0")];
        pairs.push(("log_bin", "OFF"));
        assert_eq!(said(mysql(&set(&pairs))), "good");
        pairs.pop();
        pairs.push(("log_bin", "ON"));
        assert_eq!(
            said(mysql(&set(&pairs))),
            "the database may lose what it has committed: `sync_binlog` is `0`, and must be `1`"
        );
        // Nothing is known of what another kind of server has in its own way.
        assert_eq!(said(postgres(&set(&[]))), "good");
        let said = said(postgres(&set(&[("synchronous_commit", "off")])));
        assert!(said.contains("`synchronous_commit` is `off`"), "{said}");
    }
}
