//! A second reading of what a policy means, written from the text of docs/policy.md alone and as plainly
//! as can be: no index, no patterns compiled, no charges. Random policies must come to the same decisions
//! by it and by the engine, quotas counted, over requests that lie near what the policies name.
//!
//! Seen to fail, each: with the end of a window exclusive, with `/` at the end of a pattern ignored, with a
//! partial path that begins with a pattern taken for a match, with only the first inverted entry honoured,
//! with canonical forms not asked for, with hours of UTC in place of those of the zone.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};
use ostrakon_policy::{MemoryLedger, Policy, Registry};
use ostrakon_types::{
    ApprovalRequest, Decision, Digest, MetaItem, OpaqueId, ProfileId, ProfileRef, ProfileWords,
    RequestId, RequestKind, UnixMillis,
};
use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization as _;

/// Numbers that look drawn by lot, the same in every run.
struct Lot(u64);

impl Lot {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Whether it is one of so many in a hundred.
    fn hits(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one<'t, T: ?Sized>(&mut self, of: &[&'t T]) -> &'t T {
        of[self.below(of.len())]
    }

    fn some<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..=self.below(most)).map(|_| make(self)).collect()
    }
}

// What is drawn.

const COMPONENTS: [&str; 17] = [
    "root",
    "Root",
    "sub",
    "SUB",
    "path",
    "tax",
    "taxes",
    "a.b",
    "x",
    "données",
    "donne\u{301}es",
    "DONNÉES",
    "straße",
    "STRASSE",
    "\u{212a}elvin",
    "kelvin",
    "...",
];
const ENDS: [&str; 5] = ["", "", ".txt", ".TXT", ".tar.gz"];
const ZONES: [&str; 6] = [
    "UTC",
    "Europe/London",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/St_Johns",
];
/// Before the days on which some of the clocks change, and an ordinary one.
const BEGINNINGS: [&str; 5] = [
    "2022-03-12T20:00:00Z",
    "2022-03-26T20:00:00Z",
    "2022-10-29T20:00:00Z",
    "2022-11-05T20:00:00Z",
    "2022-06-30T20:00:00Z",
];
const KINDS: [RequestKind; 5] = [
    RequestKind::Decrypt,
    RequestKind::Rename,
    RequestKind::Search,
    RequestKind::CreateProfile,
    RequestKind::CreateLocation,
];
/// Texts that a regular expression finds anywhere, so that no second engine is needed to tell.
const REGEXES: [&str; 5] = ["tax", "/sub/", "donn", "x", "/root"];

fn pattern(lot: &mut Lot) -> String {
    let mut components = lot.some(2, |lot| {
        let component: Vec<char> = lot.one(&COMPONENTS).chars().collect();
        if !lot.hits(25) {
            return component.into_iter().collect();
        }
        let from = lot.below(component.len());
        let to = from + lot.below(component.len() - from + 1);
        let (head, tail) = (&component[..from], &component[to..]);
        head.iter()
            .chain(['*'].iter())
            .chain(tail)
            .collect::<String>()
    });
    components.last_mut().unwrap().push_str(lot.one(&ENDS));
    let inverted = if lot.hits(25) { "!" } else { "" };
    let root = if lot.hits(35) { "/" } else { "" };
    let inside = if lot.hits(25) { "/" } else { "" };
    format!("{inverted}{root}{}{inside}", components.join("/"))
}

/// A path, often made of a pattern of the policy, and at times in a spelling that has no canonical form.
fn item(lot: &mut Lot, patterns: &[String]) -> MetaItem {
    let mut meta = if lot.hits(60) && !patterns.is_empty() {
        let pattern = &patterns[lot.below(patterns.len())];
        let bare = pattern.trim_start_matches('!').trim_matches('/');
        bare.replace('*', lot.one(&["", "z", "z.q"]))
    } else {
        lot.some(3, |lot| lot.one(&COMPONENTS).to_owned()).join("/")
    };
    meta = match lot.below(12) {
        0 => format!("{meta}/x"),
        1 => format!("x/{meta}"),
        2 => format!("{meta}/"),
        3 => format!("{meta}x"),
        4 => format!("x{meta}"),
        5 => meta.to_uppercase(),
        6 if lot.hits(50) => meta.replacen('/', lot.one(&["//", "/../", "/./", "\\"]), 1),
        7 if lot.hits(50) => format!("{}{meta}", lot.one(&["/", "./", "\0"])),
        _ => meta,
    };
    MetaItem {
        meta,
        complete: lot.hits(60),
    }
}

