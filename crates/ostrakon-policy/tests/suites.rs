//! Runs the recorded suites that are kept beside the repository, where there are any.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use ostrakon_policy::{
    Registry,
    suite::{Suite, run},
};

fn folder() -> Option<PathBuf> {
    let shared = env::var_os("OSTRAKON_SHARED").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    [shared, Some(beside)]
        .into_iter()
        .flatten()
        .map(|shared| shared.join("policy-conformance"))
        .find(|folder| folder.is_dir())
}

#[test]
fn recorded_suites_hold() {
    let Some(folder) = folder() else {
        return;
    };
    let registry = Registry::bundled();
    let (mut passed, mut failures) = (0, String::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let suite = Suite::from_str(&path.to_string_lossy(), &text).unwrap();
        let report = run(&suite, &registry);
        passed += report.passed();
        if report.failed() > 0 {
            failures += &format!("{report}\n");
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(passed > 0);
}
