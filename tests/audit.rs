//! The audit log of a running server: what is on record, what bears witness to it, and what an attacker
//! with the database, or with the whole home, cannot hide.
//!
//! Seen to fail: with refusals of known devices recorded without a bound, one device fills the log; without
//! the head file, a server whose newest records were removed starts as if nothing had happened; with the
//! checkpoint file left out of readiness, a full disk behind it is not noticed; with first contacts let in
//! below the reserve, whoever makes profiles fills it; with checkpoints written by the thread that answers, a
//! place that hangs stops the server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use ostrakon_custody::{AuditEvent, AuditRecord};
use ostrakon_shards::profile::SignedVersion;
use ostrakon_testkit::{
    APPROVE_ALL, Asked, Keyserver, LocalServer, Ran, Serve, TestHome, TestUser, daily_limit,
    home::now,
    http::{exchange, get},
    keyserver_command, run,
    user::{opened, post},
};
use ostrakon_transport::{
    binding::ENVELOPE_TYPE,
    message::{Failure, Item, ItemAnswer, RefusalCode, RequestBody},
};
use ostrakon_types::{Denial, UnixMillis};
use serde_json::Value;

const NOW: UnixMillis = UnixMillis(1_772_000_000_000);

fn keyserver(home: &TestHome, arguments: &[&str]) -> Ran {
    run(keyserver_command(home.path()).args(arguments))
}

fn done(home: &TestHome, arguments: &[&str]) -> String {
    let ran = keyserver(home, arguments);
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    ran.stdout
}

fn json(home: &TestHome, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--format", "json"]].concat();
    serde_json::from_str(&done(home, &arguments)).unwrap()
}

/// The faults that `audit verify` tells, by kind and numbers.
fn faults(home: &TestHome, arguments: &[&str]) -> Vec<(String, u64, u64)> {
    let arguments = [&["--format", "json", "audit", "verify"], arguments].concat();
    let ran = keyserver(home, &arguments);
    let said: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    let faults = said["faults"].as_array().unwrap();
    assert_eq!(ran.code, Some(i32::from(!faults.is_empty())), "{ran:?}");
    assert_eq!(said["fault_count"], faults.len());
    let number = |fault: &Value, name: &str| fault[name].as_u64().unwrap();
    faults
        .iter()
        .map(|fault| {
            let kind = fault["kind"].as_str().unwrap().to_owned();
            (kind, number(fault, "first"), number(fault, "last"))
        })
        .collect()
}

/// Gives others a moment, in a loop that has an end. Never true.
fn wait() -> bool {
    thread::park_timeout(Duration::from_millis(5));
    false
}

fn of_kind<'r>(records: &'r [AuditRecord], action: &str) -> Vec<&'r AuditRecord> {
    let is = |record: &&AuditRecord| match &record.event {
        AuditEvent::Administered { action: of, .. } => of == action,
        _ => false,
    };
    records.iter().filter(is).collect()
}

