//! The rules of the house that no compiler checks: what is depended upon, and where that is said.

mod workspace;

use std::collections::BTreeSet;
use std::env;
use std::process::Command;

use toml::{Table, Value};
use workspace::{Member, Outcome, members, read, root};

/// Names the packages that `package` itself, without its tests, is built from.
fn normal_tree(package: &str) -> Outcome<BTreeSet<String>> {
    let cargo = env::var_os("CARGO").ok_or("not run by cargo")?;
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "--edges=normal,build"])
        .args(["--prefix=none", "--format={p}", "--package", package])
        .current_dir(root()?)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let names = text.lines().filter_map(|line| line.split(' ').next());
    Ok(names.map(str::to_owned).collect())
}

/// The entries of `[workspace.dependencies]` in the text of the root's manifest that have no
/// reason: the rule is one entry a line, and behind it `# why`. The workspace's own crates need
/// none, for ARCHITECTURE.md says what they are for.
fn without_reason(manifest: &str) -> Vec<&str> {
    let section = manifest
        .lines()
        .skip_while(|line| *line != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['));
    let entries = section.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let foreign = entries.filter(|line| !line.contains("path = \"crates/"));
    foreign
        .filter(|line| match line.rsplit_once(" # ") {
            Some((entry, reason)) => reason.trim().is_empty() || entry.parse::<Table>().is_err(),
            None => true,
        })
        .collect()
}

/// The dependencies in a crate's manifest that say more of where they come from than
/// `workspace = true`, or something else.
fn said_elsewhere(manifest: &Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values);
    let tables = targets.filter_map(Value::as_table).chain([manifest]);
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    tables
        .flat_map(|table| kinds.iter().filter_map(|kind| table.get(*kind)))
        .filter_map(Value::as_table)
        .flatten()
        .filter(|(_, entry)| entry.get("workspace").and_then(Value::as_bool) != Some(true))
        .map(|(name, _)| name.clone())
        .collect()
}

#[test]
fn the_policy_engine_brings_no_runtime_and_no_database() -> Outcome {
    let tree = normal_tree("ostrakon-policy")?;
    assert!(
        tree.contains("ostrakon-types"),
        "the tree was read: {tree:?}"
    );
    for absent in [
        "tokio",
        "sqlx",
        "sqlx-core",
        "libsqlite3-sys",
        "axum",
        "hyper",
    ] {
        assert!(!tree.contains(absent), "ostrakon-policy needs {absent}");
    }
    Ok(())
}

#[test]
fn every_dependency_has_a_reason() -> Outcome {
    let manifest = read("Cargo.toml")?;
    let bare = without_reason(&manifest);
    assert!(bare.is_empty(), "no `# reason` behind: {bare:#?}");
    Ok(())
}

#[test]
fn a_planted_dependency_without_reason_is_caught() {
    let manifest = "[workspace.dependencies]\n\
        ours = { path = \"crates/ours\" }\n\
        # A heading is no reason.\n\
        good = \"1\" # the only one that does it\n\
        bare = \"1\"\n\
        long = [\n\
        [workspace.lints.rust]\n\
        unsafe_code = \"forbid\"\n";
    assert_eq!(without_reason(manifest), ["bare = \"1\"", "long = ["]);
}

#[test]
fn dependencies_are_declared_in_the_root_alone() -> Outcome {
    let members = members()?;
    let elsewhere: Vec<String> = members
        .iter()
        .flat_map(
            |Member {
                 package,
                 folder,
                 manifest,
             }| {
                let names = said_elsewhere(manifest).into_iter();
                names.map(move |name| format!("{} ({folder}): {name}", package.name))
            },
        )
        .collect();
    assert!(
        elsewhere.is_empty(),
        "no `workspace = true`: {elsewhere:#?}"
    );
    Ok(())
}

#[test]
fn a_planted_declaration_is_caught() -> Outcome {
    let manifest: Table = "[dependencies]\n\
        good.workspace = true\n\
        own = \"1\"\n\
        [target.'cfg(unix)'.dev-dependencies]\n\
        other = { version = \"1\" }\n"
        .parse()?;
    let mut names = said_elsewhere(&manifest);
    names.sort();
    assert_eq!(names, ["other", "own"]);
    Ok(())
}
