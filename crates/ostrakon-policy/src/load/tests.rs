use jiff::Zoned;
use ostrakon_types::ApprovalRequest;

use super::*;
use crate::{RuleError, Verdict};

fn load(text: &str) -> Result<Loaded, LoadPolicyError> {
    Policy::load("keyserver.yml", text, &TimeZone::UTC, &Registry::bundled())
}

/// The severities, places and messages of what is said of a policy.
fn said(text: &str) -> Vec<String> {
    let diagnostics = match load(text) {
        Ok(loaded) => loaded.warnings,
        Err(error) => error.into_diagnostics(),
    };
    let line = |d: &Diagnostic| format!("{} {}:{} {}", d.severity, d.line, d.column, d.message);
    diagnostics.iter().map(line).collect()
}

fn helps(text: &str) -> Vec<String> {
    let error = load(text).expect_err("must not load");
    error
        .into_diagnostics()
        .into_iter()
        .filter_map(|d| d.help)
        .collect()
}

/// A rule under `decrypt`, from line 1, column 13 on.
fn rule(rule: &str) -> String {
    format!("decrypt: [[ {{rule: {rule}}} ]]")
}

#[test]
fn all_faults_are_reported_at_once() {
    let text = "
decrpt:
  - - rule: approve-rule
decrypt:
  - - rule: meta-rul
    - rule: meta-rule
      path: [a]
      regexes: ['(']
  - - rule: time-range-rule
      time_start: 9:00am
      days: [7, x]
  - ~
  - - rule: per-profile-throttle-rule
      per_hour: -1
search:
";
    assert_eq!(
        said(text),
        [
            "error 2:1 unknown request type `decrpt`",
            "error 5:13 unknown rule `meta-rul`",
            "error 7:7 unknown argument `path` of `meta-rule`",
            "error 8:17 the regular expression `(` cannot be used: unclosed group",
            "error 10:19 `time_start` without `time_end`",
            "error 11:14 `days` must be from 0 to 6, not 7",
            "error 11:17 `days` must be a whole number that is not negative, not the text `x`",
            "error 12:5 a rule set must be a list of rules, not nothing",
            "warning 13:13 `per-profile-throttle-rule` has no `rule_id`",
            "warning 13:13 each new profile has a quota of its own, and `create_profile` is not restricted",
            "error 14:17 `per_hour` must be a whole number that is not negative, not a number",
            "error 15:7 the rule tree of `search` must be a list of rule sets, not nothing",
        ]
    );
    let shown = load(text).unwrap_err().to_string();
    assert!(shown.contains(
        "error: unknown rule `meta-rul`\n --> keyserver.yml:5:13\n  |\n5 |   - - rule: meta-rul\n  |             \
         ^^^^^^^^\n  = help: did you mean `meta-rule`?\n"
    ));
    assert!(shown.ends_with("policy not loaded: 10 errors, 2 warnings"));
}

#[test]
fn nearest_names_are_proposed() {
    assert_eq!(
        helps("create_profil: [[]]")[0],
        "did you mean `create_profile`?"
    );
    assert_eq!(
        helps(&rule("time_range_rule")),
        ["did you mean `time-range-rule`?"]
    );
    assert_eq!(
        helps(&rule("meta-rule, paths: [a], case_insensitive: true")),
        ["did you mean `case_sensitive`?"]
    );
    assert_eq!(
        helps(&rule("approve-rule, when: now")),
        ["`approve-rule` takes no arguments"]
    );
    assert_eq!(
        helps("decrypt: [[{rul: approve-rule}]]"),
        ["`rul` is no argument of a rule; did you mean `rule`?"]
    );
    assert!(helps(&rule("xyz"))[0].starts_with("there are `approve-rule`, "));
}

