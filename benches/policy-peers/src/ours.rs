use jiff::{Timestamp, tz::TimeZone};
use ostrakon_policy::{Evaluation, Policy, Registry};
use ostrakon_types::{
    ApprovalRequest, MetaItem, OpaqueId, ProfileId, ProfileRef, ProfileWords, RequestKind,
};

use crate::{
    SIZES,
    shape::{self, Case, PathRule, Shape},
    table::Row,
    timing::{Engine, median},
};

/// The name of the table of [`rows`].
pub const ALONE: &str = "ostrakon alone";

type Evaluate = fn(&Policy, &ApprovalRequest, Timestamp) -> Evaluation;

struct Ours {
    policy: Policy,
    requests: Vec<ApprovalRequest>,
    now: Timestamp,
    evaluate: Evaluate,
}

impl Engine for Ours {
    fn prepare(&mut self, cases: &[Case]) {
        self.requests = cases.iter().map(request).collect();
    }

    fn decide(&self, case: usize) -> bool {
        let proposal =
            (self.evaluate)(&self.policy, &self.requests[case], self.now).into_proposal();
        !proposal.candidates.is_empty()
    }
}

pub fn indexed(shape: &Shape, size: usize) -> Option<Box<dyn Engine>> {
    let set = |number| {
        let mut rules = Vec::new();
        if shape.profile {
            rules.push(profile_rule(&shape::profile(number)));
        }
        match shape.path {
            PathRule::None => {}
            PathRule::Folder => rules.push(folder_rule(number)),
            PathRule::Regex => rules.push(format!(
                "{{rule: meta-rule, regexes: ['^/{}']}}",
                shape::regex(number)
            )),
        }
        rules
    };
    Some(Box::new(engine(size, set, "UTC", Policy::evaluate)))
}

fn profile_rule(profile: &str) -> String {
    format!("{{rule: profile-id-rule, profile_ids: ['{profile}']}}")
}

fn folder_rule(number: usize) -> String {
    format!("{{rule: meta-rule, paths: ['/{}']}}", shape::folder(number))
}

fn engine(size: usize, set: impl Fn(usize) -> Vec<String>, zone: &str, evaluate: Evaluate) -> Ours {
    let sets = (0..size).map(|number| format!("  - [{}]\n", set(number).join(", ")));
    let text = format!("decrypt:\n{}", sets.collect::<String>());
    let zone = TimeZone::get(zone).unwrap();
    Ours {
        policy: Policy::load("f", &text, &zone, &Registry::bundled())
            .unwrap()
            .policy,
        requests: Vec::new(),
        now: "2026-07-09T12:00:00Z".parse().unwrap(),
        evaluate,
    }
}

fn request(case: &Case) -> ApprovalRequest {
    let number = case.profile;
    ApprovalRequest {
        kind: RequestKind::Decrypt,
        device_id: OpaqueId::new(b"laptop"),
        profile: ProfileRef {
            id: ProfileId::from_bytes((number as u128).to_be_bytes()),
            words: ProfileWords::new(&format!(
                "river amber staple w{number} maple drift horse quiet"
            )),
        },
        meta: vec![MetaItem {
            meta: shape::path(case),
            complete: true,
        }],
        cryptographic_id: OpaqueId::new(b"file"),
    }
}

/// What no peer has, and what the index is good for.
pub fn rows() -> Vec<Row> {
    let words = |number| vec![profile_rule(&format!("river amber staple w{number}"))];
    let both = |number| vec![profile_rule(&shape::profile(number)), folder_rule(number)];
    let quota = |limits: &'static str| {
        move |number| {
            let throttle =
                format!("{{rule: per-profile-throttle-rule, rule_id: q{number}, {limits}}}");
            vec![folder_rule(number), throttle]
        }
    };
    let stars = |number| {
        vec![format!(
            "{{rule: meta-rule, paths: ['/dep*/d{number}/*', '*.doc{number}']}}"
        )]
    };
    let office = |number| {
        let times = "{rule: time-range-rule, time_start: '8:00am', time_end: '6:00pm'}";
        vec![folder_rule(number), times.to_owned()]
    };
    let hours = "per_hour: 20, per_day: 30";
    let sliding = "limits: [{count: 30, per: day, sliding: true}]";
    vec![
        row("a profile's words each", words, "UTC", Policy::evaluate),
        row(
            "two patterns with stars each",
            stars,
            "UTC",
            Policy::evaluate,
        ),
        row(
            "a folder and office hours each",
            office,
            "UTC",
            Policy::evaluate,
        ),
        row(
            "  in a zone with summer time",
            office,
            "Europe/London",
            Policy::evaluate,
        ),
        row(
            "a folder and two quotas each",
            quota(hours),
            "UTC",
            Policy::evaluate,
        ),
        row(
            "  in a zone with summer time",
            quota(hours),
            "Europe/London",
            Policy::evaluate,
        ),
        row(
            "a folder and a sliding quota each",
            quota(sliding),
            "UTC",
            Policy::evaluate,
        ),
        row(
            "both, without the index",
            both,
            "UTC",
            Policy::evaluate_plainly,
        ),
    ]
}

fn row(name: &str, set: impl Fn(usize) -> Vec<String>, zone: &str, evaluate: Evaluate) -> Row {
    let time = |size: usize| {
        let mut engine = engine(size, &set, zone, evaluate);
        let cases = shape::timed(size);
        engine.prepare(&cases);
        for (number, case) in cases.iter().enumerate() {
            assert_eq!(engine.decide(number), case.folder < size, "{name}");
        }
        median(&[&engine], cases.len()).remove(0)
    };
    Row::new(name, SIZES.map(|size| Some(time(size))))
}
