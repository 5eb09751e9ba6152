//! The layers: which crate of the workspace may name which.
//!
//! The table below decides; ARCHITECTURE.md shows the same list. A new edge is a decision: it is
//! added to both, with the reason in the commit.

mod workspace;

use std::collections::BTreeSet;
use std::fmt;

use cargo_metadata::DependencyKind;
use workspace::{Member, Outcome, members, read};

/// Each crate's folder and the crates that it may name, lower layers first. Everyone may name
/// [`VALUES`], listed or not.
const LAYERS: &[(&str, &[&str])] = &[
    ("crates/ostrakon-types", &[]),
    ("crates/ostrakon-shards", &["ostrakon-types"]),
    ("crates/ostrakon-policy", &["ostrakon-types"]),
    (
        "crates/ostrakon-storage",
        &["ostrakon-types", "ostrakon-shards"],
    ),
    (
        "crates/ostrakon-custody",
        &["ostrakon-types", "ostrakon-shards", "ostrakon-storage"],
    ),
    (
        "crates/ostrakon-transport",
        &["ostrakon-types", "ostrakon-shards"],
    ),
    (
        "crates/ostrakon-server",
        &[
            "ostrakon-types",
            "ostrakon-shards",
            "ostrakon-policy",
            "ostrakon-storage",
            "ostrakon-custody",
            "ostrakon-transport",
        ],
    ),
    (
        "crates/ostrakon-client",
        &["ostrakon-types", "ostrakon-shards", "ostrakon-transport"],
    ),
    (
        "crates/ostrakon-backup",
        &["ostrakon-types", "ostrakon-shards", "ostrakon-storage"],
    ),
    ("crates/ostrakon-testdb", &[]),
    (
        "crates/ostrakon-testkit",
        &[
            "ostrakon-testdb",
            "ostrakon-types",
            "ostrakon-shards",
            "ostrakon-policy",
            "ostrakon-storage",
            "ostrakon-custody",
            "ostrakon-transport",
            "ostrakon-server",
            "ostrakon-client",
        ],
    ),
    // The demonstration backs a server up.
    (
        "bins/keyserver",
        &["ostrakon-backup", "ostrakon-server", "ostrakon-client"],
    ),
    ("bins/ostrakon", &["ostrakon-client"]),
    // The drill runs a server, and a user who asks it.
    (
        "bins/keybackup",
        &["ostrakon-backup", "ostrakon-server", "ostrakon-client"],
    ),
    // Examples stand where a user of the product stands: above what he may name.
    (
        "examples/custom-rule",
        &["ostrakon-types", "ostrakon-policy"],
    ),
    (
        "examples/embed-policy",
        &["ostrakon-types", "ostrakon-policy"],
    ),
    ("examples/server-with-rule", &["keyserver", "custom-rule"]),
    (
        "tests",
        &[
            "ostrakon-types",
            "ostrakon-shards",
            "ostrakon-policy",
            "ostrakon-storage",
            "ostrakon-custody",
            "ostrakon-transport",
            "ostrakon-server",
            "ostrakon-client",
        ],
    ),
];

/// Edges that only tests may have, over those of [`LAYERS`]: who, and whom.
const TEST_EDGES: &[(&str, &str)] = &[
    ("ostrakon-storage", "ostrakon-testdb"),
    ("ostrakon-tests", "ostrakon-testdb"),
];

/// The plain values, which everyone may name.
const VALUES: &str = "ostrakon-types";

/// The fixtures, which any crate's tests may name and nothing else may.
const FIXTURES: &str = "ostrakon-testkit";

/// `from` names `to` in its manifest.
struct Edge {
    from: String,
    to: String,
    kind: DependencyKind,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, kind } = self;
        match kind {
            DependencyKind::Normal => write!(f, "{from} -> {to}"),
            kind => write!(f, "{from} -> {to} ({kind})"),
        }
    }
}

impl Edge {
    fn is_allowed(&self) -> bool {
        let for_tests = self.kind == DependencyKind::Development;
        if self.to == FIXTURES {
            return for_tests;
        }
        let listed = LAYERS
            .iter()
            .any(|(folder, named)| package_of(folder) == self.from && named.contains(&&*self.to));
        let listed_for_tests = || TEST_EDGES.contains(&(&*self.from, &*self.to));
        self.to == VALUES || listed || (for_tests && listed_for_tests())
    }
}

/// The package that a folder holds: of the folder's name, but for the tests.
fn package_of(folder: &str) -> &str {
    match folder {
        "tests" => "ostrakon-tests",
        folder => folder.rsplit('/').next().unwrap_or(folder),
    }
}

