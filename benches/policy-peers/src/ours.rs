use jiff::{Timestamp, tz::TimeZone};
use ostrakon_policy::{Policy, Registry};
use ostrakon_types::{
    ApprovalRequest, MetaItem, OpaqueId, ProfileId, ProfileRef, ProfileWords, RequestKind,
};

use crate::timing::{Row, time};

/// A kind of policy: the text of rule set number N, and a request that it approves.
struct Shape {
    name: &'static str,
    set: fn(usize) -> String,
    path: fn(usize) -> String,
}

const SHAPES: [Shape; 6] = [
    Shape {
        name: "ostrakon: a profile and a folder each",
        set: |n| {
            format!(
                "  - - {{rule: profile-id-rule, profile_ids: ['{n:032x}']}}\n    - {{rule: meta-rule, paths: ['/departments/d{n}/reports']}}\n"
            )
        },
        path: |n| format!("departments/d{n}/reports/2026/may.xlsx"),
    },
    Shape {
        name: "ostrakon: a profile each",
        set: |n| format!("  - - {{rule: profile-id-rule, profile_ids: ['{n:032x}']}}\n"),
        path: |n| format!("departments/d{n}/reports/2026/may.xlsx"),
    },
    Shape {
        name: "ostrakon: a profile's words each",
        set: |n| {
            format!("  - - {{rule: profile-id-rule, profile_ids: [river amber staple w{n}]}}\n")
        },
        path: |n| format!("departments/d{n}/reports/2026/may.xlsx"),
    },
    Shape {
        name: "ostrakon: a folder each",
        set: |n| format!("  - - {{rule: meta-rule, paths: ['/departments/d{n}/reports']}}\n"),
        path: |n| format!("departments/d{n}/reports/2026/may.xlsx"),
    },
    Shape {
        name: "ostrakon: a regular expression each",
        set: |n| {
            format!(
                "  - - {{rule: meta-rule, regexes: ['^/departments/[a-z]+{n}/reports/.*\\.xlsx$']}}\n"
            )
        },
        path: |n| format!("departments/d{n}/reports/2026/may.xlsx"),
    },
    Shape {
        name: "ostrakon: a folder and a quota each",
        set: |n| {
            format!(
                "  - - {{rule: meta-rule, paths: ['/departments/d{n}/reports']}}\n    - {{rule: per-profile-throttle-rule, rule_id: q{n}, per_day: 30}}\n"
            )
        },
        path: |n| format!("departments/d{n}/reports/2026/may.xlsx"),
    },
];

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for shape in SHAPES {
        rows.extend(row(&shape, "", "UTC", Policy::evaluate));
    }
    rows.extend(row(
        &SHAPES[0],
        ", a zone with DST",
        "Europe/London",
        Policy::evaluate,
    ));
    rows.extend(row(
        &SHAPES[0],
        ", no index",
        "UTC",
        Policy::evaluate_plainly,
    ));
    rows
}

fn row(
    shape: &Shape,
    note: &str,
    zone: &str,
    evaluate: fn(&Policy, &ApprovalRequest, Timestamp) -> ostrakon_policy::Evaluation,
) -> Option<Row> {
    let now: Timestamp = "2026-03-09T12:00:00Z".parse().unwrap();
    Row::new(&format!("{}{note}", shape.name), |size| {
        let text = format!("decrypt:\n{}", (0..size).map(shape.set).collect::<String>());
        let zone = TimeZone::get(zone).unwrap();
        let policy = Policy::load("f", &text, &zone, &Registry::bundled())
            .unwrap()
            .policy;
        let requests = requests(shape, size);
        for request in &requests[..requests.len() - 1] {
            assert_eq!(
                evaluate(&policy, request, now).proposal().candidates.len(),
                1
            );
        }
        time(&requests, |request| evaluate(&policy, request, now))
    })
}

/// Requests that rule sets from the first to the last approve, and one that none does.
fn requests(shape: &Shape, size: usize) -> Vec<ApprovalRequest> {
    let numbers = (0..32).map(|step| step * (size - 1) / 31).chain([size]);
    numbers
        .map(|n| ApprovalRequest {
            kind: RequestKind::Decrypt,
            device_id: OpaqueId::new(b"laptop"),
            profile: ProfileRef {
                id: ProfileId::from_bytes((n as u128).to_be_bytes()),
                words: ProfileWords::new(&format!(
                    "river amber staple w{n} maple drift horse quiet"
                )),
            },
            meta: vec![MetaItem {
                meta: (shape.path)(n),
                complete: true,
            }],
            cryptographic_id: OpaqueId::new(b"file"),
        })
        .collect()
}
