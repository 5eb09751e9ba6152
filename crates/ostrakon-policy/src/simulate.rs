//! Replaying recorded requests against another policy.
//!
//! A simulation decides each request in the order in which it was made, at the instant at which it was
//! made, and counts quotas in a ledger of its own. Requests from before the time that is asked about
//! fill its counters, and are not compared.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use ostrakon_types::{ApprovalRequest, Digest, ProfileId, RequestId, RequestKind, UnixMillis};
use serde::Serialize;

use crate::{MemoryLedger, Policy};

/// A request that was decided, as an audit log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// When it was decided.
    pub at: Timestamp,
    /// What was asked for.
    pub request: ApprovalRequest,
    /// Whether it was approved.
    pub approved: bool,
}

impl RecordedRequest {
    /// A record as given.
    #[must_use]
    pub fn new(at: Timestamp, request: ApprovalRequest, approved: bool) -> Self {
        Self {
            at,
            request,
            approved,
        }
    }
}

/// What would have been decided otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Simulation {
    /// How many requests were compared.
    pub compared: u64,
    /// The differences, by type, profile and folder.
    pub differences: Vec<Difference>,
}

/// Requests of one type, profile and folder that would have been decided otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// What was asked for.
    pub request: RequestKind,
    /// For which profile.
    pub profile: ProfileId,
    /// The folder of the first file that was meant; empty where there is none. It is user data.
    pub folder: String,
    /// How many were denied, and would have been approved.
    pub approved_now: u64,
    /// How many were approved, and would have been denied.
    pub denied_now: u64,
}

impl Simulation {
    /// How many requests would have been decided otherwise.
    #[must_use]
    pub fn changed(&self) -> u64 {
        let counts = self.differences.iter();
        counts.map(|each| each.approved_now + each.denied_now).sum()
    }
}

/// Decides `requests`, which are in the order of time, by `policy`, and compares those from `since` on.
#[must_use]
pub fn simulate(
    policy: &Policy,
    requests: impl IntoIterator<Item = RecordedRequest>,
    since: Timestamp,
) -> Simulation {
    let ledger = MemoryLedger::new();
    let mut compared = 0;
    let mut differences: BTreeMap<(RequestKind, ProfileId, String), (u64, u64)> = BTreeMap::new();
    // A request of which every item has a record is settled item by item: each is a request of its own.
    for (number, recorded) in (0_u64..).zip(requests) {
        let RecordedRequest {
            at,
            request,
            approved,
        } = recorded;
        let proposal = policy.evaluate(&request, at).into_proposal();
        let id = RequestId::from_parts(
            UnixMillis(i64::try_from(number).unwrap_or(i64::MAX)),
            [0; 10],
        );
        let settled = ledger.settle(id, Digest::from_bytes([0; 32]), vec![proposal]);
        ledger.forget_request(&id);
        if at < since {
            continue;
        }
        compared += 1;
        let approves = settled.is_ok_and(|settled| {
            let mut decisions = settled.decisions.iter();
            decisions.all(ostrakon_types::Decision::is_approved)
        });
        if approves != approved {
            let key = (request.kind, request.profile.id, folder(&request));
            let (approved_now, denied_now) = differences.entry(key).or_default();
            *if approves { approved_now } else { denied_now } += 1;
        }
    }
    let differences =
        differences
            .into_iter()
            .map(
                |((request, profile, folder), (approved_now, denied_now))| Difference {
                    request,
                    profile,
                    folder,
                    approved_now,
                    denied_now,
                },
            );
    Simulation {
        compared,
        differences: differences.collect(),
    }
}

fn folder(request: &ApprovalRequest) -> String {
    let path = request.meta.first().map_or("", |item| &item.meta);
    path.rsplit_once('/')
        .map_or("", |(folder, _)| folder)
        .to_owned()
}

impl fmt::Display for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} requests would be decided otherwise",
            self.changed(),
            self.compared
        )?;
        for each in &self.differences {
            write!(
                f,
                "\n  {} for {} in {:?}:",
                each.request, each.profile, each.folder
            )?;
            if each.approved_now > 0 {
                write!(f, " {} more approved", each.approved_now)?;
            }
            if each.denied_now > 0 {
                write!(f, " {} more denied", each.denied_now)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{at, policy, request};

    #[test]
    fn quotas_count_and_earlier_requests_fill_them() {
        let policy = policy(
            "decrypt: [[{rule: per-profile-throttle-rule, rule_id: a, per_day: 2}, {rule: meta-rule, paths: [/in]}]]",
        );
        let requests = [
            ("09:00", "in/a", true),
            ("10:00", "in/a", true),
            ("11:00", "in/b/c", true),
            ("12:00", "out/c", false),
            ("13:00", "out/c", true),
        ]
        .map(|(time, path, approved)| RecordedRequest {
            at: at(&format!("2022-03-09T{time}:00Z")),
            request: request(RequestKind::Decrypt, &[path]),
            approved,
        });
        let since = at("2022-03-09T10:00:00Z");
        let simulation = simulate(&policy, requests.clone(), since);
        assert_eq!((simulation.compared, simulation.changed()), (4, 2));
        let profile = "07".repeat(16);
        assert_eq!(
            simulation.to_string(),
            format!(
                "2 of 4 requests would be decided otherwise\n  decrypt for {profile} in \"in/b\": 1 more denied\n  \
                 decrypt for {profile} in \"out\": 1 more denied"
            )
        );
        let open = crate::fixture::policy("decrypt: [[]]");
        let simulation = simulate(&open, requests, since);
        assert_eq!(simulation.differences[0].approved_now, 1);
        assert_eq!(simulation.changed(), 1);
    }
}
