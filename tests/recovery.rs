//! A server that is lost, and made again from its backup file and its administrators' devices, by the
//! commands of the walkthrough.
//!
//! Bugs planted to see these tests fail: a recovery that begins no new epoch, so that clients refuse the
//! new server for the old one (`the_whole_walkthrough`); a user's profile that is shown after `accept-rollback` taken
//! for a sign of a newer state (the same); a recovered server that serves before it is
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
    let carol = User::new(&server);
    carol.done(&["profile", "threshold", "2"]);
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
    // Who comes only now does nothing either: what its predecessor said is no sign of another state.
    carol.decrypts("a");
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
    // Other words; all but the last; one too many; two of them exchanged; those of an earlier time.
    let mut exchanged: Vec<_> = words.split(' ').collect();
    exchanged.swap(0, 7);
    let elsewhere = TestHome::empty();
    let earlier = Asked::start(&elsewhere, &["recovery-ingest-key", &backup]);
    for wrong in [
        "abandon ability about above absent absorb abstract absurd",
        words.rsplit_once(' ').unwrap().0,
        &format!("{words} abandon"),
        &exchanged.join(" "),
        earlier.words.as_deref().unwrap(),
        "",
    ] {
        let refused = phone.run(&[&relayed[..], &["--words", wrong]].concat());
        assert_eq!(refused.code, Some(1), "{wrong}: {refused:?}");
        assert!(
            refused.stderr.contains("these are not the words"),
            "{wrong}: {refused:?}"
        );
    }
    let mut earlier = earlier.waiting;
    earlier.child.kill().unwrap();
    earlier.ended();
    let shown = phone.done(&["approvals", "show", &asked.id, "--relay", &asked.relay]);
    assert!(shown.stdout.contains("NOBODY KNOWS WHO ASKS"), "{shown:?}");
    // However they are typed.
    let typed = words.to_uppercase().replace(' ', "   ");
    phone.done(&[&relayed[..], &["--words", &typed]].concat());
    asked
        .waiting
        .fails(1, "not enough devices approved in time");
}

#[test]
fn an_encrypted_backup_file_is_opened_by_the_devices_first() {
    let vault = tempfile::tempdir().unwrap();
    let (administrators, lost, backup) = backed_up(vault.path());
    let (desk, phone) = (&administrators.desk, &administrators.phone);
    let safe = desk.path("Safe");
    fs::create_dir(&safe).unwrap();
    fs::copy(&backup, safe.join("backup-key.txt")).unwrap();
    desk.done(&["folder", "create", "Safe"]);
    desk.done(&["encrypt", "--remove", "Safe"]);
    let encrypted = safe.join("backup-key.txt.age");
    let file = encrypted.to_str().unwrap();
    let home = TestHome::empty();
    let ingest = ["recovery-ingest-key", file];
    let refused = keyserver(&home, &ingest);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("no profile is known here"),
        "{refused:?}"
    );
    let stranger = Administrators::new();
    let others = stranger.card();
    let refused = keyserver(&home, &[&ingest[..], &["--profile", &others]].concat());
    assert!(
        refused.stderr.contains("encrypted for another profile"),
        "{refused:?}"
    );

    // Two of three read nothing, and who asks must be told by words.
    let card = administrators.card();
    let ingest = [&ingest[..], &["--profile", &card]].concat();
    let opening = Asked::start(&home, &[&ingest[..], &["--wait", "20"]].concat());
    let seen = ["approvals", "show", &opening.id, "--relay", &opening.relay];
    let shown = phone.done(&seen).stdout;
    for part in [
        "let another machine read an encrypted file",
        "Safe/backup-key.txt",
        "NOBODY KNOWS",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let silent = phone.run(&[
        "approvals",
        "approve",
        &opening.id,
        "--relay",
        &opening.relay,
    ]);
    assert!(
        silent.stderr.contains("nobody knows who asks"),
        "{silent:?}"
    );
    opening.approve(phone);
    opening.approve(&administrators.tablet);
    opening
        .waiting
        .fails(1, "not enough devices approved in time");
    assert!(is_empty(&home));

    // Three read it, and are asked for their shares of what is in it.
    let opening = Asked::start(&home, &ingest);
    for device in administrators.three() {
        opening.approve(device);
    }
    let asked = Asked::of(opening.waiting);
    assert_ne!(asked.id, opening.id);
    let ingested = asked.approved_by(&administrators.three());
    let id = done(&lost, &["status", "--format", "json"]).stdout;
    assert!(id.contains(ingested["kss_id"].as_str().unwrap()));
    // What was read was written nowhere.
    let text = fs::read_to_string(&backup).unwrap();
    let line = text.lines().nth(4).unwrap().as_bytes();
    for entry in fs::read_dir(home.path()).unwrap() {
        let path = entry.unwrap().path();
        // The server that came of it knows its backup file, as every server does.
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("keyserver.db")
        {
            continue;
        }
        let bytes = fs::read(&path).unwrap_or_default();
        assert!(!bytes.windows(line.len()).any(|at| at == line), "{path:?}");
    }

    // A file that was altered is found out when it is read, whoever approved.
    let mut bytes = fs::read(&encrypted).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&encrypted, bytes).unwrap();
    let another = TestHome::empty();
    let verify = ["backup-key", "verify", file, "--profile", &card];
    let opening = Asked::start(&another, &verify);
    for device in administrators.three() {
        opening.approve(device);
    }
    opening.waiting.fails(1, "its content is damaged");
}

