use super::*;
use crate::fixture::{approves, request};

/// Whether a `meta-rule` with these arguments holds for the items, `~/` in front of a partial one.
fn holds(arguments: &str, items: &[&str]) -> bool {
    holds_for(RequestKind::Decrypt, arguments, items)
}

fn holds_for(kind: RequestKind, arguments: &str, items: &[&str]) -> bool {
    let text = format!("{kind}: [[ {{rule: meta-rule, {arguments}}} ]]");
    approves(&text, "UTC", &request(kind, items), "2022-03-09T12:00:00Z")
}

#[test]
fn every_item_must_match_and_there_must_be_one() {
    assert!(holds("paths: [/a, /b]", &["a/x", "b/y"]));
    assert!(!holds("paths: [/a]", &["a/x", "b/y"]));
    assert!(!holds("paths: [/a]", &[]));
    assert!(!holds("paths: ['!x']", &[]));
}

#[test]
fn every_inverted_entry_is_honoured_and_a_positive_one_is_needed_beside() {
    let arguments = "paths: [/a, '!*.key', '!*.pem']";
    assert!(holds(arguments, &["a/x.txt"]));
    for path in ["a/x.key", "a/x.pem", "b/x.txt"] {
        assert!(!holds(arguments, &[path]), "{path}");
    }
    let arguments = "paths: ['!*.key'], regexes: ['!secret']";
    assert!(holds(arguments, &["b/x.txt"]));
    for path in ["x.KEY", "Secrets/x.txt"] {
        assert!(!holds(arguments, &[path]), "{path}");
    }
    assert!(
        holds("paths: [/a], regexes: [b]", &["x/b"]),
        "one entry of either list is enough"
    );
}

#[test]
fn what_is_not_canonical_does_not_hold_whatever_the_entries() {
    for arguments in [
        "paths: ['!x']",
        "regexes: ['!x']",
        "paths: ['*']",
        "regexes: ['.*']",
        "paths: [/]",
    ] {
        for path in ["", "/a", "a//b", "a/../b", "a\\b", "a\0"] {
            assert!(!holds(arguments, &[path]), "{arguments} {path:?}");
            assert!(!holds(arguments, &["a/b", path]), "{arguments} {path:?}");
        }
        assert!(holds(arguments, &["a/b", "a/b/"]), "{arguments}");
    }
}

#[test]
fn regular_expressions_are_searched_with_a_slash_in_front_of_complete_paths() {
    assert!(holds("regexes: ['^/public/']", &["public/x"]));
    assert!(!holds("regexes: ['^/public/']", &["~/public/x"]));
    assert!(holds("regexes: ['^public/']", &["~/public/x"]));
    assert!(
        holds("regexes: ['ubl']", &["a/PUBLIC"])
            && !holds("regexes: ['ubl'], case_sensitive: true", &["PUBLIC"])
    );
    assert!(holds("regexes: ['donne\u{301}es']", &["donn\u{e9}es"]));
}

#[test]
fn partial_paths_can_be_refused() {
    let arguments = "paths: ['*.txt'], require_complete: true";
    assert!(holds(arguments, &["a.txt"]) && !holds(arguments, &["~/a.txt"]));
    assert!(!holds(
        "paths: ['!x'], require_complete: true",
        &["~/a.txt"]
    ));
}

#[test]
fn it_never_holds_where_there_is_no_metadata() {
    for kind in NEVER_SEEN {
        assert!(!holds_for(kind, "paths: ['*']", &["a"]), "{kind}");
    }
    assert!(holds_for(
        RequestKind::KeyUse,
        "paths: ['/transit/decrypt/']",
        &["transit/decrypt/payroll"]
    ));
}
