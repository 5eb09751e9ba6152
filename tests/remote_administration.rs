//! Administration from afar: who is heard, and what for.
//!
//! Bugs planted to see these tests fail: `revoked_at` not looked at, a purpose that is not known taken for an
//! administrator's (`only_a_certificate_that_is_in_force_is_heard`); `must_ask` that lets pass who has a
//! certificate, ceremonies that anybody may go on with
//! (`a_stolen_certificate_alone_disables_and_does_nothing_else`); the number for which a policy was approved not
//! compared, the policy that was asked for last put in force, not the one that was approved
//! (`what_was_approved_is_done_and_nothing_else`); `admin_quorum` not looked at when the server starts
//! (`with_admin_quorum_the_operator_asks_as_well`); the digest that is given not compared
//! (`of_a_policy_that_is_too_long_it_is_said_that_nobody_sees_it`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failure of the test"
)]

mod afar;
mod cluster_of;
mod devices;

use std::{fs, os::unix::fs::PermissionsExt as _};

use afar::{Connection, Identity, Shown, block_on, routes, url};
use cluster_of::Cluster;
use devices::{Administrators, Asked, Device, Waiting};
use ostrakon_custody::AuditEvent;
use ostrakon_storage::{ProtectorKey, Store};
use ostrakon_testdb::postgres;
use ostrakon_testkit::{APPROVE_ALL, Keyserver, Ran, TestHome, keyserver_command, run};
use ostrakon_types::Digest;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const HEARD: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";
/// A policy that is not the first one.
const OTHER: &str = "decrypt: []\n";

fn keyserver(home: &TestHome, args: &[&str]) -> Ran {
    run(keyserver_command(home.path()).args(args))
}

fn done(ran: Ran) -> String {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout
}

fn refused(ran: &Ran, with: &str) {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains(with), "{with}: {ran:?}");
}

fn status(ran: Ran) -> Value {
    serde_json::from_str(&done(ran)).unwrap()
}

/// A server of the administrators', with a certificate of one of them.
fn administered(administrators: &Administrators) -> (TestHome, Keyserver, Identity) {
    let home = TestHome::empty();
    let backup = home.path().join("backup-key.txt");
    administrators.create(&home, &backup);
    home.write_policy(APPROVE_ALL);
    home.write_config(HEARD);
    let server = Keyserver::start(&home);
    let identity = Identity::create(&home, "alice");
    (home, server, identity)
}

/// A command from afar that waits for devices.
fn asked(identity: &Identity, server: &Keyserver, args: &[&str]) -> Asked {
    let mut command = identity.command(server, args);
    command.args(["--listen", "127.0.0.1:0", "--format", "json"]);
    Asked::of(Waiting::spawn(&mut command))
}