#[test]
fn what_is_empty_is_an_error_unless_it_says_so() {
    for text in [
        "",
        "# c",
        "null",
        "~",
        "decrypt:",
        "decrypt: ~",
        "decrypt: [~]",
        "decrypt: [[~]]",
        "[]",
    ] {
        assert!(load(text).is_err(), "{text}");
    }
    assert_eq!(said("decrypt: []"), [""; 0]);
    assert_eq!(
        said("decrypt: [[]]"),
        ["warning 1:11 an empty rule set approves every `decrypt` request"]
    );
    assert_eq!(
        said("{}"),
        ["warning 1:1 the policy has no section: only the defaults apply"]
    );
    for text in [
        "decrypt: [{rule: approve-rule}]",
        "decrypt: {rule: approve-rule}",
        "decrypt: [[approve-rule]]",
    ] {
        assert!(load(text).is_err(), "{text}");
    }
}

#[test]
fn each_rule_says_what_its_arguments_must_be() {
    for (text, expected) in [
        ("meta-rule", "error: `meta-rule` has no entry"),
        ("meta-rule, paths: []", "error: `meta-rule` has no entry"),
        (
            "meta-rule, paths: a",
            "error: `paths` must be a list, not the text `a`",
        ),
        ("meta-rule, paths: ['!']", "error: the entry `!` is empty"),
        (
            "meta-rule, paths: [!secret ]",
            "error: `paths` must be text, not a YAML tag",
        ),
        (
            "meta-rule, paths: ['a\\b']",
            "error: the pattern `a\\b` contains a backslash; separate components by `/`",
        ),
        (
            "meta-rule, paths: [a/../b]",
            "error: the pattern `a/../b` has a `.` or `..` component",
        ),
        (
            "meta-rule, paths: [a//b]",
            "error: the pattern `a//b` has an empty component",
        ),
        (
            "meta-rule, paths: [a], case_sensitive: yes",
            "error: `case_sensitive` must be `true` or `false`, not the text `yes`",
        ),
        (
            "meta-rule, regexes: ['(?!a)']",
            "error: the regular expression `(?!a)` cannot be used: look-around, including look-ahead and look-behind, is not supported",
        ),
        (
            "meta-rule, regexes: ['(a)\\1']",
            "error: the regular expression `(a)\\1` cannot be used: backreferences are not supported",
        ),
        (
            "meta-rule, paths: ['!/a']",
            "warning: a partial path escapes `!/a`",
        ),
        (
            "per-profile-throttle-rule, rule_id: a",
            "error: `per-profile-throttle-rule` has no limit",
        ),
        (
            "per-profile-throttle-rule, rule_id: a, per_day: 1.0",
            "error: `per_day` must be a whole number that is not negative, not a fraction",
        ),
        (
            "per-profile-throttle-rule, rule_id: a, per_day: 0",
            "warning: `per_day: 0` never holds",
        ),
        (
            "per-profile-throttle-rule, rule_id: ~, per_day: 1",
            "error: `rule_id` must be text, not nothing",
        ),
        (
            "per-profile-throttle-rule, rule_id: '', per_day: 1",
            "error: `rule_id` is empty",
        ),
        (
            "profile-id-rule",
            "error: `profile-id-rule` needs `profile_ids`",
        ),
        (
            "profile-id-rule, profile_ids: [a b c]",
            "error: `a b c` names no profile",
        ),
        (
            "profile-id-rule, profile_ids: []",
            "warning: `profile_ids` is empty: the rule never holds",
        ),
        (
            "per-profile-throttle-rule, rule_id: a, limits: [{count: 1}]",
            "error: an entry of `limits` needs `per`",
        ),
        (
            "per-profile-throttle-rule, rule_id: a, limits: [{count: 1, per: mintue}]",
            "error: `per` cannot be `mintue`",
        ),
        (
            "per-profile-throttle-rule, rule_id: a, limits: [{count: 1, per: day, slidng: true}]",
            "error: unknown argument `slidng` of `limits`",
        ),
        (
            "per-profile-throttle-rule, rule_id: a, limits: [3]",
            "error: `limits` must be a list of mappings, not a number",
        ),
        (
            "time-range-rule, days: [1], overnight: true",
            "error: `overnight` without `time_start` and `time_end`",
        ),
        (
            "time-range-rule, time_start: 8am, time_end: 9am, overnight: true",
            "error: `time_start` must come after `time_end` in a window over midnight",
        ),
        (
            "time-range-rule, time_end: 9:00",
            "error: `time_end` without `time_start`",
        ),
        (
            "time-range-rule, time_start: '9:00', time_end: '9:00'",
            "error: `time_start` must come before `time_end`",
        ),
        (
            "time-range-rule, time_start: 9:00 EST, time_end: 9pm",
            "error: `time_start` and `time_end` are in different time zones",
        ),
        (
            "time-range-rule, time_start: 9 XYZ, time_end: 9pm",
            "error: `9 XYZ` is not a time; write it like `8:00am`, `17:30` or `17:30:15`",
        ),
        (
            "time-range-rule, time_start: 9am XYZ, time_end: 9pm",
            "error: unknown time zone `XYZ`; write an offset like `+04:00`, or name a zone in `timezone`",
        ),
        (
            "time-range-rule, timezone: Europe/Lodnon, days: [1]",
            "error: unknown time zone `Europe/Lodnon`; did you mean `Europe/London`?",
        ),
        (
            "time-range-rule, include: 6/1/2022",
            "error: `6/1/2022` is not a date",
        ),
        (
            "time-range-rule, exclude: 2022-02-30",
            "error: `2022-02-30` is not a date",
        ),
        (
            "time-range-rule, include: [2022-06-01]",
            "warning: `include` without `days` restricts nothing",
        ),
        (
            "time-range-rule",
            "warning: `time-range-rule` restricts nothing",
        ),
        (
            "session-params-rule",
            "error: `session-params-rule` can only stand under `start_session`",
        ),
    ] {
        let said: Vec<String> = said(&rule(text))
            .iter()
            .map(|line| without_place(line))
            .collect();
        assert!(
            said.iter().any(|line| line == expected),
            "{text}: {said:#?}"
        );
    }
}

