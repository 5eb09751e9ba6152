use std::num::NonZeroU64;

use ostrakon_types::{CounterKey, Denial, Digest, RequestId, Settled};
use proptest::prelude::*;

use super::*;
use crate::{
    Arguments, MemoryLedger, Reason, Registry,
    fixture::{WORDS, at, policy, request},
};

const NOON: &str = "2022-03-09T12:00:00Z";

/// A rule set, and the ids and limits of its charges.
type Proposed = (Option<u32>, Vec<(String, u64)>);

/// The rule sets that approve, with the ids and limits of their charges.
fn proposed(policy: &Policy, request: &ApprovalRequest) -> Vec<Proposed> {
    let proposal = policy.evaluate(request, at(NOON)).into_proposal();
    assert_eq!(proposal.otherwise, Denial::Policy);
    let charge = |charge: &Charge| (charge.key.rule_id.to_string(), charge.limit);
    let candidates = proposal.candidates.iter();
    candidates
        .map(|set| (set.rule_set, set.charges().iter().map(charge).collect()))
        .collect()
}

#[test]
fn types_that_the_policy_does_not_name_get_the_default() {
    let policy = policy("decrypt: []");
    for kind in RequestKind::ALL {
        let expected: &[_] = match kind {
            RequestKind::CreateProfile | RequestKind::CreateLocation => &[(None, Vec::new())],
            _ => &[],
        };
        assert_eq!(
            proposed(&policy, &request(kind, &["a"])),
            expected,
            "{kind}"
        );
    }
}

#[test]
fn a_type_that_the_policy_names_is_governed_by_the_policy_alone() {
    let policy =
        policy("create_profile: []\ncreate_location: [[{rule: reject-rule}]]\nsearch: [[]]");
    for kind in [RequestKind::CreateProfile, RequestKind::CreateLocation] {
        assert_eq!(proposed(&policy, &request(kind, &[])), []);
    }
    assert_eq!(
        proposed(&policy, &request(RequestKind::Search, &[])),
        [(Some(0), vec![])]
    );
}

#[test]
fn sets_are_proposed_in_order_up_to_one_that_costs_nothing() {
    let policy = policy(
        "
decrypt:
  - - rule: reject-rule
  - - {rule: per-profile-throttle-rule, rule_id: b, per_day: 9, per_hour: 3}
    - {rule: per-profile-throttle-rule, rule_id: a, per_day: 5}
  - - rule: meta-rule
      paths: [/public]
  - - {rule: per-profile-throttle-rule, rule_id: c, per_hour: 1}
",
    );
    let quotas = vec![("a".into(), 5), ("b".into(), 9), ("b".into(), 3)];
    let private = request(RequestKind::Decrypt, &["x"]);
    let last = (Some(3), vec![("c".into(), 1)]);
    assert_eq!(
        proposed(&policy, &private),
        [(Some(1), quotas.clone()), last]
    );
    let public = request(RequestKind::Decrypt, &["public/x"]);
    assert_eq!(
        proposed(&policy, &public),
        [(Some(1), quotas), (Some(2), vec![])]
    );
}

#[test]
fn profiles_are_known_by_id_or_by_their_first_words() {
    let decrypt = request(RequestKind::Decrypt, &[]);
    for (ids, expected) in [
        ("07070707070707070707070707070707", true),
        ("08080808080808080808080808080808", false),
        ("river amber staple cactus", true),
        ("River  AMBER staple cactus maple", true),
        ("river amber staple cact", false),
        ("amber staple cactus maple", false),
        (
            "a b c d, river amber staple cactus maple drift horse quiet",
            true,
        ),
        (
            "river amber staple cactus maple drift horse quiet more",
            false,
        ),
    ] {
        let text = format!("decrypt: [[{{rule: profile-id-rule, profile_ids: [{ids}]}}]]");
        assert_eq!(
            !proposed(&policy(&text), &decrypt).is_empty(),
            expected,
            "{ids}"
        );
    }
    assert!(WORDS.starts_with("river amber staple cactus"));
}

