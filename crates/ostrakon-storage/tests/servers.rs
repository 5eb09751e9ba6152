//! What is said of a server of databases that cannot be used, and how it is reached with TLS.
//!
//! Seen to fail: with settings, version or `usable_from` not looked at, such a server is taken; with the authority
//! left out, another's certificate is; with the name left out, that of another machine is.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::time::{Duration, Instant};

use ostrakon_storage::{DatabaseUri, ProtectorKey, Store, StoreError};
use ostrakon_testdb::{Authority, Engine, Server};
use ostrakon_types::ErrorChain;

/// Tries to make a server's state in a database.
async fn create(uri: &str) -> Result<Store, StoreError> {
    let uri: DatabaseUri = uri.parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let protector = ProtectorKey::create(&folder.path().join("instance.key")).unwrap();
    Store::create(&uri, &protector).await
}

/// What a person reads when that fails.
async fn said(uri: &str) -> String {
    match create(uri).await {
        Ok(_) => "it is taken".to_owned(),
        Err(error) => ErrorChain(&error).to_string(),
    }
}

/// Asserts that it fails, and that a text stands in what a person reads.
async fn says(uri: &str, text: &str) {
    let said = said(uri).await;
    assert!(said.contains(text), "`{text}` is not in: {said}");
    assert!(!said.contains("secret"), "{said}");
}

/// A URI with more in it.
fn with(uri: &str, more: &[(&str, &str)]) -> String {
    let mut uri = uri.to_owned();
    for (key, value) in more {
        uri = match uri.starts_with("mysql:") {
            true => format!("{uri},{key}={value}"),
            false if uri.contains('?') => format!("{uri}&{key}={value}"),
            false => format!("{uri}?{key}={value}"),
        };
    }
    uri
}

const LOSSY: &str = "the database may lose what it has committed: ";
const DENIED: &str = "the database does not allow that to this user: ";
const UNPROTECTED: &str = "no protected connection to the database: ";
const NEWER: &str = "database has schema version 900, this release knows up to ";

#[tokio::test]
async fn a_mariadb_server_that_cannot_be_used_says_why() {
    let server = Server::start(Engine::MariaDb, &["log-bin=binlog", "sync-binlog=1"]);
    let uri = server.database();
    for (name, bad) in [
        ("innodb_flush_log_at_trx_commit", "2"),
        ("sync_binlog", "0"),
    ] {
        server.run(&format!("SET GLOBAL {name} = {bad}"));
        let text = format!("{LOSSY}`{name}` is `{bad}`, and must be `1`");
        says(&uri, &text).await;
        server.run(&format!("SET GLOBAL {name} = 1"));
    }
    says(&server.uri("nowhere"), "there is no database of that name").await;
    server.run(
        "CREATE USER little IDENTIFIED BY 'secret'; CREATE DATABASE little;
         GRANT SELECT, INSERT, UPDATE, DELETE ON little.* TO little",
    );
    let little = server.uri("little").replace("root", "little");
    says(&with(&little, &[("password", "secret")]), DENIED).await;
    says(&with(&little, &[("password", "secrets")]), DENIED).await;
    says(&with(&uri, &[("tls", "required")]), UNPROTECTED).await;
    // It is taken once nothing is wrong, and then not by an older release.
    create(&uri).await.unwrap().close().await;
    let (_, name) = uri.rsplit_once('=').unwrap();
    server.run_in(Some(name), "INSERT INTO schema_versions VALUES (900, 900)");
    says(&uri, NEWER).await;
    server.stop();
    server.restart_with(&["version=10.5.99-MariaDB"]);
    let text = "the database is MariaDB 10.5.99; MariaDB 10.6 or newer is needed";
    says(&uri, text).await;
    nobody_is_there(&server, &uri).await;
}

#[tokio::test]
async fn a_postgres_server_that_cannot_be_used_says_why() {
    let server = Server::start(Engine::Postgres, &[]);
    let uri = server.database();
    for name in ["fsync", "full_page_writes", "synchronous_commit"] {
        server.run(&format!("ALTER SYSTEM SET {name} = off"));
        server.run("SELECT pg_reload_conf()");
        let text = format!("{LOSSY}`{name}` is `off`, and must be `on`");
        comes_to_say(&uri, &text).await;
        server.run(&format!("ALTER SYSTEM RESET {name}"));
        server.run("SELECT pg_reload_conf()");
    }
    let nowhere = "there is no database of that name";
    comes_to_say(&server.uri("nowhere"), nowhere).await;
    server.run("CREATE USER little PASSWORD 'secret'");
    let little = uri.replace("postgres@", "little:secret@");
    says(&little, DENIED).await;
    says(&with(&uri, &[("tls", "required")]), UNPROTECTED).await;
    create(&uri).await.unwrap().close().await;
    let (_, name) = uri.rsplit_once('/').unwrap();
    server.run_in(Some(name), "INSERT INTO schema_versions VALUES (900, 900)");
    says(&uri, NEWER).await;
    // Passwords count from here on.
    server.run("CREATE DATABASE mine OWNER little");
    server.stop();
    server.ask_for_passwords();
    server.restart();
    let mine = server.uri("mine").replace("postgres@", "little:secrets@");
    says(&mine, DENIED).await;
    let mine = mine.replace("secrets", "secret");
    create(&mine).await.unwrap().close().await;
    nobody_is_there(&server, &mine).await;
}

/// A setting that is read again takes a moment.
async fn comes_to_say(uri: &str, text: &str) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let said = said(uri).await;
        if said.contains(text) {
            return;
        }
        assert!(Instant::now() < until, "`{text}` is not in: {said}");
    }
}

/// A server that does not run is told at once, as such.
async fn nobody_is_there(server: &Server, uri: &str) {
    server.stop();
    let begun = Instant::now();
    let said = said(uri).await.to_lowercase();
    assert!(said.contains("connection refused"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn tls_protects_the_way_to_mariadb() {
    tls(Engine::MariaDb).await;
}

#[tokio::test]
async fn tls_protects_the_way_to_postgres() {
    tls(Engine::Postgres).await;
}

async fn tls(engine: Engine) {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = Server::protected(engine, &authority, &[]);
    let (ca, other) = (authority.certificate(), stranger.certificate());
    let (ca, other) = (ca.to_str().unwrap(), other.to_str().unwrap());
    // A CA alone means that certificate and name are looked at.
    let good = [
        vec![("ca", ca)],
        vec![("tls", "verify-full"), ("ca", ca)],
        vec![("tls", "verify-ca"), ("ca", ca)],
        vec![("tls", "required")],
    ];
    for more in good {
        let uri = with(&server.database(), &more);
        let store = create(&uri).await;
        let store = store.unwrap_or_else(|error| panic!("{more:?}: {}", ErrorChain(&error)));
        store.close().await;
    }
    let uri = server.database();
    for tls in ["verify-ca", "verify-full"] {
        says(&with(&uri, &[("tls", tls), ("ca", other)]), UNPROTECTED).await;
    }
    // The certificate is for 127.0.0.1.
    let elsewhere = uri.replace("127.0.0.1", "localhost");
    says(&with(&elsewhere, &[("ca", ca)]), UNPROTECTED).await;
    let unread = "cannot read the file that the database URI names as `ca`: ";
    says(&with(&uri, &[("ca", "/nowhere/ca.pem")]), unread).await;
}