#[test]
fn a_profile_with_the_server_in_it_is_recovered_after_the_server() {
    let vault = tempfile::tempdir().unwrap();
    let lost = TestHome::create(POLICY);
    let server = Keyserver::start(&lost);
    let address = server.address;
    let administrators = Administrators::with(&server);
    let backup = vault.path().join("backup-key.txt");
    let backup = backup.to_str().unwrap();
    let card = administrators.card();
    let save = ["save-backup-key", backup, "--profile", &card];
    Asked::start(&lost, &save).approved_by(&administrators.three());
    server.stop();

    let Administrators {
        desk,
        phone,
        tablet,
        words: [words, _],
    } = &administrators;
    let devices = desk.json(&["device", "list"]);
    let id = |of: &str| {
        let mut found = devices
            .iter()
            .filter(|device| device["name"] == of || device["kind"] == of);
        found.next().unwrap()["id"].as_str().unwrap().to_owned()
    };
    let new = Device::new();
    let add = ["device", "add", "My Smartphone", "--listen", "127.0.0.1:0"];
    let phone_id = new.meets(&add, phone);
    let loaded = new.json(&[
        "profile",
        "recovery",
        "load-profiles",
        "--device",
        &phone_id,
    ]);
    let profile = loaded[0]["id"].as_str().unwrap();
    new.done(&[
        "profile",
        "recovery",
        "select-profile",
        "--profile",
        profile,
    ]);
    new.meets(&["device", "link", &id("tablet")], tablet);
    let (paper, paper_id) = Device::of_words(words);
    new.meets(&["device", "add", "--recovery", "My Smartphone 2"], &paper);
    let stage = [
        "profile",
        "recovery",
        "stage-new-device",
        "--device",
        &paper_id,
    ];
    let lost_desk = id("workstation");
    let replaces = ["--replaces", &lost_desk];
    // The server is a device of the profile, but not one of a person.
    let most = ["--replaces", &phone_id, "--replaces", &paper_id];
    let refused = new.run(&[&stage[..], &replaces, &most].concat());
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("it takes 3 devices of people, and 2 are left"),
        "{refused:?}"
    );
    new.done(&[&stage[..], &replaces].concat());
    let finalize = ["profile", "recovery", "finalize"];
    let refused = new.run(&finalize);
    assert!(refused.stderr.contains("does not answer"), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("recover and start the server first"),
        "{refused:?}"
    );

    // The server that nobody reaches need not relay anything.
    let home = TestHome::empty();
    let left = [phone, tablet, &paper];
    Asked::start(&home, &["recovery-ingest-key", backup]).approved_by(&left);
    home.write_policy(POLICY);
    done(&home, &["enable"]);
    let server = Serve::on(&home).at(address).start();
    let status = done(&home, &["status"]);
    assert!(status.stdout.contains("with care  since "), "{status:?}");
    assert!(
        status.stderr.contains("`keyserver accept-rollback`"),
        "{status:?}"
    );
    let finalizing = || {
        let asked = Asked::of(new.start(&finalize));
        left.iter().for_each(|device| asked.approve(device));
        asked.waiting
    };
    finalizing().fails(1, "server changes no profiles");
    Asked::start(&home, &["accept-rollback"]).approved_by(&left);
    let status = done(&home, &["status"]);
    assert!(!status.stdout.contains("with care"), "{status:?}");
    finalizing().succeeds();
    assert_eq!(new.threshold(), (3, 6));
    // The server knows, and tells the others.
    phone.done(&["approvals", "list"]);
    assert_eq!(phone.profile()["devices"], {
        let mut devices = new.profile()["devices"].clone();
        for device in devices.as_array_mut().unwrap() {
            device["this"] = (device["id"] == phone_id.as_str()).into();
        }
        devices
    });
    let host = new.start(&["profile", "threshold", "2"]);
    phone.approve();
    host.succeeds();
    server.stop();
}