#[test]
fn sessions_are_limited_by_the_strictest_of_each() {
    let policy = policy(
        "
start_session:
  - - {rule: session-params-rule, max_request_count: 9, max_time_seconds: 7200}
    - {rule: session-params-rule, max_request_count: 4, max_time_seconds: 604799, end_by_time: 1:00pm}
    - {rule: per-profile-throttle-rule, rule_id: x, per_day: 1}
  - - {rule: session-params-rule, max_request_count: 0, max_time_seconds: 86400, end_by_time: '11:00'}
    - {rule: per-profile-throttle-rule, rule_id: y, per_day: 1}
  - - {rule: approve-rule}
",
    );
    let evaluation = policy.evaluate(&request(RequestKind::StartSession, &[]), at(NOON));
    let limits = |count: u64, end: &str| {
        let ends_at = UnixMillis(at(end).as_millisecond());
        Some(SessionLimits::new(NonZeroU64::new(count), ends_at))
    };
    assert_eq!(
        evaluation.session(Some(0)),
        limits(4, "2022-03-09T13:00:00Z")
    );
    assert_eq!(
        evaluation.session(Some(1)),
        limits(0, "2022-03-10T11:00:00Z")
    );
    assert_eq!(
        evaluation.session(Some(2)),
        limits(0, "2022-03-09T12:05:00Z")
    );
    assert_eq!(evaluation.session(None), None);
    let evaluation = policy.evaluate(&request(RequestKind::CreateProfile, &[]), at(NOON));
    assert_eq!(evaluation.session(None), None, "opens no session");
}

#[test]
fn session_times_are_bounded() {
    for (seconds, fits) in [
        (0, false),
        (1, false),
        (2, true),
        (604_799, true),
        (604_800, false),
    ] {
        let text = format!(
            "start_session: [[{{rule: session-params-rule, max_time_seconds: {seconds}}}]]"
        );
        let loaded = Policy::load("f", &text, &TimeZone::UTC, &Registry::bundled());
        assert_eq!(loaded.is_ok(), fits, "{seconds}");
    }
}

#[test]
fn a_derived_id_does_not_hang_on_equal_rules_that_have_an_id() {
    let (named, unnamed) = ("rule_id: a, per_day: 2", "per_day: 2");
    let ids = |sets: [[&str; 2]; 2]| {
        let rule = |rule: &str| format!("{{rule: per-profile-throttle-rule, {rule}}}");
        let policy = written(&sets.map(|set| set.map(rule).to_vec()));
        let mut ids: Vec<String> = policy.rule_ids().map(|(id, _)| id.to_owned()).collect();
        ids.chunks_mut(2).for_each(<[_]>::sort_unstable);
        ids
    };
    let pair = [named, unnamed];
    let turned = [unnamed, named];
    let expected = ids([pair, pair]);
    for sets in [[pair, turned], [turned, pair], [turned, turned]] {
        assert_eq!(ids(sets), expected);
    }
}

