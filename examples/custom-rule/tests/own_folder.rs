//! The rule's own suite. It asks the oracle too, so that a hint that claims too much fails it.

#![expect(clippy::unwrap_used, reason = "a test")]

use jiff::tz::TimeZone;
use ostrakon_policy::{
    Policy, Registry,
    suite::{Suite, run},
};

fn registry() -> Registry {
    let mut registry = Registry::bundled();
    custom_rule::register(&mut registry).unwrap();
    registry
}

#[test]
fn the_suite_holds() {
    let suite = Suite::from_str("own_folder.yml", include_str!("own_folder.yml")).unwrap();
    let report = run(&suite, &registry());
    assert_eq!((report.passed(), report.failed()), (5, 0), "{report}");
}

#[test]
fn faults_in_its_arguments_are_placed() {
    for (arguments, expected) in [
        ("", "`own-folder-rule` needs `under`"),
        (
            ", under: home",
            "`under` must begin with `/` and name a folder",
        ),
        (
            ", undre: /home",
            "unknown argument `undre` of `own-folder-rule`",
        ),
    ] {
        let text = format!("decrypt: [[{{rule: own-folder-rule{arguments}}}]]");
        let error = Policy::load("keyserver.yml", &text, &TimeZone::UTC, &registry()).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains(expected) && said.contains("--> keyserver.yml:1:"),
            "{said}"
        );
    }
}
