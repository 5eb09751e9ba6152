//! What a key shard server asks its administrators' devices, through the running server: seen and answered
//! without being told where, listed, shown and cancelled by the operator, and without effect where it came to
//! nothing.
//!
//! Bugs planted to see these tests fail: a backup key taken for made when a device approves
//! (`what_came_to_nothing_makes_no_file_out_of_date`); an answer not remembered by the device
//! (`administrators_answer_through_the_running_server`); an administrator's device let do what a member may
//! (`an_administrators_device_gets_nothing_else`); a cancelled ceremony left to its command
//! (`the_operator_cancels_what_waits`); what an earlier process has opened left to stand
//! (`a_stopped_server_tells_what_waits`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failure of the test"
)]

mod devices;

use std::{fs, path::PathBuf, process::Command};

use devices::{Administrators, Asked, Device};
use ostrakon_custody::AuditEvent;
use ostrakon_server::ceremony::parse_card;
use ostrakon_shards::{
    device::DeviceKeys,
    profile::{Profile, SignedVersion},
    random,
};
use ostrakon_testkit::{
    APPROVE_ALL, Keyserver, Ran, TestHome, TestUser, keyserver_command, run, user,
};
use ostrakon_transport::message::{Item, ItemAnswer, RefusalCode};
use ostrakon_types::canonical;
use serde_json::Value;
use tempfile::TempDir;

/// A running server with a backup key of its administrators, whose profile it does not know otherwise.
struct World {
    administrators: Administrators,
    home: TestHome,
    server: Keyserver,
    vault: TempDir,
}

impl World {
    fn new() -> Self {
        let administrators = Administrators::new();
        let (home, vault) = (TestHome::empty(), tempfile::tempdir().unwrap());
        administrators.create(&home, &vault.path().join("first.txt"));
        home.write_policy(APPROVE_ALL);
        let server = Keyserver::start(&home);
        let world = Self {
            administrators,
            home,
            server,
            vault,
        };
        for device in world.administrators.three() {
            world.tell(device);
        }
        world
    }

    /// Has the device's configuration name the server, as an enterprise distributes it.
    fn tell(&self, device: &Device) {
        let id = self.server.identity.kss_id();
        let url = self.server.address;
        let config = format!("keyserver_id = \"{id}\"\nkeyserver_urls = [\"http://{url}\"]\n");
        fs::write(device.path("enterprise.toml"), config).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.vault.path().join(name)
    }

    /// A command that makes a new backup key, and waits.
    fn saving(&self, name: &str, more: &[&str]) -> Asked {
        let path = self.file(name);
        let args = ["save-backup-key", path.to_str().unwrap()];
        Asked::start(&self.home, &[&args[..], more].concat())
    }

    /// The steps of a ceremony on record. The server is stopped for that.
    fn steps(self, id: &str) -> Vec<String> {
        let (status, log) = self.server.stop();
        assert!(status.success(), "{log}");
        let events = self.home.records().audit.into_iter();
        let steps = events.filter_map(|record| match record.event {
            AuditEvent::Ceremony { ceremony, step, .. } => {
                (ceremony.to_string() == id).then_some(step)
            }
            _ => None,
        });
        steps.collect()
    }
}

fn keyserver(home: &TestHome, args: &[&str]) -> Ran {
    run(keyserver_command(home.path()).args(args))
}