fn rule(lot: &mut Lot) -> Value {
    match lot.below(6) {
        0 | 1 => {
            let mut rule = json!({"rule": "meta-rule", "paths": lot.some(3, pattern)});
            if lot.hits(30) {
                rule["regexes"] = json!(lot.some(2, |lot| {
                    format!("{}{}", lot.one(&["", "!"]), lot.one(&REGEXES))
                }));
            }
            rule["case_sensitive"] = lot.hits(25).into();
            rule["require_complete"] = lot.hits(25).into();
            rule
        }
        2 => {
            let ids = lot.some(2, |lot| match lot.below(4) {
                0 => "0A".repeat(16),
                1 => "00".repeat(16),
                2 => lot
                    .one(&["one two three four", "ONE two three Four five"])
                    .to_owned(),
                _ => lot
                    .one(&["one two three fou", "two three four five"])
                    .to_owned(),
            });
            json!({"rule": "profile-id-rule", "profile_ids": ids})
        }
        3 => {
            let mut rule = json!({"rule": "time-range-rule"});
            let (a, b) = (lot.below(86_399), lot.below(86_399));
            if a != b {
                let zone = lot.one(&["", "", " EST", "+05:45", " -0330"]);
                let (start, end) = (a.min(b), a.max(b));
                let overnight = lot.hits(25);
                let (start, end) = if overnight {
                    (end, start)
                } else {
                    (start, end)
                };
                rule["time_start"] = format!("{}{zone}", clock(start)).into();
                rule["time_end"] = format!("{}{zone}", clock(end)).into();
                rule["overnight"] = overnight.into();
                if zone.is_empty() && lot.hits(30) {
                    rule["timezone"] = lot.one(&ZONES).into();
                }
            }
            if lot.hits(50) {
                rule["days"] = json!(lot.some(5, |lot| lot.below(7)));
            }
            for name in ["include", "exclude"] {
                if lot.hits(30) {
                    let day = 1 + lot.below(30);
                    let month = lot.one(&["03", "07", "10", "11"]);
                    rule[name] = format!("2022-{month}-{day:02}").into();
                }
            }
            rule
        }
        4 => {
            let mut rule = json!({"rule": "per-profile-throttle-rule"});
            rule[lot.one(&["per_hour", "per_day"])] = (1 + lot.below(4)).into();
            rule[lot.one(&["per_minute", "per_hour", "per_day"])] = (1 + lot.below(4)).into();
            rule["rule_id"] = lot.one(&["a", "b"]).into();
            rule
        }
        _ => json!({"rule": lot.one(&["approve-rule", "approve-rule", "reject-rule"])}),
    }
}

fn clock(second: usize) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

// What it means.

/// Letters without regard to case: of those that are drawn, these are not the lower case of each other.
fn folded(text: &str) -> String {
    text.replace('\u{212a}', "k").to_lowercase()
}

fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.any(|at| glob(tail, &rest[at..]))
        }),
    }
}

fn path_matches(pattern: &str, path: &str, complete: bool) -> bool {
    let components: Vec<&str> = path.split('/').collect();
    let begins = |pattern: &[&str], at: usize| {
        let here = components.get(at..at + pattern.len());
        here.is_some_and(|here| {
            pattern
                .iter()
                .zip(here)
                .all(|(one, other)| glob(one, other))
        })
    };
    if let Some(rooted) = pattern.strip_prefix('/') {
        let pattern: Vec<&str> = rooted.trim_end_matches('/').split('/').collect();
        return complete && begins(&pattern, 0);
    }
    if !pattern.contains('/') {
        return glob(pattern, components[components.len() - 1]);
    }
    let inside = usize::from(pattern.ends_with('/'));
    let pattern: Vec<&str> = pattern.trim_end_matches('/').split('/').collect();
    let first = usize::from(!complete);
    (first..components.len())
        .any(|at| begins(&pattern, at) && at + pattern.len() + inside <= components.len())
}

