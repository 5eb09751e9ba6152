//! What goes wrong with backup keys: a share that is not the one it should be, a file that is there already, a
//! profile that is not fit, a command that is killed.
//!
//! Bugs planted to see these tests fail: a backup key put on record before its file is kept
//! (`a_killed_save_backup_key_replaces_nothing_or_is_whole`); a profile that is not fit taken where nobody asked for it
//! (`the_profile_of_this_machine_holds_the_backup_key_if_it_is_fit`); a proof that is missing taken for a good one
//! (`a_bad_share_is_named_and_the_others_suffice`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failure of the test"
)]

mod devices;

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use devices::{Administrators, Asked, Device, Waiting};
use ostrakon_shards::{
    backup::{Backup, BackupFile},
    generation::Generation,
    identity::PublicCard,
    kem::KemSecret,
    name::Name,
    profile::SignedVersion,
    sign::SigningKey,
    suite::Suite,
};
use ostrakon_testkit::{Ran, TestHome, command::binary, keyserver_command, now, run};
use ostrakon_types::DeviceId;
use serde_json::Value;

fn keyserver(home: &TestHome, args: &[&str]) -> Ran {
    run(keyserver_command(home.path()).args(args))
}

fn status(home: &TestHome) -> Value {
    let ran = keyserver(home, &["status", "--format", "json"]);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// `keyserver` of a user whose workstation has the home of this device.
fn beside(desk: &Device, home: &TestHome, args: &[&str]) -> Command {
    let data = desk.path("data");
    if !data.exists() {
        fs::create_dir(&data).unwrap();
        symlink(desk.path("home"), data.join("ostrakon")).unwrap();
    }
    let mut command = Command::new(binary("keyserver"));
    command
        .env_clear()
        .env("HOME", home.path())
        .env("XDG_DATA_HOME", data)
        .stdin(Stdio::null())
        .arg("--home")
        .arg(home.path())
        .args(args);
    command
}

#[test]
fn the_profile_of_this_machine_holds_the_backup_key_if_it_is_fit() {
    // One device: nobody asked for a backup key, and none is made of it.
    let desk = Device::workstation();
    let home = TestHome::empty();
    let made = run(&mut beside(&desk, &home, &["create"]));
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.stderr.contains("its threshold is 1"), "{made:?}");
    assert_eq!(status(&home)["backup"], Value::Null);
    // It is, where that is meant.
    let home = TestHome::empty();
    let meant = [
        "create",
        "--ignore-security-checks",
        "--format",
        "json",
        "--listen",
        "127.0.0.1:0",
    ];
    let asked = Asked::of(Waiting::spawn(&mut beside(&desk, &home, &meant)));
    let made = asked.approved_by(&[&desk]);
    let path = home.path().join("backup-key.txt");
    assert_eq!(made["backup_path"], path.to_str().unwrap());
    assert_eq!(status(&home)["backup"]["holders"]["devices"], 1);
    // Without a profile there is nothing to check.
    let home = TestHome::empty();
    for args in [
        ["create", "--ignore-security-checks"],
        ["enable", "--ignore-security-checks"],
    ] {
        let refused = keyserver(&home, &args);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(
            refused.stderr.contains("there is nothing to check"),
            "{refused:?}"
        );
    }
    assert!(!home.home().database().exists());

    let administrators = Administrators::new();
    let create = ["create", "--format", "json", "--listen", "127.0.0.1:0"];
    let asked = Asked::of(Waiting::spawn(&mut beside(
        &administrators.desk,
        &home,
        &create,
    )));
    asked.approved_by(&administrators.three());
    assert_eq!(status(&home)["backup"]["holders"]["devices"], 5);
    assert!(home.path().join("backup-key.txt").exists());
}