#[test]
fn refusals_strangers_and_administration_are_on_record() {
    let home = TestHome::create(APPROVE_ALL);
    let server = LocalServer::start(&home, NOW);
    let at = server.address;
    let user = TestUser::new(&server.identity);
    let founding = user.body_at(NOW, vec![user.founding()]);
    let (envelope, _) = user.first_contact(&founding);
    assert_eq!(post(at, &envelope).status, 200);
    let refused = |body: &RequestBody| match user.ask(at, body) {
        Asked::Refused(code) => code,
        other => panic!("{other:?}"),
    };
    let file = user.file("Public/a");
    let expired = user.body_at(NOW.plus(-3_600_000), vec![file.item()]);
    assert_eq!(refused(&expired), RefusalCode::Expired);
    let future = user.body_at(NOW.plus(3_600_000), vec![file.item()]);
    assert_eq!(refused(&future), RefusalCode::FutureDated);
    let body = user.body_at(NOW, vec![file.item()]);
    assert!(user.ask(at, &body).is(&file));
    let other = TestUser::new(&server.identity);
    let reused = RequestBody::new(
        body.request_id(),
        NOW,
        user.profile,
        vec![user.file("Public/b").item()],
    );
    assert_eq!(refused(&reused.unwrap()), RefusalCode::IdReused);
    // What cannot be done needs no decision, and is on record all the same; what only asks is not.
    let version = SignedVersion::new(user.founding.version().clone(), []);
    let unsigned = vec![Item::CreateProfile { version }];
    let invalid = user.ask(at, &user.body_at(NOW, unsigned));
    assert!(matches!(
        invalid.only(),
        ItemAnswer::Failed(Failure::InvalidProfile)
    ));
    let question = user.ask(at, &user.body_at(NOW, vec![Item::ProfileHead]));
    assert!(matches!(question.only(), ItemAnswer::Head { .. }));
    let foreign = RequestBody::new(
        other
            .body_at(NOW, Vec::from([other.founding()]))
            .request_id(),
        NOW,
        other.profile,
        vec![other.file("Public/a").item()],
    );
    assert_eq!(refused(&foreign.unwrap()), RefusalCode::NotAMember);
    // One device that goes on is counted: it cannot fill the log.
    for _ in 0..40 {
        assert_eq!(refused(&expired), RefusalCode::Expired);
    }
    for _ in 0..3 {
        assert_eq!(post(at, b"nothing").status, 400);
    }
    let (unknown, _) = other.seal(&other.body_at(NOW, vec![other.file("Public/a").item()]));
    assert_eq!(post(at, &unknown).status, 400);
    server.stop();
    let records = home.records().audit;
    let reasons: Vec<&str> = records
        .iter()
        .filter_map(|record| match &record.event {
            AuditEvent::Refused { reason, device, .. } => {
                assert_eq!(*device, user.card.id());
                Some(reason.as_str())
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        reasons[..5],
        [
            "request has expired",
            "request is dated in the future",
            "request id was used for another request",
            "profile is not valid",
            "device is not a member of the profile",
        ]
    );
    assert_eq!(reasons.len(), 10);
    let tallies = records.iter().find_map(|record| match &record.event {
        AuditEvent::Strangers { tallies, .. } => Some(tallies),
        _ => None,
    });
    let tallies = tallies.expect("strangers are on record");
    let counted = |reason: &str| {
        let tally = tallies.iter().find(|tally| tally.reason == reason);
        tally.map(|tally| tally.count)
    };
    assert_eq!(counted("not an envelope"), Some(3));
    assert_eq!(counted("unknown device"), Some(1));
    assert_eq!(counted("refused, known device"), Some(35));
    assert_eq!(of_kind(&records, "serve").len(), 1);
    assert_eq!(of_kind(&records, "stop").len(), 1);
    let loaded = |record: &AuditRecord| matches!(record.event, AuditEvent::PolicyLoaded { .. });
    assert!(records.iter().any(loaded));
}

/// What is refused before anybody looks whose it is, and what a session refuses, is counted by its reason.
#[test]
fn each_reason_to_turn_a_request_away_is_counted_apart() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Serve::on(&home)
        .with("OSTRAKON_LIMITS_BODY_BYTES", "65536")
        .with("OSTRAKON_LIMITS_BODY_SECONDS", "1")
        .start();
    let at = server.address;
    let status = |bytes: &[u8]| exchange(at, bytes).unwrap().status;
    let post_of =
        |fields: &str| format!("POST /v1/requests HTTP/1.1\r\nhost: x\r\n{fields}\r\n\r\n");
    let typed = |length: u32| {
        let fields = format!("content-type: {ENVELOPE_TYPE}\r\ncontent-length: {length}");
        post_of(&fields).into_bytes()
    };
    assert_eq!(status(post_of("content-length: 0").as_bytes()), 415);
    assert_eq!(status(&typed(65537)), 413);
    assert_eq!(status(&typed(65537)), 413);
    // A byte that never comes.
    assert_eq!(status(&typed(1)), 408);
    assert_eq!(
        status(post_of("transfer-encoding: chunked").as_bytes()),
        411
    );
    assert_eq!(status(b"no request\r\n\r\n"), 400);
    assert_eq!(
        status(post_of(&format!("x: {}", "x".repeat(1 << 16))).as_bytes()),
        431
    );

    let user = TestUser::onboard(&server.identity, at);
    let session = user.session(at, now()).unwrap();
    let body = user.body(vec![Item::ProfileHead]);
    let (message, _) = session.seal(&body).unwrap();
    assert_eq!(post(at, &message).status, 200);
    assert_eq!(post(at, &message).status, 400);
    server.stop();
    let server = Serve::on(&home).start();
    let (message, _) = session.seal(&body).unwrap();
    assert_eq!(post(server.address, &message).status, 400);
    server.stop();

    // In one record or several: they are written once a minute and at the stop.
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for record in home.records().audit {
        if let AuditEvent::Strangers { tallies, .. } = record.event {
            for tally in tallies {
                *counted.entry(tally.reason).or_default() += tally.count;
            }
        }
    }
    let expected = [
        ("head too large", 1),
        ("not a whole request", 1),
        ("of another content type", 1),
        ("of no stated length", 1),
        ("repeated message of a session", 1),
        ("too large", 2),
        ("too slow", 1),
        ("unknown session", 1),
    ];
    let expected = expected.map(|(reason, count)| (reason.to_owned(), count));
    assert_eq!(counted, BTreeMap::from(expected));
}

#[test]
fn checkpoints_cover_the_log_and_go_to_every_place() {
    let home = TestHome::create(APPROVE_ALL);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("checkpoints");
    let socket = elsewhere.path().join("log");
    let log = UnixDatagram::bind(&socket).unwrap();
    let server = Serve::on(&home)
        .with("OSTRAKON_AUDIT_CHECKPOINT_FILE", file.to_str().unwrap())
        .with("OSTRAKON_AUDIT_SYSLOG", socket.to_str().unwrap())
        .start();
    let mut buffer = [0; 4096];
    let length = log.recv(&mut buffer).unwrap();
    let first = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(
        first.starts_with("<85>") && first.contains("ostrakon-checkpoint-1:"),
        "{first}"
    );
    let user = TestUser::onboard(&server.identity, server.address);
    assert!(
        user.decrypt(server.address, &user.file("Public/a"))
            .releases()
    );
    let status = json(&home, &["status"]);
    assert_eq!(status["audit"]["writable"], true, "{status}");
    assert_eq!(status["audit"]["checkpoint"], 1);
    assert!(server.stop().0.success());

    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(
        text.lines().count(),
        2,
        "one at the start, one at the stop: {text}"
    );
    let state = fs::read_to_string(home.home().audit_state()).unwrap();
    assert_eq!(Some(state.trim_end()), text.lines().last());
    let said = json(
        &home,
        &[
            "audit",
            "verify",
            "--quotas",
            "--checkpoints",
            file.to_str().unwrap(),
        ],
    );
    assert_eq!(
        (&said["uncovered"], &said["checkpoints"]),
        (&0.into(), &2.into()),
        "{said}"
    );
    assert_eq!(said["compared"], 3, "{said}");
    let human = done(&home, &["audit", "verify"]);
    assert!(
        human.contains("checkpoint 2 covers all of them\n"),
        "{human}"
    );
    for path in [home.home().audit_state(), home.home().audit_head()] {
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    // Whoever has the database and the home puts an older state of both back: the file elsewhere knows.
    let forged = text.replacen("ostrakon-checkpoint-1:", "ostrakon-checkpoint-1:A", 1);
    let altered = elsewhere.path().join("altered");
    fs::write(&altered, forged).unwrap();
    let found = faults(&home, &["--checkpoints", altered.to_str().unwrap()]);
    assert_eq!(found, [("witness_lost".to_owned(), 0, 0)]);
    let newest = said["records"].as_u64().unwrap();
    home.sql("DELETE FROM audit WHERE sequence > 2");
    home.sql("DELETE FROM checkpoints WHERE number > 1");
    fs::write(home.home().audit_state(), text.lines().next().unwrap()).unwrap();
    fs::remove_file(home.home().audit_head()).unwrap();
    let inside = faults(&home, &[]);
    assert_eq!(
        inside,
        [
            ("witness_lost".to_owned(), 0, 0),
            ("state".to_owned(), 0, 0)
        ][..inside.len()]
    );
    let outside = faults(&home, &["--checkpoints", file.to_str().unwrap()]);
    assert!(
        outside.contains(&("checkpoint_missing".to_owned(), 2, 2)),
        "{outside:?}"
    );
    assert!(
        outside.contains(&("cut_off".to_owned(), 3, newest)),
        "{outside:?}"
    );
}

/// The newest records are removed while the server is down. It starts, answers nothing, says why, and no
/// number is given twice.
#[test]
fn a_server_whose_newest_records_are_gone_answers_nothing_until_it_is_enabled() {
    let home = TestHome::create(&daily_limit(9));
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    let file = user.file("Public/a");
    assert!(user.decrypt(server.address, &file).is(&file));
    // Killed: no checkpoint covers the newest ones, but the head file knows them.
    server.kill();
    let before = json(&home, &["audit", "verify"]);
    let newest = before["records"].as_u64().unwrap();
    assert_eq!(before["fault_count"], 0, "{before}");
    home.sql("DELETE FROM audit WHERE sequence > 3");
    home.sql("UPDATE counters SET count = 0 WHERE rule = 'daily'");
    assert_eq!(faults(&home, &[]), [("cut_off".to_owned(), 4, newest)]);
    let status = done(&home, &["status"]);
    assert!(
        status.contains(&format!("trouble    records 4 to {newest} are missing")),
        "{status}"
    );

    let server = Keyserver::start(&home);
    let log = server.log();
    assert!(
        log.contains("the audit log is not where it was left"),
        "{log}"
    );
    assert_eq!(
        user.decrypt(server.address, &file).denial(),
        Some(Denial::Disabled)
    );
    let status = json(&home, &["status"]);
    assert_eq!(status["state"], "disabled");
    let trouble = status["audit"]["trouble"][0].as_str().unwrap();
    assert!(trouble.contains("the head file knows them"), "{trouble}");
    done(&home, &["enable"]);
    assert!(user.decrypt(server.address, &file).is(&file));
    server.stop();
    // It stays so over a restart, and stays visible.
    let server = Keyserver::start(&home);
    assert!(user.decrypt(server.address, &file).is(&file));
    server.stop();
    assert_eq!(
        faults(&home, &[]),
        [("missing_known".to_owned(), 4, newest)]
    );
    let tail = done(&home, &["audit", "tail", "-n", "100"]);
    assert!(
        tail.contains(&format!("{}  chain_broken", newest + 1)),
        "{tail}"
    );
}

#[test]
fn a_command_on_a_stopped_server_does_not_pass_over_a_cut() {
    let home = TestHome::create(APPROVE_ALL);
    Keyserver::start(&home).stop();
    home.sql("DELETE FROM audit WHERE sequence > 1");
    let ran = keyserver(&home, &["enable"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("is not where it was left"), "{ran:?}");
    assert_eq!(keyserver(&home, &["enable"]).code, Some(0));
}

#[test]
fn counters_that_were_set_back_are_found_and_quotas_are_listed_and_cleared() {
    let home = TestHome::create(&daily_limit(2));
    assert_eq!(done(&home, &["disable"]), "key shard server disabled\n");
    done(&home, &["enable"]);
    let server = Keyserver::start(&home);
    let at = server.address;
    assert_eq!(done(&home, &["quota", "list"]), "no profile is at quota\n");
    let users: Vec<TestUser> = (0..3)
        .map(|_| TestUser::onboard(&server.identity, at))
        .collect();
    for user in &users[..2] {
        for _ in 0..2 {
            assert!(user.decrypt(at, &user.file("Public/a")).releases());
        }
        assert!(user.decrypt(at, &user.file("Public/a")).denial().is_some());
    }
    assert!(users[2].decrypt(at, &users[2].file("Public/a")).releases());
    let listed = |home: &TestHome| -> Vec<String> {
        let listed = json(home, &["quota", "list"]);
        let profiles = listed.as_array().unwrap().iter().map(|at| {
            assert_eq!((&at["count"], &at["limit"]), (&2.into(), &2.into()), "{at}");
            assert_eq!(
                (&at["rule_id"], &at["period"]),
                (&"daily".into(), &"day".into())
            );
            assert_eq!(at["resets_at"].as_i64().unwrap() % 86_400_000, 0);
            at["profile"].as_str().unwrap().to_owned()
        });
        profiles.collect()
    };
    let mut full: Vec<String> = users[..2]
        .iter()
        .map(|user| user.profile.to_string())
        .collect();
    full.sort();
    assert_eq!(listed(&home), full);
    assert!(faults(&home, &["--quotas"]).is_empty());
    // By id while it runs, by words while it does not.
    let id = users[0].profile.to_string();
    assert_eq!(
        done(&home, &["quota", "clear", "--profile", &id]),
        "1 counters are at zero\n"
    );
    assert_eq!(listed(&home), [users[1].profile.to_string()]);
    assert!(users[0].decrypt(at, &users[0].file("Public/a")).releases());
    assert!(
        users[1]
            .decrypt(at, &users[1].file("Public/a"))
            .denial()
            .is_some()
    );
    server.stop();
    assert_eq!(listed(&home), [users[1].profile.to_string()]);
    let human = done(&home, &["quota", "list"]);
    assert!(human.contains("2 of 2 today by `daily`, until "), "{human}");
    let words = json(&home, &["quota", "list"])[0]["words"]
        .as_str()
        .unwrap()
        .to_owned();
    for (name, code) in [("river amber", 2), ("a b c d", 1), (&id[1..], 2)] {
        let ran = keyserver(&home, &["quota", "clear", "--profile", name]);
        assert_eq!(ran.code, Some(code), "{name}: {ran:?}");
    }
    for arguments in [
        &["quota", "clear"][..],
        &["quota", "clear", "--all", "--profile", &id],
    ] {
        assert_eq!(keyserver(&home, arguments).code, Some(2), "{arguments:?}");
    }
    done(
        &home,
        &["quota", "clear", "--profile", &words.replace(' ', "-")],
    );
    assert!(listed(&home).is_empty());
    assert!(faults(&home, &["--quotas"]).is_empty());
    // Everybody's; what the server counts over all of them stays.
    done(&home, &["quota", "clear", "--all"]);
    assert_eq!(home.sql("UPDATE counters SET count = count"), 1);
    assert!(faults(&home, &["--quotas"]).is_empty());
    home.sql("DELETE FROM counters");
    assert_eq!(faults(&home, &["--quotas"]), [("counter".to_owned(), 0, 0)]);
    let records = home.records().audit;
    let cleared = |record: &&AuditRecord| matches!(record.event, AuditEvent::QuotaCleared { .. });
    assert_eq!(records.iter().filter(cleared).count(), 3);
}

#[test]
fn records_are_shown_and_exported_by_number_time_and_form() {
    let home = TestHome::create(APPROVE_ALL);
    let server = LocalServer::start(&home, NOW);
    let at = server.address;
    let user = TestUser::new(&server.identity);
    let (envelope, _) = user.first_contact(&user.body_at(NOW, vec![user.founding()]));
    assert_eq!(post(at, &envelope).status, 200);
    for minute in 0..5 {
        let now = NOW.plus(minute * 60_000);
        server.set_clock(now);
        let file = user.file(&format!("Public/{minute} = a|b"));
        assert!(
            user.ask(at, &user.body_at(now, vec![file.item()]))
                .is(&file)
        );
    }
    server.stop();
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let text = done(&home, arguments);
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let tail = lines(&["audit", "tail", "-n", "3", "--format", "json"]);
    assert_eq!(tail.len(), 3);
    assert_eq!(tail[2]["action"], "stop");
    assert_eq!(tail[1]["paths"][0], "Public/4 = a|b");
    assert_eq!(
        tail[1]["sequence"].as_u64().unwrap() + 1,
        tail[2]["sequence"].as_u64().unwrap()
    );
    let all = lines(&["audit", "export"]);
    assert_eq!(
        all.len() as u64,
        json(&home, &["audit", "verify"])["records"]
            .as_u64()
            .unwrap()
    );
    let some = lines(&[
        "audit",
        "export",
        "--since",
        "2026-02-25T06:14:20Z",
        "--until",
        "2026-02-25T06:16:20Z",
    ]);
    let paths: Vec<&str> = some
        .iter()
        .map(|one| one["paths"][0].as_str().unwrap())
        .collect();
    assert_eq!(
        paths,
        ["Public/1 = a|b", "Public/2 = a|b", "Public/3 = a|b"]
    );
    assert!(lines(&["audit", "export", "--since", "1h"]).is_empty() || NOW.0 > 1_790_000_000_000);
    let day = lines(&[
        "audit",
        "export",
        "--since",
        "2026-02-25",
        "--until",
        "2026-02-26",
    ]);
    assert_eq!(day.len(), all.len());
    assert!(lines(&["audit", "export", "--until", "2026-02-25"]).is_empty());
    let cef = done(&home, &["audit", "export", "--format", "cef"]);
    assert_eq!(cef.lines().count(), all.len());
    assert!(
        cef.lines()
            .all(|line| line.starts_with("CEF:0|Ostrakon|keyserver|")),
        "{cef}"
    );
    assert!(cef.contains("filePath=Public/1 \\= a|b"), "{cef}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export");
    let path = file.to_str().unwrap();
    done(&home, &["audit", "export", path]);
    assert_eq!(
        fs::read_to_string(&file).unwrap().lines().count(),
        all.len()
    );
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        keyserver(&home, &["audit", "export", path]).code,
        Some(1),
        "replaced"
    );
    for arguments in [
        &["audit", "export", "--since", "yesterday"][..],
        &["audit", "tail", "--format", "cef"],
        &["audit", "tail", "-n", "many"],
        &["audit", "archive"],
    ] {
        assert_eq!(keyserver(&home, arguments).code, Some(2), "{arguments:?}");
    }
}

fn archive(home: &TestHome, file: &Path) -> Value {
    json(home, &["audit", "archive", file.to_str().unwrap()])["archived"].clone()
}

#[test]
fn archives_take_records_out_of_a_running_and_of_a_stopped_server() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    for number in 0..5 {
        let file = user.file(&format!("Public/{number}"));
        assert!(user.decrypt(server.address, &file).is(&file));
    }
    server.stop();
    let folder = tempfile::tempdir().unwrap();
    let [first, second, third] = ["1", "2", "3"].map(|name| folder.path().join(name));
    let before = json(&home, &["audit", "verify"])["records"]
        .as_u64()
        .unwrap();
    let made = archive(&home, &first);
    assert_eq!(
        (&made["number"], &made["records"]),
        (&1.into(), &before.into()),
        "{made}"
    );
    let said = json(
        &home,
        &["audit", "verify", "--archive", first.to_str().unwrap()],
    );
    assert_eq!(
        said["records"], 1,
        "the record of the archive alone: {said}"
    );
    assert_eq!(said["archives"][0]["records"], before);
    let mode = fs::metadata(&first).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);

    let server = Serve::on(&home)
        .with("OSTRAKON_AUDIT_CHECKPOINT_SECONDS", "1")
        .start();
    assert!(
        user.decrypt(server.address, &user.file("Public/x"))
            .releases()
    );
    let made = archive(&home, &second);
    assert_eq!(made["number"], 2, "{made}");
    assert!(
        user.decrypt(server.address, &user.file("Public/y"))
            .releases()
    );
    assert!(faults(&home, &["--quotas"]).is_empty());
    // A file that is there is nothing to write to, and nothing is lost by trying.
    let again = keyserver(&home, &["audit", "archive", second.to_str().unwrap()]);
    assert_eq!(again.code, Some(1), "{again:?}");
    server.stop();
    archive(&home, &third);
    let all = [&first, &second, &third].map(|path| path.to_str().unwrap());
    let files = [&["--archive"][..], &all].concat();
    assert!(faults(&home, &files).is_empty());
    let mut bytes = fs::read(&second).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&second, bytes).unwrap();
    let ran = keyserver(&home, &[&["audit", "verify"][..], &files].concat());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    // The base cannot be taken away, nor an archived record be missed.
    home.sql("DELETE FROM archives WHERE number = 3");
    assert!(!faults(&home, &[]).is_empty());
}

