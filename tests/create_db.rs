//! `create --db-uri` that is killed on its way: another one makes the server, or says what is to be done first.
//!
//! Seen to fail: with a server in a shared database told as one in a file is, nobody learns what to do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failure of the test"
)]

mod devices;

use std::{
    fs,
    process::{Command, Stdio},
};

use devices::Administrators;
use ostrakon_testdb::{Server, mariadb, postgres};
use ostrakon_testkit::{
    APPROVE_ALL, Keyserver, TestHome, TestUser, binary, keyserver_command, run,
};

/// What it talks to the database with, and what it writes the home with.
const CALLS: &str = "sendto,fsync,fdatasync,rename,unlink";

/// Has a `create` in this home killed at one of these calls, and counts them where there is no such.
fn killed(home: &TestHome, uri: &str, when: usize) -> (bool, usize) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let ended = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(log.path())
        .args(["-e", &format!("trace={CALLS}")])
        .args(["-e", &format!("inject={CALLS}:signal=KILL:when={when}")])
        .arg(binary("keyserver"))
        .arg("--home")
        .arg(home.path())
        .args(["create", "--db-uri", uri])
        // strace counts the calls of each thread for itself: one does nearly all of them.
        .env("TOKIO_WORKER_THREADS", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let calls = fs::read_to_string(log.path()).unwrap();
    let counted = calls.lines().filter(|line| line.contains('(')).count();
    (!ended.success(), counted)
}

/// Nobody is asked to approve what cannot be done. Seen to fail: without the look at the database, devices are asked.
#[test]
fn an_occupied_database_is_named_before_devices_are_asked() {
    let administrators = Administrators::new();
    let (first, uri) = (TestHome::empty(), postgres().database());
    let made = run(keyserver_command(first.path()).args(["create", "--db-uri", &uri]));
    assert_eq!(made.code, Some(0), "{made:?}");
    let (home, card) = (TestHome::empty(), administrators.card());
    let backup = first.path().join("other-backup-key.txt");
    let nowhere = uri.replace("127.0.0.1", "127.0.0.9");
    for (uri, said) in [
        (&uri, "server's state in that database already"),
        (&nowhere, "unavailable"),
    ] {
        let ran = run(keyserver_command(home.path())
            .args([
                "create",
                "--db-uri",
                uri,
                "--profile",
                &card,
                "--listen",
                "127.0.0.1:0",
                "--wait",
                "5",
            ])
            .arg("--backup-path")
            .arg(&backup));
        assert_ne!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stderr.contains(said), "{ran:?}");
        assert!(
            !ran.stderr.contains("approvals"),
            "nobody is asked: {ran:?}"
        );
        assert!(!backup.exists());
    }
}

fn a_kill_leaves_what_gives_way_or_is_named(database: &Server, drop_it: &str, make_it: &str) {
    let (_, all) = killed(&TestHome::empty(), &database.database(), 65_000);
    assert!(all > 40, "{all} calls");
    let mut points: Vec<_> = (1..all.saturating_sub(12)).step_by(all / 5).collect();
    points.extend(all.saturating_sub(12)..=all);
    let (mut made, mut named) = (0, 0);
    for when in points {
        let (home, uri) = (TestHome::empty(), database.database());
        let name = uri.rsplit(['/', '=']).next().unwrap();
        if !killed(&home, &uri, when).0 {
            continue;
        }
        let create = || run(keyserver_command(home.path()).args(["create", "--db-uri", &uri]));
        let mut ran = create();
        if ran.code == Some(0) {
            made += 1;
        } else {
            named += 1;
            assert!(
                ran.stderr.contains("state in that database already"),
                "{when}: {ran:?}"
            );
            assert!(
                ran.stderr.contains("drop the database, make an empty one"),
                "{when}: {ran:?}"
            );
            database.run(&format!("{drop_it} {name}"));
            database.run(&make_it.replace("NAME", name));
            ran = create();
        }
        assert_eq!(ran.code, Some(0), "{when}: {ran:?}");
        home.write_policy(APPROVE_ALL);
        let server = Keyserver::start(&home);
        let user = TestUser::onboard(&server.identity, server.address);
        let file = user.file("Public/a");
        assert!(user.decrypt(server.address, &file).is(&file));
        server.stop();
    }
    assert!(made > 0 && named > 0, "{made} made, {named} named");
}

#[test]
fn a_create_that_is_killed_on_mariadb_gives_way_or_is_named() {
    a_kill_leaves_what_gives_way_or_is_named(mariadb(), "DROP DATABASE", "CREATE DATABASE NAME");
}

#[test]
fn a_create_that_is_killed_on_postgres_gives_way_or_is_named() {
    let make = "CREATE DATABASE NAME TEMPLATE template0";
    a_kill_leaves_what_gives_way_or_is_named(postgres(), "DROP DATABASE", make);
}
