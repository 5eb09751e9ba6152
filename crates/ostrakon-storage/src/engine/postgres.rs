//! PostgreSQL, alone or with a synchronous standby, and what speaks like it: Aurora, CockroachDB.

use sqlx::{
    ConnectOptions as _, Connection as _, Postgres,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};

use super::{Pools, demands, query};
use crate::{DatabaseUri, StoreError, uri::Tls};

/// How every session is set: a statement ends after five seconds, the wait for a lock after three, a
/// transaction in which nothing happens after ten.
const SESSION: [(&str, &str); 3] = [
    ("statement_timeout", "5000"),
    ("lock_timeout", "3000"),
    ("idle_in_transaction_session_timeout", "10000"),
];

/// Connects to the database.
pub(super) async fn connect(uri: &DatabaseUri) -> Result<Pools<Postgres>, StoreError> {
    let options = options(uri);
    // A pool waits for a server that is not there, and then does not say so.
    let mut first = query::in_time(options.connect()).await?;
    demands::of_postgres(&mut first).await?;
    first.close().await?;
    Pools::shared(options, PgPoolOptions::new).await
}

fn options(uri: &DatabaseUri) -> PgConnectOptions {
    // Nothing of the environment or of a password file of the user is to count.
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(uri.host())
        .port(uri.port().unwrap_or(5432))
        .database(uri.database())
        .username(uri.user())
        .application_name("ostrakon")
        .options(SESSION)
        .ssl_mode(match uri.tls() {
            Tls::Off => PgSslMode::Disable,
            Tls::Preferred => PgSslMode::Prefer,
            Tls::Required => PgSslMode::Require,
            Tls::VerifyCa => PgSslMode::VerifyCa,
            Tls::VerifyFull => PgSslMode::VerifyFull,
        });
    if let Some(password) = uri.password() {
        options = options.password(password);
    }
    if let Some(ca) = uri.ca() {
        options = options.ssl_root_cert(ca);
    }
    match uri.socket() {
        Some(socket) => options.socket(socket),
        None => options,
    }
}
