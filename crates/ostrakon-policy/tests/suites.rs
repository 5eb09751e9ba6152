//! Runs policy suites: those of this crate always, and the recorded ones where there are any.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use jiff::tz::TimeZone;
use ostrakon_policy::{
    Loaded, Policy, Registry,
    suite::{Suite, run_with},
};

/// The folder of recorded suites, beside the repository or where the environment says.
fn recorded() -> Option<PathBuf> {
    let shared = env::var_os("OSTRAKON_SHARED").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    [shared, Some(beside)]
        .into_iter()
        .flatten()
        .map(|shared| shared.join("policy-conformance"))
        .find(|folder| folder.is_dir())
}

/// Runs all suites in a folder; yields how many cases passed, and the reports of suites that failed.
fn run_folder(folder: &Path) -> (usize, String) {
    let registry = Registry::bundled();
    let (mut passed, mut failures) = (0, String::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let text_is_policy = !text.starts_with('{') && !text.contains("timezone:");
        if text_is_policy || path.ends_with("sample-policy.yml") || path.ends_with("README.md") {
            continue;
        }
        let suite = Suite::from_str(&path.to_string_lossy(), &text)
            .unwrap_or_else(|error| panic!("{error}"));
        let read =
            |file: &str| fs::read_to_string(folder.join(file)).map_err(|error| error.to_string());
        let report = run_with(&suite, &registry, read);
        passed += report.passed();
        if report.failed() > 0 {
            failures += &format!("{report}\n");
        }
    }
    (passed, failures)
}

#[test]
fn suites_of_this_crate_hold() {
    let (passed, failures) = run_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("suites"));
    assert!(failures.is_empty(), "{failures}");
    assert_eq!(passed, 43);
}

#[test]
fn suites_of_the_sample_policies_hold() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies");
    let (passed, failures) = run_folder(&samples);
    assert!(failures.is_empty(), "{failures}");
    assert_eq!(passed, 10);
    for entry in fs::read_dir(samples).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        if text.contains("policy_file:") {
            continue;
        }
        let loaded = Policy::load("f", &text, &TimeZone::UTC, &Registry::bundled());
        let policy = loaded.and_then(Loaded::deny_warnings);
        assert!(policy.is_ok(), "{}: {policy:?}", path.display());
    }
}

#[test]
fn recorded_suites_hold() {
    let Some(folder) = recorded() else {
        eprintln!("no recorded suites beside the repository: nothing to run");
        return;
    };
    let (passed, failures) = run_folder(&folder);
    assert!(failures.is_empty(), "{failures}");
    eprintln!("{passed} recorded cases passed");
    assert!(passed > 0);
}