fn edges(members: &[Member]) -> Vec<Edge> {
    let ours: BTreeSet<&str> = members.iter().map(|m| m.package.name.as_str()).collect();
    let edges = members.iter().flat_map(|member| {
        let named = member.package.dependencies.iter();
        named.map(|dependency| Edge {
            from: member.package.name.to_string(),
            to: dependency.name.clone(),
            kind: dependency.kind,
        })
    });
    edges.filter(|edge| ours.contains(&*edge.to)).collect()
}

fn forbidden(edges: &[Edge]) -> Vec<String> {
    let bad = edges.iter().filter(|edge| !edge.is_allowed());
    bad.map(Edge::to_string).collect()
}

/// The list in ARCHITECTURE.md: the lines of its code blocks that lead from a folder to crates.
fn documented(text: &str) -> Vec<(String, Vec<String>)> {
    let code = text.split("```").skip(1).step_by(2);
    let lines = code.flat_map(str::lines);
    let arrows = lines.filter_map(|line| line.split_once("->"));
    let roots = ["crates/", "bins/", "examples/", "tests"];
    arrows
        .filter(|(folder, _)| roots.iter().any(|root| folder.starts_with(root)))
        .map(|(folder, named)| {
            let named = named.split(',').map(str::trim);
            let named = named.filter(|name| *name != "nothing");
            let named = named.map(|name| match name {
                // What an example names: another, and a program.
                "custom-rule" | "keyserver" => name.to_owned(),
                name => format!("ostrakon-{name}"),
            });
            let named = named.collect();
            (folder.trim().trim_end_matches('/').to_owned(), named)
        })
        .collect()
}

#[test]
fn no_crate_names_one_that_it_may_not() -> Outcome {
    let forbidden = forbidden(&edges(&members()?));
    assert!(forbidden.is_empty(), "forbidden edges: {forbidden:#?}");
    Ok(())
}

#[test]
fn planted_edges_are_caught() {
    let edge = |from: &str, to: &str, kind| Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        kind,
    };
    use DependencyKind::{Build, Development, Normal};
    let planted = [
        edge("ostrakon-policy", "ostrakon-storage", Normal),
        edge("ostrakon-policy", "ostrakon-types", Normal),
        edge("ostrakon-shards", "ostrakon-policy", Development),
        edge("ostrakon-storage", "ostrakon-custody", Build),
        edge("ostrakon-client", "ostrakon-testkit", Normal),
        edge("ostrakon-client", "ostrakon-testkit", Development),
        edge("ostrakon-unlisted", "ostrakon-shards", Normal),
        edge("keyserver", "ostrakon-client", Normal),
    ];
    assert_eq!(
        forbidden(&planted),
        [
            "ostrakon-policy -> ostrakon-storage",
            "ostrakon-shards -> ostrakon-policy (dev)",
            "ostrakon-storage -> ostrakon-custody (build)",
            "ostrakon-client -> ostrakon-testkit",
            "ostrakon-unlisted -> ostrakon-shards",
        ]
    );
}

#[test]
fn edges_lead_to_lower_layers() {
    let mut lower = Vec::new();
    for (folder, named) in LAYERS {
        for name in *named {
            assert!(lower.contains(name), "{folder} -> {name} leads upwards");
        }
        lower.push(package_of(folder));
    }
}

#[test]
fn the_crates_are_those_of_the_list() -> Outcome {
    let there: BTreeSet<String> = members()?.iter().map(|m| m.folder.to_string()).collect();
    let listed = LAYERS.iter().map(|(folder, _)| (*folder).to_owned());
    let listed: BTreeSet<String> = listed.collect();
    let unlisted: Vec<_> = there.difference(&listed).collect();
    let missing: Vec<_> = listed.difference(&there).collect();
    assert!(unlisted.is_empty(), "not in the list: {unlisted:?}");
    assert!(missing.is_empty(), "listed, but not there: {missing:?}");
    Ok(())
}

#[test]
fn the_document_shows_the_list() -> Outcome {
    let listed: Vec<(String, Vec<String>)> = LAYERS
        .iter()
        .map(|(folder, named)| {
            let named = named.iter().map(|name| (*name).to_owned());
            ((*folder).to_owned(), named.collect())
        })
        .collect();
    assert_eq!(documented(&read("ARCHITECTURE.md")?), listed);
    Ok(())
}

#[test]
fn folders_are_named_as_their_packages() -> Outcome {
    for member in members()? {
        let folder = member.folder.as_str();
        assert_eq!(package_of(folder), member.package.name.as_str(), "{folder}");
    }
    Ok(())
}

#[test]
fn every_crate_takes_the_workspace_lints() -> Outcome {
    for member in members()? {
        let lints = member
            .manifest
            .get("lints")
            .and_then(|l| l.get("workspace"));
        let takes = lints.and_then(toml::Value::as_bool) == Some(true);
        assert!(takes, "{}: `[lints] workspace = true`", member.folder);
    }
    Ok(())
}