#[derive(Debug)]
struct Broken(&'static str);

impl Rule for Broken {
    fn judge(&self, _: &ApprovalRequest, _: &Zoned) -> Result<Verdict, RuleError> {
        match self.0 {
            "error" => Err(RuleError::new("out of order")),
            "charges" => Ok(Verdict::holds(Reason::Always)),
            _ => panic!("broken"),
        }
    }

    fn charges(&self, _: &ApprovalRequest, _: &Zoned) -> Vec<Charge> {
        panic!("broken")
    }
}

#[test]
fn rules_that_fail_do_not_hold_and_are_reported() {
    let mut registry = Registry::bundled();
    for how in ["error", "panic", "charges"] {
        let build = move |_: &mut Arguments<'_>| Some(Box::new(Broken(how)) as Box<dyn Rule>);
        registry.register(how, build).unwrap();
    }
    let text = "
decrypt:
  - [{rule: error, rule_id: x}]
  - [{rule: approve-rule}, {rule: panic}]
  - [{rule: charges}]
  - [{rule: reject-rule}, {rule: panic}]
search: [[{rule: error}], [{rule: approve-rule}]]
";
    let policy = Policy::load("f", text, &TimeZone::UTC, &registry)
        .unwrap()
        .policy;
    let evaluation = policy.evaluate(&request(RequestKind::Decrypt, &["a"]), at(NOON));
    assert_eq!(evaluation.proposal().candidates, []);
    let failures: Vec<(u32, &str)> = evaluation
        .failures()
        .iter()
        .map(|failure| (failure.rule_set, failure.message.as_str()))
        .collect();
    let panicked = "the rule panicked";
    assert_eq!(
        failures,
        [(0, "out of order"), (1, panicked), (2, panicked)]
    );
    assert_eq!(evaluation.failures()[0].rule_id, "x");
    assert_eq!(
        proposed(&policy, &request(RequestKind::Search, &[])),
        [(Some(1), vec![])]
    );
}

/// A rule as it may stand in a policy, with all that it needs.
fn rule() -> impl Strategy<Value = String> {
    let throttle = (
        "[abc]",
        0_u64..3,
        prop::sample::select(vec!["per_hour", "per_day"]),
    );
    prop_oneof![
        3 => throttle.prop_map(|(id, limit, period)| format!(
            "{{rule: per-profile-throttle-rule, rule_id: {id}, {period}: {limit}}}"
        )),
        1 => Just("{rule: per-profile-throttle-rule, per_day: 2}".to_owned()),
        2 => prop::sample::select(vec!["/a", "b", "'!c'", "a/", "'*'"])
            .prop_map(|path| format!("{{rule: meta-rule, paths: [{path}]}}")),
        1 => (0_u8..7).prop_map(|day| format!("{{rule: time-range-rule, days: [{day}, 2]}}")),
        1 => Just("{rule: time-range-rule, time_start: '08:00', time_end: '18:00'}".to_owned()),
        1 => Just("{rule: profile-id-rule, profile_ids: [river amber staple cactus]}".to_owned()),
        1 => Just("{rule: approve-rule}".to_owned()),
        1 => Just("{rule: reject-rule}".to_owned()),
    ]
}

fn sets() -> impl Strategy<Value = Vec<Vec<String>>> {
    prop::collection::vec(prop::collection::vec(rule(), 0..4), 0..4)
}

fn written(sets: &[Vec<String>]) -> Policy {
    let sets: Vec<String> = sets
        .iter()
        .map(|set| format!("[{}]", set.join(", ")))
        .collect();
    policy(&format!("decrypt: [{}]", sets.join(", ")))
}

fn requests() -> impl Strategy<Value = Vec<(&'static str, i64)>> {
    let path = prop::sample::select(vec!["a/b", "b", "c", "x/c", "~/a/b", "a//b"]);
    prop::collection::vec((path, 0_i64..72), 1..12)
}

/// Asks one after the other; yields the decisions and what is on the counters.
fn run(policy: &Policy, requests: &[(&str, i64)]) -> (Vec<Settled>, Vec<(CounterKey, u64)>) {
    let ledger = MemoryLedger::new();
    let mut hours: Vec<_> = (0_u8..).zip(requests).collect();
    hours.sort_by_key(|(_, (_, hour))| *hour);
    let settled = hours
        .into_iter()
        .map(|(number, (path, hour))| {
            let now = at(NOON) + jiff::SignedDuration::from_hours(*hour);
            let proposal = policy
                .evaluate(&request(RequestKind::Decrypt, &[path]), now)
                .into_proposal();
            let id = RequestId::from_parts(UnixMillis(i64::from(number)), [number; 10]);
            ledger
                .settle(id, Digest::from_bytes([0; 32]), vec![proposal])
                .unwrap()
        })
        .collect();
    (settled, ledger.counts())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Adding a rule to a set never turns a denial into an approval.
    #[test]
    fn a_rule_more_never_approves_more(sets in sets(), added in rule(), at_set in 0_usize..4, path in requests()) {
        prop_assume!(at_set < sets.len());
        let before = written(&sets);
        let mut more = sets;
        more[at_set].push(added);
        let after = written(&more);
        for (path, hour) in path {
            let now = at(NOON) + jiff::SignedDuration::from_hours(hour);
            let request = request(RequestKind::Decrypt, &[path]);
            let approving = |policy: &Policy| -> Vec<u32> {
                let explained = policy.explain(&request, now);
                explained.rule_sets.iter().filter(|set| set.holds).map(|set| set.rule_set).collect()
            };
            let before = approving(&before);
            prop_assert!(approving(&after).iter().all(|set| before.contains(set)));
        }
    }

    /// Permuting the rules of a set changes neither the decisions nor the counters (threat 9).
    #[test]
    fn the_order_of_rules_means_nothing(
        (sets, turned) in sets().prop_flat_map(|sets| {
            let turned: Vec<_> = sets.iter().map(|set| Just(set.clone()).prop_shuffle()).collect();
            (Just(sets), turned)
        }),
        requests in requests(),
    ) {
        prop_assert_eq!(run(&written(&sets), &requests), run(&written(&turned), &requests));
    }

    /// The same question always has the same answer, and the explanation tells the same as the answer.
    #[test]
    fn explanations_agree_with_evaluations(sets in sets(), requests in requests()) {
        let policy = written(&sets);
        for (path, hour) in requests {
            let now = at(NOON) + jiff::SignedDuration::from_hours(hour);
            let request = request(RequestKind::Decrypt, &[path]);
            let evaluation = policy.evaluate(&request, now);
            prop_assert_eq!(&evaluation, &policy.evaluate(&request, now));
            let proposed: Vec<u32> =
                evaluation.proposal().candidates.iter().filter_map(|set| set.rule_set).collect();
            let mut explained: Vec<u32> = Vec::new();
            for set in policy.explain(&request, now).rule_sets.iter().filter(|set| set.holds) {
                explained.push(set.rule_set);
                if set.rules.iter().all(|rule| rule.charges.is_empty()) {
                    break;
                }
            }
            prop_assert_eq!(proposed, explained);
        }
    }
}
