//! Administrators whose profile changes: what their server goes by, and what they hear of it.
//!
//! Bugs planted to see these tests fail: the newest version not handed out
//! (`a_removed_device_counts_until_the_server_is_shown_that_and_the_others_hear_it`); the register not looked at
//! (`a_server_in_the_profile_goes_by_what_it_has_registered`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failure of the test"
)]

mod devices;

use std::fs;

use devices::{Administrators, Asked, Device, Waiting};
use ostrakon_testkit::{APPROVE_ALL, Keyserver, TestHome, keyserver_command, run};
use serde_json::Value;
use tempfile::TempDir;

/// A policy by which the server lets profiles change.
const CHANGES: &str =
    "create_profile: [[{rule: approve-rule}]]\nchange_profile: [[{rule: approve-rule}]]\n";

/// What `save-backup-key` says where it cannot know that the profile is the newest.
const AS_IT_WAS: &str = "known as it was when the last backup key was made";

fn id_of(device: &Device, name: &str) -> String {
    let listed = device.json(&["device", "list"]);
    let found = listed.iter().find(|listed| listed["name"] == name);
    found.unwrap()["id"].as_str().unwrap().to_owned()
}

/// A command that makes a new backup key, and waits.
fn saving(home: &TestHome, vault: &TempDir, name: &str, more: &[&str]) -> Asked {
    let path = vault.path().join(name);
    let args = ["save-backup-key", path.to_str().unwrap()];
    Asked::start(home, &[&args[..], more].concat())
}

/// Whom a ceremony asks, as the operator is shown it.
fn asked(home: &TestHome, ceremony: &str) -> Vec<Value> {
    let mut command = keyserver_command(home.path());
    let shown = run(command.args(["ceremony", "show", ceremony, "--format", "json"]));
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let mut shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let devices = shown["devices"].as_array_mut().unwrap();
    devices
        .drain(..)
        .map(|mut of| of["device"].take())
        .collect()
}

fn removes(desk: &Device, id: &str, by: &[&Device]) -> String {
    let removing: Waiting = desk.start(&["device", "remove", id]);
    by.iter().for_each(|device| device.approve());
    let (code, stdout, stderr) = removing.ended();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    stderr
}

#[test]
fn a_removed_device_counts_until_the_server_is_shown_that_and_the_others_hear_it() {
    let administrators = Administrators::new();
    let Administrators {
        desk,
        phone,
        tablet,
        ..
    } = &administrators;
    let (home, vault) = (TestHome::empty(), tempfile::tempdir().unwrap());
    administrators.create(&home, &vault.path().join("first.txt"));
    home.write_policy(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let config = format!(
        "keyserver_id = \"{}\"\nkeyserver_urls = [\"http://{}\"]\n",
        server.identity.kss_id(),
        server.address
    );
    fs::write(tablet.path("enterprise.toml"), config).unwrap();

    let spares = [Device::new(), Device::new()];
    for (name, spare) in ["spare", "other spare"].into_iter().zip(&spares) {
        desk.add(name, spare, &[phone, tablet]);
    }
    let lost = id_of(desk, "phone");
    let said = removes(desk, &lost, &[tablet, &spares[0]]);
    assert!(
        said.contains("keyserver save-backup-key PATH --profile CARD"),
        "{said}"
    );

    // The server knows nothing of that, and says so.
    let old = saving(&home, &vault, "old.txt", &[]);
    assert!(asked(&home, &old.id).contains(&Value::from(&*lost)));
    assert!(old.waiting.error_line().unwrap().contains(AS_IT_WAS));
    drop(old);

    // The tablet has approved the change, and has not heard whether it took effect.
    let heard = || {
        tablet.json(&["approvals", "list"]);
        tablet.profile()["version"].as_u64().unwrap()
    };
    let now = desk.profile()["version"].as_u64().unwrap();
    assert_eq!(heard(), now - 1);

    // With the card the server asks the others, and then tells those whom it did not need.
    let card = administrators.card();
    let new = saving(&home, &vault, "new.txt", &["--profile", &card]);
    assert!(!asked(&home, &new.id).contains(&Value::from(&*lost)));
    assert_eq!(new.answer(phone, "approve").code, Some(1));
    assert_eq!(heard(), now - 1);
    new.approved_by(&[desk, &spares[0], &spares[1]]);
    assert_eq!(heard(), now);
    // To the one that is gone it tells nothing.
    let before = phone.profile()["version"].as_u64().unwrap();
    phone.run(&["approvals", "list"]);
    assert_eq!(phone.profile()["version"], before);
}

#[test]
fn a_server_in_the_profile_goes_by_what_it_has_registered() {
    let home = TestHome::create(CHANGES);
    let server = Keyserver::start(&home);
    let administrators = Administrators::with(&server);
    let Administrators {
        desk,
        phone,
        tablet,
        ..
    } = &administrators;
    let vault = tempfile::tempdir().unwrap();
    let card = administrators.card();
    let first = saving(&home, &vault, "first.txt", &["--profile", &card]);
    first.approved_by(&[desk, phone, tablet]);

    let spare = Device::new();
    desk.add("spare", &spare, &[phone]);
    let lost = id_of(desk, "tablet");
    // It needs no word from anybody, so nothing is said.
    let said = removes(desk, &lost, &[phone]);
    assert!(!said.contains("keyserver save-backup-key"), "{said}");
    let second = saving(&home, &vault, "second.txt", &[]);
    let asked = asked(&home, &second.id);
    assert!(asked.contains(&Value::from(id_of(desk, "spare"))));
    assert!(!asked.contains(&Value::from(&*lost)));

    // Five less one is not enough for a backup key, and it is said what to do.
    second.approved_by(&[desk, phone, &spare]);
    removes(desk, &id_of(desk, "phone"), &[&spare]);
    let path = vault.path().join("third.txt");
    let path = path.to_str().unwrap();
    let refused = run(keyserver_command(home.path()).args(["save-backup-key", path]));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for said in [
        "it has 4 devices",
        "add a replacement first",
        "`--ignore-security-checks`",
    ] {
        assert!(refused.stderr.contains(said), "{refused:?}");
    }
}
