use crate::fixture::{at, policy_in, request};

use super::*;

const POLICY: &str = "
decrypt:
  - - rule: time-range-rule
      time_start: 8:00am
      time_end: 6:00pm
    - rule: meta-rule
      paths: [/payroll, '!*.key']
  - - rule: per-profile-throttle-rule
      rule_id: spare
      per_day: 2
start_session:
  - - rule: session-params-rule
      max_request_count: 5
";

fn explain(kind: RequestKind, items: &[&str], when: &str) -> Explanation {
    policy_in(POLICY, "Europe/London").explain(&request(kind, items), at(when))
}

#[test]
fn every_rule_is_explained_in_a_persons_words() {
    let explanation = explain(
        RequestKind::Decrypt,
        &["payroll/x.key"],
        "2026-07-01T18:30:00Z",
    );
    assert_eq!(
        explanation.to_string(),
        "decrypt at 2026-07-01 19:30:00 BST: approved by rule set 1
  rule set 0 (line 3) does not approve
    time-range-rule (line 3) does not hold: 19:30 is not within 08:00 to 18:00
    meta-rule (line 6) does not hold: item 1 matches `!*.key`: \"payroll/x.key\"
  rule set 1 (line 8) approves
    per-profile-throttle-rule (line 8) holds: it holds while its quota lasts
      at most 2 in this day, which ends at 2026-07-02 00:00:00 BST"
    );
    assert!(!explanation.without_paths().to_string().contains("payroll"));
}

#[test]
fn counts_are_taken_into_account() {
    let explanation = explain(RequestKind::Decrypt, &["~/b"], "2026-07-01T12:00:00Z");
    assert_eq!(explanation.outcome, Outcome::Approved { rule_set: 1 });
    let explanation = explanation.with_counts(|key| if &*key.rule_id == "spare" { 2 } else { 0 });
    assert_eq!(explanation.outcome, Outcome::QuotaUsedUp);
    let shown = explanation.to_string();
    assert!(
        shown.contains("would approve, but its quota is used up"),
        "{shown}"
    );
    assert!(shown.contains("2 of 2 used in this day"), "{shown}");
    assert!(
        shown.contains("item 1 matches no entry: \"b\" (partial)"),
        "{shown}"
    );
}

#[test]
fn defaults_and_sessions_are_explained() {
    let shown = explain(RequestKind::Rename, &[], "2026-07-01T12:00:00Z").to_string();
    assert!(shown.ends_with("denied by default: the policy has no section `rename`"));
    let shown = explain(RequestKind::CreateProfile, &[], "2026-07-01T12:00:00Z").to_string();
    assert!(shown.ends_with("approved by default: the policy has no section `create_profile`"));
    let shown = explain(RequestKind::StartSession, &[], "2026-01-01T12:00:00Z").to_string();
    assert!(shown.ends_with("the session ends at 2026-01-01 12:05:00 GMT or after 5 requests"));
}

#[test]
fn explanations_serialize() {
    let explanation = explain(RequestKind::Decrypt, &["a"], "2026-07-01T12:00:00Z");
    let json = serde_json::to_value(explanation.without_paths()).unwrap();
    assert_eq!(json["outcome"]["decision"], "approved");
    assert_eq!(json["rule_sets"][0]["rules"][1]["outcome"], "fails");
    assert_eq!(
        json["rule_sets"][0]["rules"][1]["reason"],
        "item 1 matches no entry"
    );
    assert_eq!(json["rule_sets"][1]["rules"][0]["charges"][0]["limit"], 2);
    assert_eq!(json["at"], "2026-07-01T13:00:00+01:00[Europe/London]");
    assert!(json.get("items").is_none());
}

#[test]
fn what_did_not_fit_is_told_of_a_denial() {
    let at = "2026-07-01T12:00:00Z";
    let explanation = explain(RequestKind::Decrypt, &["a"], at);
    let charges = explanation.rule_sets[1].rules[0].charges.clone();
    let refused: Vec<_> = charges.into_iter().map(|each| each.charge).collect();
    let told = explanation.clone().with_refused(&refused[..1]);
    assert_eq!(told.outcome, Outcome::QuotaUsedUp);
    assert!(told.to_string().contains("2 of 2 used"), "{told}");
    // Another limit on the same counter may fit.
    let mut other = refused[0].clone();
    other.limit += 1;
    let told = explanation.with_refused(&[other]);
    assert_eq!(told.outcome, Outcome::Approved { rule_set: 1 });
}
