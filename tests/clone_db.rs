//! `clone-db`: a server moves from database to database and is the same, also when it is killed on the way.
//!
//! Seen to fail: with the copy's mark taken away before the move, a kill in between leaves two databases that serve;
//! with the move not said, the old one serves on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failure of the test"
)]

use std::{
    collections::HashMap,
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
        // So that one thread does nearly all of them.
        .env("TOKIO_WORKER_THREADS", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let ended = command.status().unwrap();
    let calls = fs::read_to_string(&log).unwrap();
    let mut counted = HashMap::new();
    for call in calls.lines().filter(|line| line.contains('(')) {
        *counted.entry(call.split(' ').next()).or_insert(0) += 1;
    }
    // strace counts the calls of each thread for itself.
    (!ended.success(), counted.into_values().max().unwrap_or(0))
}

/// The home's own file.
const FILE: &str = "sqlite:";

/// Moves the server there, and leaves no file that is not its database.
fn goes(home: &TestHome, to: &str) {
    let is_shared = || matches!(home.home().place().unwrap(), Place::Shared(_));
    if to == FILE && !is_shared() {
        return;
    }
    let forget = || {
        let file = home.home().database();
        if is_shared() && file.exists() {
            fs::remove_file(file).unwrap();
        }
    };
    forget();
    let ran = clone_db(home, to);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    forget();
}

#[test]
fn a_kill_at_any_call_leaves_one_database_and_a_rerun_completes() {
    let home = TestHome::create(&daily_limit(9));
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    let file = user.file("Public/a");
    assert!(user.decrypt(server.address, &file).is(&file));
    server.stop();
    // In turn, where it begins or ends there.
    let mut turn = 0;
    let mut shared = || {
        turn += 1;
        [postgres(), mariadb()][turn % 2].database()
    };
    for calls in ["fsync,fdatasync", "sendto"] {
        for back in [false, true] {
            // How many calls there are.
            goes(&home, &if back { shared() } else { FILE.to_owned() });
            let to = if back { FILE.to_owned() } else { shared() };
            let (killed, all) = traced(&home, &to, calls, 65_000);
            assert!(!killed && all > 2, "{calls}: {all}");
            // What matters most is done last: the move, and what follows from it.
            let last = all.saturating_sub(36).max(1);
            let mut points: Vec<_> = (1..last).step_by((all / 4).max(1)).collect();
            points.extend((last..=all).step_by((all / 12).clamp(1, 3)));
            let mut killed = 0;
            for (number, when) in points.into_iter().enumerate() {
                // To where this direction begins, so that each try begins alike.
                goes(&home, &if back { shared() } else { FILE.to_owned() });
                let old = home.home().place().unwrap();
                let to = if back { FILE.to_owned() } else { shared() };
                let new = match to.as_str() {
                    FILE => Place::File(home.home().database()),
                    uri => Place::from(&uri.parse::<DatabaseUri>().unwrap()),
                };
                killed += usize::from(traced(&home, &to, calls, when.max(1)).0);
                let (before, after) = (opens(&home, old.clone()), opens(&home, new.clone()));
                match (&before, &after) {
                    (Ok(()), Err(_)) | (Err(StoreError::Moved { .. }), _) => {}
                    both => panic!("{calls} {when}: {both:?}"),
                }
                if number % 2 == 0 {
                    // Whoever serves first serves from the right one.
                    Keyserver::start(&home).stop();
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
