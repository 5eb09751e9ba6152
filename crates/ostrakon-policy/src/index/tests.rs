use jiff::{Timestamp, Zoned, tz::TimeZone};
use ostrakon_types::{ApprovalRequest, MetaItem, ProfileId, ProfileWords, RequestKind};
use proptest::prelude::*;

use crate::{
    Arguments, Hint, Policy, Registry, Rule, RuleError, Verdict,
    fixture::{at, policy, request},
};

const NOON: &str = "2022-03-09T12:00:00Z";

/// What the oracle has against the evaluation by the index, if anything.
fn objection(policy: &Policy, request: &ApprovalRequest, now: Timestamp) -> Option<String> {
    let (quick, plain) = (
        policy.evaluate(request, now),
        policy.evaluate_plainly(request, now),
    );
    let same = quick.proposal() == plain.proposal()
        && quick.proposal().candidates.iter().all(|candidate| {
            quick.session(candidate.rule_set) == plain.session(candidate.rule_set)
        })
        && quick
            .failures()
            .iter()
            .all(|failure| plain.failures().contains(failure));
    (!same).then(|| format!("{request:?}: {quick:?}, but plainly {plain:?}"))
}

fn candidates(policy: &Policy, request: &ApprovalRequest) -> Vec<u32> {
    let sets = policy.tree(request.kind).unwrap();
    super::Index::new(sets).candidates(request).into_owned()
}

#[test]
fn only_sets_that_may_approve_are_tried() {
    let mut text = String::from("decrypt:\n");
    for number in 0..3000 {
        text += &match number % 6 {
            0 => format!("- - {{rule: meta-rule, paths: ['/projects/p{number}']}}\n"),
            1 => format!("- - {{rule: profile-id-rule, profile_ids: ['{number:032x}']}}\n"),
            2 => format!("- - {{rule: profile-id-rule, profile_ids: [a b c d{number}]}}\n"),
            3 => format!(
                "- - {{rule: meta-rule, regexes: ['^/projects/\\d+/r{number}_.*[.]pdf$']}}\n"
            ),
            4 => format!("- - {{rule: meta-rule, paths: ['*.e{number}', 'x/y{number}']}}\n"),
            _ => format!(
                "- - {{rule: profile-id-rule, profile_ids: [{}]}}\n  - {{rule: meta-rule, paths: [q{number}/z]}}\n",
                "07".repeat(16)
            ),
        };
    }
    let policy = policy(&text);
    for (path, expected) in [
        ("Projects/P1200/x", vec![1200]),
        ("projects/7/R1203_x.PDF", vec![1203]),
        ("a/b.e1204", vec![1204]),
        ("a/x/y1204/c", vec![1204]),
        ("a/q1205/z", vec![1205]),
        ("nothing", vec![]),
        // No rule holds for it, and none need be kept from saying so.
        ("a//q1205/z", vec![1205]),
    ] {
        let request = request(RequestKind::Decrypt, &[path]);
        assert_eq!(candidates(&policy, &request), expected, "{path}");
        assert_eq!(objection(&policy, &request, at(NOON)), None);
    }
    let mut by_profile = request(RequestKind::Decrypt, &[]);
    by_profile.profile.words = ProfileWords::new("a b c d602 e f");
    assert_eq!(candidates(&policy, &by_profile), [602]);
    by_profile.profile.id = ProfileId::from_bytes(601_u128.to_be_bytes());
    assert_eq!(candidates(&policy, &by_profile), [601, 602]);
}

