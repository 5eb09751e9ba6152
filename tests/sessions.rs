//! Envelope sessions at a running server.
//!
//! Seen to fail: with `Window::take` always `true`, a message that is sent thirty-two times at once is
//! answered more than once; with `Directory::is_current` always `true`, a session does not see a profile
//! that its device has founded since; with `may_begin` and the check in `begin` left out, the request
//! that began a session, sent again, puts another in its place; without the bounds in `begin`, the
//! oldest session goes on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::{sync::Barrier, thread};

use ostrakon_testkit::{
    APPROVE_ALL, Asked, Keyserver, LocalServer, Serve, TestHome, TestUser, daily_limit,
    keyserver_command, now, run,
    user::{ask_in, opened, post},
};
use ostrakon_transport::{
    envelope::{ClientSession, SESSION_MILLIS},
    message::{Item, ItemAnswer, RefusalCode, RequestBody},
};
use ostrakon_types::{Denial, UnixMillis};

/// What everybody gets whom the server does not know, or whose session it does not know.
fn is_stranger(asked: &Asked) -> bool {
    matches!(asked, Asked::Http(answer) if answer.status == 400 && answer.body.is_empty())
}

fn begin(user: &TestUser, server: &Keyserver) -> ClientSession {
    user.session(server.address, now()).expect("a session")
}

#[test]
fn a_session_is_charged_and_logged_as_envelopes_are() {
    let home = TestHome::create(&daily_limit(5));
    let server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let file = user.file("Public/a");
    let session = begin(&user, &server);

    let body = user.body(vec![file.item()]);
    let (message, pending) = session.seal(&body).unwrap();
    assert!(opened(&post(at, &message), &pending).is(&file));
    // The same bytes are taken once; the same request is a retry, in an envelope or in the session.
    assert!(is_stranger(&opened(&post(at, &message), &pending)));
    assert!(user.ask(at, &body).is(&file));
    assert!(ask_in(&session, at, &body).is(&file));
    let other = user.file("Public/b");
    let reused =
        RequestBody::new(body.request_id(), now(), user.profile, vec![other.item()]).unwrap();
    let asked = ask_in(&session, at, &reused);
    assert!(matches!(asked, Asked::Refused(RefusalCode::IdReused)));
    for number in 0..5 {
        let asked = ask_in(&session, at, &user.body(vec![other.item()]));
        assert_eq!(asked.is(&other), number < 4, "{asked:?}");
    }
    assert!(server.stop().0.success());
    let records = home.records();
    assert_eq!(records.counted(&user.profile), 5);
    assert_eq!(records.decisions(body.request_id()).len(), 1);
    assert_eq!(records.released().len(), 5);
}

#[test]
fn a_message_sent_many_times_at_once_is_answered_once() {
    const COPIES: usize = 32;
    let home = TestHome::create(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    let file = user.file("Public/a");
    let session = begin(&user, &server);
    for _ in 0..20 {
        let (message, pending) = session.seal(&user.body(vec![file.item()])).unwrap();
        let together = Barrier::new(COPIES);
        let answers: Vec<_> = thread::scope(|scope| {
            let send = || {
                together.wait();
                post(server.address, &message)
            };
            let sending: Vec<_> = (0..COPIES).map(|_| scope.spawn(send)).collect();
            let answers = sending.into_iter().map(|sent| sent.join().unwrap());
            answers.collect()
        });
        let asked: Vec<_> = answers.iter().map(|a| opened(a, &pending)).collect();
        let given = asked.iter().filter(|asked| asked.is(&file)).count();
        let strangers = asked.iter().filter(|asked| is_stranger(asked)).count();
        assert_eq!((given, strangers), (1, COPIES - 1), "{asked:?}");
    }
}

#[test]
fn the_request_that_began_a_session_makes_no_second_one() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let file = user.file("Public/a");
    let body = user.body(vec![file.item()]);
    let (envelope, pending) = user.lasting(&body);
    let first = pending.receive(&post(at, &envelope).body).ok().unwrap();
    let session = first.session.unwrap();
    for _ in 0..50 {
        let again = pending.receive(&post(at, &envelope).body).ok().unwrap();
        assert!(again.session.is_none());
    }
    assert!(ask_in(&session, at, &user.body(vec![file.item()])).is(&file));
    let records = {
        assert!(server.stop().0.success());
        home.records()
    };
    assert_eq!(records.decisions(body.request_id()).len(), 1);
}

