use super::*;
use crate::Registry;

const CASE: &str = r#"
  - at: 2022-03-09T17:00:00Z
    request:
      type: decrypt
      device_id: "646576"
      profile: {id: da585c21572cc938b99cd6ab4df19e3d, words: [river, amber]}
      meta: [{meta: root/x, complete: true}]
      cryptographic_id: "636964"
    expect: {decision: approve, rule_set: 0}
"#;

fn suite(head: &str, cases: usize) -> Result<Suite, LoadSuiteError> {
    let cases = if cases == 0 {
        String::new()
    } else {
        format!("cases:{}", CASE.repeat(cases))
    };
    Suite::from_str("s.yml", &format!("name: s\ntimezone: UTC\n{head}\n{cases}"))
}

fn report(head: &str, cases: usize) -> SuiteReport {
    run(&suite(head, cases).unwrap(), &Registry::bundled())
}

const THROTTLED: &str =
    "policy: {decrypt: [[{rule: per-profile-throttle-rule, rule_id: t, per_day: 2}]]}";

#[test]
fn cases_share_quotas_and_failures_are_explained() {
    let report = report(THROTTLED, 3);
    assert_eq!((report.passed(), report.failed()), (2, 1));
    let shown = report.to_string();
    assert!(
        shown.starts_with("FAILED s.yml: s: case 3\n  expected approve by rule set 0, got deny\n"),
        "{shown}"
    );
    assert!(
        shown.contains("2 of 2 used in this day, which ends at 2022-03-10 00:00:00 UTC"),
        "{shown}"
    );
    assert!(shown.ends_with("s.yml: 2 passed, 1 failed"), "{shown}");
}

#[test]
fn loading_can_be_a_case() {
    let broken = "policy: {decrypt: [[{rule: meta-rul}]]}";
    assert_eq!(report(&format!("{broken}\nload: error"), 0).failed(), 0);
    assert_eq!(report(&format!("{THROTTLED}\nload: error"), 0).failed(), 1);
    assert_eq!(report("policy: ~\nload: error", 0).failed(), 0);
    let shown = report(broken, 1).to_string();
    assert!(shown.contains("--> s.yml:3:28"), "{shown}");
    assert!(shown.contains("did you mean `meta-rule`?"), "{shown}");
}

#[test]
fn policies_may_stand_in_a_file_of_their_own() {
    let suite = suite("policy_file: k.yml", 1).unwrap();
    assert_eq!(suite.policy_file(), Some("k.yml"));
    let registry = Registry::bundled();
    let read = |file: &str| {
        assert_eq!(file, "k.yml");
        Ok("decrypt: [[{rule: approve-rule}]]".to_owned())
    };
    assert_eq!(run_with(&suite, &registry, read).failed(), 0);
    let report = run(&suite, &registry);
    assert_eq!((report.passed(), report.failed()), (0, 1));
    assert!(report.to_string().contains("policy file not read"));
}

#[test]
fn what_is_no_suite_is_refused_with_its_place() {
    for (head, cases) in [
        ("", 1),
        ("policy: {}\npolicy_file: x", 1),
        ("policy: {}\nload: error", 1),
        ("policy: {}\nlaod: error", 0),
        ("policy: {}\nload: maybe", 0),
        ("policy: {}\ncases: [{at: now}]", 0),
        ("policy: {}\npolicy: {}", 0),
        ("policy: {a: &a [*a]}", 0),
    ] {
        assert!(suite(head, cases).is_err(), "{head}");
    }
    let error = suite("policy: {}\nlaod: error", 0).unwrap_err();
    assert_eq!(error.diagnostics()[0].line, 4);
    let error = Suite::from_str("s", "name: s\ntimezone: Europe/Lodnon\npolicy: {}").unwrap_err();
    assert!(
        error.to_string().contains("did you mean `Europe/London`?"),
        "{error}"
    );
}

#[test]
fn json_is_read_too() {
    let text = r#"{"name":"j","timezone":"UTC","policy":{"create_profile":[[{"rule":"reject-rule"}]]},"cases":[
        {"at":"2022-03-01T04:28:00Z","request":{"type":"create_profile","device_id":"646576",
        "profile":{"id":"da585c21572cc938b99cd6ab4df19e3d","words":["donn\u00e9es"]},"meta":[],
        "cryptographic_id":"636964"},"expect":{"decision":"deny","rule_set":null}}]}"#;
    let suite = Suite::from_str("j.json", text).unwrap();
    assert_eq!(suite.name(), "j");
    assert_eq!(run(&suite, &Registry::bundled()).passed(), 1);
}

#[test]
fn a_question_is_a_case_that_expects_nothing() {
    let request = "request: {type: decrypt, device_id: '64', cryptographic_id: '63', \
                   profile: {id: da585c21572cc938b99cd6ab4df19e3d}}";
    let asked = Question::from_str("f", request).unwrap();
    assert_eq!(asked.at, None);
    let asked = Question::from_str("f", &format!("at: 2022-03-09T17:00:00Z\n{request}")).unwrap();
    assert!(asked.at.is_some());
    for wrong in ["at: noon", "when: 2022-03-09T17:00:00Z", "request: {}"] {
        assert!(
            Question::from_str("f", &format!("{request}\n{wrong}")).is_err(),
            "{wrong}"
        );
    }
}