fn id_of(device: &Device) -> String {
    let shown = device.profile();
    let devices = shown["devices"].as_array().unwrap();
    let this = devices.iter().find(|device| device["this"] == true);
    this.unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn only_a_certificate_that_is_in_force_is_heard() {
    let home = TestHome::create(APPROVE_ALL);
    home.write_config(HEARD);
    let expired = Identity::issued_before(&home, 3);
    let server = Keyserver::start(&home);
    let (alice, bob) = (
        Identity::create(&home, "alice"),
        Identity::create(&home, "bob"),
    );
    let address = server.administration.unwrap();
    let authority = alice.authority();
    let open = |shown: Option<&Shown>| Connection::open(address, &authority, shown, &TLS13);
    done(keyserver(&home, &["administrator", "revoke", "bob"]));
    let [for_servers, unknown, other_purpose] = Shown::others(&home, &server);

    let paths = routes();
    assert!(
        paths.len() > 12 && paths.iter().any(|path| path == "/disable"),
        "{paths:?}"
    );
    let (foreign, revoked) = (Shown::foreign(), bob.shown());
    let handshakes = [
        None,
        Some(&foreign),
        Some(&expired.shown()),
        Some(&for_servers),
    ];
    let mut turned_away = 0;
    for path in &paths {
        for method in ["GET", "POST"] {
            for shown in handshakes {
                let answer = open(shown).ask(method, path, "{}");
                assert!(answer.is_err(), "{method} {path}: {answer:?}");
                turned_away += 1;
            }
            for shown in [&revoked, &unknown, &other_purpose] {
                let answer = open(Some(shown)).ask(method, path, "{}");
                assert_eq!(answer.unwrap(), 403, "{method} {path}");
                turned_away += 1;
            }
        }
    }
    let old = Connection::open(address, &authority, Some(&alice.shown()), &TLS12);
    let mut old = old;
    assert!(old.ask("GET", "/status", "").is_err());

    // What is for the machine alone is not there for anybody else.
    let mut connection = open(Some(&alice.shown()));
    assert_eq!(connection.ask("GET", "/status", "").unwrap(), 200);
    for path in [
        "/administrators/create",
        "/audit/archive",
        "/audit/prune",
        "/ceremony/keep",
    ] {
        assert!(paths.iter().any(|there| there == path), "{path}");
        assert_eq!(connection.ask("POST", path, "{}").unwrap(), 404, "{path}");
    }
    // A connection that is open does not outlive its certificate.
    done(keyserver(&home, &["administrator", "revoke", &alice.id]));
    assert_eq!(connection.ask("GET", "/status", "").unwrap(), 403);
    refused(&alice.run(&server, &["status"]), "not heard here");
    refused(&expired.run(&server, &["disable"]), "has expired on");

    server.stop();
    let mut counts = std::collections::BTreeMap::new();
    for record in home.records().audit {
        if let AuditEvent::Strangers { tallies, .. } = record.event {
            for tally in tallies {
                *counts.entry(tally.reason).or_insert(0) += tally.count;
            }
        }
    }
    let each = u64::try_from(turned_away / 7).unwrap();
    let of = |reason: &str| counts[&format!("administration with{reason}")];
    assert_eq!(of("out a certificate"), each);
    assert_eq!(of(" a foreign certificate"), each);
    assert_eq!(of(" an expired certificate"), each);
    assert_eq!(of(" a certificate for something else"), 2 * each);
    assert_eq!(of(" an unknown certificate"), each);
    assert_eq!(of(" a revoked certificate"), each + 2);
    assert_eq!(of("out TLS 1.3"), 1);
}

#[test]
fn an_identity_is_made_listed_and_revoked() {
    let home = TestHome::create(APPROVE_ALL);
    home.write_config(HEARD);
    // By a server that does not run, and by one that does: one authority.
    let first = Identity::create(&home, "alice");
    let server = Keyserver::start(&home);
    let second = Identity::create(&home, "alice");
    assert_eq!(first.authority(), second.authority());
    let mode = fs::metadata(&first.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let path = first.path.to_str().unwrap();
    let again = ["administrator", "create", "--name", "x", "-o", path];
    refused(&keyserver(&home, &again), "exists already");

    for name in ["ca.pem", "ca.p7b"] {
        let path = home.path().join(name);
        done(keyserver(&home, &["root-ca", "-o", path.to_str().unwrap()]));
        let written = fs::read(&path).unwrap();
        let der = first.authority();
        match name {
            "ca.p7b" => assert!(written.windows(der.len()).any(|part| part == der.as_ref())),
            _ => assert!(fs::read(&first.path).unwrap().ends_with(&written)),
        }
    }
    // A private key is not written over, nor anything else that nobody has said is to go.
    let key = fs::read(&first.path).unwrap();
    let over = ["root-ca", "-o", path];
    refused(&keyserver(&home, &over), "exists already");
    assert_eq!(fs::read(&first.path).unwrap(), key);
    let old = home.path().join("ca.pem");
    fs::write(
        &old,
        "an older one, which is longer than what comes ".repeat(100),
    )
    .unwrap();
    let over = ["root-ca", "--force", "-o", old.to_str().unwrap()];
    done(keyserver(&home, &over));
    assert!(key.ends_with(&fs::read(&old).unwrap()));

    for identity in [&first, &second] {
        let shown = status(identity.run(&server, &["status", "--format", "json"]));
        assert_eq!(shown["kss_id"], server.identity.kss_id().to_string());
    }
    let tail = done(second.run(&server, &["audit", "tail", "--format", "json"]));
    assert!(
        tail.contains(&second.id) && !tail.contains("alice"),
        "{tail}"
    );
    assert_eq!(
        done(second.run(&server, &["policy", "--dump"])),
        APPROVE_ALL
    );
    assert!(done(second.run(&server, &["quota", "list"])).contains("no profile"));

    // From afar, too: of all of that name, the one's own among them.
    done(second.run(&server, &["administrator", "revoke", "alice"]));
    refused(&first.run(&server, &["status"]), "not heard here");
    let again = keyserver(&home, &["administrator", "revoke", "alice"]);
    refused(
        &again,
        "no certificate of an administrator `alice` is in force",
    );
    let listed = done(keyserver(&home, &["administrator", "list"]));
    assert_eq!(listed.matches("revoked").count(), 2, "{listed}");
    server.stop();
    let restarted = Keyserver::start(&home);
    refused(&second.run(&restarted, &["status"]), "not heard here");
    let audit = home_text(&home, restarted);
    let word = format!(
        "certificate {}, by administrator's certificate {}",
        first.id, second.id
    );
    assert!(audit.contains(&word), "{audit}");
}

#[test]
fn an_identity_that_is_of_no_use_says_why() {
    let home = TestHome::create(APPROVE_ALL);
    home.write_config(HEARD);
    let expired = Identity::issued_before(&home, 3);
    let server = Keyserver::start(&home);
    let ran = expired.run(&server, &["status"]);
    refused(&ran, "has expired on 20");
    assert!(
        ran.stderr.contains("keyserver administrator create"),
        "{ran:?}"
    );

    let alice = Identity::create(&home, "alice");
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&alice.path, fs::Permissions::from_mode(mode)).unwrap();
        let ran = alice.run(&server, &["status"]);
        refused(&ran, "holds a private key and is open to others");
        assert!(ran.stderr.contains("chmod 600"), "{ran:?}");
    }
    fs::set_permissions(&alice.path, fs::Permissions::from_mode(0o400)).unwrap();
    done(alice.run(&server, &["status"]));
}