fn without_place(line: &str) -> String {
    let (severity, rest) = line.split_once(' ').unwrap();
    let (_, message) = rest.split_once(' ').unwrap();
    format!("{severity}: {message}")
}

#[test]
fn unquoted_scalars_are_taken_as_written() {
    let text = "
decrypt:
  - - {rule: per-profile-throttle-rule, rule_id: 17:30, per_day: 1}
    - {rule: per-profile-throttle-rule, rule_id: 2022-06-01, per_day: 1}
    - {rule: per-profile-throttle-rule, rule_id: 55, per_day: 1, persistent: True}
    - {rule: per-profile-throttle-rule, rule_id: 0x37, per_day: 1, persistent: FALSE}
    - {rule: profile-id-rule, rule_id: p, profile_ids: [646576000000000000000000000000e1]}
    - {rule: time-range-rule, rule_id: t, time_start: 8:00, time_end: 17:30, exclude: 2022-06-01}
";
    let policy = load(text).unwrap().policy;
    let ids: Vec<&str> = policy.rule_ids().map(|(id, _)| id).collect();
    assert_eq!(ids, ["17:30", "2022-06-01", "55", "0x37", "p", "t"]);
}

#[test]
fn combinations_that_can_never_hold_are_warned_of_and_can_be_denied() {
    for (kind, rule) in [
        ("create_profile", "profile-id-rule, profile_ids: [a b c d]"),
        (
            "create_profile",
            "per-profile-throttle-rule, rule_id: x, per_day: 1",
        ),
        ("create_profile", "meta-rule, paths: [a]"),
        ("create_location", "meta-rule, paths: [a]"),
        ("search", "meta-rule, paths: [a]"),
    ] {
        let loaded = load(&format!("{kind}: [[ {{rule: {rule}}} ]]")).unwrap();
        assert_eq!(loaded.warnings.len(), 1, "{kind} {rule}");
        assert!(loaded.warnings[0].message.contains("can never hold in a"));
        let error = loaded.deny_warnings().unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("policy not loaded: 1 warning denied")
        );
    }
    let noted = rule("per-profile-throttle-rule, rule_id: x, per_day: 1, persistent: true");
    let noted = load(&format!("{noted}\ncreate_profile: []"));
    assert!(
        noted.unwrap().deny_warnings().is_ok(),
        "a note is no warning"
    );
}

