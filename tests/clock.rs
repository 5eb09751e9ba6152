//! A clock that is set while the server runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failure of the test"
)]

use std::{fs, thread, time::Duration};

use ostrakon_testkit::{
    Asked, Keyserver, Serve, TestHome, TestUser, daily_limit, http::get, keyserver_command, run,
};

/// What lets the wall clock of a program be set, and leaves the time since the machine started alone.
fn library() -> String {
    let found = fs::read_dir("/usr/lib").unwrap().flatten();
    let places = found.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    let mut places = places.filter(|path| path.exists());
    places
        .next()
        .expect("faketime is installed")
        .display()
        .to_string()
}

/// What `/readyz` says, asked until it is `status`.
fn wait_until_ready(server: &Keyserver, status: u16) -> String {
    for _ in 0..500 {
        let answer = get(server.address, "/readyz").unwrap();
        if answer.status == status {
            return String::from_utf8(answer.body).unwrap();
        }
        thread::park_timeout(Duration::from_millis(20));
    }
    panic!("/readyz is never {status}:\n{}", server.log());
}

/// Threat 5: who sets the clock gets no other day's quota.
#[test]
fn nothing_is_decided_by_a_clock_that_was_set() {
    let home = TestHome::create(&daily_limit(2));
    let shift = home.path().join("shift");
    let set = |by: &str| {
        fs::write(home.path().join("shift.new"), by).unwrap();
        fs::rename(home.path().join("shift.new"), &shift).unwrap();
    };
    set("+0");
    let server = Serve::on(&home)
        .with("LD_PRELOAD", &library())
        .with("FAKETIME_TIMESTAMP_FILE", shift.to_str().unwrap())
        .with("FAKETIME_NO_CACHE", "1")
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();
    let user = TestUser::onboard(&server.identity, server.address);
    let ask = || {
        let file = user.file("Public/a");
        let asked = user.decrypt(server.address, &file);
        let released = asked.is(&file);
        (asked, released)
    };
    assert!(ask().1);
    for (number, by) in ["+86400", "-3600"].into_iter().enumerate() {
        set(by);
        let said = wait_until_ready(&server, 503);
        assert!(said.contains("clock was set"), "{said}");
        let (asked, _) = ask();
        assert!(
            matches!(&asked, Asked::Http(answer) if answer.status == 503),
            "{asked:?}"
        );
        let ran = run(keyserver_command(home.path()).arg("status"));
        assert!(ran.stdout.contains("clock was set by"), "{ran:?}");
        // It is on record before it is right again.
        server.wait_for_log(&format!("clock was set by {}", &by[..2]));
        set("+0");
        wait_until_ready(&server, 200);
        let again = "the clock is taken for right again";
        while server.log().matches(again).count() <= number {
            thread::park_timeout(Duration::from_millis(20));
        }
    }
    assert!(ask().1);
    assert!(ask().0.denial().is_some(), "the quota is that of the day");
    // The operator takes another time for right.
    set("-3600");
    wait_until_ready(&server, 503);
    let ran = run(keyserver_command(home.path()).arg("enable"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    wait_until_ready(&server, 200);
    server.stop();
    let audit = home.records().audit;
    let said = audit
        .iter()
        .filter(|record| format!("{record:?}").contains("clock was set"));
    assert!(said.count() >= 2, "{audit:?}");
}