#[test]
fn what_one_instance_revokes_no_other_hears() {
    let cluster = Cluster::new(postgres(), 2, APPROVE_ALL);
    for home in &cluster.homes {
        home.write_config(HEARD);
    }
    let servers = cluster.serve_all();
    let alice = Identity::create(&cluster.homes[0], "alice");
    let (authority, shown) = (alice.authority(), alice.shown());
    let open = |server: &Keyserver| {
        let address = server.administration.unwrap();
        Connection::open(address, &authority, Some(&shown), &TLS13)
    };
    let mut connections: Vec<_> = servers.iter().map(open).collect();
    for connection in &mut connections {
        assert_eq!(connection.ask("GET", "/status", "").unwrap(), 200);
    }
    // What one instance was asked, it counts and does itself; the others know of it, and can end it.
    done(alice.run(&servers[0], &["disable"]));
    let asked = asked(&alice, &servers[0], &["enable"]);
    let body = json!({ "id": asked.id }).to_string();
    assert_ne!(
        connections[1]
            .ask("POST", "/ceremony/fulfil", &body)
            .unwrap(),
        200
    );
    let listed = done(alice.run(&servers[1], &["ceremony", "list"]));
    assert!(listed.contains(&asked.id), "{listed}");

    cluster.done(0, &["administrator", "revoke", "alice"]);
    for (connection, server) in connections.iter_mut().zip(&servers) {
        assert_eq!(connection.ask("GET", "/status", "").unwrap(), 403);
        assert_eq!(open(server).ask("POST", "/disable", "{}").unwrap(), 403);
    }
    refused(&alice.run(&servers[1], &["status"]), "not heard here");
    asked.waiting.fails(1, "not heard here");
    let bob = Identity::create(&cluster.homes[1], "bob");
    done(bob.run(&servers[0], &["status"]));
}

/// The audit log of a server, which is stopped for it.
fn home_text(home: &TestHome, server: Keyserver) -> String {
    server.stop();
    format!("{:?}", home.records().audit)
}

