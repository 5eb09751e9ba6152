use std::{sync::Barrier, thread};

use ostrakon_types::{Candidate, Decision, Period, RequestKind};

use super::*;
use crate::fixture::{at, policy, request};

const NOON: &str = "2022-03-09T12:00:00Z";

fn key(rule_id: &str) -> CounterKey {
    CounterKey {
        profile: ProfileId::from_bytes([1; 16]),
        rule_id: rule_id.into(),
        period: Period::Day,
        window: UnixMillis(0),
    }
}

fn proposal(limit: u64) -> Proposal {
    let charge = |rule_id| Charge {
        key: key(rule_id),
        limit,
        resets_at: UnixMillis(86_400_000),
    };
    let both = vec![charge("wide"), charge("narrow")];
    Proposal::new(vec![Candidate::new(Some(0), both)])
}

fn id(number: usize) -> RequestId {
    RequestId::from_parts(UnixMillis(i64::try_from(number).unwrap()), [0; 10])
}

const BODY: Digest = Digest::from_bytes([0; 32]);

/// How many of the requests of many threads, all at once, `approve` approves.
fn approvals(threads: usize, each: usize, approve: impl Fn(usize) -> bool + Sync) -> usize {
    let barrier = Barrier::new(threads);
    let client = |thread: usize| {
        barrier.wait();
        (0..each)
            .filter(|number| approve(thread * each + number))
            .count()
    };
    let client = &client;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || client(thread)))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    })
}

/// Threat 2: a limit of N gives exactly N approvals.
#[test]
fn a_limit_of_n_gives_n_approvals_under_any_concurrency() {
    let ledger = MemoryLedger::new();
    let approve = |number| {
        let settled = ledger
            .settle(id(number), BODY, vec![proposal(100)])
            .unwrap();
        settled.decisions[0].is_approved()
    };
    assert_eq!(approvals(16, 50, approve), 100);
    assert_eq!(ledger.count(&key("wide")), 100);
    assert_eq!(ledger.count(&key("narrow")), 100);
}

/// The test above can fail: it finds a ledger that reads a count and writes it back in two acts.
#[test]
fn a_ledger_that_reads_before_it_writes_is_found_out() {
    let count = Mutex::new(0_usize);
    let approve = |_| {
        let read = *count.lock().unwrap();
        thread::yield_now();
        let fits = read < 100;
        if fits {
            *count.lock().unwrap() = read + 1;
        }
        fits
    };
    let worst = (0..50).map(|_| {
        *count.lock().unwrap() = 0;
        approvals(16, 50, approve)
    });
    assert!(worst.max().unwrap() > 100);
}

#[test]
fn a_retry_is_answered_as_before_and_charged_once() {
    let ledger = MemoryLedger::new();
    let first = ledger.settle(id(1), BODY, vec![proposal(2)]).unwrap();
    for _ in 0..10 {
        let again = ledger.settle(id(1), BODY, vec![proposal(2)]).unwrap();
        assert!(again.repeated && again.decisions == first.decisions);
    }
    assert_eq!(ledger.count(&key("wide")), 1);
    let other = Digest::from_bytes([1; 32]);
    assert_eq!(
        ledger.settle(id(1), other, vec![proposal(2)]),
        Err(Refusal::IdReused)
    );
    ledger.forget_request(&id(1));
    assert!(
        !ledger
            .settle(id(1), other, vec![proposal(2)])
            .unwrap()
            .repeated
    );
}

#[test]
fn counters_are_cleared_by_profile_and_forgotten_when_they_have_ended() {
    let ledger = MemoryLedger::new();
    ledger.settle(id(1), BODY, vec![proposal(2)]).unwrap();
    ledger.clear(&ProfileId::from_bytes([2; 16]));
    ledger.forget_ended(UnixMillis(86_399_999));
    assert_eq!(ledger.counts().len(), 2);
    ledger.forget_ended(UnixMillis(86_400_000));
    assert_eq!(ledger.counts(), []);
    ledger.settle(id(2), BODY, vec![proposal(2)]).unwrap();
    ledger.clear(&ProfileId::from_bytes([1; 16]));
    assert_eq!(ledger.counts(), []);
}

/// Threat 11: counts follow the rule's id over a change of policy, and a changed limit applies to the
/// count as it stands.
#[test]
fn counts_follow_the_rule_id_over_a_reload() {
    let ledger = MemoryLedger::new();
    let mut number = 0;
    let mut decide = |rule: &str| {
        number += 1;
        let policy = policy(&format!(
            "decrypt: [[{{rule: per-profile-throttle-rule, {rule}}}]]"
        ));
        let evaluation = policy.evaluate(&request(RequestKind::Decrypt, &["a"]), at(NOON));
        let settled = ledger
            .settle(id(number), BODY, vec![evaluation.into_proposal()])
            .unwrap();
        matches!(settled.decisions[0], Decision::Approve { .. })
    };
    for (rule, approved) in [
        ("rule_id: q, per_day: 2", true),
        ("rule_id: q, per_day: 2", true),
        ("rule_id: q, per_day: 2", false),
        ("rule_id: q, per_day: 3", true), // raised: one more
        ("rule_id: q, per_day: 3", false),
        ("rule_id: q, per_day: 1", false), // lowered below the count
        ("rule_id: q, per_day: 4, persistent: true", true),
        ("rule_id: r, per_day: 1", true),  // another rule
        ("rule_id: q, per_day: 4", false), // back again: the count was kept
        ("rule_id: q, per_hour: 1", true), // hours were not counted so far
        ("per_day: 1", true),
        ("per_day: 1", false),
        ("per_day: 2", true), // no id: an edit starts anew
    ] {
        assert_eq!(decide(rule), approved, "{rule}");
    }
}