#[test]
fn a_checkpoint_file_that_takes_nothing_makes_the_server_not_ready_and_stops_no_one() {
    let home = TestHome::create(APPROVE_ALL);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gone/checkpoints");
    let server = Serve::on(&home)
        .with("OSTRAKON_AUDIT_CHECKPOINT_FILE", file.to_str().unwrap())
        .with("OSTRAKON_AUDIT_CHECKPOINT_SECONDS", "86400")
        .start();
    let at = server.address;
    server.wait_for_log("an audit checkpoint is not where it should be");
    let ready = get(at, "/readyz").unwrap();
    assert_eq!(ready.status, 503);
    let said = String::from_utf8(ready.body).unwrap();
    assert!(
        said.contains("audit checkpoint cannot be written"),
        "{said}"
    );
    let status = done(&home, &["status"]);
    assert!(
        status.contains("cannot be written\ntrouble    the audit checkpoint"),
        "{status}"
    );
    // However often it is asked, it does not try again each time.
    for _ in 0..100 {
        assert_eq!(get(at, "/readyz").unwrap().status, 503);
    }
    let log = server.log();
    let tries = log.matches("an audit checkpoint is not where it should be");
    assert!(tries.count() < 20, "{log}");
    // The log itself is written: what is asked for is answered, and on record.
    let user = TestUser::onboard(&server.identity, at);
    assert!(user.decrypt(at, &user.file("Public/a")).releases());
    // With the place there, who asks finds out, within the second that it does not try again.
    fs::create_dir(folder.path().join("gone")).unwrap();
    let is_ready = || get(at, "/readyz").unwrap().status == 200;
    assert!((0..2000).any(|_| wait() || is_ready()), "{}", server.log());
    server.stop();
    let found = faults(&home, &["--checkpoints", file.to_str().unwrap()]);
    assert!(found.is_empty(), "{found:?}");
}