/// Threat 8: who may make as many profiles as he likes has as many quotas.
#[test]
fn quotas_are_warned_of_where_profiles_are_free() {
    let quota = rule("per-profile-throttle-rule, rule_id: x, per_day: 1");
    let free = "each new profile has a quota of its own, and `create_profile` is not restricted";
    for (profiles, is_free) in [
        ("", true),
        ("create_profile: [[]]", true),
        ("create_profile: [[{rule: approve-rule}]]", true),
        ("create_profile: []", false),
        (
            "create_profile: [[{rule: time-range-rule, days: [1]}]]",
            false,
        ),
        (
            "create_profile: [[{rule: reject-rule}], [{rule: approve-rule}]]",
            true,
        ),
    ] {
        let loaded = load(&format!("{quota}\n{profiles}")).unwrap();
        let warns = loaded
            .warnings
            .iter()
            .any(|warning| warning.message == free);
        assert_eq!(warns, is_free, "{profiles}");
        assert_eq!(loaded.deny_warnings().is_err(), is_free, "{profiles}");
    }
    let loaded = load("decrypt: [[{rule: time-range-rule, days: [1]}]]").unwrap();
    assert!(loaded.warnings.is_empty(), "no quota");
}

/// Threat 10: neither very many faults nor very large regular expressions take long.
#[test]
fn hostile_files_are_refused_in_few_words() {
    let sets = |rule: &str| {
        format!(
            "decrypt:\n{}",
            format!("- - {{rule: {rule}}}\n").repeat(5_000)
        )
    };
    let sections: String = (0..50_000)
        .map(|number| format!("k{number}: []\n"))
        .collect();
    let regex = r"meta-rule, regexes: ['(a{50}){50}{50}']";
    for text in [sets("x"), sets(regex), sections] {
        let error = load(&text).unwrap_err();
        assert!(error.to_string().len() < 100_000);
        assert_eq!(error.diagnostics().len(), 101);
        let last = error.diagnostics().last().unwrap();
        assert_eq!(
            last.message,
            "there may be more errors: loading stopped here"
        );
    }
}

/// Each expression is within its own bound; all together would take as much memory as there is.
#[test]
fn regular_expressions_have_a_bound_together() {
    let policy = |count: usize, regex: &dyn Fn(usize) -> String| {
        let set = |number| format!("- - {{rule: meta-rule, regexes: ['{}']}}\n", regex(number));
        format!("decrypt:\n{}", (0..count).map(set).collect::<String>())
    };
    let large = policy(400, &|number| format!(r"{number}\w{{10}}"));
    let error = load(&large).unwrap_err();
    let [fault] = error.diagnostics() else {
        panic!("{error}")
    };
    assert!((250..400).contains(&fault.line), "{error}");
    let number = fault.line - 2;
    for part in [
        &format!(r"the regular expression `{number}\w{{10}}` cannot be used: it takes "),
        " KiB of memory, and all of the policy up to it 262",
        " KiB, more than 256 MiB",
    ] {
        assert!(fault.message.contains(part), "{error}");
    }
    assert!(load(&policy(200, &|number| format!(r"{number}\w{{10}}"))).is_ok());
    // What is written for people is far within.
    let usual = policy(10_000, &|number| {
        format!(r"^/departments/[a-z]+{number}/.*\.xlsx$")
    });
    assert!(load(&usual).is_ok());
    // What takes next to nothing when compiled is counted, too.
    let tiny: String = (0..70_000).map(|number| format!("'{number}',")).collect();
    let error = load(&format!(
        "decrypt: [[{{rule: meta-rule, regexes: [{tiny}]}}]]"
    ));
    assert!(error.unwrap_err().to_string().contains("more than 256 MiB"));
}

#[test]
fn an_error_is_seen_among_any_number_of_warnings() {
    let throttle = "- - {rule: per-profile-throttle-rule, per_day: 1}\n";
    let warned = load(&format!("decrypt:\n{}", throttle.repeat(150))).unwrap();
    assert_eq!(warned.warnings.len(), 101);
    assert_eq!(
        warned.warnings[100].message,
        "51 more warnings are not shown"
    );
    let text = format!("decrypt:\n{}- - rule: meta-rul\n", throttle.repeat(150));
    let error = load(&text).unwrap_err();
    let errors = error
        .diagnostics()
        .iter()
        .filter(|d| d.severity == Severity::Error);
    assert_eq!(errors.map(|d| d.line).collect::<Vec<_>>(), [152]);
}