fn json(home: &TestHome, args: &[&str]) -> Vec<Value> {
    let ran = keyserver(home, &[args, &["--format", "json"]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines = ran.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What the operator is shown that a device has answered.
fn answer_of(home: &TestHome, id: &str, name: &str) -> Value {
    let shown = json(home, &["ceremony", "show", id]).remove(0);
    let devices = shown["devices"].as_array().unwrap();
    let found = devices.iter().find(|device| device["name"] == name);
    found.unwrap()["answer"].clone()
}

#[test]
fn administrators_answer_through_the_running_server() {
    let world = World::new();
    let Administrators {
        desk,
        phone,
        tablet,
        ..
    } = &world.administrators;
    // Devices that belong to others, one of them in a profile that the server knows.
    let strangers = [Device::workstation(), Device::onboarded(&world.server)];
    world.tell(&strangers[0]);

    let asked = world.saving("second.txt", &[]);
    let id = asked.id.clone();
    let listed = phone.json(&["approvals", "list"]);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["id"], id);
    assert_eq!(listed[0]["kind"], "save_backup_key");
    let shown = phone.done(&["approvals", "show", &id]);
    assert!(shown.stdout.contains("asked by   key shard server"));
    for stranger in &strangers {
        let listed = stranger.done(&["approvals", "list"]);
        assert_eq!((listed.stdout, listed.stderr), Default::default());
        let refused = stranger.run(&["approvals", "approve", &id]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("nothing that waits"), "{refused:?}");
    }

    // The operator sees the same, and who has answered.
    let listed = json(&world.home, &["ceremony", "list"]);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(
        listed[0]["title"],
        "make a new backup key for a key shard server"
    );
    phone.done(&["approvals", "approve", &id]);
    let again = phone.run(&["approvals", "approve", &id]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr.contains("already answered"), "{again:?}");
    let shown = json(&world.home, &["ceremony", "show", &id[..6]]).remove(0);
    assert_eq!(
        (&shown["needed"], &shown["id"]),
        (&3.into(), &id.as_str().into())
    );
    let expected: Vec<Value> = serde_json::from_value(shown["details"].clone()).unwrap();
    assert!(
        expected.iter().any(|detail| detail[1] == "3 of 5"),
        "{shown}"
    );

    desk.done(&["approvals", "approve", &id]);
    tablet.done(&["approvals", "approve", &id]);
    asked.waiting.succeeds();
    assert!(world.file("second.txt").exists());
    assert!(json(&world.home, &["ceremony", "list"]).is_empty());

    // Whoever has heard that from the server does not use the older file unasked.
    desk.done(&["approvals", "list"]);
    let elsewhere = TestHome::empty();
    let first = world.file("first.txt");
    let recovering = Asked::start(
        &elsewhere,
        &["recovery-ingest-key", first.to_str().unwrap()],
    );
    let shown = desk.done(&[
        "approvals",
        "show",
        &recovering.id,
        "--relay",
        &recovering.relay,
    ]);
    assert!(shown.stdout.contains("\nOUT OF DATE"), "{shown:?}");
    let refused = recovering.answer(desk, "approve");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("a newer one was made"),
        "{refused:?}"
    );

    let steps = world.steps(&id);
    let expected = ["opened", "answered", "answered", "answered", "approved"];
    assert_eq!(steps, expected);
}

#[test]
fn what_came_to_nothing_makes_no_file_out_of_date() {
    let world = World::new();
    let Administrators { phone, tablet, .. } = &world.administrators;
    let denied = world.saving("second.txt", &[]);
    phone.done(&["approvals", "approve", &denied.id]);
    tablet.done(&["approvals", "deny", &denied.id]);
    denied.waiting.fails(3, "denied it");
    let late = world.saving("second.txt", &["--wait", "6"]);
    phone.done(&["approvals", "approve", &late.id]);
    late.waiting.fails(1, "not enough devices approved in time");
    let given_up = world.saving("second.txt", &[]);
    phone.done(&["approvals", "approve", &given_up.id]);
    keyserver(&world.home, &["ceremony", "cancel", &given_up.id]);
    given_up.waiting.fails(3, "cancelled");
    assert!(!world.file("second.txt").exists());

    // The good file is the one that there is: the phone says what it knows, and gives its share.
    phone.done(&["approvals", "list"]);
    let elsewhere = TestHome::empty();
    let first = world.file("first.txt");
    let asked = Asked::start(
        &elsewhere,
        &["recovery-ingest-key", first.to_str().unwrap()],
    );
    let shown = phone.done(&["approvals", "show", &asked.id, "--relay", &asked.relay]);
    assert!(!shown.stdout.contains("\nOUT OF DATE"), "{shown:?}");
    assert!(
        shown.stdout.contains("has not heard whether it was made"),
        "{shown:?}"
    );
    asked.approve(phone);
}

#[test]
fn too_few_in_time_make_nothing_and_late_answers_do_not_count() {
    let world = World::new();
    let Administrators {
        desk,
        phone,
        tablet,
        ..
    } = &world.administrators;
    let asked = world.saving("second.txt", &["--wait", "12"]);
    let id = asked.id.clone();
    phone.done(&["approvals", "approve", &id]);
    tablet.done(&["approvals", "approve", &id]);
    asked
        .waiting
        .fails(1, "not enough devices approved in time");
    let late = desk.run(&["approvals", "approve", &id]);
    assert_eq!(late.code, Some(1), "{late:?}");
    assert!(!world.file("second.txt").exists());
    assert!(json(&world.home, &["ceremony", "list"]).is_empty());
    let expected = ["opened", "answered", "answered", "expired"];
    assert_eq!(world.steps(&id), expected);
}

#[test]
fn the_operator_cancels_what_waits() {
    let world = World::new();
    let phone = &world.administrators.phone;
    let asked = world.saving("second.txt", &[]);
    let id = asked.id.clone();
    assert_eq!(phone.json(&["approvals", "list"]).len(), 1);
    let unknown = keyserver(&world.home, &["ceremony", "cancel", "nothing"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    let cancelled = keyserver(&world.home, &["ceremony", "cancel", &id[..8]]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    asked.waiting.fails(3, "cancelled");
    assert!(phone.json(&["approvals", "list"]).is_empty());
    assert!(!world.file("second.txt").exists());
    let again = keyserver(&world.home, &["ceremony", "cancel", &id]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert_eq!(world.steps(&id), ["opened", "cancelled"]);
}

#[test]
fn a_stopped_server_tells_what_waits() {
    let world = World::new();
    let World {
        administrators,
        home,
        server,
        vault,
    } = world;
    server.stop();
    let path = vault.path().join("second.txt");
    let args = ["save-backup-key", path.to_str().unwrap()];
    let mut asked = Asked::start(&home, &args);
    let (id, phone) = (asked.id.clone(), &administrators.phone);
    asked.approve(phone);
    asked.waiting.event("answered");
    assert_eq!(answer_of(&home, &id, "phone"), "answered");
    assert_eq!(answer_of(&home, &id, "tablet"), Value::Null);
    // The home is the command's: what it is held for is said.
    for args in [&["ceremony", "cancel", &id][..], &["status"], &["serve"]] {
        let refused = keyserver(&home, args);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let said = "a command that waits for devices uses the home folder";
        assert!(refused.stderr.contains(said), "{refused:?}");
    }
    let kill = |mut asked: Asked| {
        asked.waiting.child.kill().unwrap();
        asked.waiting.child.wait().unwrap();
    };
    kill(asked);
    // It left an empty file, of which nothing is made.
    let path = path.to_str().unwrap();
    for args in [
        &["save-backup-key", path],
        &["backup-key", "verify", path][..],
    ] {
        let refused = keyserver(&home, args);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("is empty"), "{refused:?}");
    }
    assert_eq!(json(&home, &["ceremony", "list"])[0]["id"], id);
    let cancelled = keyserver(&home, &["ceremony", "cancel", &id]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    assert!(json(&home, &["ceremony", "list"]).is_empty());

    // What a killed command left is ended when the server starts: nobody could open the answers.
    let third = vault.path().join("third.txt");
    kill(Asked::start(
        &home,
        &["save-backup-key", third.to_str().unwrap()],
    ));
    assert_eq!(json(&home, &["ceremony", "list"]).len(), 1);
    let server = Keyserver::start(&home);
    assert!(json(&home, &["ceremony", "list"]).is_empty());
    server.stop();
}

#[test]
fn proofs_of_shares_come_through_the_running_server_and_a_denial_is_one_devices() {
    let world = World::new();
    let Administrators {
        desk,
        phone,
        tablet,
        ..
    } = &world.administrators;
    let path = world.file("first.txt");
    let path = path.to_str().unwrap();
    let asked = Asked::start(&world.home, &["backup-key", "verify", path, "--wait", "30"]);
    let id = asked.id.clone();
    assert_eq!(
        json(&world.home, &["ceremony", "list"])[0]["kind"],
        "verify_backup"
    );
    tablet.done(&["approvals", "deny", &id]);
    phone.done(&["approvals", "approve", &id]);
    desk.done(&["approvals", "approve", &id]);
    let (_, stdout, _) = asked.waiting.ended();
    let report: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    let share = |name: &str| {
        let holders = report["holders"].as_array().unwrap();
        let of = holders.iter().find(|holder| holder["name"] == name);
        of.unwrap()["share"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (share("phone"), share("tablet")),
        ("good".into(), "denied".into())
    );
    assert_eq!(report["good"], 2, "{report}");
    let asked = Asked::start(&world.home, &["backup-key", "verify", path]);
    keyserver(&world.home, &["ceremony", "cancel", &asked.id]);
    asked.waiting.fails(3, "cancelled");

    // A pipe is not waited at.
    let pipe = world.file("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let refused = keyserver(
        &world.home,
        &["backup-key", "verify", pipe.to_str().unwrap()],
    );
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("no file"), "{refused:?}");
}

#[test]
fn an_administrators_device_gets_nothing_else() {
    let world = World::new();
    let card = fs::read_to_string(world.administrators.card()).unwrap();
    let versions = parse_card(&card).unwrap();
    let profile = Profile::from_chain(versions.clone()).unwrap();
    let of = |device: &Device| {
        let keys = fs::read(device.path("home").join("device.key")).unwrap();
        let keys = DeviceKeys::from_bytes(&keys).unwrap();
        let verify = keys.signing.verify_key();
        let cards = profile.version().devices.iter();
        let card = cards.clone().find(|card| card.verify == verify).unwrap();
        TestUser {
            card: card.clone(),
            keys,
            server: world.server.identity.clone(),
            profile: profile.id(),
            founding: SignedVersion::clone(&versions[0]),
        }
    };
    let phone = of(&world.administrators.phone);
    let at = world.server.address;
    let ask = |items: Vec<Item>| phone.ask(at, &phone.body(items));
    match ask(vec![Item::PendingCeremonies { known: None }]).only() {
        ItemAnswer::Notices {
            notices, backup, ..
        } => {
            assert!(notices.is_empty() && backup.is_some());
        }
        _ => panic!("no notices"),
    }
    let id = random::id().unwrap();
    let opening = Item::OpenCeremony {
        id,
        expires_at: ostrakon_testkit::now().plus(60_000),
        notices: Vec::new(),
    };
    let others = [
        phone.file("/Files/a").item(),
        Item::ListLocations,
        Item::ProfileHead,
        Item::ProfileChain { after: 0 },
        phone.founding(),
        Item::CreateLocation {
            location: random::id().unwrap(),
            name: "vault".parse().unwrap(),
        },
        opening,
        Item::CeremonyAnswers { id },
    ];
    for item in others {
        let asked = ask(vec![item.clone()]);
        let refused = matches!(asked, user::Asked::Refused(RefusalCode::NotAMember));
        assert!(refused, "{item:?}: {asked:?}");
    }
    let mixed = ask(vec![
        Item::PendingCeremonies { known: None },
        Item::ListLocations,
    ]);
    assert!(matches!(
        mixed,
        user::Asked::Refused(RefusalCode::NotAMember)
    ));
    // Nor does anybody in its name.
    let other = DeviceKeys::generate().unwrap();
    let bytes = canonical::encode(&phone.body(vec![Item::PendingCeremonies { known: None }]));
    let forged = phone.forge(&bytes).sealed(&other.signing);
    let answer = user::post(at, &forged);
    assert_eq!((answer.status, answer.body.len()), (400, 0), "{answer:?}");
    world.server.stop();
}
