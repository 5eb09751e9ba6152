//! MySQL and what speaks like it: MariaDB, also as a Galera cluster, Aurora, TiDB, Vitess.

use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, MySql, MySqlConnection, Row as _,
    mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode},
};

use super::{Pools, demands, query};
use crate::{DatabaseUri, StoreError, uri::Tls};

/// How every session is set. Each statement of a transaction sees what others have committed: no decision
/// rests on what was read before, and rows that are not there are not locked. A lock is waited for three
/// seconds. Names are quoted as the standard says, and a value that does not fit is an error.
const SESSION: &str = "SET SESSION sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
     transaction_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = 3";

/// The same for servers that know the isolation by its older name.
const OLDER_SESSION: &str = "SET SESSION sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
     tx_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = 3";

const UNKNOWN_VARIABLE: &str = "HY000";

/// Connects to the database.
pub(super) async fn connect(uri: &DatabaseUri) -> Result<Pools<MySql>, StoreError> {
    let options = options(uri);
    // A pool waits for a server that is not there, and then does not say so.
    let mut first = query::in_time(options.connect()).await?;
    demands::of_mysql(&mut first).await?;
    first.close().await?;
    let pool =
        || MySqlPoolOptions::new().after_connect(|connection, _| Box::pin(prepare(connection)));
    Pools::shared(options, pool).await
}

async fn prepare(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    match connection.execute(SESSION).await {
        Ok(_) => {}
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(UNKNOWN_VARIABLE) => {
            connection.execute(OLDER_SESSION).await?;
        }
        Err(error) => return Err(error),
    }
    // In a Galera cluster, what was committed on another node is waited for before it is read.
    let galera = connection
        .fetch_optional("SHOW VARIABLES LIKE 'wsrep_on'")
        .await?;
    if let Some(row) = galera
        && row.try_get::<String, _>(1)? == "ON"
    {
        connection
            .execute("SET SESSION wsrep_sync_wait = 1")
            .await?;
    }
    Ok(())
}

fn options(uri: &DatabaseUri) -> MySqlConnectOptions {
    let mut options = MySqlConnectOptions::new()
        .host(uri.host())
        .database(uri.database())
        .username(uri.user())
        .collation("utf8mb4_bin")
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .ssl_mode(match uri.tls() {
            Tls::Off => MySqlSslMode::Disabled,
            Tls::Preferred => MySqlSslMode::Preferred,
            Tls::Required => MySqlSslMode::Required,
            Tls::VerifyCa => MySqlSslMode::VerifyCa,
            Tls::VerifyFull => MySqlSslMode::VerifyIdentity,
        });
    if let Some(port) = uri.port() {
        options = options.port(port);
    }
    if let Some(password) = uri.password() {
        options = options.password(password);
    }
    if let Some(ca) = uri.ca() {
        options = options.ssl_ca(ca);
    }
    match uri.socket() {
        Some(socket) => options.socket(socket),
        None => options,
    }
}