fn meta_holds(rule: &Value, request: &ApprovalRequest) -> bool {
    let exact = rule["case_sensitive"].as_bool().unwrap();
    let spelt = |text: &str| {
        let text: String = text.nfc().collect();
        if exact { text } else { folded(&text) }
    };
    let texts = |name: &str| -> Vec<String> {
        let list = rule[name].as_array().into_iter().flatten();
        list.map(|entry| spelt(entry.as_str().unwrap())).collect()
    };
    let never = [
        RequestKind::Search,
        RequestKind::CreateProfile,
        RequestKind::CreateLocation,
    ];
    !never.contains(&request.kind)
        && !request.meta.is_empty()
        && request.meta.iter().all(|item| {
            let inner = item.meta.strip_suffix('/').unwrap_or(&item.meta);
            let bad = |component: &str| matches!(component, "" | "." | "..");
            if item.meta.contains(['\0', '\\']) || inner.split('/').any(bad) {
                return false;
            }
            if rule["require_complete"] == true && !item.complete {
                return false;
            }
            let path = spelt(&item.meta);
            let whole = if item.complete {
                format!("/{path}")
            } else {
                path.clone()
            };
            let paths = texts("paths").into_iter().map(|entry| {
                let pattern = entry.trim_start_matches('!');
                (
                    entry.starts_with('!'),
                    path_matches(pattern, &path, item.complete),
                )
            });
            let regexes = texts("regexes").into_iter().map(|entry| {
                let found = whole.contains(entry.trim_start_matches('!'));
                (entry.starts_with('!'), found)
            });
            let (inverted, positive): (Vec<_>, Vec<_>) =
                paths.chain(regexes).partition(|(inverted, _)| *inverted);
            let any = |entries: &[(bool, bool)]| entries.iter().any(|(_, matches)| *matches);
            !any(&inverted) && (positive.is_empty() || any(&positive))
        })
}

fn time_holds(rule: &Value, now: &Zoned) -> bool {
    let text = |name: &str| rule[name].as_str().unwrap_or_default();
    let (start, zone) = text("time_start").split_at_checked(8).unwrap_or_default();
    let end = text("time_end").get(..8).unwrap_or_default();
    let now = match zone {
        "" if rule["timezone"].is_string() => now.in_tz(text("timezone")).unwrap(),
        "" => now.clone(),
        zone => {
            let minutes = match zone {
                " EST" => -300,
                "+05:45" => 345,
                _ => -210,
            };
            let offset = jiff::tz::Offset::from_seconds(minutes * 60).unwrap();
            now.with_time_zone(TimeZone::fixed(offset))
        }
    };
    // Clocks of 24 hours sort as texts do, fractions of a second included.
    let time = now.strftime("%H:%M:%S%.f").to_string();
    let overnight = rule["overnight"] == true;
    let after_midnight = overnight && time.as_str() <= end;
    let day = if after_midnight {
        now.yesterday().unwrap()
    } else {
        now
    };
    let date = day.date().to_string();
    let weekday = i64::from(day.weekday().to_monday_zero_offset());
    let listed = match rule["days"].as_array() {
        Some(days) => days.contains(&weekday.into()),
        None => true,
    };
    let in_time = match (start, overnight) {
        ("", _) => true,
        (start, true) => time.as_str() >= start || time.as_str() <= end,
        (start, false) => time.as_str() >= start && time.as_str() <= end,
    };
    date != text("exclude") && (listed || date == text("include")) && in_time
}

fn profile_holds(rule: &Value, request: &ApprovalRequest) -> bool {
    let listed = rule["profile_ids"].as_array().unwrap().iter();
    let mut listed = listed.map(|entry| entry.as_str().unwrap().to_lowercase());
    let words = format!("{} ", request.profile.words);
    let id = request.profile.id.to_string();
    request.kind != RequestKind::CreateProfile
        && listed.any(|entry| entry == id || words.starts_with(&format!("{entry} ")))
}

/// The counts of approvals, by profile, rule id, period and what clocks show of the window.
type Counts = HashMap<(ProfileId, String, String, String), u64>;

/// The rule set that approves; `Err` for a denial.
fn decide(
    policy: &Value,
    request: &ApprovalRequest,
    now: &Zoned,
    counts: &mut Counts,
) -> Result<Option<u32>, ()> {
    let Some(sets) = policy[request.kind.as_str()].as_array() else {
        let free = [RequestKind::CreateProfile, RequestKind::CreateLocation];
        return if free.contains(&request.kind) {
            Ok(None)
        } else {
            Err(())
        };
    };
    for (number, set) in (0..).zip(sets) {
        let mut charges: HashMap<_, u64> = HashMap::new();
        let holds =
            set.as_array()
                .unwrap()
                .iter()
                .all(|rule| match rule["rule"].as_str().unwrap() {
                    "meta-rule" => meta_holds(rule, request),
                    "time-range-rule" => time_holds(rule, now),
                    "profile-id-rule" => profile_holds(rule, request),
                    "per-profile-throttle-rule" => {
                        for (period, shown) in [
                            ("per_minute", "%F %H:%M"),
                            ("per_hour", "%F %H"),
                            ("per_day", "%F"),
                        ] {
                            if let Some(limit) = rule[period].as_u64() {
                                let window = now.strftime(shown).to_string();
                                let id = rule["rule_id"].as_str().unwrap().to_owned();
                                let key = (request.profile.id, id, period.to_owned(), window);
                                let lowest = charges.entry(key).or_insert(limit);
                                *lowest = limit.min(*lowest);
                            }
                        }
                        request.kind != RequestKind::CreateProfile
                    }
                    name => name == "approve-rule",
                });
        let fits = |counts: &Counts| {
            charges
                .iter()
                .all(|(key, limit)| counts.get(key).unwrap_or(&0) < limit)
        };
        if holds && fits(counts) {
            for key in charges.into_keys() {
                *counts.entry(key).or_default() += 1;
            }
            return Ok(Some(number));
        }
    }
    Err(())
}

