//! A second server that stands by, and the way back to the first.
//!
//! Bugs planted to see these tests fail: `accept-rollback` that begins no new epoch
//! (`a_standby_takes_over_and_the_primary_comes_back`, `a_server_that_was_put_back_goes_on_once_that_is_accepted`);
//! a doubt that is not forgotten with it (the second of these).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

mod devices;

use std::fs;

use devices::{Administrators, Asked, User};
use ostrakon_testkit::{Keyserver, Serve, TestHome, keyserver_command, run};

const POLICY: &str = "\
decrypt:
  - - rule: meta-rule
      paths: [/Files/a, /Files/b, /Files/c]
  - - rule: per-profile-throttle-rule
      rule_id: rationed
      per_day: 2
change_profile: [[{rule: approve-rule}]]
";

fn accept(home: &TestHome, administrators: &Administrators) -> serde_json::Value {
    Asked::start(home, &["accept-rollback"]).approved_by(&administrators.three())
}

#[test]
fn a_standby_takes_over_and_the_primary_comes_back() {
    let vault = tempfile::tempdir().unwrap();
    let administrators = Administrators::new();
    let primary = TestHome::empty();
    let backup = vault.path().join("backup-key.txt");
    administrators.create(&primary, &backup);
    primary.write_policy(POLICY);
    let server = Keyserver::start(&primary);
    let address = server.address;
    let alice = User::new(&server);
    server.stop();

    let standby = TestHome::empty();
    let args = ["recovery-ingest-key", backup.to_str().unwrap()];
    Asked::start(&standby, &args).approved_by(&administrators.three());
    standby.write_policy(POLICY);
    let enabled = run(keyserver_command(standby.path()).arg("enable"));
    assert_eq!(enabled.code, Some(0), "{enabled:?}");
    // It is prepared, and does not run. The primary goes on.
    let server = Serve::on(&primary).at(address).start();
    alice.decrypts("a");
    alice.decrypts("d");
    server.stop();

    // The primary fails, and the standby is served.
    let server = Serve::on(&standby).at(address).start();
    alice.decrypts("b");
    // Throttling is separate, and what the primary may have counted counts as spent.
    assert!(alice.refused("e").contains("quota"));
    let changed = alice.run(&["profile", "threshold", "2"]);
    assert!(
        changed.stderr.contains("server changes no profiles"),
        "{changed:?}"
    );
    server.stop();

    // The primary is back. Nobody who met the standby takes its word, until its administrators say so.
    let server = Serve::on(&primary).at(address).start();
    assert!(alice.refused("c").contains("out of date"));
    server.wait_for_log("another state");
    let went_on = accept(&primary, &administrators);
    assert_ne!(went_on["from"], went_on["generation"]);
    alice.decrypts("c");
    // It knows its own counts, and changes profiles again.
    alice.decrypts("e");
    alice.done(&["profile", "threshold", "2"]);
    server.stop();
    let server = Serve::on(&primary).at(address).start();
    assert!(!server.log().contains("another state"), "{}", server.log());
    alice.done(&["profile", "show"]);
    server.stop();

    // Now the standby is the one that is out of date.
    let server = Serve::on(&standby).at(address).start();
    let refused = alice.run(&["profile", "threshold", "2"]);
    assert_ne!(refused.code, Some(0), "{refused:?}");
    server.wait_for_log("another state");
}

#[test]
fn a_standby_that_stays_is_a_primary_once_that_is_accepted() {
    let vault = tempfile::tempdir().unwrap();
    let administrators = Administrators::new();
    let primary = TestHome::empty();
    let backup = vault.path().join("backup-key.txt");
    administrators.create(&primary, &backup);
    primary.write_policy(POLICY);
    let server = Keyserver::start(&primary);
    let address = server.address;
    let alice = User::new(&server);
    server.stop();
    let standby = TestHome::empty();
    let args = ["recovery-ingest-key", backup.to_str().unwrap()];
    Asked::start(&standby, &args).approved_by(&administrators.three());
    standby.write_policy(POLICY);
    run(keyserver_command(standby.path()).arg("enable"));
    let server = Serve::on(&standby).at(address).start();
    assert!(alice.refused("d").contains("quota"));
    accept(&standby, &administrators);
    alice.decrypts("d");
    alice.done(&["profile", "threshold", "2"]);
    server.stop();
    // Also after a restart.
    let _server = Serve::on(&standby).at(address).start();
    alice.decrypts("e");
}

#[test]
fn a_server_that_was_put_back_goes_on_once_that_is_accepted() {
    let vault = tempfile::tempdir().unwrap();
    let administrators = Administrators::new();
    let home = TestHome::empty();
    administrators.create(&home, &vault.path().join("backup-key.txt"));
    home.write_policy(POLICY);
    let server = Keyserver::start(&home);
    let address = server.address;
    let alice = User::new(&server);
    server.stop();
    let files = [
        home.home().database(),
        home.home().generation(),
        home.home().audit_head(),
        home.home().audit_state(),
    ];
    let kept: Vec<_> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    let server = Serve::on(&home).at(address).start();
    alice.decrypts("a");
    server.stop();
    for (path, bytes) in files.iter().zip(&kept) {
        fs::write(path, bytes).unwrap();
    }
    for suffix in ["-wal", "-shm"] {
        let mut path = home.home().database().into_os_string();
        path.push(suffix);
        let _ = fs::remove_file(path);
    }
    let server = Serve::on(&home).at(address).start();
    assert!(alice.refused("b").contains("out of date"));
    // Two of three do not make it go on.
    let asked = Asked::start(&home, &["accept-rollback", "--wait", "20"]);
    asked.approve(&administrators.phone);
    asked.approve(&administrators.tablet);
    asked
        .waiting
        .fails(1, "not enough devices approved in time");
    assert!(alice.refused("b").contains("out of date"));
    server.stop();
    // It need not run for that.
    accept(&home, &administrators);
    let server = Serve::on(&home).at(address).start();
    alice.decrypts("b");
    server.stop();
    let verified = run(keyserver_command(home.path()).args(["audit", "verify"]));
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn without_a_backup_key_there_is_nobody_who_could_accept() {
    let home = TestHome::create(POLICY);
    let refused = run(keyserver_command(home.path()).arg("accept-rollback"));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("no profile of administrators is known"),
        "{refused:?}"
    );
}
