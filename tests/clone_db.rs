//! `clone-db`: a server moves from database to database and is the same, also when it is killed on the way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failure of the test"
)]

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    process::{Command, Stdio},
};

use ostrakon_server::Place;
use ostrakon_storage::{DatabaseUri, ProtectorKey, Store, StoreError};
use ostrakon_testdb::{mariadb, postgres};
use ostrakon_testkit::{
    Keyserver, Ran, TestHome, TestUser, binary, daily_limit, keyserver_command, run,
};

fn clone_db(home: &TestHome, to: &str) -> Ran {
    run(keyserver_command(home.path()).args(["clone-db", to]))
}

#[test]
fn a_server_is_the_same_in_every_database() {
    let home = TestHome::create(&daily_limit(9));
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    let file = user.file("Public/a");
    let first = user.body(vec![file.item()]);
    assert!(user.ask(server.address, &first).is(&file));
    let id = server.identity.kss_id();
    // While it serves, it stays.
    let ran = clone_db(&home, &postgres().database());
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("a running server uses"), "{ran:?}");
    server.stop();

    let mut charged = 1;
    for to in [
        mariadb().database(),
        postgres().database(),
        "sqlite:".to_owned(),
    ] {
        if to == "sqlite:" {
            let ran = clone_db(&home, &to);
            assert!(ran.stderr.contains("is not empty"), "{ran:?}");
            fs::remove_file(home.home().database()).unwrap();
        }
        let ran = clone_db(&home, &to);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.stdout.trim(), id.to_string());
        let again = clone_db(&home, &to);
        assert_eq!(again.code, Some(0), "{again:?}");
        let server = Keyserver::start(&home);
        assert_eq!(server.identity.kss_id(), id);
        // What was answered before is answered alike, and not charged again.
        assert!(user.ask(server.address, &first).is(&file));
        assert!(user.decrypt(server.address, &file).is(&file));
        charged += 1;
        server.stop();
        let records = home.records();
        assert_eq!(records.counted(&user.profile), charged);
        assert_eq!(records.released().len() as u64, charged);
    }
}

/// Whether a database opens for the server in `home`.
fn opens(home: &TestHome, place: Place) -> Result<(), StoreError> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let key = ProtectorKey::load(&home.home().instance_key()).unwrap();
        Store::open(place, &key).await?.close().await;
        Ok(())
    })
}

/// Runs `clone-db` under strace, and has it killed at one call of these; counts them where there is no such.
fn traced(home: &TestHome, to: &str, calls: &str, when: usize) -> (bool, usize) {
    let log = home.path().join("calls");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-o"])
        .arg(&log)
        .arg("-e")
        .arg(format!("trace={calls}"))
        .arg("-e")
        .arg(format!("inject={calls}:signal=KILL:when={when}"))
        .arg(binary("keyserver"))
        .arg("--home")
        .arg(home.path())
        .args(["clone-db", to])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let ended = command.status().unwrap();
    let calls = fs::read_to_string(&log).unwrap();
    let counted = calls.lines().filter(|line| line.contains('(')).count();
    (!ended.success(), counted)
}

#[test]
fn a_kill_at_any_call_leaves_one_database_and_a_rerun_completes() {
    let home = TestHome::create(&daily_limit(9));
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    let file = user.file("Public/a");
    assert!(user.decrypt(server.address, &file).is(&file));
    server.stop();
    let shared = || postgres().database();
    for calls in ["fsync,fdatasync", "sendto"] {
        for back in [false, true] {
            let next = || if back { "sqlite:".to_owned() } else { shared() };
            // How many calls there are; then home again, so that each try begins alike.
            let (_, all) = traced(&home, &next(), calls, 65_000);
            assert!(all > 10 || calls != "sendto", "{calls}: {all}");
            let step = (all / 6).max(1);
            let mut points: Vec<_> = (1..=all).step_by(step).collect();
            points.extend(all.saturating_sub(4)..=all);
            let mut killed = 0;
            for when in points {
                // To where this direction begins.
                let away = if back { shared() } else { "sqlite:".to_owned() };
                if !back && home.home().database().exists() {
                    fs::remove_file(home.home().database()).unwrap();
                }
                let ran = clone_db(&home, &away);
                assert_eq!(ran.code, Some(0), "{ran:?}");
                if back && home.home().database().exists() {
                    fs::remove_file(home.home().database()).unwrap();
                }
                let (old, to) = (home.home().place().unwrap(), next());
                let new = match to.as_str() {
                    "sqlite:" => Place::File(home.home().database()),
                    uri => Place::from(&uri.parse::<DatabaseUri>().unwrap()),
                };
                killed += usize::from(traced(&home, &to, calls, when.max(1)).0);
                let (before, after) = (opens(&home, old.clone()), opens(&home, new.clone()));
                match (&before, &after) {
                    (Ok(()), Err(_)) | (Err(StoreError::Moved { .. }), _) => {}
                    both => panic!("{calls} {when}: {both:?}"),
                }
                let ran = clone_db(&home, &to);
                assert_eq!(ran.code, Some(0), "{calls} {when}: {ran:?}");
                assert!(matches!(opens(&home, old), Err(StoreError::Moved { .. })));
                opens(&home, new).unwrap();
                let records = home.records();
                assert_eq!(records.counted(&user.profile), 1, "{calls} {when}");
            }
            assert!(killed > 0, "no kill met {calls}");
        }
    }
}

/// A password in a URI is in the arguments of no process that works, and in no environment.
#[test]
fn a_password_is_shown_to_nobody_while_the_command_works() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let uri = format!("mysql:host=127.0.0.1,port={port},user=u,password=s3cr3t-word,database=d");
    let home = TestHome::create(&daily_limit(9));
    let commands = [
        vec!["clone-db".to_owned(), uri.clone()],
        vec!["initialize".to_owned(), format!("--db-uri={uri}")],
    ];
    for args in commands {
        let mut command = keyserver_command(home.path());
        let mut child = command.args(&args).stderr(Stdio::piped()).spawn().unwrap();
        // It works: it has come to the database, which says nothing.
        let connection = silent.accept().unwrap();
        for file in ["cmdline", "environ"] {
            let path = format!("/proc/{}/{file}", child.id());
            let text = fs::read(path).unwrap();
            let text = String::from_utf8_lossy(&text);
            assert!(!text.contains("s3cr3t-word"), "{file}: {text}");
            assert!(file == "environ" || text.contains("fd:"), "{text}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        drop(connection);
        let mut said = String::new();
        child.stderr.unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains("warning: until now"), "{said}");
        assert!(!said.contains("s3cr3t-word"), "{said}");
    }
}