// Both, side by side.

fn request(lot: &mut Lot, patterns: &[String]) -> ApprovalRequest {
    let (byte, words) = [
        (10, "one two three four five"),
        (11, "two three four five six"),
    ][lot.below(2)];
    ApprovalRequest {
        kind: KINDS[if lot.hits(50) {
            0
        } else {
            lot.below(KINDS.len())
        }],
        device_id: OpaqueId::new(b"d"),
        profile: ProfileRef {
            id: ProfileId::from_bytes([byte; 16]),
            words: ProfileWords::new(words),
        },
        meta: if lot.hits(10) {
            Vec::new()
        } else {
            lot.some(2, |lot| item(lot, patterns))
        },
        cryptographic_id: OpaqueId::new(b"c"),
    }
}

/// Later, often at the very start or end of a window of the policy, or a hair beside it.
fn later(lot: &mut Lot, now: &Zoned, policy: &str) -> Zoned {
    let steps = [0, 20, 60, 1800, 3600, 40_000];
    let next = now + SignedDuration::from_secs(steps[lot.below(steps.len())]);
    let times: Vec<&str> = policy
        .split("\"time_")
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(2)?.get(..8))
        .collect();
    if times.is_empty() || !lot.hits(40) {
        return next;
    }
    let time: jiff::civil::Time = times[lot.below(times.len())].parse().unwrap();
    let offsets = [-210, -300, 345, 0];
    let zone = if lot.hits(50) {
        next.time_zone().clone()
    } else {
        let minutes = offsets[lot.below(offsets.len())];
        TimeZone::fixed(jiff::tz::Offset::from_seconds(minutes * 60).unwrap())
    };
    let there = next
        .with_time_zone(zone.clone())
        .date()
        .to_datetime(time)
        .to_zoned(zone)
        .unwrap();
    let hair = SignedDuration::from_millis([0, 0, 1, -1, 999, 1000, -1000][lot.below(7)]);
    let there = (&there + hair).with_time_zone(next.time_zone().clone());
    if there >= *now { there } else { next }
}

#[test]
fn both_readings_come_to_the_same_decisions() {
    let mut lot = Lot(1);
    let mut approved = 0;
    let mut all = 0;
    for _ in 0..200 {
        let mut policy = json!({});
        for kind in KINDS {
            if kind == RequestKind::Decrypt || lot.hits(40) {
                policy[kind.as_str()] = json!(lot.some(4, |lot| lot.some(3, rule)));
            }
        }
        let text = policy.to_string();
        let zone = TimeZone::get(lot.one(&ZONES)).unwrap();
        let engine = Policy::load("p.json", &text, &zone, &Registry::bundled());
        let engine = engine.unwrap().policy;
        let ledger = MemoryLedger::new();
        let mut counts = Counts::new();
        let patterns: Vec<String> = text
            .split('"')
            .filter(|text| text.contains('/') || COMPONENTS.contains(text))
            .map(str::to_owned)
            .collect();
        let beginning: Timestamp = lot.one(&BEGINNINGS).parse().unwrap();
        let mut now = beginning.to_zoned(zone);
        for number in 0..40_u8 {
            now = later(&mut lot, &now, &text);
            let request = request(&mut lot, &patterns);
            let proposal = engine.evaluate(&request, now.timestamp()).into_proposal();
            let id = RequestId::from_parts(UnixMillis(i64::from(number)), [0; 10]);
            let settled = ledger
                .settle(id, Digest::from_bytes([0; 32]), vec![proposal])
                .unwrap();
            let decided = match settled.decisions[0] {
                Decision::Approve { rule_set } => Ok(rule_set),
                Decision::Deny { .. } => Err(()),
            };
            let paths: Vec<_> = request
                .meta
                .iter()
                .map(|item| (&item.meta, item.complete))
                .collect();
            let expected = decide(&policy, &request, &now, &mut counts);
            assert_eq!(
                decided, expected,
                "{} {paths:?} at {now}:\n{text}",
                request.kind
            );
            approved += u32::from(expected.is_ok());
            all += 1;
        }
    }
    // Neither is decided by what is always the same.
    assert!(
        (all / 5..all / 5 * 4).contains(&approved),
        "{approved} of {all}"
    );
}
