//! A server that is killed at any instant: whoever asked was charged at most once, and the log knows
//! every approval that anybody holds.
//!
//! Seen to fail: with every seventh commit undone instead, the log has a gap where clients hold approvals;
//! with the record of a request forgotten, what was approved is denied to its retry; with no mark while a server
//! is made, what a killed `create` leaves is taken for a damaged server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    process::Stdio,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use ostrakon_shards::random;
use ostrakon_testkit::{
    Asked, File, Keyserver, Serve, TestHome, TestUser, daily_limit, home::Released,
    keyserver_command, now, run,
};
use ostrakon_transport::message::RequestBody;
use ostrakon_types::Denial;

/// What a client saw.
#[derive(Default)]
struct Seen {
    approved: Vec<RequestBody>,
    denied: Vec<RequestBody>,
    broken: usize,
}

/// Asks until there is an answer, whatever becomes of the server in between.
fn persist(user: &TestUser, at: SocketAddr, body: &RequestBody, file: &File, seen: &mut Seen) {
    // A server is gone for less than a second.
    for _ in 0..20_000 {
        let body = body.clone().reissued(now());
        match user.try_ask(at, &body) {
            Ok(asked) if asked.is(file) => return seen.approved.push(body),
            Ok(asked) if matches!(asked.denial(), Some(Denial::Quota { .. })) => {
                return seen.denied.push(body);
            }
            Ok(Asked::Http(answer)) if answer.status == 503 => {}
            Ok(other) => panic!("{other:?}"),
            Err(_) => seen.broken += 1,
        }
        thread::park_timeout(Duration::from_millis(2));
    }
    panic!("no answer");
}

#[test]
fn a_killed_create_leaves_a_server_or_nothing() {
    const KILLS: u64 = 60;
    let (mut made, mut begun) = (0, 0);
    for kill in 0..KILLS {
        let home = TestHome::empty();
        let create = || {
            let mut create = keyserver_command(home.path());
            create.args(["create"]);
            create.stdout(Stdio::null()).stderr(Stdio::null());
            create
        };
        let mut killed = create().spawn().unwrap();
        thread::park_timeout(Duration::from_micros(kill * 1500));
        killed.kill().unwrap();
        killed.wait().unwrap();
        begun += u64::from(home.path().join("unfinished").exists());
        let again = run(keyserver_command(home.path()).arg("create"));
        if again.code != Some(0) {
            assert!(
                again.stderr.contains("exists already")
                    || again.stderr.contains("database already"),
                "{again:?}"
            );
            made += 1;
        }
        let status = run(keyserver_command(home.path()).arg("status"));
        assert_eq!(status.code, Some(0), "{status:?}");
    }
    assert!(
        begun > 0,
        "no kill met the making of a server; {made} came after it"
    );
}