#[test]
fn a_restart_forgets_sessions_and_an_envelope_gets_the_same_answer() {
    let home = TestHome::create(&daily_limit(2));
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    let file = user.file("Public/a");
    let session = begin(&user, &server);
    let body = user.body(vec![file.item()]);
    assert!(ask_in(&session, server.address, &body).is(&file));
    server.kill();

    let server = Keyserver::start(&home);
    let at = server.address;
    assert!(is_stranger(&ask_in(&session, at, &body)));
    assert!(is_stranger(&ask_in(
        &session,
        at,
        &user.body(vec![file.item()])
    )));
    assert!(user.ask(at, &body).is(&file));
    let session = begin(&user, &server);
    assert!(ask_in(&session, at, &user.body(vec![file.item()])).is(&file));
    let denied = ask_in(&session, at, &user.body(vec![file.item()]));
    assert!(matches!(denied.denial(), Some(Denial::Quota { .. })));
}

#[test]
fn membership_and_disable_are_looked_up_for_every_message() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let other = TestUser::onboard(&server.identity, at);
    let (file, theirs) = (user.file("Public/a"), other.file("Public/a"));
    let session = begin(&user, &server);

    // Of another's profile, the device is no member.
    let foreign = other.body(vec![theirs.item()]);
    let asked = ask_in(&session, at, &foreign);
    assert!(matches!(asked, Asked::Refused(RefusalCode::NotAMember)));
    // Of a second one, it becomes one while the session lasts.
    let second = user.second_profile("second");
    let head = || second.body(vec![Item::ProfileHead]);
    let before = ask_in(&session, at, &head());
    assert!(matches!(before, Asked::Refused(RefusalCode::NotAMember)));
    second.register(at);
    let after = ask_in(&session, at, &head()).only();
    assert!(matches!(after, ItemAnswer::Head { .. }));

    let switch = |command: &str| {
        let ran = run(keyserver_command(home.path()).arg(command));
        assert_eq!(ran.code, Some(0), "{ran:?}");
    };
    let body = user.body(vec![file.item()]);
    assert!(ask_in(&session, at, &body).is(&file));
    switch("disable");
    for body in [&body, &user.body(vec![file.item()])] {
        let denied = ask_in(&session, at, body);
        assert_eq!(denied.denial(), Some(Denial::Disabled), "{denied:?}");
    }
    switch("enable");
    assert!(ask_in(&session, at, &user.body(vec![file.item()])).is(&file));
}

#[test]
fn a_session_ends_with_its_time() {
    let start = UnixMillis(1_700_000_000_000);
    let home = TestHome::create(APPROVE_ALL);
    let server = LocalServer::start(&home, start);
    let at = server.address;
    let user = TestUser::new(&server.identity);
    let founding = user.body_at(start, vec![user.founding()]);
    let (envelope, pending) = user.first_contact(&founding);
    assert_eq!(opened(&post(at, &envelope), &pending).items().len(), 1);
    let session = user.session(at, start).unwrap();
    let file = user.file("Public/a");
    // Sealed within the session's time, and valid for longer than that.
    let last = start.plus(SESSION_MILLIS - 1);
    let ask = |now: UnixMillis| {
        let body = user.body_at(last, vec![file.item()]);
        let (message, pending) = session.seal(&body).unwrap();
        server.set_clock(now);
        opened(&post(at, &message), &pending)
    };
    assert!(ask(last).is(&file));
    assert!(is_stranger(&ask(last.plus(1))));
    assert!(is_stranger(&ask(start.plus(-1))), "a clock set back");
    assert!(ask(last).is(&file));
}

#[test]
fn the_oldest_sessions_give_way_and_none_can_be_granted() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Serve::on(&home)
        .with("OSTRAKON_LIMITS_SESSIONS", "20")
        .start();
    let at = server.address;
    let users = [(); 2].map(|()| TestUser::onboard(&server.identity, at));
    let alive = |user: &TestUser, session: &ClientSession| {
        let file = user.file("Public/a");
        let asked = ask_in(session, at, &user.body(vec![file.item()]));
        assert!(asked.is(&file) || is_stranger(&asked), "{asked:?}");
        asked.is(&file)
    };
    let [user, other] = &users;
    // No more than 16 of one device, and its own oldest go first.
    let theirs = begin(other, &server);
    let sessions: Vec<_> = (0..18).map(|_| begin(user, &server)).collect();
    let living: Vec<_> = sessions.iter().map(|s| alive(user, s)).collect();
    assert_eq!(living, [vec![false; 2], vec![true; 16]].concat());
    assert!(alive(other, &theirs));
    // No more than 20 of all.
    let more: Vec<_> = (0..4).map(|_| begin(other, &server)).collect();
    assert!(!alive(other, &theirs) && alive(user, &sessions[2]));
    assert!(more.iter().all(|session| alive(other, session)));
    let stranger = TestUser::new(&server.identity);
    let (envelope, _) = stranger.lasting(&stranger.body(vec![Item::ProfileHead]));
    assert_eq!(post(at, &envelope).status, 400);
    assert!(alive(user, &sessions[2]), "a stranger pushed it out");
    drop(server);

    let server = Serve::on(&home)
        .with("OSTRAKON_LIMITS_SESSIONS", "0")
        .start();
    assert!(user.session(server.address, now()).is_none());
}