/// A disk that does not answer, or a pipe that nobody reads: the server waits for it on no thread that has
/// requests to answer.
#[test]
fn a_checkpoint_file_that_hangs_holds_nobody_up() {
    let home = TestHome::create(APPROVE_ALL);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoints");
    let server = Serve::on(&home)
        .with("OSTRAKON_AUDIT_CHECKPOINT_FILE", file.to_str().unwrap())
        .with("OSTRAKON_AUDIT_CHECKPOINT_SECONDS", "1")
        .with("TOKIO_WORKER_THREADS", "1")
        .start();
    let at = server.address;
    // The first one is taken, and the next ones go into a pipe.
    let is_taken = || fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'));
    assert!((0..2000).any(|_| wait() || is_taken()), "{}", server.log());
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    fs::rename(&pipe, &file).unwrap();
    let newest = || json(&home, &["status"])["audit"]["checkpoint"].as_u64();
    let before = newest();
    let user = TestUser::onboard(&server.identity, at);
    // The next one is made, and so about to be written.
    assert!(
        (0..2000).any(|_| wait() || newest() > before),
        "{}",
        server.log()
    );
    for number in 0..20 {
        let file = user.file(&format!("Public/{number}"));
        assert!(user.decrypt(at, &file).is(&file));
        assert_eq!(get(at, "/readyz").unwrap().status, 200);
    }
    // Opened for both, so that there is a reader until the server has stopped.
    let reader = fs::File::options().read(true).write(true).open(&file);
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    drop(reader);
}