/// What a hostile policy asks for is bounded; with less of an index, the answers are the same.
#[test]
fn more_literals_than_fit_are_not_looked_for() {
    let long = "x".repeat(10_000);
    let text = format!(
        "decrypt:\n\
         - - {{rule: meta-rule, paths: ['{long}/a']}}\n\
         - - {{rule: meta-rule, paths: ['{long}/b']}}\n\
         - - {{rule: meta-rule, paths: ['/folder/{long}']}}\n\
         - - {{rule: profile-id-rule, profile_ids: [{}]}}\n  - {{rule: meta-rule, paths: [c]}}\n",
        "08".repeat(16)
    );
    let policy = policy(&text);
    let sets = policy.tree(RequestKind::Decrypt).unwrap();
    let request = request(RequestKind::Decrypt, &[&format!("y/{long}/b")]);
    for (most, expected) in [(130, vec![1]), (120, vec![0, 1, 2]), (0, vec![0, 1, 2])] {
        let index = super::Index::within(sets, most);
        assert_eq!(*index.candidates(&request), expected, "{most}");
    }
    assert_eq!(objection(&policy, &request, at(NOON)), None);
}

/// Paths are looked up as they are compared: without regard to case and to Unicode's normal forms.
#[test]
fn all_spellings_of_a_path_find_the_same_sets() {
    let policy = policy(
        "decrypt:\n\
         - - {rule: meta-rule, paths: ['/Éa/Kk']}\n\
         - - {rule: meta-rule, paths: ['éA/kK']}\n\
         - - {rule: meta-rule, regexes: ['^/éa/k']}\n\
         - - {rule: meta-rule, regexes: ['[éx]a/K+']}\n",
    );
    for path in ["éa/kk", "ÉA/KK", "e\u{301}a/kk", "E\u{301}A/\u{212a}k"] {
        let request = request(RequestKind::Decrypt, &[path]);
        assert_eq!(candidates(&policy, &request), [0, 1, 2, 3], "{path}");
        assert_eq!(objection(&policy, &request, at(NOON)), None, "{path}");
        let evaluation = policy.evaluate(&request, at(NOON));
        assert_eq!(evaluation.proposal().candidates[0].rule_set, Some(0));
    }
}

