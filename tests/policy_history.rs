//! Policies against what a real server did: `policy explain` and `policy simulate` over its audit log, and
//! a server with a rule of its own.
//!
//! Seen to fail: with the charges that did not fit left out of a denial's explanation, its record says
//! that the rule set approves; with the requests from before `--since` left out, the quota of the
//! simulation has room that it had not; with the bundled rules in place of those of the binary, none of
//! its commands takes the policy that its server runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::{fs, net::SocketAddr, path::PathBuf};

use ostrakon_custody::AuditEvent;
use ostrakon_shards::words::words;
use ostrakon_testkit::{
    File, Keyserver, Ran, Serve, TestHome, TestUser, command_of, keyserver_command, run,
    user::{opened, post},
};
use ostrakon_types::Denial;

/// So many files in any 24 hours, and what is public besides.
fn policy_of(count: u64) -> String {
    format!(
        "decrypt:\n  - - rule: meta-rule\n      paths: [/Public]\n  \
         - - rule: per-profile-throttle-rule\n      rule_id: daily\n      \
         limits: [{{count: {count}, per: day, sliding: true}}]\n  \
         - - rule: cel-rule\n      expression: 1 / 0 == 1\n"
    )
}

/// The suite of the rule that `examples/server-with-rule` adds.
const OWN_SUITE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/custom-rule/tests/own_folder.yml"
);

fn policy(home: &TestHome, arguments: &[&str]) -> Ran {
    run(keyserver_command(home.path()).arg("policy").args(arguments))
}

