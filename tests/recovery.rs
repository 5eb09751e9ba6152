//! A server that is lost, and made again from its backup file and its administrators' devices, by the
//! commands of the walkthrough.
//!
//! Bugs planted to see these tests fail: a recovery that begins no new epoch, so that clients refuse the
//! new server for the old one (`the_whole_walkthrough`); a recovered server that serves before it is
//! enabled (the same); words that are not compared (`who_asks_for_shares_must_be_told_by_words`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

mod devices;

use std::{fs, path::Path};

use devices::{Administrators, Asked, Device, User};
use ostrakon_testkit::{Keyserver, Ran, Serve, TestHome, keyserver_command, run};

const POLICY: &str = "\
decrypt: [[{rule: approve-rule}]]
change_profile: [[{rule: approve-rule}]]
";

fn keyserver(home: &TestHome, args: &[&str]) -> Ran {
    run(keyserver_command(home.path()).args(args))
}

fn done(home: &TestHome, args: &[&str]) -> Ran {
    let ran = keyserver(home, args);
    assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
    ran
}

fn is_empty(home: &TestHome) -> bool {
    let entries = fs::read_dir(home.path()).unwrap();
    let mut names = entries.map(|entry| entry.unwrap().file_name());
    names.all(|name| name == "keyserver.lock")
}

/// A server with a backup file, and its administrators.
fn backed_up(vault: &Path) -> (Administrators, TestHome, String) {
    let administrators = Administrators::new();
    let home = TestHome::empty();
    let backup = vault.join("backup-key.txt");
    administrators.create(&home, &backup);
    home.write_policy(POLICY);
    (administrators, home, backup.to_str().unwrap().to_owned())
}

