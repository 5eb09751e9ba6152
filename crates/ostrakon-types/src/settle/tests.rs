use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::canonical;

/// The simplest driver there can be: counters in a map.
#[derive(Default, Clone, Debug, PartialEq)]
struct Book {
    counts: BTreeMap<CounterKey, u64>,
    recorded: Option<Recorded>,
    clashes: Vec<usize>,
}

impl Book {
    fn settle(&mut self, body: Digest, proposals: Vec<Proposal>) -> Result<Settled, Refusal> {
        let mut settling = Settling::new(body, proposals);
        let mut reply = Reply::Start;
        loop {
            reply = match settling.next(reply) {
                Step::Recall => Reply::Recalled(self.recorded.clone()),
                Step::Charge(charge) => {
                    let count = self.counts.entry(charge.key.clone()).or_default();
                    let fits = *count < charge.limit;
                    *count += u64::from(fits);
                    Reply::Charged(fits)
                }
                Step::Refund(charge) => {
                    *self.counts.get_mut(&charge.key).expect("was charged") -= 1;
                    Reply::Done
                }
                Step::Apply(item) => Reply::Applied(!self.clashes.contains(&item)),
                Step::Record(recorded) => {
                    self.recorded = Some(recorded.clone());
                    Reply::Done
                }
                Step::Finish(settled) => return settled,
            };
        }
    }
}

fn charge(rule: &str, limit: u64) -> Charge {
    Charge {
        key: CounterKey {
            profile: ProfileId::from_bytes([1; 16]),
            rule_id: rule.into(),
            period: Period::Day,
            window: UnixMillis(0),
        },
        limit,
        resets_at: UnixMillis(86_400_000),
    }
}

fn body(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

#[test]
fn a_set_whose_quota_is_used_up_gives_way_to_the_next_and_leaves_no_charge() {
    let mut book = Book::default();
    let proposal = Proposal::new(vec![
        Candidate::new(Some(0), vec![charge("a", 5), charge("b", 1)]),
        Candidate::new(Some(3), vec![charge("c", 1)]),
    ]);
    let settled = book.settle(body(1), vec![proposal; 3]).unwrap();
    assert_eq!(
        settled.decisions,
        [
            Decision::Approve { rule_set: Some(0) },
            Decision::Approve { rule_set: Some(3) },
            Decision::Deny {
                denial: Denial::Quota {
                    resets_at: UnixMillis(86_400_000)
                }
            },
        ]
    );
    let counts: Vec<u64> = book.counts.values().copied().collect();
    assert_eq!(
        counts,
        [1, 1, 1],
        "a, b and c: the refused tries of a were taken back"
    );
}

#[test]
fn a_retry_gets_the_first_answer_and_no_second_charge() {
    let mut book = Book::default();
    let proposal = Proposal::new(vec![Candidate::new(Some(0), vec![charge("a", 1)])]);
    let first = book.settle(body(1), vec![proposal.clone()]).unwrap();
    let before = book.counts.clone();
    let again = book
        .settle(body(1), vec![Proposal::new(Vec::new())])
        .unwrap();
    assert_eq!(
        again,
        Settled {
            repeated: true,
            ..first
        }
    );
    assert_eq!(book.settle(body(2), vec![proposal]), Err(Refusal::IdReused));
    assert_eq!(book.counts, before);
}

#[test]
fn what_clashes_is_denied_and_refunded() {
    let mut book = Book {
        clashes: vec![0],
        ..Book::default()
    };
    let proposal = Proposal::new(vec![Candidate::new(None, vec![charge("a", 1)])]);
    let settled = book
        .settle(body(1), vec![proposal.clone(), proposal])
        .unwrap();
    assert_eq!(
        settled.decisions[0],
        Decision::Deny {
            denial: Denial::Conflict
        }
    );
    assert_eq!(settled.decisions[1], Decision::Approve { rule_set: None });
}

#[test]
fn a_counter_named_twice_in_a_set_is_charged_once_under_the_lower_limit() {
    let candidate = Candidate::new(Some(0), vec![charge("a", 3), charge("a", 2)]);
    assert_eq!(candidate.charges(), [charge("a", 2)]);
}

#[test]
fn a_reply_out_of_turn_ends_the_settling() {
    let mut settling = Settling::new(body(1), vec![Proposal::new(Vec::new())]);
    assert_eq!(
        settling.next(Reply::Done),
        Step::Finish(Err(Refusal::OutOfTurn))
    );
    assert_eq!(
        settling.next(Reply::Start),
        Step::Finish(Err(Refusal::OutOfTurn))
    );
}

fn proposals() -> impl Strategy<Value = Vec<Proposal>> {
    let charge = ("[abc]", 0_u64..4).prop_map(|(rule, limit)| charge(&rule, limit));
    let candidate = (
        proptest::option::of(0_u32..3),
        prop::collection::vec(charge, 0..3),
    )
        .prop_map(|(set, charges)| Candidate::new(set, charges));
    let proposal = prop::collection::vec(candidate, 0..4).prop_map(Proposal::new);
    prop::collection::vec(proposal, 0..6)
}

proptest! {
    /// The settling agrees with its definition: the first candidate all of whose charges fit.
    #[test]
    fn settling_is_first_fit(proposals in proposals()) {
        let mut counts: BTreeMap<CounterKey, u64> = BTreeMap::new();
        let mut expected = Vec::new();
        for proposal in &proposals {
            let fits = |candidate: &&Candidate| candidate.charges().iter()
                .all(|charge| counts.get(&charge.key).copied().unwrap_or(0) < charge.limit);
            let chosen = proposal.candidates.iter().find(fits);
            expected.push(chosen.map(|candidate| candidate.rule_set));
            for charge in chosen.into_iter().flat_map(Candidate::charges) {
                *counts.entry(charge.key.clone()).or_default() += 1;
            }
        }
        let mut book = Book::default();
        let settled = book.settle(body(1), proposals).unwrap();
        let got: Vec<_> = settled.decisions.iter().map(|decision| match decision {
            Decision::Approve { rule_set } => Some(*rule_set),
            Decision::Deny { .. } => None,
        }).collect();
        prop_assert_eq!(got, expected);
        book.counts.retain(|_, count| *count > 0);
        prop_assert_eq!(book.counts, counts);
    }
}

/// The counter's rule id is shared in memory; in both encodings it is text like any other.
#[test]
fn a_charge_is_encoded_as_if_its_rule_id_were_its_own() {
    let charge = charge("ab", 5);
    let mut key = vec![0x84, 0x50];
    key.extend([1; 16]);
    key.extend([0x62, b'a', b'b', 1, 0]);
    let bytes = canonical::encode(&charge.key);
    assert_eq!(bytes, key);
    assert_eq!(canonical::decode::<CounterKey>(&bytes).unwrap(), charge.key);
    let json = serde_json::to_string(&charge).unwrap();
    assert!(json.contains(r#""rule_id":"ab""#), "{json}");
    assert_eq!(serde_json::from_str::<Charge>(&json).unwrap(), charge);
}