#[test]
fn a_path_holds_no_more_keys_than_there_are() {
    let mut keys = super::Keys::default();
    for number in 0..100_000 {
        keys.add(number % 5);
    }
    assert!(keys.more.capacity() <= 16, "{}", keys.more.capacity());
    keys.tidy();
    assert_eq!(keys.iter().collect::<Vec<u32>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_literal_that_comes_often_is_one() {
    let policy = policy(
        "decrypt:\n- - {rule: meta-rule, regexes: [a]}\n- - {rule: meta-rule, regexes: [b]}\n\
         - - {rule: meta-rule, regexes: ['[a-f]b']}\n",
    );
    let request = request(RequestKind::Decrypt, &[&"ab".repeat(5_000)]);
    assert_eq!(candidates(&policy, &request), [0, 1, 2]);
}

/// Holds for every profile, but says that it holds for one alone.
#[derive(Debug)]
struct Liar(Hint);

impl Rule for Liar {
    fn judge(&self, _: &ApprovalRequest, _: &Zoned) -> Result<Verdict, RuleError> {
        Ok(Verdict::holds("always"))
    }

    fn hint(&self) -> Hint {
        match &self.0 {
            Hint::Never => panic!("no hint"),
            hint => hint.clone(),
        }
    }
}

fn registry_with(hint: &Hint) -> Registry {
    let mut registry = Registry::bundled();
    let hint = hint.clone();
    let build = move |_: &mut Arguments<'_>| Some(Box::new(Liar(hint.clone())) as Box<dyn Rule>);
    registry.register("liar-rule", build).unwrap();
    registry
}

fn with_hint(hint: &Hint) -> Policy {
    let registry = registry_with(hint);
    let text = "decrypt: [[{rule: reject-rule}], [{rule: liar-rule}]]";
    let loaded = Policy::load("f", text, &TimeZone::UTC, &registry);
    loaded.unwrap().policy
}

#[test]
fn a_planted_wrong_hint_is_caught_by_the_oracle() {
    let request = request(RequestKind::Decrypt, &["a/b"]);
    let ids = |byte| Hint::Profiles {
        ids: vec![ProfileId::from_bytes([byte; 16])],
        words: Vec::new(),
    };
    let item = |path| Hint::Items(vec![crate::ItemHint::path(path, false).unwrap()]);
    for (hint, is_wrong) in [
        (Hint::Any, false),
        (ids(7), false),
        (ids(8), true),
        (item("/a"), false),
        (item("/b"), true),
        (Hint::Items(Vec::new()), true),
        // One that panics is as good as none.
        (Hint::Never, false),
    ] {
        let caught = objection(&with_hint(&hint), &request, at(NOON)).is_some();
        assert_eq!(caught, is_wrong, "{hint:?}");
    }
}

/// The author of a rule need not know of the oracle: a suite asks it.
#[test]
fn a_suite_tells_a_wrong_hint() {
    let suite = r#"
name: liar
timezone: UTC
policy: {decrypt: [[{rule: liar-rule}]]}
cases:
  - at: 2022-03-09T17:00:00Z
    request: {type: decrypt, device_id: "64", profile: {id: da585c21572cc938b99cd6ab4df19e3d}, cryptographic_id: "63"}
    expect: {decision: deny}
"#;
    let suite = crate::suite::Suite::from_str("liar.yml", suite).unwrap();
    let lie = registry_with(&Hint::Items(Vec::new()));
    let report = crate::suite::run(&suite, &lie).to_string();
    assert!(
        report.contains("the hint of a rule claims too much"),
        "{report}"
    );
}

fn entry() -> impl Strategy<Value = String> {
    let component = "[abABſKk1\u{212a}é*]{1,3}";
    let path = (prop::collection::vec(component, 1..4), "/?", "/?", "!?").prop_map(
        |(components, start, end, inverted)| {
            format!("{inverted}{start}{}{end}", components.join("/"))
        },
    );
    prop_oneof![6 => path, 1 => Just("/".to_owned()), 1 => Just("*".to_owned())]
}

fn regex() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        4 => "[abkK1/é]{1,3}",
        1 => prop::sample::select(vec!["[a-z]", "[0-9]", "\\d", "[^0-9]", "[ké]", "\\b", "[K\u{212a}]+", "[a-z]+"])
            .prop_map(str::to_owned),
        1 => Just("[ab]".to_owned()), 1 => Just(".".to_owned()), 1 => Just("[^a]".to_owned()),
        1 => Just("^".to_owned()), 1 => Just("$".to_owned()), 1 => Just("(?i:k)".to_owned()),
        1 => Just("(?-i:K)".to_owned()), 1 => Just("[a&&A]".to_owned()), 1 => Just("\\P{Ll}".to_owned()),
        1 => Just("[kK\u{212a}]".to_owned()),
    ];
    let regex = atom.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            prop::collection::vec(inner.clone(), 1..3)
                .prop_map(|parts| format!("({})", parts.join("|"))),
            (
                inner,
                prop::sample::select(vec!["*", "+", "?", "{2}", "{0,2}"])
            )
                .prop_map(|(part, times)| format!("(?:{part}){times}")),
        ]
    });
    ("!?", regex).prop_map(|(inverted, regex)| inverted + &regex)
}