#[test]
fn enable_does_not_write_over_a_backup_file() {
    let home = TestHome::create("decrypt: []");
    let done = keyserver(&home, &["disable"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let desk = Device::workstation();
    let card = desk.path("card.json");
    let card = card.to_str().unwrap();
    desk.done(&["profile", "export-card", "-o", card]);
    let named = home.path().join("mine.txt");
    let default = home.path().join("backup-key.txt");
    for path in [&named, &default] {
        fs::write(path, "mine").unwrap();
    }
    let named = named.to_str().unwrap();
    for args in [
        &["enable", "--backup-path", named][..],
        &["enable", "--profile", card],
    ] {
        let refused = keyserver(&home, args);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("exists already"), "{refused:?}");
    }
    assert_eq!(fs::read_to_string(named).unwrap(), "mine");
    assert_eq!(fs::read_to_string(&default).unwrap(), "mine");
    // Nor was anything else done.
    home.write_policy("decrypt: []");
    let server = ostrakon_testkit::Keyserver::start(&home);
    assert_eq!(status(&home)["state"], "disabled");
    server.stop();
}

/// A backup file that its server signed, in which the share of `holder` is another device's.
fn with_a_bad_share(versions: &[SignedVersion], holder: &str, other: &str) -> BackupFile {
    let root = SigningKey::generate().unwrap();
    let [shard, envelope] = [(); 2].map(|()| KemSecret::generate().unwrap());
    let name = Name::new("server").unwrap();
    let card = PublicCard::issue(&root, 1, name, shard.public(), envelope.public());
    let (signing, opening, asking) = (root.to_bytes(), shard.to_bytes(), envelope.to_bytes());
    let backup = Backup {
        card: &card,
        generation: Generation {
            epoch: 0,
            counter: 1,
        },
        created_at: now(),
        versions,
        identity: &[&[1][..], signing.as_ref(), &opening, &asking].concat(),
        root_key: None,
        suite: Suite::XWing,
    };
    let made = backup.make(&root).unwrap();
    let share = |of: &str| {
        let id: DeviceId = of.parse().unwrap();
        made.holder(&id).unwrap().share.to_bytes()
    };
    let (good, bad) = (share(holder), share(other));
    assert_eq!(good.len(), bad.len());
    let mut bytes = made.to_bytes();
    let at = bytes.windows(good.len()).position(|at| at == good).unwrap();
    bytes[at..at + good.len()].copy_from_slice(&bad);
    // The signature is over what stands between the array's head and the signature's own: 64 bytes with a head.
    let end = bytes.len() - 66;
    let signature = root.sign("backup file", &bytes[1..end]);
    bytes.truncate(end);
    bytes.extend(ostrakon_types::canonical::encode(&signature));
    BackupFile::from_bytes(&bytes).unwrap()
}

#[test]
fn a_bad_share_is_named_and_the_others_suffice() {
    let administrators = Administrators::new();
    let card: Value =
        serde_json::from_str(&fs::read_to_string(administrators.card()).unwrap()).unwrap();
    let versions: Vec<SignedVersion> = serde_json::from_value(card["versions"].clone()).unwrap();
    let devices = administrators.desk.json(&["device", "list"]);
    let id = |name: &str| {
        let mut named = devices.iter().filter(|device| device["name"] == name);
        named.next().unwrap()["id"].as_str().unwrap().to_owned()
    };
    let (phone, tablet) = (id("phone"), id("tablet"));
    let vault = tempfile::tempdir().unwrap();
    let path = vault.path().join("backup-key.txt");
    fs::write(
        &path,
        with_a_bad_share(&versions, &phone, &tablet).to_text(),
    )
    .unwrap();
    let path = path.to_str().unwrap();
    let home = TestHome::empty();
    let (paper, paper_id) = Device::of_words(&administrators.words[0]);
    administrators
        .desk
        .meets(&["device", "link", &paper_id], &paper);

    let asked = Asked::start(&home, &["backup-key", "verify", path, "--wait", "20"]);
    for device in administrators.three() {
        asked.approve(device);
    }
    let (code, said, _) = asked.waiting.ended();
    assert_eq!(code, Some(1), "{said}");
    let report: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(report["good"], 2, "{report}");
    let holders = report["holders"].as_array().unwrap();
    let bad: Vec<_> = holders
        .iter()
        .filter(|holder| holder["share"] == "BAD")
        .collect();
    assert_eq!(bad.len(), 1, "{report}");
    assert_eq!(bad[0]["device"], phone.as_str());

    let asked = Asked::start(&home, &["recovery-ingest-key", path]);
    let refused = asked.answer(&administrators.phone, "approve");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains(&format!("the share of device {phone} does not open")),
        "{refused:?}"
    );
    let others = [&administrators.desk, &administrators.tablet, &paper];
    asked.approved_by(&others);
    assert_eq!(status(&home)["staged"], true);
}

/// The generation of the server's newest backup key.
fn newest(home: &TestHome) -> String {
    let backup = &status(home)["backup"];
    format!("{}.{}", backup["epoch"], backup["counter"])
}

fn whole(path: &Path) -> Option<BackupFile> {
    BackupFile::parse(&fs::read_to_string(path).ok()?).ok()
}

#[test]
fn a_killed_save_backup_key_replaces_nothing_or_is_whole() {
    let desk = Device::workstation();
    let card = desk.path("card.json");
    let card = card.to_str().unwrap();
    desk.done(&["profile", "export-card", "-o", card]);
    let (home, vault) = (TestHome::empty(), tempfile::tempdir().unwrap());
    let first = vault.path().join("first.txt");
    let create = [
        "create",
        "--ignore-security-checks",
        "--profile",
        card,
        "--backup-path",
    ];
    let create = [&create[..], &[first.to_str().unwrap()]].concat();
    Asked::start(&home, &create).approved_by(&[&desk]);
    let (mut replaced, mut kept) = (0, 0);
    // Killed when it makes something durable for the first time, the second, ... until it comes to its end.
    for kill in 1.. {
        assert!(kill < 40, "it is killed for ever");
        let before = newest(&home);
        let path = vault.path().join(format!("{kill}.txt"));
        let mut command = Command::new("strace");
        command
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::null())
            .args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                "trace=fsync,fdatasync",
                "-e",
            ])
            .arg(format!("inject=fsync,fdatasync:signal=KILL:when={kill}"))
            .arg(binary("keyserver"))
            .arg("--home")
            .arg(home.path())
            .args(["--format", "json", "save-backup-key"])
            .arg(&path)
            .args(["--ignore-security-checks", "--listen", "127.0.0.1:0"]);
        let mut waiting = Waiting::spawn(&mut command);
        let ended = match waiting.event_or_end("opened") {
            Some(opened) => {
                let (id, relay) = (opened["ceremony"].clone(), opened["relay"].clone());
                let (id, relay) = (id.as_str().unwrap(), relay.as_str().unwrap());
                // It may be killed before it says that it has the answer.
                desk.run(&["approvals", "approve", id, "--relay", relay]);
                waiting.ended().0 == Some(0)
            }
            None => false,
        };
        let after = newest(&home);
        if after == before {
            assert!(!ended, "it ended, and nothing is new");
            kept += 1;
        } else {
            // What is in force is whole, in the place that was named for it.
            let file = whole(&path).unwrap_or_else(|| panic!("kill {kill}: no file of {after}"));
            assert_eq!(file.generation().to_string(), after);
            replaced += 1;
        }
        if ended {
            break;
        }
    }
    assert!(
        kept > 3,
        "{kept} kills came before it was in force, {replaced} after"
    );
    let verified = keyserver(&home, &["audit", "verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}