#[test]
fn no_kill_gives_or_loses_an_approval() {
    const LIMIT: u64 = 500;
    const KILLS: usize = 300;
    let home = TestHome::create(&daily_limit(LIMIT));
    let mut server = Keyserver::start(&home);
    let at = server.address;
    let users: Vec<_> = (0..2)
        .map(|_| TestUser::onboard(&server.identity, at))
        .collect();
    let done = AtomicBool::new(false);
    let answered = (Mutex::new(0_u64), Condvar::new());
    let (server, seen) = thread::scope(|scope| {
        let (users, done, answered) = (&users, &done, &answered);
        let clients: Vec<_> = (0..4)
            .map(|number| {
                scope.spawn(move || {
                    let user = &users[number % users.len()];
                    let mut seen = Seen::default();
                    while !done.load(Ordering::SeqCst) {
                        let file = user.file("Public/a");
                        let body = user.body(vec![file.item()]);
                        persist(user, at, &body, &file, &mut seen);
                        *answered.0.lock().unwrap() += 1;
                        answered.1.notify_all();
                    }
                    (number % users.len(), seen)
                })
            })
            .collect();
        for _ in 0..KILLS {
            // Some answers later, and within the next ones.
            let wait = |limit: Duration, goal: u64| {
                let so_far = answered.0.lock().unwrap();
                let waited = answered.1.wait_timeout_while(so_far, limit, |n| *n < goal);
                waited.unwrap().1.timed_out()
            };
            let [more, within] = random::array::<2>().unwrap();
            let goal = *answered.0.lock().unwrap() + u64::from(more % 6) + 1;
            let late = wait(Duration::from_secs(30), goal);
            assert!(!late, "no answers:\n{}", server.log());
            wait(Duration::from_micros(u64::from(within) * 60), u64::MAX);
            let log = server.log();
            assert!(!log.contains("panicked"), "{log}");
            server.kill();
            server = Serve::on(&home).at(at).start();
        }
        done.store(true, Ordering::SeqCst);
        let seen: Vec<(usize, Seen)> = clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect();
        (server, seen)
    });
    // What was approved is approved still.
    for (user, seen) in &seen {
        for body in seen.approved.iter().rev().take(3) {
            assert!(
                users[*user]
                    .ask(at, &body.clone().reissued(now()))
                    .releases()
            );
        }
    }
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    let broken: usize = seen.iter().map(|(_, seen)| seen.broken).sum();
    assert!(broken > 0, "no request met a kill");

    let records = home.records();
    let logged: BTreeSet<Released> = records.released().into_iter().collect();
    assert_eq!(
        logged.len(),
        records.released().len(),
        "an approval is in the log twice"
    );
    for (number, user) in users.iter().enumerate() {
        let of_user = || {
            seen.iter()
                .filter(|(of, _)| *of == number)
                .map(|(_, seen)| seen)
        };
        let held: Vec<_> = of_user().flat_map(|seen| &seen.approved).collect();
        let in_log = logged.iter().filter(|r| r.profile == user.profile).count() as u64;
        assert!(
            held.len() as u64 <= in_log,
            "{} held, {in_log} in the log",
            held.len()
        );
        assert!(in_log <= LIMIT, "{in_log} approvals of {LIMIT}");
        assert_eq!(records.counted(&user.profile), in_log);
        for body in held {
            let approval = Released {
                profile: user.profile,
                request: body.request_id(),
                item: 0,
            };
            assert!(
                logged.contains(&approval),
                "an approval that is not in the log"
            );
        }
        for body in of_user().flat_map(|seen| &seen.denied) {
            let decisions = records.decisions(body.request_id());
            assert!(
                matches!(&decisions[..], [one] if !one.is_approved()),
                "{decisions:?}"
            );
        }
    }
}

/// Kills the server at the `when`th `call` on its write-ahead log. `false` when it never comes to that.
fn killed_at(call: &str, when: usize) -> bool {
    let home = TestHome::create(&daily_limit(2));
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    server.stop();
    let wal = format!("{}-wal", home.home().database().display());
    let (trace, inject) = (
        format!("trace={call}"),
        format!("inject={call}:signal=KILL:when={when}"),
    );
    let strace = [
        "strace",
        "-D",
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
    let file = user.file("Public/a");
    let body = user.body(vec![file.item()]);
    // The start is put on record, too: a kill there comes before any request.
    let killed = match Serve::on(&home).under(&strace).try_start() {
        Err(_) => true,
        Ok(mut server) => match user.try_ask(server.address, &body) {
            Ok(asked) => {
                assert!(asked.is(&file), "{asked:?}");
                false
            }
            Err(_) => {
                let (status, log) = server.ended();
                assert_eq!(status.code(), None, "{log}");
                true
            }
        },
    };
    let server = Keyserver::start(&home);
    let at = server.address;
    assert!(user.ask(at, &body).is(&file));
    assert!(
        user.decrypt(at, &file).is(&file),
        "{call} {when}: charged twice"
    );
    assert!(
        user.decrypt(at, &file).denial().is_some(),
        "{call} {when}: not charged"
    );
    server.stop();
    let records = home.records();
    assert_eq!(records.decisions(body.request_id()).len(), 1);
    assert_eq!(
        (records.counted(&user.profile), records.released().len()),
        (2, 2)
    );
    killed
}

#[test]
fn a_kill_at_each_write_of_a_request() {
    // Every call up to the one that never comes: so the whole request was covered.
    let mut when = 1;
    while killed_at("pwrite64", when) {
        when += if when < 8 { 1 } else { 3 };
        assert!(when < 200, "a request without end");
    }
    assert!(
        when > 4,
        "killed only {when} times: is the log written by other calls?"
    );
}

#[test]
fn a_kill_at_each_sync_of_a_request() {
    let mut when = 1;
    while killed_at("fsync,fdatasync", when) {
        when += 1;
        assert!(when < 50, "a request without end");
    }
    assert!(when > 1, "a commit without a sync");
}