fn rule() -> impl Strategy<Value = String> {
    let quoted = |list: Vec<String>| {
        let list: Vec<String> = list.iter().map(|entry| format!("'{entry}'")).collect();
        list.join(", ")
    };
    let profiles = prop::collection::vec(
        prop::sample::select(vec![
            "07070707070707070707070707070707",
            "08080808080808080808080808080808",
            "river amber staple cactus",
            "river amber staple cactus maple",
            "river amber staple maple",
        ]),
        0..3,
    );
    let meta = (
        prop::collection::vec(entry(), 1..4),
        prop::collection::vec(regex(), 0..2),
        any::<bool>(),
        any::<bool>(),
    );
    prop_oneof![
        3 => profiles.prop_map(|ids| {
            format!("{{rule: profile-id-rule, profile_ids: [{}]}}", ids.join(", "))
        }),
        6 => meta.prop_map(move |(paths, regexes, case, complete)| format!(
            "{{rule: meta-rule, case_sensitive: {case}, require_complete: {complete}, \
             paths: [{}], regexes: [{}]}}",
            quoted(paths),
            quoted(regexes)
        )),
        1 => (0_u64..3).prop_map(|limit| format!(
            "{{rule: per-profile-throttle-rule, rule_id: t{limit}, per_day: {limit}}}"
        )),
        1 => (0_u64..3, any::<bool>()).prop_map(|(limit, sliding)| format!(
            "{{rule: per-profile-throttle-rule, rule_id: t{limit}, per_hour: {limit}, \
             limits: [{{count: 2, per: day, sliding: {sliding}}}, {{count: {limit}, per: minute}}]}}"
        )),
        2 => prop::sample::select(vec![
            "days: [0, 2]", "time_start: '9:00', time_end: '17:00'",
            "time_start: '22:00', time_end: '6:00', overnight: true",
            "time_start: '9:00', time_end: '17:00', timezone: Asia/Kolkata",
            "exclude: 2022-03-09",
        ])
        .prop_map(|times| format!("{{rule: time-range-rule, {times}}}")),
        1 => cel(),
        1 => Just("{rule: approve-rule}".to_owned()),
        1 => Just("{rule: reject-rule}".to_owned()),
        1 => Just("{rule: session-params-rule}".to_owned()),
    ]
}

/// One that fails to evaluate is among them.
#[cfg(feature = "cel")]
fn cel() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["size(meta) == 1", "now.hour < 13", "meta[1].complete"])
        .prop_map(|condition| format!("{{rule: cel-rule, expression: '{condition}'}}"))
}

#[cfg(not(feature = "cel"))]
fn cel() -> impl Strategy<Value = String> {
    Just("{rule: approve-rule}".to_owned())
}

fn items() -> impl Strategy<Value = Vec<MetaItem>> {
    let path = prop::collection::vec("[abABſsKk12\u{212a}éÉe\u{301}]{1,3}", 1..5);
    let path = (path, "/?").prop_map(|(components, end)| components.join("/") + &end);
    let path = prop_oneof![12 => path, 1 => Just("a//b".to_owned()), 1 => Just(String::new())];
    let item = (path, any::<bool>()).prop_map(|(meta, complete)| MetaItem { meta, complete });
    prop::collection::vec(item, 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// With the index and without, an evaluation is the same, and so is what it is explained by.
    #[test]
    fn the_index_changes_nothing(
        sets in prop::collection::vec(prop::collection::vec(rule(), 0..4), 1..12),
        requests in prop::collection::vec(
            (items(), prop::sample::select(vec![7_u8, 8, 9]), any::<bool>(), 0..48_i32), 1..12),
        opens_session: bool,
    ) {
        let sets: Vec<String> = sets.iter().map(|set| format!("- [{}]\n", set.join(", "))).collect();
        let kind = if opens_session { RequestKind::StartSession } else { RequestKind::Decrypt };
        let text = format!("{kind}:\n{}", sets.concat());
        let text = if opens_session { text } else { text.replace("session-params", "approve") };
        let loaded = Policy::load("f", &text, &TimeZone::UTC, &Registry::bundled());
        let loaded = loaded.map_err(|error| TestCaseError::fail(error.to_string()))?;
        for (items, profile, named, hours) in requests {
            let mut request = request(kind, &[]);
            request.meta = items;
            request.profile.id = ProfileId::from_bytes([profile; 16]);
            if !named {
                request.profile.words = ProfileWords::default();
            }
            let now = at(NOON) + jiff::SignedDuration::from_hours(hours.into());
            prop_assert_eq!(objection(&loaded.policy, &request, now), None, "{}", text);
        }
    }
}
