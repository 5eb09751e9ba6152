//! `ostrakon bench` against a running server: what it counts is what the server has on record.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::process::Command;

use ostrakon_testkit::{APPROVE_ALL, Keyserver, Ran, TestHome, command::binary, daily_limit, run};
use serde_json::Value;

/// Runs for a second, without a warm-up, as somebody who has no home.
fn bench(server: &str, flags: &[&str]) -> (Ran, Value) {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary("ostrakon"));
    command
        .env_remove("OSTRAKON_ENTERPRISE_CONFIG")
        .env("XDG_CONFIG_HOME", home.path())
        .arg("--home")
        .arg(home.path().join("home"))
        .args(["--format", "json", "bench", "--server", server])
        .args(["--seconds", "1", "--warm-up", "0", "--connections", "4"])
        .args(flags);
    let ran = run(&mut command);
    let report = serde_json::from_str(&ran.stdout).unwrap_or_default();
    (ran, report)
}

#[test]
fn what_a_benchmark_counts_is_on_record() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let url = format!("http://{}", server.address);
    let mut expected = 0;
    for (flags, mode, batch) in [
        (&[][..], "session", 1),
        (&["--fresh"], "fresh", 1),
        (&["--batch", "64"], "session", 64),
        (&["--suite", "x-wing", "--batch", "3"], "session", 3),
    ] {
        let (ran, report) = bench(&url, flags);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let number = |key: &str| report[key].as_u64().unwrap();
        assert_eq!(report["mode"], mode);
        assert!(number("requests") > 0);
        assert_eq!(number("released"), number("requests") * batch);
        assert_eq!((number("wrong"), number("failed")), (0, 0));
        let latency = |key: &str| report["latency_ms"][key].as_f64().unwrap();
        assert!(0.0 < latency("p50") && latency("p50") <= latency("p99"));
        assert!(latency("p99") <= latency("p99.9") && latency("p99.9") <= latency("max"));
        // And one request before the first that counts.
        expected += number("released") + batch;
    }
    assert!(server.stop().0.success());
    assert_eq!(home.records().released().len() as u64, expected);
}

#[test]
fn what_a_quota_denies_is_told_apart() {
    let home = TestHome::create(&daily_limit(10));
    let server = Keyserver::start(&home);
    let (ran, report) = bench(&format!("http://{}", server.address), &[]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    // One was released before the first that counts.
    assert_eq!(report["released"], 9);
    let denied = report["denied"]["quota"].as_u64().unwrap();
    assert_eq!(denied + 9, report["requests"].as_u64().unwrap());
    assert!(server.stop().0.success());
    assert_eq!(home.records().released().len(), 10);
}

#[test]
fn other_machines_are_asked_only_when_told_to() {
    let (ran, _) = bench("http://192.0.2.1:7420", &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("--allow-remote"), "{ran:?}");
}