#[test]
fn below_the_reserve_strangers_are_counted_and_known_devices_recorded() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    server.stop();
    // More than any disk has free: nothing is left for strangers.
    let server = Serve::on(&home)
        .with("OSTRAKON_AUDIT_RESERVE_BYTES", "1125899906842624")
        .start();
    let at = server.address;
    let recorded = || json(&home, &["audit", "verify"])["records"].clone();
    let before = recorded();
    assert_eq!(post(at, b"nothing").status, 400);
    // New profiles, what is denied, and what is no request of a member: nothing of it is written.
    for _ in 0..20 {
        let other = TestUser::new(&server.identity);
        for item in [
            other.founding(),
            other.file("Public/a").item(),
            Item::ProfileHead,
        ] {
            let (envelope, _) = other.first_contact(&other.body(vec![item]));
            let answer = post(at, &envelope);
            assert_eq!(
                (answer.status, answer.header("retry-after")),
                (503, Some("10"))
            );
        }
    }
    assert_eq!(recorded(), before);
    assert_eq!(home.sql("UPDATE profiles SET number = number"), 1);
    assert_eq!(home.sql("UPDATE requests SET decided_at = decided_at"), 1);
    // A known device is answered, whether or not it shows its card, and so is the operator.
    let file = user.file("Public/a");
    assert!(user.decrypt(at, &file).is(&file));
    let (envelope, pending) = user.first_contact(&user.body(vec![file.item()]));
    assert!(opened(&post(at, &envelope), &pending).is(&file));
    done(&home, &["disable"]);
    done(&home, &["enable"]);
    let log = server.log();
    assert_eq!(log.matches("the disk is almost full").count(), 1, "{log}");
    server.kill();
    let records = home.records();
    assert_eq!(records.released().len(), 2);
    let strangers = |record: &AuditRecord| matches!(record.event, AuditEvent::Strangers { .. });
    assert!(!records.audit.iter().any(strangers));
}