#[test]
fn a_stolen_certificate_alone_disables_and_does_nothing_else() {
    let administrators = Administrators::new();
    let (home, server, stolen) = administered(&administrators);
    let open = || {
        let address = server.administration.unwrap();
        Connection::open(address, &stolen.authority(), Some(&stolen.shown()), &TLS13)
    };
    let policy = stolen.path.with_extension("yml");
    fs::write(&policy, OTHER).unwrap();
    done(stolen.run(&server, &["disable"]));
    let body = json!({ "source": OTHER }).to_string();
    for (path, body) in [
        ("/enable", "{}"),
        ("/policy", &body),
        ("/quota/clear", r#"{"profiles":[]}"#),
    ] {
        assert_eq!(open().ask("POST", path, body).unwrap(), 403, "{path}");
    }
    let rollback = r#"{"operation":"accept_rollback","profile":[],"wait_ms":9000}"#;
    assert_eq!(open().ask("POST", "/ceremony/open", rollback).unwrap(), 503);

    // One approval less than it takes, whatever is asked then.
    let load = ["policy", "--load", policy.to_str().unwrap()];
    for args in [&load[..], &["quota", "clear", "--all"], &["enable"]] {
        let mut asked = asked(&stolen, &server, args);
        for device in [&administrators.desk, &administrators.phone] {
            asked.approve(device);
            asked.waiting.event("answered");
        }
        let named = json!({ "id": asked.id }).to_string();
        assert_eq!(open().ask("POST", "/ceremony/fulfil", &named).unwrap(), 503);
        let denied = asked.answer(&administrators.tablet, "deny");
        assert_eq!(denied.code, Some(0), "{denied:?}");
        asked.waiting.fails(3, "denied it");
    }
    // What the operator asks is not the thief's to end.
    let file = home.path().join("second.txt");
    let saving = Asked::start(&home, &["save-backup-key", file.to_str().unwrap()]);
    let named = json!({ "id": saving.id }).to_string();
    for path in ["/ceremony/give-up", "/ceremony/fulfil"] {
        assert_eq!(open().ask("POST", path, &named).unwrap(), 503);
    }
    saving.approved_by(&administrators.three());

    let shown = status(keyserver(&home, &["status", "--format", "json"]));
    assert_eq!(
        (&shown["state"], &shown["policy_version"]),
        (&"disabled".into(), &1.into())
    );
    server.stop();
    for record in home.records().audit {
        let AuditEvent::QuotaCleared { .. } = record.event else {
            continue;
        };
        panic!("{record:?}");
    }
}

#[test]
fn what_was_approved_is_done_and_nothing_else() {
    let administrators = Administrators::new();
    let (home, server, alice) = administered(&administrators);
    let file = |name: &str, text: &str| {
        let path = alice.path.with_file_name(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let bad = file("bad.yml", "decrpyt: []\n");
    let ran = alice.run(&server, &["policy", "--load", &bad]);
    assert_eq!(ran.code, Some(4), "{ran:?}");

    let (first, second) = (file("a.yml", OTHER), file("b.yml", "search: []\n"));
    let loads_a = asked(&alice, &server, &["policy", "--load", &first]);
    let loads_b = asked(&alice, &server, &["policy", "--load", &second]);
    let waiting = done(alice.run(&server, &["ceremony", "list"]));
    assert!(
        waiting.contains(&loads_a.id) && waiting.contains(&loads_b.id),
        "{waiting}"
    );
    let digest = Digest::from_bytes(Sha256::digest(OTHER).into()).to_string();
    let shown =
        administrators
            .phone
            .done(&["approvals", "show", &loads_a.id, "--relay", &loads_a.relay]);
    let line = APPROVE_ALL.lines().next().unwrap();
    let removed = format!("\n-{line}\n");
    for text in [
        &digest,
        "version 2",
        "`UTC`",
        &alice.id,
        "\n@@ -1 +1 @@\n",
        &removed,
        "\n+decrypt: []\n",
    ] {
        assert!(shown.stdout.contains(text), "{text}: {shown:?}");
    }
    let loaded = loads_a.approved_by(&administrators.three());
    assert_eq!(loaded["policy_version"], 2);
    assert_eq!(done(alice.run(&server, &["policy", "--dump"])), OTHER);
    // B was to be version 2 in the place of version 1, and A is that now.
    for device in administrators.three() {
        loads_b.approve(device);
    }
    loads_b
        .waiting
        .fails(1, "another policy was put in force meanwhile");
    assert_eq!(done(alice.run(&server, &["policy", "--dump"])), OTHER);

    done(alice.run(&server, &["disable"]));
    asked(&alice, &server, &["enable"]).approved_by(&administrators.three());
    asked(&alice, &server, &["quota", "clear", "--all"]).approved_by(&administrators.three());
    let shown = status(alice.run(&server, &["status", "--format", "json"]));
    assert_eq!(shown["state"], "enabled");

    // The file in the home, which is older, does not come back with the next start; an edited one does.
    server.stop();
    let server = Keyserver::start(&home);
    assert_eq!(done(alice.run(&server, &["policy", "--dump"])), OTHER);
    server.stop();
    home.write_policy("search: []\n");
    let server = Keyserver::start(&home);
    assert_eq!(
        done(alice.run(&server, &["policy", "--dump"])),
        "search: []\n"
    );
    server.stop();

    let devices = administrators.three().map(id_of);
    let named = |by: &str| by.contains(&alice.id) && devices.iter().all(|id| by.contains(id));
    let (mut loaded, mut cleared, mut enabled) = (0, 0, 0);
    for record in home.records().audit {
        match record.event {
            AuditEvent::PolicyLoaded {
                version: 2,
                source,
                by: Some(by),
                ..
            } => {
                assert!(named(&by) && source.to_string() == digest, "{by}");
                loaded += 1;
            }
            AuditEvent::PolicyLoaded { version, by, .. } => {
                assert!(version != 2 && by.is_none(), "{version}: {by:?}");
            }
            AuditEvent::QuotaCleared { by: Some(by), .. } if named(&by) => cleared += 1,
            AuditEvent::Administered { action, detail } if action == "enable" => {
                assert!(named(&detail), "{detail}");
                enabled += 1;
            }
            _ => {}
        }
    }
    assert_eq!((loaded, cleared, enabled), (1, 1, 1));
}

#[test]
fn of_a_policy_that_is_too_long_it_is_said_that_nobody_sees_it() {
    let administrators = Administrators::new();
    let (_home, server, alice) = administered(&administrators);
    let path = alice.path.with_file_name("long.yml");
    let load = |text: &str| {
        fs::write(&path, text).unwrap();
        let asked = asked(
            &alice,
            &server,
            &["policy", "--load", path.to_str().unwrap()],
        );
        let args = ["approvals", "show", &asked.id, "--relay", &asked.relay];
        (administrators.phone.done(&args).stdout, asked)
    };
    let long = |length: usize| format!("{OTHER}# \u{202e}{}\n", "-".repeat(length));
    let text = long(64 << 10);
    let digest = Digest::from_bytes(Sha256::digest(&text).into()).to_string();
    let (shown, asked) = load(&text);
    assert!(shown.contains(&digest), "{shown}");
    assert!(
        shown.contains("\nTHE POLICY IS NOT SHOWN: it is too long"),
        "{shown}"
    );
    // Who approves it says which file he has read.
    let approves = |more: &[&str]| {
        let args = ["approvals", "approve", &asked.id, "--relay", &asked.relay];
        administrators.phone.run(&[&args[..], more].concat())
    };
    refused(&approves(&[]), "not all of the policy is shown");
    refused(&approves(&["--sha256", &"0".repeat(64)]), "another SHA-256");
    assert_eq!(approves(&["--sha256", &digest[..7]]).code, Some(2));
    done(approves(&["--sha256", &digest[..8].to_uppercase()]));
    drop(asked);
    // One that fits is seen, and nothing in it turns round what stands beside it.
    let (shown, asked) = load(&long(60 << 10));
    assert!(shown.contains("\n+# \\u{202e}---"), "{shown}");
    drop(asked);
}

#[test]
fn with_admin_quorum_the_operator_asks_as_well() {
    let administrators = Administrators::new();
    let (home, server, _) = administered(&administrators);
    server.stop();
    home.write_config("admin_quorum = true\n");
    // A file that nobody approved is not what the server starts with.
    home.write_policy(OTHER);
    let server = Keyserver::start(&home);
    assert_eq!(done(keyserver(&home, &["policy", "--dump"])), APPROVE_ALL);
    server.wait_for_log("is not the policy in force");
    done(keyserver(&home, &["disable"]));
    for args in [
        &["policy", "--load"][..],
        &["quota", "clear", "--all"],
        &["enable"],
    ] {
        Asked::start(&home, args).approved_by(&administrators.three());
    }
    assert_eq!(done(keyserver(&home, &["policy", "--dump"])), OTHER);
    done(keyserver(&home, &["disable"]));
    server.stop();
    // The stopped server asks as the running one does.
    let denied = Asked::start(&home, &["enable"]);
    assert_eq!(denied.answer(&administrators.phone, "deny").code, Some(0));
    denied.waiting.fails(3, "denied");
    Asked::start(&home, &["quota", "clear", "--all"]).approved_by(&administrators.three());
    Asked::start(&home, &["enable"]).approved_by(&administrators.three());
    let _server = Keyserver::start(&home);
    let shown = status(keyserver(&home, &["status", "--format", "json"]));
    assert_eq!(shown["state"], "enabled");
}

#[test]
fn without_administrators_nobody_could_approve_and_disable_works_without_writes() {
    let home = TestHome::create(APPROVE_ALL);
    home.write_config(HEARD);
    let server = Keyserver::start(&home);
    let alice = Identity::create(&home, "alice");
    let ran = alice.run(&server, &["enable"]);
    refused(&ran, "no profile of administrators is known");
    assert!(
        ran.stderr.contains("hint: `keyserver save-backup-key"),
        "{ran:?}"
    );
    let mut nobody = alice.command(&server, &["status"]);
    refused(
        &run(nobody.env_remove("OSTRAKON_IDENTITY")),
        "--identity FILE",
    );
    let mut plain = alice.command(&server, &["status"]);
    let plain = plain.env("OSTRAKON_SERVER", url(&server).replace("https", "http"));
    refused(&run(plain), "`https` alone");

    // Somebody else writes to the database, and does not end.
    block_on(async {
        let protector = ProtectorKey::load(&home.home().instance_key()).unwrap();
        let store = Store::open(home.home().place().unwrap(), &protector)
            .await
            .unwrap();
        let held = store.begin().await.unwrap();
        let ran = alice.run(&server, &["disable"]);
        refused(
            &ran,
            "answers no requests now, but that is lost at its next start",
        );
        drop(held);
        store.close().await;
    });
    let shown = status(alice.run(&server, &["status", "--format", "json"]));
    assert_eq!(shown["state"], "disabled");
}

#[test]
fn an_approval_of_before_does_not_undo_a_disable() {
    let administrators = Administrators::new();
    let (home, server, stolen) = administered(&administrators);
    let open = || {
        let address = server.administration.unwrap();
        Connection::open(address, &stolen.authority(), Some(&stolen.shown()), &TLS13)
    };
    let ask = r#"{"operation":{"administer":"enable"},"profile":[],"wait_ms":86000000}"#;
    assert_eq!(open().ask("POST", "/ceremony/open", ask).unwrap(), 503);
    refused(&stolen.run(&server, &["enable"]), "the server is enabled");

    done(keyserver(&home, &["disable"]));
    let mut asked = asked(&stolen, &server, &["enable"]);
    for device in [&administrators.desk, &administrators.phone] {
        asked.approve(device);
        asked.waiting.event("answered");
    }
    // The third approval is on its way when the operator says once more that it is not to be.
    done(keyserver(&home, &["disable"]));
    let late = asked.answer(&administrators.tablet, "approve");
    let named = json!({ "id": asked.id }).to_string();
    assert_eq!(open().ask("POST", "/ceremony/fulfil", &named).unwrap(), 503);
    asked.waiting.fails(3, "it was cancelled");
    drop(late);
    let shown = status(keyserver(&home, &["status", "--format", "json"]));
    assert_eq!(shown["state"], "disabled");
    assert!(done(keyserver(&home, &["ceremony", "list"])).is_empty());
}

#[test]
fn a_disabled_server_is_enabled_through_itself() {
    let administrators = Administrators::new();
    let (home, server, alice) = administered(&administrators);
    let config = format!(
        "keyserver_id = \"{}\"\nkeyserver_urls = [\"http://{}\"]\n",
        server.identity.kss_id(),
        server.address
    );
    done(keyserver(&home, &["disable"]));
    let asked = asked(&alice, &server, &["enable"]);
    for device in administrators.three() {
        fs::write(device.path("enterprise.toml"), &config).unwrap();
        assert_eq!(device.json(&["approvals", "list"])[0]["id"], asked.id);
        device.done(&["approvals", "approve", &asked.id]);
    }
    asked.waiting.succeeds();
    let shown = status(keyserver(&home, &["status", "--format", "json"]));
    assert_eq!(shown["state"], "enabled");
}

#[test]
fn a_stolen_certificate_leaves_places_to_the_others_and_its_ceremonies_end_with_it() {
    let administrators = Administrators::new();
    let (home, server, stolen) = administered(&administrators);
    let bob = Identity::create(&home, "bob");
    let open = |of: &Identity| {
        let address = server.administration.unwrap();
        Connection::open(address, &of.authority(), Some(&of.shown()), &TLS13)
    };
    let clear = r#"{"operation":{"administer":{"clear_quota":{"profiles":[]}}},"profile":[],"wait_ms":600000}"#;
    let mut thief = open(&stolen);
    let asks = [(); 4].map(|()| thief.ask("POST", "/ceremony/open", clear).unwrap());
    assert_eq!(asks, [200, 200, 503, 503]);
    let mut honest = open(&bob);
    let asks = [(); 3].map(|()| honest.ask("POST", "/ceremony/open", clear).unwrap());
    assert_eq!(asks, [200, 200, 503]);

    let listed = || {
        let said = done(bob.run(&server, &["ceremony", "list", "--format", "json"]));
        let lines = said.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<Value>>()
    };
    assert_eq!(listed().len(), 4);
    done(bob.run(&server, &["administrator", "revoke", &stolen.id]));
    let left = listed();
    assert_eq!(left.len(), 2, "{left:?}");
    let id = left[0]["id"].as_str().unwrap();
    let shown = done(bob.run(&server, &["ceremony", "show", id]));
    assert!(shown.contains(&bob.id), "{shown}");
    done(bob.run(&server, &["ceremony", "cancel", &id[..8]]));
    assert_eq!(listed().len(), 1);
    let audit = home_text(&home, server);
    let word = format!("ceremony {id}, by administrator's certificate {}", bob.id);
    assert!(audit.contains(&word), "{audit}");
}

#[test]
fn a_stolen_certificate_does_not_fill_the_log() {
    let home = TestHome::create(APPROVE_ALL);
    home.write_config(HEARD);
    let server = Keyserver::start(&home);
    let (stolen, bob) = (
        Identity::create(&home, "alice"),
        Identity::create(&home, "bob"),
    );
    let open = |of: &Identity| {
        let address = server.administration.unwrap();
        Connection::open(address, &of.authority(), Some(&of.shown()), &TLS13)
    };
    let named = json!({ "id": "0".repeat(32) }).to_string();
    let mut thief = open(&stolen);
    let mut cancel = || thief.ask("POST", "/ceremony/cancel", &named).unwrap();
    assert_eq!(cancel(), 503);
    assert!((0..500).any(|_| cancel() == 429));
    // Nobody else waits for that, and nothing keeps from stopping the server.
    assert_eq!(
        open(&bob).ask("POST", "/ceremony/cancel", &named).unwrap(),
        503
    );
    for _ in 0..3 {
        assert_eq!(thief.ask("POST", "/disable", "{}").unwrap(), 200);
    }
    server.stop();
    let disabled = home.records().audit.into_iter().filter(|record| {
        matches!(&record.event, AuditEvent::Administered { action, .. } if action == "disable")
    });
    assert_eq!(disabled.count(), 1);
}