/// Threat 7: a name with one wrong letter must not pass for no name at all.
#[test]
fn no_key_can_be_misspelt() {
    let sample = include_str!("../../suites/sample-policy.yml");
    assert!(load(sample).is_ok());
    let document = document::read(&Source::new("sample", sample)).unwrap();
    let mut keys = Vec::new();
    collect_keys(&document.root, &mut keys);
    assert!(keys.len() > 30);
    let lines: Vec<&str> = sample.lines().collect();
    for key in keys {
        let line = lines[key.line - 1];
        let name = &line[key.column..key.column + key.length];
        for at in 0..name.len() {
            for letter in ["x", "", "_", "ee", "D"] {
                let wrong = format!("{}{letter}{}", &name[..at], &name[at + 1..]);
                if wrong == name {
                    continue;
                }
                let mut changed = lines.clone();
                let head = &line[..key.column];
                let line = format!("{head}{wrong}{}", &line[key.column + key.length..]);
                changed[key.line - 1] = &line;
                assert!(
                    load(&changed.join("\n")).is_err(),
                    "line {}: `{line}`",
                    key.line
                );
            }
        }
    }
}

fn collect_keys(node: &Rc<Node>, keys: &mut Vec<Span>) {
    match &node.kind {
        document::NodeKind::Scalar(_) => {}
        document::NodeKind::Sequence(elements) => {
            elements
                .iter()
                .for_each(|element| collect_keys(element, keys));
        }
        document::NodeKind::Mapping(entries) => {
            for (key, value) in entries {
                keys.push(key.span);
                collect_keys(value, keys);
            }
        }
    }
}

#[derive(Debug)]
struct Silent;

impl Rule for Silent {
    fn judge(&self, _: &ApprovalRequest, _: &Zoned) -> Result<Verdict, RuleError> {
        Ok(Verdict::holds("always"))
    }
}

#[test]
fn custom_rules_are_built_from_arguments_like_bundled_ones() {
    let mut registry = Registry::bundled();
    let build = |arguments: &mut Arguments<'_>| {
        let level = arguments.text("level")?;
        assert_ne!(level.value, "bad", "a builder that panics");
        (level.value != "none").then(|| Box::new(Silent) as Box<dyn Rule>)
    };
    registry.register("level-rule", build).unwrap();
    let load = |level: &str| {
        let text = rule(&format!("level-rule, {level}"));
        Policy::load("f", &text, &TimeZone::UTC, &registry)
    };
    assert!(load("level: 7").is_ok());
    for (level, expected) in [
        ("level: [7]", "`level` must be text, not a list"),
        (
            "level: a, levle: b",
            "unknown argument `levle` of `level-rule`",
        ),
        ("level: bad", "`level-rule` panicked while it was built"),
        ("level: none", "`level-rule` cannot be built"),
        ("rule_id: x", "`level-rule` cannot be built"),
    ] {
        let error = load(level).unwrap_err();
        assert_eq!(error.diagnostics()[0].message, expected);
    }
}

/// What YAML takes for a number that no value can hold may be an id: all of them are told at once.
#[test]
fn numbers_that_are_too_large_are_all_named() {
    let digits = "1".repeat(32);
    let text = format!(
        "decrypt:\n  - - rule: profile-id-rule\n      profile_ids: [{digits}, a b c d, -{digits}, '{digits}']\n"
    );
    assert_eq!(
        said(&text),
        [
            format!("error 3:21 the number `{digits}` is too large"),
            format!("error 3:64 the number `-{digits}` is too large"),
        ]
    );
    let error = load(&text).unwrap_err();
    let help = error.diagnostics()[0].help.clone().unwrap();
    assert!(help.ends_with("put it in quotes"), "{help}");
}

#[test]
fn a_request_type_that_is_no_text_is_told_so() {
    assert_eq!(
        said("? [a]\n: []\n"),
        ["error 1:3 a request type must be text, not a list"]
    );
}
