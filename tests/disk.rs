//! A disk that takes no writes: no answer leaves without its audit record, and the server recovers by
//! itself.
//!
//! The disk is full for the process alone: `strace` lets its writes to the write-ahead log fail, until
//! it is told to let go. That works for every user and needs no mount.
//!
//! Seen to fail: with the outcome of the commit ignored, shards come back while nothing is recorded;
//! with a probe that changes no row, `/readyz` says ready on a full disk; with the write-ahead log left
//! by a `create` that failed, the folder is not as it was.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::{fs, process::Command, thread, time::Duration};

use ostrakon_testkit::{
    Asked, File, Keyserver, Serve, TestHome, TestUser, daily_limit,
    http::get,
    keyserver::send_signal,
    keyserver_command, run,
    user::{opened, post},
};
use ostrakon_transport::message::Item;
use rustix::process::Signal;

/// Ends the tracer of a server, which then goes on without it.
fn heal(server: &Keyserver) {
    let tracer: u32 = server.status_line("TracerPid").parse().unwrap();
    assert_ne!(tracer, 0, "the server is not traced");
    send_signal(tracer, Signal::TERM);
}

/// What `/readyz` says, asked until it is `status`.
fn wait_until_ready(server: &Keyserver, status: u16) -> String {
    // Each question takes as long as a write of the ledger: this ends.
    for _ in 0..2000 {
        let answer = get(server.address, "/readyz").unwrap();
        if answer.status == status {
            return String::from_utf8(answer.body).unwrap();
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    panic!("/readyz is never {status}:\n{}", server.log());
}

fn outage(call: &str, error: &str) {
    const LIMIT: u64 = 20;
    let home = TestHome::create(&daily_limit(LIMIT));
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    let file = user.file("Public/a");
    assert!(user.decrypt(server.address, &file).is(&file));
    server.stop();

    let wal = format!("{}-wal", home.home().database().display());
    let inject = format!("inject={call}:error={error}");
    let trace = format!("trace={call}");
    let strace = [
        "strace",
        "-D",
        "-I2",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-P",
        &wal,
        "-e",
        &trace,
        "-e",
        &inject,
    ];
    let mut server = Serve::on(&home).under(&strace).start();
    let at = server.address;

    let files: Vec<File> = (0..8)
        .map(|number| user.file(&format!("Public/{number}")))
        .collect();
    let requests: Vec<_> = files
        .iter()
        .map(|file| user.body(vec![file.item()]))
        .collect();
    let sealed: Vec<_> = requests.iter().map(|body| user.seal(body)).collect();
    for _ in 0..2 {
        thread::scope(|scope| {
            for (envelope, _) in &sealed {
                scope.spawn(move || {
                    let answer = post(at, envelope);
                    assert_eq!(answer.status, 503, "an answer without a record");
                    assert!(answer.header("retry-after").is_some());
                    assert!(answer.body.is_empty());
                });
            }
        });
    }
    assert!(wait_until_ready(&server, 503).contains("ledger cannot be written"));
    assert_eq!(get(at, "/healthz").unwrap().status, 200);
    // What needs no record is answered.
    let asked = user.ask(at, &user.body(vec![Item::ProfileHead]));
    assert_eq!(asked.items().len(), 1);
    let status = run(keyserver_command(home.path()).arg("status"));
    assert!(
        status
            .stdout
            .contains("not ready  ledger cannot be written"),
        "{status:?}"
    );
    assert!(
        status.stdout.contains(", cannot be written\n"),
        "{status:?}"
    );
    // An operator's change is not made without its record either.
    home.write_policy("decrypt: []");
    let load = run(keyserver_command(home.path()).args(["policy", "--load"]));
    assert_eq!(load.code, Some(1), "{load:?}");
    let dump = run(keyserver_command(home.path()).args(["policy", "--dump"]));
    assert_eq!(dump.stdout, daily_limit(LIMIT), "{dump:?}");
    home.write_policy(&daily_limit(LIMIT));

    heal(&server);
    wait_until_ready(&server, 200);
    // The same process, the same bytes.
    for ((envelope, pending), file) in sealed.iter().zip(&files) {
        assert!(opened(&post(at, envelope), pending).is(file));
    }
    for (body, file) in requests.iter().zip(&files) {
        assert!(user.ask(at, body).is(file));
    }
    server.signal(Signal::TERM);
    let (status, log) = server.ended();
    assert!(status.success(), "{log}");
    assert!(log.contains("the ledger cannot be written"), "{log}");
    assert!(log.contains("the ledger can be written again"), "{log}");
    // What could not be recorded while it lasted is no gap, and the last checkpoint covers all.
    let verified = run(keyserver_command(home.path()).args(["audit", "verify", "--quotas"]));
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(
        verified.stdout.contains("covers all of them\n"),
        "{verified:?}"
    );
    let records = home.records();
    assert_eq!(records.released().len(), 9);
    assert_eq!(records.counted(&user.profile), 9);
    for body in &requests {
        assert_eq!(records.decisions(body.request_id()).len(), 1);
    }
}

#[test]
fn a_full_disk() {
    outage("pwrite64", "ENOSPC");
}

#[test]
fn a_disk_that_fails_to_write() {
    outage("pwrite64", "EIO");
}

#[test]
fn a_disk_that_fails_to_sync() {
    outage("fsync,fdatasync", "EIO");
}

#[test]
fn a_file_system_that_became_read_only() {
    outage("pwrite64", "EROFS");
}

/// The files of the audit log in the home: the log in the database is what counts, and goes on.
#[test]
fn a_head_file_and_a_state_file_that_cannot_be_written() {
    let home = TestHome::create(&daily_limit(9));
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    server.stop();
    let head = home.home().audit_head();
    let state = home.home().audit_state().with_extension("new");
    let strace = [
        "strace",
        "-D",
        "-I2",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-P",
        head.to_str().unwrap(),
        "-P",
        state.to_str().unwrap(),
        "-e",
        "trace=pwrite64,fsync",
        "-e",
        "inject=pwrite64,fsync:error=ENOSPC",
    ];
    let server = Serve::on(&home).under(&strace).start();
    let at = server.address;
    server.wait_for_log("an audit checkpoint is not where it should be");
    let file = user.file("Public/a");
    assert!(user.decrypt(at, &file).is(&file));
    assert!(wait_until_ready(&server, 503).contains("audit checkpoint cannot be written"));
    let log = server.log();
    let told = log.matches("the head file of the audit log cannot be written");
    assert_eq!(told.count(), 1, "{log}");
    heal(&server);
    wait_until_ready(&server, 200);
    assert!(user.decrypt(at, &file).is(&file));
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    assert!(
        log.contains("the head file of the audit log can be written again"),
        "{log}"
    );
    let verified = run(keyserver_command(home.path()).args(["audit", "verify"]));
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn what_was_written_before_an_outage_outlives_a_kill_in_it() {
    let home = TestHome::create(&daily_limit(3));
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    let file = user.file("Public/a");
    let first = user.body(vec![file.item()]);
    assert!(user.ask(server.address, &first).is(&file));
    server.kill();
    let wal = format!("{}-wal", home.home().database().display());
    // The second sync of the log: the frames are there, whether they are durable nobody says.
    let strace = [
        "strace",
        "-D",
        "-I2",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-P",
        &wal,
        "-e",
        "trace=fsync",
        "-e",
        "inject=fsync:error=EIO:when=1+",
    ];
    let server = Serve::on(&home).under(&strace).start();
    let second = user.body(vec![file.item()]);
    let (envelope, pending) = user.seal(&second);
    assert_eq!(post(server.address, &envelope).status, 503);
    server.kill();
    let server = Keyserver::start(&home);
    let at = server.address;
    assert!(user.ask(at, &first).is(&file));
    assert!(opened(&post(at, &envelope), &pending).is(&file));
    assert!(user.decrypt(at, &file).is(&file));
    let fourth: Asked = user.decrypt(at, &file);
    assert!(fourth.denial().is_some(), "{fourth:?}");
    server.stop();
    let records = home.records();
    assert_eq!(
        (records.counted(&user.profile), records.released().len()),
        (3, 3)
    );
}

#[test]
fn a_server_that_could_not_be_made_can_be_made_again() {
    for (call, error) in [
        ("pwrite64", "ENOSPC"),
        ("fsync", "EIO"),
        ("write", "ENOSPC"),
    ] {
        for when in [1, 2, 3, 5, 8, 13, 21, 34] {
            let home = TestHome::empty();
            let mut command = Command::new("strace");
            command
                .args(["-f", "-qq", "-o", "/dev/null", "-e"])
                .arg(format!("trace={call}"))
                .arg("-e")
                .arg(format!("inject={call}:error={error}:when={when}+"));
            // Standard output and the runtime's wake-ups are writes, too: files alone.
            let keys = home.home();
            for path in [keys.database(), keys.instance_key(), keys.policy()] {
                command.arg("-P").arg(&path);
            }
            for suffix in ["-wal", "-journal"] {
                command
                    .arg("-P")
                    .arg(format!("{}{suffix}", keys.database().display()));
            }
            command
                .arg(ostrakon_testkit::command::binary("keyserver"))
                .arg("--home")
                .arg(home.path())
                .arg("create");
            let ran = run(&mut command);
            let what = format!("{call} {error} at {when}: {ran:?}");
            assert!(!ran.stderr.contains("panicked"), "{what}");
            if ran.code != Some(0) {
                assert_eq!(ran.code, Some(1), "{what}");
                assert!(ran.stderr.contains("error: "), "{what}");
                assert_eq!(
                    ran.stdout, "",
                    "an id of a server that is not there: {what}"
                );
                let left: Vec<_> = fs::read_dir(home.path())
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .filter(|name| name != "keyserver.lock")
                    .collect();
                assert_eq!(left, [""; 0], "left behind: {what}");
                let again = run(keyserver_command(home.path()).arg("create"));
                assert_eq!(again.code, Some(0), "{what}: {again:?}");
            }
            let status = run(keyserver_command(home.path()).arg("status"));
            assert_eq!(status.code, Some(0), "{what}: {status:?}");
        }
    }
}
