//! Policies through the binary: bad ones are refused fast, within memory, and change nothing.
//!
//! Seen to fail: with another policy put in force where the new one does not load, `--load` of a bad
//! one succeeds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::{fs, process::Command};

use ostrakon_testkit::{
    APPROVE_ALL, Keyserver, Ran, TestHome, TestUser, command::binary, daily_limit,
    keyserver_command, now, run,
};

fn policy(home: &TestHome, arguments: &[&str]) -> Ran {
    run(keyserver_command(home.path()).arg("policy").args(arguments))
}

#[test]
fn a_policy_is_put_in_force_whole_or_not_at_all() {
    let home = TestHome::create(APPROVE_ALL);
    // Nobody to load it into.
    for arguments in [["--load"], ["--dump"]] {
        let ran = policy(&home, &arguments);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(
            ran.stderr.contains("no key shard server runs on this home"),
            "{ran:?}"
        );
        assert!(ran.stderr.contains("hint: "), "{ran:?}");
    }
    let server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let file = user.file("Public/a");
    assert!(user.decrypt(at, &file).is(&file));

    let closed = "# closed\ndecrypt: []\n";
    home.write_policy(closed);
    // Writing the file alone changes nothing.
    assert!(user.decrypt(at, &file).is(&file));
    let ran = policy(&home, &["--load"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "policy version 2 is in force\n")
    );
    assert!(user.decrypt(at, &file).denial().is_some());
    assert_eq!(policy(&home, &["--dump"]).stdout, closed);

    for bad in [
        "decrypt: [[{rule: approve-rul}]]",
        "decrypt: [[{rule: approve-rule}]]\ncreate_profil: [[{rule: reject-rule}]]",
        "decrypt: [[{rule: approve-rule}]]\ndecrypt: [[{rule: approve-rule}]]",
        "",
        "decrypt: &a [*a]",
        "decrypt: [[{rule: meta-rule, regexes: ['(?=a)']}]]",
    ] {
        home.write_policy(bad);
        let ran = policy(&home, &["--load"]);
        assert_eq!(ran.code, Some(4), "{bad}: {ran:?}");
        assert!(ran.stderr.contains("the old one stays in force"), "{ran:?}");
        assert_eq!(ran.stdout, "");
        assert!(user.decrypt(at, &file).denial().is_some(), "{bad}");
        assert_eq!(policy(&home, &["--dump"]).stdout, closed);
    }
    // What is dumped loads again, byte for byte.
    let good = daily_limit(3);
    home.write_policy(&good);
    let ran = policy(&home, &["--load", "--format", "json"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (
            Some(0),
            "{\"policy_version\":3,\"quotas\":[\"quota `daily`: new\"]}\n"
        )
    );
    let dumped = home.path().join("dumped.yml");
    let ran = policy(&home, &["--dump", dumped.to_str().unwrap()]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(fs::read_to_string(&dumped).unwrap(), good);
    let ran = policy(&home, &["check", dumped.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let unwritable = home.path().join("no/such/folder");
    let ran = policy(&home, &["--dump", unwritable.to_str().unwrap()]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for number in 0..4 {
        assert_eq!(user.decrypt(at, &file).is(&file), number < 3);
    }
    // A lower limit applies to the count as it stands, and a higher one gives what is new in it.
    home.write_policy(&daily_limit(4));
    assert_eq!(policy(&home, &["--load"]).code, Some(0));
    assert!(user.decrypt(at, &file).is(&file));
    assert!(user.decrypt(at, &file).denial().is_some());
    // The newest is in force after a kill, too.
    server.kill();
    let server = Keyserver::start(&home);
    assert!(user.decrypt(server.address, &file).denial().is_some());
    assert_eq!(policy(&home, &["--dump"]).stdout, daily_limit(4));
}

/// Nine levels of nine aliases each: a billion leaves.
fn laughs() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let alias = format!("*a{}", level - 1);
        let aliases = [alias.as_str(); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    text + "decrypt: *a9\n"
}

#[test]
fn bombs_are_refused_fast_and_within_memory() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let user = TestUser::onboard(&server.identity, server.address);
    let file = user.file("Public/a");
    let before = server.peak_memory();
    let deep = |open: &str, close: &str, n: usize| {
        format!("decrypt: {}{}\n", open.repeat(n), close.repeat(n))
    };
    let bombs: Vec<(&str, String)> = vec![
        ("a billion laughs", laughs()),
        ("deep sequences", deep("[", "]", 100_000)),
        ("deep sequences without end", deep("[", "", 100_000)),
        ("deep mappings", deep("{a: ", "}", 50_000)),
        ("deep blocks", format!("decrypt:\n{}", "- ".repeat(50_000))),
        (
            "anchors without end",
            format!("decrypt: {}", "&a ".repeat(50_000)),
        ),
        (
            "many keys",
            (0..20_000).fold(String::new(), |text, n| text + &format!("k{n}: 1\n")),
        ),
        (
            "a wide rule",
            format!(
                "decrypt: [[{{rule: meta-rule, regexes: ['{}']}}]]",
                "(a{1000}){1000}".repeat(2)
            ),
        ),
        (
            "100 MB",
            format!(
                "decrypt: [[{{rule: approve-rule}}]]\n#{}",
                "x".repeat(100 << 20)
            ),
        ),
        ("100 MB of one word", "x".repeat(100 << 20)),
    ];
    for (what, text) in &bombs {
        home.write_policy(text);
        let path = home.home().policy();
        let began = now();
        // A limit on the address space, in KiB. Unoptimised code with its threads' stacks in it.
        let ran = run(Command::new("sh")
            .args(["-c", "ulimit -v 400000; exec \"$@\"", "sh"])
            .arg(binary("keyserver"))
            .args(["policy", "check"])
            .arg(&path));
        assert_eq!(ran.code, Some(4), "{what}: {}", shortened(&ran));
        assert!(
            ran.stderr.len() < 100_000,
            "{what}: {} bytes said",
            ran.stderr.len()
        );
        let ran = policy(&home, &["--load"]);
        assert!(
            matches!(ran.code, Some(4 | 1)),
            "{what}: {}",
            shortened(&ran)
        );
        // Generous: unoptimised code on a busy machine, twice. Optimised it takes less than a second.
        assert!(
            now().since(began) < 30_000,
            "{what}: {} ms",
            now().since(began)
        );
        assert!(user.decrypt(server.address, &file).is(&file), "{what}");
    }
    home.write_policy(APPROVE_ALL);
    let grown = server.peak_memory() - before;
    assert!(grown < 200_000, "{grown} KiB more in the server");
    assert!(!server.log().contains("panicked"));
    assert_eq!(policy(&home, &["--dump"]).stdout, APPROVE_ALL);
}

fn shortened(ran: &Ran) -> String {
    let text: String = ran.stderr.chars().take(600).collect();
    format!("{:?} {text}", ran.code)
}

#[test]
fn misspelt_policies_are_shown_where_they_are_wrong() {
    let home = TestHome::empty();
    let file = home.path().join("p.yml");
    let check = |text: &str, more: &[&str]| {
        fs::write(&file, text).unwrap();
        run(keyserver_command(home.path())
            .args(["policy", "check"])
            .args(more)
            .arg(&file))
    };
    let ran = check(
        "decrypt: []\ncreate_profil:\n  - - rule: reject-rule\n",
        &[],
    );
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("p.yml:2:1"), "{ran:?}");
    assert!(ran.stderr.contains("create_profil"), "{ran:?}");
    assert!(ran.stderr.contains("`create_profile`"), "{ran:?}");
    let ran = check(
        "decrypt:\n  - - rule: time-range-rule\n      time_stop: 8:00\n",
        &[],
    );
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("p.yml:3:"), "{ran:?}");
    assert!(ran.stderr.contains("time_stop"), "{ran:?}");
    // Everything that is wrong is said at once.
    let ran = check("decrypt: [[{rule: a}, {rule: b}]]\nserch: []\n", &[]);
    assert!(
        ["`a`", "`b`", "serch"]
            .iter()
            .all(|what| ran.stderr.contains(what)),
        "{ran:?}"
    );
    // Every key of a good policy, a letter short: never taken.
    let good = "decrypt:\n  - - rule: per-profile-throttle-rule\n      rule_id: q\n      per_day: 3\n      persistent: true\ncreate_profile:\n  - - rule: reject-rule\n";
    assert_eq!(check(good, &[]).code, Some(0));
    for key in [
        "decrypt",
        "rule:",
        "rule_id",
        "per_day",
        "persistent",
        "create_profile",
    ] {
        let shorter = key.trim_end_matches(':');
        let misspelt = good.replacen(shorter, &shorter[1..], 1);
        let ran = check(&misspelt, &[]);
        assert_eq!(ran.code, Some(4), "{key}: {ran:?}");
    }
    // A warning is one, and with `--strict` an error.
    let warns = "decrypt: []\ncreate_profile:\n  - - rule: meta-rule\n      paths: [/a]\n";
    let ran = check(warns, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("warning"), "{ran:?}");
    assert_eq!(check(warns, &["--strict"]).code, Some(4));
    let ran = check(warns, &["--format", "json", "--strict"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(said["ok"], false);
    let missing = home.path().join("none.yml");
    let missing = missing.to_str().unwrap();
    let ran = policy(&home, &["check", missing]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("\nhint: check the path"), "{ran:?}");
}

#[test]
fn whatever_is_missing_is_said_with_what_can_be_done() {
    let home = TestHome::empty();
    let good = home.path().join("good.yml");
    fs::write(&good, "decrypt: []\n").unwrap();
    let question = home.path().join("question.yml");
    let text = "request: {type: decrypt, device_id: '64', cryptographic_id: '63', profile: {id: da585c21572cc938b99cd6ab4df19e3d}}\n";
    fs::write(&question, text).unwrap();
    let good = good.to_str().unwrap();
    let question = question.to_str().unwrap();
    for arguments in [
        &["check", "no-such.yml"][..],
        &["check", home.path().to_str().unwrap()],
        &["test", "no-such.yml"],
        &["explain", question],
        &["explain", "no-such.yml"],
        &["explain", "--policy", "no-such.yml", question],
        &["simulate", "no-such.yml", "--since", "2026-03-09"],
        &["simulate", good, "--since", "2026-03-09"],
        &["--load"],
    ] {
        let ran = policy(&home, arguments);
        assert_eq!(ran.code, Some(1), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.starts_with("error: "), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("\nhint: "), "{arguments:?}: {ran:?}");
        assert_eq!(ran.stderr.lines().count(), 2, "{arguments:?}: {ran:?}");
    }
    // Without a server, a request in a file is explained all the same.
    let ran = policy(&home, &["explain", "--policy", good, question]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // What is wrong with a request is shown where it is.
    for (right, wrong, said) in [
        (
            "decrypt",
            "decrpt",
            "error: request: unknown request type `decrpt`",
        ),
        ("request", "requst", "error: unknown field `requst`"),
        (
            "request",
            "at: noon\nrequest",
            "error: `noon` is no instant; write it like",
        ),
    ] {
        fs::write(question, text.replacen(right, wrong, 1)).unwrap();
        let ran = policy(&home, &["explain", "--policy", good, question]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.starts_with(said), "{said}: {ran:?}");
        assert!(ran.stderr.contains("question.yml:1:"), "{ran:?}");
    }
}

#[test]
fn suites_say_what_failed_and_why() {
    let home = TestHome::empty();
    let suite = |name: &str, expected: &str| {
        let path = home.path().join(name);
        let text = format!(
            "name: office hours\ntimezone: UTC\n\
             policy: {{decrypt: [[{{rule: time-range-rule, time_start: \"8:00am\", time_end: \"6:00pm\"}}]]}}\n\
             load: ok\ncases:\n  - at: 2022-03-09T19:00:00Z\n    request:\n      type: decrypt\n      \
             device_id: \"646576\"\n      profile: {{id: da585c21572cc938b99cd6ab4df19e3d, words: [river, amber, staple, cactus]}}\n      \
             meta: [{{meta: root/file.txt, complete: true}}]\n      cryptographic_id: \"636964\"\n    \
             expect: {{decision: {expected}}}\n"
        );
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = suite("good.yml", "deny");
    let bad = suite("wrong.yml", "approve");
    let ran = policy(&home, &["test", &good]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "1 passed, 0 failed\n"),
        "{ran:?}"
    );
    let ran = policy(&home, &["test", &good, &bad]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.ends_with("1 passed, 1 failed\n"), "{ran:?}");
    assert!(ran.stdout.contains("office hours"), "{ran:?}");
    assert!(
        ran.stdout.contains("time-range-rule"),
        "no explanation: {ran:?}"
    );
    let ran = policy(
        &home,
        &["test", "--format", "json", home.path().to_str().unwrap()],
    );
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&said["passed"], &said["failed"]), (&1.into(), &1.into()));
    let broken = home.path().join("broken.yml");
    fs::write(&broken, "name: x\ncasess: []\n").unwrap();
    let ran = policy(&home, &["test", broken.to_str().unwrap()]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let ran = policy(
        &home,
        &["test", "--format", "json", broken.to_str().unwrap()],
    );
    let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(said["failed"], 1);
    assert_eq!(said["unread"][0]["line"], 2, "{said}");
    let empty = tempfile::tempdir().unwrap();
    let ran = policy(&home, &["test", empty.path().to_str().unwrap()]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("there are no suites"), "{ran:?}");
}