#[test]
fn the_whole_walkthrough() {
    let vault = tempfile::tempdir().unwrap();
    let (administrators, lost, backup) = backed_up(vault.path());
    let server = Keyserver::start(&lost);
    let (address, id) = (server.address, server.identity.kss_id().to_string());
    let alice = User::new(&server);
    alice.decrypts("a");
    alice.done(&["profile", "threshold", "2"]);
    server.stop();

    // The machine is lost, and with it the administrator's desk. Two phones are left, and paper.
    let Administrators {
        desk,
        phone,
        tablet,
        words: [words, _],
    } = &administrators;
    let lost_desk = desk.profile();
    let lost_desk = lost_desk["devices"][0]["id"].as_str().unwrap();
    let new = Device::new();
    let add = ["device", "add", "--method", "qr", "My Smartphone"];
    let phone_id = new.meets(&[&add[..], &["--listen", "127.0.0.1:0"]].concat(), phone);
    let loaded = new.json(&[
        "profile",
        "recovery",
        "load-profiles",
        "--device",
        &phone_id,
    ]);
    let listed = new.json(&["profile", "recovery", "list-profiles"]);
    assert_eq!(loaded, listed);
    let profile = listed[0]["id"].as_str().unwrap();
    assert_eq!(listed[0]["words"], phone.profile()["words"]);
    let early = new.run(&["profile", "recovery", "finalize"]);
    assert!(
        early.stderr.contains("no profile was selected"),
        "{early:?}"
    );
    new.done(&[
        "profile",
        "recovery",
        "select-profile",
        "--profile",
        profile,
    ]);
    let devices = listed[0]["devices"].as_array().unwrap();
    let tablet_id = devices
        .iter()
        .find(|device| device["name"] == "tablet")
        .unwrap();
    let tablet_id = tablet_id["id"].as_str().unwrap();
    new.meets(&["device", "link", "--method", "qr", tablet_id], tablet);
    let (paper, paper_id) = Device::of_words(words);
    let add = [
        "device",
        "add",
        "--recovery",
        "--method",
        "qr",
        "My Smartphone 2",
    ];
    assert_eq!(new.meets(&add, &paper), paper_id);
    let stage = [
        "profile",
        "recovery",
        "stage-new-device",
        "--device",
        &paper_id,
    ];
    new.done(&[&stage[..], &["--replaces", lost_desk]].concat());

    let home = TestHome::empty();
    let asked = Asked::start(&home, &["recovery-ingest-key", &backup]);
    let left = [phone, tablet, &paper];
    let ingested = asked.approved_by(&left);
    assert_eq!(ingested["kss_id"], id);

    let finalizing = Asked::of(new.start(&["profile", "recovery", "finalize"]));
    for device in left {
        finalizing.approve(device);
    }
    finalizing.waiting.succeeds();
    assert_eq!(new.threshold(), (3, 5));
    let now = new.profile();
    let names = |device: &serde_json::Value| device["id"] == lost_desk;
    assert!(!now["devices"].as_array().unwrap().iter().any(names));

    // It does not run before it is enabled: to answer, be it with a refusal, would stop the primary.
    home.write_policy(POLICY);
    let ran = run(keyserver_command(home.path()).arg("serve"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("waits to be enabled"), "{ran:?}");
    assert!(done(&home, &["status"]).stdout.contains("keyserver enable"));
    let card = new.path("card.json");
    let card = card.to_str().unwrap();
    new.done(&["profile", "export-card", "-o", card]);
    let fresh = vault.path().join("fresh.txt");
    let enable = [
        "enable",
        "--backup-path",
        fresh.to_str().unwrap(),
        "--profile",
        card,
    ];
    let asked = Asked::start(&home, &enable);
    asked.approved_by(&[&new, phone, tablet]);

    // Its users do nothing.
    let server = Serve::on(&home).at(address).start();
    done(&home, &["policy", "--load"]);
    assert_eq!(server.identity.kss_id().to_string(), id);
    alice.decrypts("b");
    // It may lack what its predecessor let in, so it lets in no change of a profile.
    let ran = alice.run(&["profile", "threshold", "2"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("server changes no profiles"), "{ran:?}");
    // That ends, and new users come, once the administrators say that nothing is left of it.
    Asked::start(&home, &["accept-rollback"]).approved_by(&[&new, phone, tablet]);
    alice.done(&["profile", "threshold", "2"]);
    let bob = User::new(&server);
    bob.decrypts("a");
    done(&home, &["audit", "verify"]);
    server.stop();

    // Should the lost server come back, it stops at the first client that has met the new one.
    let server = Serve::on(&lost).at(address).start();
    alice.refused("c");
    server.wait_for_log("another state");
    server.stop();
    let _server = Serve::on(&home).at(address).start();
    alice.decrypts("c");
}

#[test]
fn two_of_three_recover_nothing() {
    let vault = tempfile::tempdir().unwrap();
    let (administrators, _lost, backup) = backed_up(vault.path());
    let home = TestHome::empty();
    let asked = Asked::start(&home, &["recovery-ingest-key", &backup, "--wait", "20"]);
    asked.approve(&administrators.phone);
    asked.approve(&administrators.tablet);
    let stranger = Administrators::new();
    assert_eq!(asked.answer(&stranger.phone, "approve").code, Some(1));
    asked
        .waiting
        .fails(1, "not enough devices approved in time");
    assert!(is_empty(&home));

    let asked = Asked::start(&home, &["recovery-ingest-key", &backup]);
    asked.approve(&administrators.phone);
    assert_eq!(asked.answer(&administrators.tablet, "deny").code, Some(0));
    asked.waiting.fails(3, "denied it");
    assert!(is_empty(&home));
}

#[test]
fn nothing_is_recovered_onto_a_home_that_has_a_server() {
    let vault = tempfile::tempdir().unwrap();
    let (_administrators, home, backup) = backed_up(vault.path());
    let other = TestHome::create(POLICY);
    for home in [&home, &other] {
        let before = fs::read(home.home().database()).unwrap();
        // Nobody is asked.
        let refused = keyserver(home, &["recovery-ingest-key", &backup]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert_eq!(fs::read(home.home().database()).unwrap(), before);
    }
    let workstation = Device::workstation();
    let folder = workstation.path("home");
    let args = ["recovery-ingest-key", &backup];
    let refused = run(keyserver_command(&folder).args(args));
    assert!(
        refused.stderr.contains("home of a workstation"),
        "{refused:?}"
    );
}

#[test]
fn a_file_that_was_tampered_with_is_not_asked_about() {
    let vault = tempfile::tempdir().unwrap();
    let (_administrators, _lost, backup) = backed_up(vault.path());
    let text = fs::read(&backup).unwrap();
    let home = TestHome::empty();
    let altered = vault.path().join("altered.txt");
    // Every single byte is tried where the file is read; here, one in each part of it.
    for at in (0..text.len()).step_by(text.len() / 24) {
        let mut bytes = text.clone();
        bytes[at] ^= 1;
        fs::write(&altered, bytes).unwrap();
        let args = ["recovery-ingest-key", altered.to_str().unwrap()];
        let refused = keyserver(&home, &args);
        assert_eq!(refused.code, Some(1), "byte {at}: {refused:?}");
        assert!(
            !refused.stderr.contains("waiting"),
            "byte {at}: {refused:?}"
        );
    }
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<_> = text.lines().collect();
    fs::write(&altered, lines[..lines.len() / 2].join("\n")).unwrap();
    let refused = keyserver(&home, &["recovery-ingest-key", altered.to_str().unwrap()]);
    assert!(refused.stderr.contains("cut off"), "{refused:?}");
}

#[test]
fn who_asks_for_shares_must_be_told_by_words() {
    let vault = tempfile::tempdir().unwrap();
    let (administrators, _lost, backup) = backed_up(vault.path());
    let home = TestHome::empty();
    let asked = Asked::start(&home, &["recovery-ingest-key", &backup, "--wait", "20"]);
    let words = asked.words.clone().unwrap();
    assert_eq!(words.split([' ', '-']).count(), 8, "{words}");
    let phone = &administrators.phone;
    let relayed = ["approvals", "approve", &asked.id, "--relay", &asked.relay];
    let silent = phone.run(&relayed);
    assert_eq!(silent.code, Some(1), "{silent:?}");
    assert!(
        silent.stderr.contains("nobody knows who asks"),
        "{silent:?}"
    );
    let other = "abandon ability able about above absent absorb abstract";
    let wrong = phone.run(&[&relayed[..], &["--words", other]].concat());
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    let shown = phone.done(&["approvals", "show", &asked.id, "--relay", &asked.relay]);
    assert!(shown.stdout.contains("NOBODY KNOWS WHO ASKS"), "{shown:?}");
    asked
        .waiting
        .fails(1, "not enough devices approved in time");
}
