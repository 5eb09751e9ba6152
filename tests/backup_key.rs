//! Backup keys: made with a server, made anew, proved share by share.
//!
//! Bugs planted to see these tests fail: the profile's threshold less one taken for enough
//! (`two_of_three_make_nothing_and_leave_nothing`); an existing backup file written over
//! (`nothing_that_is_there_is_overwritten`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failure of the test"
)]

mod devices;

use std::{fs, path::Path};

use devices::{Administrators, Asked, Device};
use ostrakon_custody::AuditEvent;
use ostrakon_shards::backup::BackupFile;
use ostrakon_testkit::{APPROVE_ALL, Keyserver, Ran, TestHome, keyserver_command, run};
use serde_json::Value;

fn keyserver(home: &TestHome, args: &[&str]) -> Ran {
    run(keyserver_command(home.path()).args(args))
}

fn status(home: &TestHome) -> Value {
    let ran = keyserver(home, &["status", "--format", "json"]);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn read(path: &Path) -> BackupFile {
    BackupFile::parse(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The files of a folder but for its lock.
fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "keyserver.lock").collect();
    names.sort();
    names
}

#[test]
fn a_server_is_made_with_its_backup_key_and_makes_others() {
    let administrators = Administrators::new();
    let (home, vault) = (TestHome::empty(), tempfile::tempdir().unwrap());
    let first = vault.path().join("backup-key.txt");
    let id = administrators.create(&home, &first);
    let file = read(&first);
    assert_eq!(file.kss_id().to_string(), id);
    assert_eq!(file.generation().to_string(), "0.1");
    let shown = status(&home);
    assert_eq!(shown["kss_id"], id);
    assert_eq!(
        (&shown["backup"]["epoch"], &shown["backup"]["counter"]),
        (&0.into(), &1.into())
    );
    assert_eq!(shown["backup"]["holders"]["mobiles"], 2);
    let ran = keyserver(&home, &["status"]);
    assert!(ran.stdout.contains("backup key 0.1 of"), "{ran:?}");
    assert!(!ran.stderr.contains("warning"), "{ran:?}");

    // The running server makes the next one, and the stopped one the one after.
    home.write_policy(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let second = vault.path().join("second.txt");
    let args = ["save-backup-key", second.to_str().unwrap()];
    let made = Asked::start(&home, &args).approved_by(&administrators.three());
    assert_eq!(made["generation"], read(&second).generation().to_string());
    assert!(read(&second).generation() > file.generation());
    server.stop();
    let third = vault.path().join("third.txt");
    let args = ["enable", "--backup-path", third.to_str().unwrap()];
    Asked::start(&home, &args).approved_by(&administrators.three());
    assert!(read(&third).generation() > read(&second).generation());
    assert_eq!(read(&third).kss_id().to_string(), id);

    let audit = home.records().audit;
    let of = |wanted: &str| {
        let found = audit.iter().filter_map(|record| match &record.event {
            AuditEvent::Administered { action, detail } if action == wanted => Some(detail),
            _ => None,
        });
        found.collect::<Vec<_>>()
    };
    assert_eq!(of("create").len(), 1);
    let saved = of("save-backup-key");
    assert_eq!(saved.len(), 3);
    for device in administrators.three() {
        let id = device.profile()["devices"]
            .as_array()
            .unwrap()
            .iter()
            .find(|device| device["this"] == true)
            .unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(saved.iter().all(|detail| detail.contains(&id)), "{saved:?}");
    }
}

#[test]
fn the_older_spelling_makes_a_server_too() {
    let administrators = Administrators::new();
    let home = TestHome::empty();
    let path = home.path().join("backup-key.txt");
    let card = administrators.card();
    let args = [
        "enable",
        "--backup-path",
        path.to_str().unwrap(),
        "--profile",
        &card,
    ];
    let made = Asked::start(&home, &args).approved_by(&administrators.three());
    assert_eq!(made["kss_id"], read(&path).kss_id().to_string());
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let administrators = Administrators::new();
    let (home, vault) = (TestHome::empty(), tempfile::tempdir().unwrap());
    let path = vault.path().join("backup-key.txt");
    administrators.create(&home, &path);
    let before = fs::read_to_string(&path).unwrap();
    let card = administrators.card();
    let other = vault.path().join("other.txt");
    let again = |home: &TestHome, path: &Path| {
        let path = path.to_str().unwrap();
        keyserver(home, &["create", "--backup-path", path, "--profile", &card])
    };
    let refused = again(&home, &other);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(!other.exists(), "{refused:?}");
    let empty = TestHome::empty();
    let refused = again(&empty, &path);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("exists already"), "{refused:?}");
    assert!(files(empty.path()).is_empty(), "{:?}", files(empty.path()));
    let refused = keyserver(&home, &["save-backup-key", path.to_str().unwrap()]);
    assert!(refused.stderr.contains("exists already"), "{refused:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn a_profile_that_is_not_safe_is_refused_unless_that_is_meant() {
    let desk = Device::workstation();
    let card = desk.path("card.json");
    let card = card.to_str().unwrap();
    desk.done(&["profile", "export-card", "-o", card]);
    let home = TestHome::empty();
    let path = home.path().join("backup-key.txt");
    let args = [
        "create",
        "--backup-path",
        path.to_str().unwrap(),
        "--profile",
        card,
    ];
    let refused = keyserver(&home, &args);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for weakness in [
        "its threshold is 1",
        "it has 1 device,",
        "it has 0 mobile devices",
    ] {
        assert!(refused.stderr.contains(weakness), "{refused:?}");
    }
    assert!(files(home.path()).is_empty());
    let meant = [&args[..], &["--ignore-security-checks"]].concat();
    Asked::start(&home, &meant).approved_by(&[&desk]);
    let shown = keyserver(&home, &["status"]);
    assert!(
        shown.stderr.contains("0 mobile devices, not 2"),
        "{shown:?}"
    );
    assert!(
        shown.stderr.contains("0 sets of recovery words"),
        "{shown:?}"
    );
}

#[test]
fn two_of_three_make_nothing_and_leave_nothing() {
    let administrators = Administrators::new();
    let stranger = Device::workstation();
    let home = TestHome::empty();
    let path = home.path().join("backup-key.txt");
    let card = administrators.card();
    let args = [
        "create",
        "--backup-path",
        path.to_str().unwrap(),
        "--profile",
        &card,
    ];
    let asked = Asked::start(&home, &[&args[..], &["--wait", "20"]].concat());
    // A device of another profile has no say, and what is asked is not shown to it.
    let refused = asked.answer(&stranger, "approve");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    asked.approve(&administrators.phone);
    asked.approve(&administrators.tablet);
    // The same device once more does not make a third.
    let again = asked.answer(&administrators.phone, "approve");
    assert_eq!(again.code, Some(1), "{again:?}");
    let (id, relay) = (asked.id.clone(), asked.relay.clone());
    asked
        .waiting
        .fails(1, "not enough devices approved in time");
    let late = administrators
        .desk
        .run(&["approvals", "approve", &id, "--relay", &relay]);
    assert_eq!(late.code, Some(1), "{late:?}");
    assert!(files(home.path()).is_empty(), "{:?}", files(home.path()));

    let asked = Asked::start(&home, &args);
    let shown =
        administrators
            .phone
            .done(&["approvals", "show", &asked.id, "--relay", &asked.relay]);
    assert!(
        shown.stdout.contains("create a key shard server"),
        "{shown:?}"
    );
    assert_eq!(asked.answer(&administrators.phone, "deny").code, Some(0));
    asked.waiting.fails(3, "denied it");
    assert!(files(home.path()).is_empty(), "{:?}", files(home.path()));
}

#[test]
fn each_device_proves_its_share_and_who_does_not_is_named() {
    let administrators = Administrators::new();
    let (home, vault) = (TestHome::empty(), tempfile::tempdir().unwrap());
    let path = vault.path().join("backup-key.txt");
    administrators.create(&home, &path);
    let elsewhere = TestHome::empty();
    let file = path.to_str().unwrap();
    let asked = Asked::start(&elsewhere, &["backup-key", "verify", file, "--wait", "20"]);
    assert_eq!(asked.words, None, "a proof gives nothing away");
    for device in administrators.three() {
        asked.approve(device);
    }
    let said = asked.waiting.succeeds();
    let report: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(report["good"], 3, "{report}");
    let share = |name: &str| {
        let holders = report["holders"].as_array().unwrap();
        let mut of = holders.iter().filter(|holder| holder["name"] == name);
        of.next().unwrap()["share"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (share("phone"), share("tablet")),
        ("good".into(), "good".into())
    );
    let missing = report["holders"].as_array().unwrap().iter();
    assert_eq!(
        missing
            .filter(|holder| holder["share"] == "no answer")
            .count(),
        2
    );
    // Nothing came to the machine that asked.
    assert!(files(elsewhere.path()).is_empty());

    // A file of which one byte was changed proves nothing: it is refused before anybody is asked.
    let text = fs::read_to_string(&path).unwrap();
    let altered = vault.path().join("altered.txt");
    fs::write(&altered, text.replacen('A', "B", 1)).unwrap();
    let refused = keyserver(
        &elsewhere,
        &["backup-key", "verify", altered.to_str().unwrap()],
    );
    assert_eq!(refused.code, Some(1), "{refused:?}");
}

#[test]
fn a_holder_is_replaced_and_old_files_are_out_of_date() {
    let administrators = Administrators::new();
    let Administrators {
        desk,
        phone,
        tablet,
        ..
    } = &administrators;
    let (home, vault) = (TestHome::empty(), tempfile::tempdir().unwrap());
    let old = vault.path().join("old.txt");
    let id = administrators.create(&home, &old);
    // The tablet is lost, and another phone comes in its place.
    let new_phone = Device::new();
    desk.add("new phone", &new_phone, &[phone, tablet]);
    let devices = desk.json(&["device", "list"]);
    let tablet_id = devices
        .iter()
        .find(|device| device["name"] == "tablet")
        .unwrap();
    let tablet_id = tablet_id["id"].as_str().unwrap();
    let host = desk.start(&["device", "remove", tablet_id]);
    phone.approve();
    new_phone.approve();
    host.succeeds();
    let card = administrators.card();
    let new = vault.path().join("new.txt");
    let args = ["save-backup-key", new.to_str().unwrap(), "--profile", &card];
    let now = [desk, phone, &new_phone];
    Asked::start(&home, &args).approved_by(&now);
    let (old_file, new_file) = (read(&old), read(&new));
    assert_eq!(new_file.kss_id().to_string(), id);
    assert!(new_file.generation() > old_file.generation());
    let lost = tablet_id.parse().unwrap();
    assert!(old_file.holder(&lost).is_some() && new_file.holder(&lost).is_none());

    // Of the old file it is said that it is out of date, and what it still opens.
    let verify = |path: &Path, good: u64| {
        let path = path.to_str().unwrap();
        let args = [
            "backup-key",
            "verify",
            path,
            "--profile",
            &card,
            "--wait",
            "6",
        ];
        let asked = Asked::start(&home, &args);
        now.iter().for_each(|device| asked.approve(device));
        let (code, stdout, stderr) = asked.waiting.ended();
        let report: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
        assert_eq!(report["good"], good, "{report}");
        (code, report, stderr)
    };
    let (code, report, stderr) = verify(&new, 3);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["newer"], Value::Null);
    assert!(!stderr.contains("out of date"), "{stderr}");
    let (code, report, stderr) = verify(&old, 2);
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(report["newer"], new_file.generation().to_string());
    assert!(
        stderr.contains("out of date") && stderr.contains("for ever"),
        "{stderr}"
    );
    let holders = report["holders"].as_array().unwrap();
    let of_lost = holders
        .iter()
        .find(|holder| holder["device"] == tablet_id)
        .unwrap();
    assert_eq!(of_lost["share"], "not asked");

    // Nor is it used for a recovery before each person has said that it may be.
    let empty = TestHome::empty();
    let args = [
        "recovery-ingest-key",
        old.to_str().unwrap(),
        "--profile",
        &card,
    ];
    let asked = Asked::start(&empty, &args);
    let shown = phone.done(&["approvals", "show", &asked.id, "--relay", &asked.relay]);
    assert!(
        shown.stdout.contains("OUT OF DATE: a newer one was made"),
        "{shown:?}"
    );
    let refused = asked.answer(phone, "approve");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("out of date"), "{refused:?}");
    // The new phone holds no share of it, whatever its person says.
    let words = asked.words.clone().unwrap();
    let meant = |device: &Device| {
        device.run(&[
            "approvals",
            "approve",
            &asked.id,
            "--relay",
            &asked.relay,
            "--words",
            &words,
            "--old-backup",
        ])
    };
    assert!(meant(&new_phone).stderr.contains("holds no share"));
    assert_eq!(meant(phone).code, Some(0));
    let mut waiting = asked.waiting;
    waiting.child.kill().unwrap();
    let (_, _, stderr) = waiting.ended();
    assert!(stderr.contains("a newer one may exist"), "{stderr}");
}

#[test]
fn another_profile_does_not_get_a_backup_key_of_a_server_that_has_one() {
    let administrators = Administrators::new();
    let (home, vault) = (TestHome::empty(), tempfile::tempdir().unwrap());
    administrators.create(&home, &vault.path().join("backup-key.txt"));
    let stranger = Device::workstation();
    let card = stranger.path("card.json");
    let card = card.to_str().unwrap();
    stranger.done(&["profile", "export-card", "-o", card]);
    let path = vault.path().join("theirs.txt");
    let args = [
        "save-backup-key",
        path.to_str().unwrap(),
        "--profile",
        card,
        "--ignore-security-checks",
    ];
    let refused = keyserver(&home, &args);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("is held by profile"), "{refused:?}");
    assert!(!path.exists());
}