fn written(home: &TestHome, name: &str, text: &str) -> String {
    let path: PathBuf = home.path().join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Asks for a file and gives the request's id, and whether it was approved.
fn ask(user: &TestUser, at: SocketAddr, file: &File) -> (String, bool) {
    let body = user.body(vec![file.item()]);
    let asked = user.ask(at, &body);
    (body.request_id().to_string(), asked.is(file))
}

/// When the server decided a request, as `policy explain` tells it.
fn decided_at(home: &TestHome, id: &str) -> String {
    let ran = policy(home, &["explain", id]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let at = ran.stderr.strip_prefix("decrypt at ").unwrap();
    at.split(": ").next().unwrap().to_owned()
}

#[test]
fn what_was_decided_is_explained_and_decided_anew() {
    let home = TestHome::create(&policy_of(3));
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    let mut ids = Vec::new();
    for (path, expected) in [
        ("Vault/a", true),
        ("Vault/b", true),
        ("Public/c", true),
        ("Vault/d", true),
        ("Vault/e", false),
    ] {
        let (id, approved) = ask(&user, server.address, &user.file(path));
        assert_eq!(approved, expected, "{path}");
        ids.push(id);
    }
    // What a rule could not tell is in the log, without the path.
    server.wait_for_log(
        "a rule failed, which counts as not holding: the expression cannot be evaluated",
    );
    let log = server.log();
    assert!(!log.contains("Vault"), "{log}");

    // The record of a denial says why: what was used up, and what did not hold.
    let ran = policy(&home, &["explain", &ids[4]]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for said in [
        ": denied then\n",
        "denied: quota used up",
        "item 1 matches no entry: \"Vault/e\"",
        "would approve, but its quota is used up",
        "3 of 3 used in any 24 hours",
        "cel-rule (line 7) fails: the expression cannot be evaluated",
    ] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    let ran = policy(&home, &["explain", &ids[2], "--format", "json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.ends_with(": approved then\n"), "{ran:?}");
    let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(said[0]["outcome"]["rule_set"], 0);
    let elsewhere = user.body(vec![user.founding()]).request_id().to_string();
    for (request, said) in [
        (
            elsewhere.as_str(),
            "the audit log has no request of that id",
        ),
        (
            "yesterday",
            "`yesterday` is neither a file nor the id of a request",
        ),
    ] {
        let ran = policy(&home, &["explain", request]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(said), "{ran:?}");
    }

    // A request that might be made now: the counts are those of now.
    let question = |path: &str| {
        let profile = user.profile;
        let text = format!(
            "request: {{type: decrypt, device_id: '64', cryptographic_id: '63', \
             profile: {{id: '{profile}'}}, meta: [{{meta: {path}, complete: true}}]}}\n"
        );
        written(&home, "question.yml", &text)
    };
    let ran = policy(&home, &["explain", &question("Vault/f")]);
    assert!(ran.stdout.contains("denied: quota used up"), "{ran:?}");
    let ran = policy(&home, &["explain", &question("Public/f")]);
    assert!(ran.stdout.contains("approved by rule set 0"), "{ran:?}");

    // A stricter policy, from the fourth request on: those before it fill the quota.
    let stricter = written(&home, "stricter.yml", &policy_of(2));
    let since = decided_at(&home, &ids[3]);
    let profile = user.profile;
    let expected = format!(
        "1 of 2 requests would be decided otherwise\n  decrypt for {profile} in \"Vault\": 1 more denied\n"
    );
    let simulate = |file: &str, since: &str| policy(&home, &["simulate", file, "--since", since]);
    let ran = simulate(&stricter, &since);
    assert_eq!((ran.code, ran.stdout), (Some(0), expected.clone()));
    let open = written(&home, "open.yml", "decrypt: [[{rule: approve-rule}]]\n");
    let ran = simulate(&open, "2020-01-01");
    // The profile's registration is decided, too.
    assert!(ran.stdout.starts_with("1 of 6 requests"), "{ran:?}");
    assert!(
        ran.stdout.ends_with("in \"Vault\": 1 more approved\n"),
        "{ran:?}"
    );
    let same = simulate(home.home().policy().to_str().unwrap(), "2020-01-01");
    assert_eq!(same.stdout, "0 of 6 requests would be decided otherwise\n");
    let ran = simulate(&open, "9999-01-01");
    assert_eq!(ran.stdout, "0 of 0 requests would be decided otherwise\n");
    let bad = written(&home, "bad.yml", "decrypt: [[{rule: approve-rul}]]\n");
    assert_eq!(simulate(&bad, "2020-01-01").code, Some(4));
    let missing = simulate("none.yml", "2020-01-01");
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("\nhint: "), "{missing:?}");
    assert_eq!(simulate(&open, "yesterday").code, Some(2));

    // Nothing was charged by asking, and a server that has ended says the same.
    assert!(
        user.decrypt(server.address, &user.file("Vault/g"))
            .denial()
            .is_some()
    );
    server.stop();
    let ran = policy(
        &home,
        &["simulate", "--format", "json", &stricter, "--since", &since],
    );
    let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&said["compared"], &said["differences"][0]["denied_now"]),
        (&3.into(), &1.into())
    );
}

#[test]
fn a_limit_of_the_server_is_no_difference_of_policies() {
    let home = TestHome::create("decrypt: [[{rule: approve-rule}]]\n");
    let server = Serve::on(&home)
        .with("OSTRAKON_LIMITS_MAX_NEW_PROFILES_PER_DAY", "0")
        .start();
    let user = TestUser::new(&server.identity);
    let body = user.body(vec![user.founding()]);
    let (envelope, pending) = user.first_contact(&body);
    let answer = opened(&post(server.address, &envelope), &pending);
    assert!(
        matches!(answer.denial(), Some(Denial::ServerLimit { .. })),
        "{answer:?}"
    );
    server.stop();
    let records = home.records();
    let explained = records.audit.iter().any(|record| match &record.event {
        AuditEvent::Decided {
            explanation: Some(why),
            ..
        } => why.contains("max_new_profiles_per_day"),
        _ => false,
    });
    assert!(explained, "{:?}", records.audit);
    let file = home.home().policy();
    let ran = policy(
        &home,
        &["simulate", file.to_str().unwrap(), "--since", "2020-01-01"],
    );
    assert_eq!(ran.stdout, "0 of 0 requests would be decided otherwise\n");
}

#[test]
fn a_server_with_a_rule_of_its_own_has_every_command() {
    const PROGRAM: &str = "server-with-rule";
    let own = "decrypt:\n  - - rule: own-folder-rule\n      under: /home\n";
    let home = TestHome::create(own);
    let file = home.home().policy();
    let file = file.to_str().unwrap();
    let by = |program: &str, arguments: &[&str]| {
        run(command_of(program, home.path())
            .arg("policy")
            .args(arguments))
    };
    assert_eq!(by("keyserver", &["check", file]).code, Some(4));
    let ran = by(PROGRAM, &["check", "--strict", file]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    assert!(by(PROGRAM, &["schema"]).stdout.contains("own-folder-rule"));

    let server = Serve::on(&home).program(PROGRAM).start();
    let user = TestUser::onboard(&server.identity, server.address);
    let words = words(&user.founding.version().hash());
    let words: Vec<&str> = words.iter().take(2).collect();
    let path = format!("home/{}/notes", words.join("-"));
    let (kept, approved) = ask(&user, server.address, &user.file(&path));
    assert!(approved);
    let (other, approved) = ask(&user, server.address, &user.file("home/other/notes"));
    assert!(!approved);

    let ran = by(PROGRAM, &["explain", &kept]);
    assert!(
        ran.stdout.contains("own-folder-rule (line 2) holds"),
        "{ran:?}"
    );
    let ran = by(PROGRAM, &["explain", &other]);
    assert!(
        ran.stderr
            .contains("own-folder-rule (line 2) does not hold"),
        "{ran:?}"
    );
    // A time is told here as everywhere.
    let ran = by(PROGRAM, &["simulate", file, "--since", "1h"]);
    assert_eq!(
        ran.stdout, "0 of 3 requests would be decided otherwise\n",
        "{ran:?}"
    );
    home.write_policy("decrypt: [[{rule: own-folder-rule, under: /elsewhere}]]\n");
    assert_eq!(
        by(PROGRAM, &["--load"]).stdout,
        "policy version 2 is in force\n"
    );
    assert!(by(PROGRAM, &["--dump"]).stdout.contains("/elsewhere"));
    assert!(
        user.decrypt(server.address, &user.file(&path))
            .denial()
            .is_some()
    );

    let suite = fs::read_to_string(OWN_SUITE).unwrap();
    let suite = written(&home, "own_folder.yml", &suite);
    let ran = by(PROGRAM, &["test", &suite]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "5 passed, 0 failed\n"),
        "{ran:?}"
    );
    assert_eq!(by("keyserver", &["test", &suite]).code, Some(1));

    let quota = |program: &str| run(command_of(program, home.path()).args(["quota", "list"]));
    let running = quota(PROGRAM);
    assert_eq!(running.code, Some(0), "{running:?}");
    server.stop();
    let stopped = quota(PROGRAM);
    assert_eq!(
        (stopped.code, stopped.stdout.as_str()),
        (Some(0), running.stdout.as_str()),
        "{stopped:?}"
    );
    assert_eq!(quota("keyserver").code, Some(4));
}
