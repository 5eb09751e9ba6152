//! The durable ledger, on a real database, against a model of a few lines.
//!
//! Seen to fail: with the limit left out of what a draft charges; with refunds left out; with a commit's
//! failure taken for success; with a failed batch not tried again by halves; with a plan written though the
//! batch before it failed; and with the chain's head kept over a failure.

use std::collections::{BTreeMap, BTreeSet};

use ostrakon_types::{Decision, LocationId};
use proptest::{prelude::*, test_runner::Config};
use tokio::runtime;

use super::*;

/// What is asked for, in terms small enough to clash often.
#[derive(Clone, Debug)]
struct Ask {
    id: u8,
    body: u8,
    items: Vec<Part>,
    fault: Fault,
}

/// An item: its candidates as lists of (rule, limit, reset), and the folder that it makes.
#[derive(Clone, Debug)]
struct Part {
    candidates: Vec<Vec<(char, u64, i64)>>,
    folder: Option<u8>,
}

/// What happens to the transaction in which a request is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// It fails at the statement that records the request.
    Record,
    /// It fails at the commit.
    Commit,
}

#[derive(Clone, Debug)]
enum Move {
    Ask(Ask),
    LoadPolicy,
    Forget,
}

/// Moves that are made at once, and after how many turns of the scheduler the writer is killed, if it is.
type Burst = (Vec<Move>, Option<usize>);

/// The ledger in a few lines: what a request gets when it comes alone.
#[derive(Clone, Debug, Default)]
struct Model {
    counts: BTreeMap<char, u64>,
    folders: BTreeSet<u8>,
    records: BTreeMap<u8, (u8, Vec<Decision>)>,
    /// Id, item and decision of each audit record; none for a policy that was loaded.
    log: Vec<Option<(u8, u32, Decision)>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Decided(Vec<Option<Denial>>),
    IdReused,
    Unavailable,
    Done,
}

impl Model {
    fn make(&mut self, next: &Move) -> Outcome {
        match next {
            Move::Ask(ask) => self.settle(ask),
            Move::LoadPolicy => {
                self.log.push(None);
                Outcome::Done
            }
            Move::Forget => Outcome::Done,
        }
    }

    fn settle(&mut self, ask: &Ask) -> Outcome {
        if !self.records.contains_key(&ask.id) {
            if ask.fault != Fault::None {
                return Outcome::Unavailable;
            }
            let decisions: Vec<_> = ask.items.iter().map(|item| self.decide(item)).collect();
            for (number, decision) in (0..).zip(&decisions) {
                self.log.push(Some((ask.id, number, decision.clone())));
            }
            self.records.insert(ask.id, (ask.body, decisions));
        }
        let (body, decisions) = &self.records[&ask.id];
        if *body != ask.body {
            return Outcome::IdReused;
        }
        let denial = |decision: &Decision| match decision {
            Decision::Approve { .. } => None,
            Decision::Deny { denial } => Some(*denial),
        };
        Outcome::Decided(decisions.iter().map(denial).collect())
    }

    /// The first candidate whose charges all fit.
    fn decide(&mut self, part: &Part) -> Decision {
        let mut resets = Vec::new();
        for (number, charges) in (0..).zip(&part.candidates) {
            let full = |(rule, limit, _): &&(char, u64, i64)| {
                self.counts.get(rule).copied().unwrap_or(0) >= *limit
            };
            if let Some((_, _, reset)) = charges.iter().find(full) {
                resets.push(UnixMillis(*reset));
                continue;
            }
            if part
                .folder
                .is_some_and(|folder| !self.folders.insert(folder))
            {
                let denial = Denial::Conflict;
                return Decision::Deny { denial };
            }
            for (rule, ..) in charges {
                *self.counts.entry(*rule).or_default() += 1;
            }
            let rule_set = Some(number);
            return Decision::Approve { rule_set };
        }
        let denial = match resets.into_iter().min() {
            Some(resets_at) => Denial::Quota { resets_at },
            None => Denial::Policy,
        };
        Decision::Deny { denial }
    }
}

impl Ask {
    fn request(&self, profile: ProfileId) -> SettleRequest {
        let mut made = request(
            self.id,
            self.items.iter().map(|i| i.item(profile)).collect(),
        );
        made.key.profile = profile;
        made.body = Digest::from_bytes([self.body; 32]);
        // The database tells by the time which fault it is to have.
        made.at = NOW.plus(self.fault as i64);
        made
    }
}

impl Part {
    fn item(&self, profile: ProfileId) -> RequestItem {
        let charge = |&(rule, limit, reset): &(char, u64, i64)| Charge {
            key: CounterKey {
                profile,
                rule_id: rule.to_string().into(),
                period: Period::Day,
                window: NOW,
            },
            limit,
            resets_at: UnixMillis(reset),
        };
        let candidates = (0..).zip(&self.candidates).map(|(number, charges)| {
            Candidate::new(Some(number), charges.iter().map(charge).collect())
        });
        let act = match self.folder {
            None => Act::None,
            Some(id) => Act::CreateLocation(LocationRecord {
                location: LocationId::from_bytes([id; 16]),
                name: Name::new("folder").unwrap(),
                created_at: NOW,
            }),
        };
        item(Proposal::new(candidates.collect()), act)
    }
}

/// A room whose database fails as requests ask it to, and a profile in it.
async fn faulty_room() -> (Room, ProfileId) {
    let room = Room::new().await;
    let ledger = room.ledger().await;
    let founded = founded();
    let profile = founded.0.id();
    let act = Act::CreateProfile(Box::new(founded));
    let made = ledger
        .settle(request(255, vec![item(within(9), act)]))
        .await;
    assert!(matches!(made.unwrap()[..], [Verdict::Approved(None)]));
    room.tamper(&format!(
        "CREATE TABLE never (id INTEGER PRIMARY KEY);
         CREATE TABLE due (id INTEGER REFERENCES never (id) DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER at_record BEFORE INSERT ON requests WHEN NEW.decided_at = {}
         BEGIN SELECT RAISE(ABORT, 'planted'); END;
         CREATE TRIGGER at_commit BEFORE INSERT ON requests WHEN NEW.decided_at = {}
         BEGIN INSERT INTO due VALUES (1); END",
        NOW.plus(Fault::Record as i64).0,
        NOW.plus(Fault::Commit as i64).0,
    ))
    .await;
    (room, profile)
}

async fn make(ledger: Ledger, profile: ProfileId, next: Move) -> Outcome {
    let done = match next {
        Move::Ask(ask) => {
            let verdict = |verdict| match verdict {
                Verdict::Approved(_) => None,
                Verdict::Denied(denial) => Some(denial),
            };
            let settled = ledger.settle(ask.request(profile)).await;
            settled.map(|verdicts| Outcome::Decided(verdicts.into_iter().map(verdict).collect()))
        }
        Move::LoadPolicy => {
            let change = Change::LoadPolicy {
                time_zone: "UTC".into(),
                source: String::new(),
                number: None,
                by: None,
            };
            ledger.administer(change, NOW).await.map(|_| Outcome::Done)
        }
        Move::Forget => ledger.forget(NOW).await.map(|()| Outcome::Done),
    };
    match done {
        Ok(outcome) => outcome,
        Err(LedgerError::Refused(Refusal::IdReused)) => Outcome::IdReused,
        Err(LedgerError::Unavailable(_) | LedgerError::Stopped) => Outcome::Unavailable,
        Err(error) => panic!("{error}"),
    }
}

/// What the log holds beyond the room's founding, in the model's terms.
async fn logged(room: &Room) -> Vec<Option<(u8, u32, Decision)>> {
    let events = room.audited().await.unwrap().into_iter().skip(1);
    let entry = |event| match event {
        AuditEvent::Decided {
            request,
            item,
            decision,
            ..
        } => Some((request.as_bytes()[0], item, decision)),
        _ => None,
    };
    events.map(entry).collect()
}

async fn run(bursts: Vec<Burst>, limits: LedgerLimits) {
    let (room, profile) = faulty_room().await;
    let mut model = Model::default();
    let (mut ledger, mut writer) = room.ledger_within(limits).await;
    for (moves, killed_after) in bursts {
        // They are asked for in this order, and only then the writer has its turn.
        let tasks: Vec<_> = moves
            .iter()
            .map(|next| tokio::spawn(make(ledger.clone(), profile, next.clone())))
            .collect();
        if let Some(turns) = killed_after {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            writer.abort();
            (ledger, writer) = room.ledger_within(limits).await;
        }
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.unwrap());
        }
        // Behind what the killed writer has left in the database's hands.
        ledger.probe().await.unwrap();
        let log = logged(&room).await;
        // Without a kill all moves were made. With one, a first part of them.
        let mut states = vec![(model.clone(), Vec::new())];
        for next in &moves {
            let (mut model, mut expected) = states.last().cloned().unwrap();
            expected.push(model.make(next));
            states.push((model, expected));
        }
        let made = match killed_after {
            None => states.pop(),
            Some(_) => states.into_iter().rev().find(|(state, _)| state.log == log),
        };
        let Some((state, expected)) = made else {
            panic!("the log is that of no first part of the moves: {log:?}\n{moves:?}");
        };
        assert_eq!(log, state.log);
        for (number, outcome) in outcomes.iter().enumerate() {
            let unknown = killed_after.is_some() && *outcome == Outcome::Unavailable;
            assert!(
                unknown || expected.get(number) == Some(outcome),
                "{:?}: {outcome:?}, not {:?}",
                moves[number],
                expected.get(number)
            );
        }
        model = state;
        let counters = room.store.counters(&profile).await.unwrap().into_iter();
        let counted = counters
            .filter(|counter| counter.count > 0)
            .map(|counter| (counter.key.rule_id.chars().next().unwrap(), counter.count));
        assert_eq!(counted.collect::<BTreeMap<_, _>>(), model.counts);
    }
}

fn part() -> impl Strategy<Value = Part> {
    let rule = prop::sample::select(vec!['a', 'b', 'c']);
    let charges = prop::collection::btree_map(rule, (0_u64..6, 1_i64..4), 0..3).prop_map(|map| {
        let charge = |(rule, (limit, reset))| (rule, limit, reset);
        map.into_iter().map(charge).collect()
    });
    let folder = prop_oneof![3 => Just(None), 1 => (0_u8..4).prop_map(Some)];
    (prop::collection::vec(charges, 0..4), folder)
        .prop_map(|(candidates, folder)| Part { candidates, folder })
}

fn next_move() -> impl Strategy<Value = Move> {
    let fault =
        prop_oneof![8 => Just(Fault::None), 1 => Just(Fault::Record), 1 => Just(Fault::Commit)];
    // A retry is a request with the same id and body, and so as many items; its proposals may be others
    // by then.
    let body = prop_oneof![6 => Just(0_u8), 1 => Just(1)];
    let ask = (0_u8..40, body, prop::collection::vec(part(), 3), fault);
    let ask = ask.prop_map(|(id, body, mut items, fault)| {
        items.truncate(1 + usize::from(id + body) % 3);
        Move::Ask(Ask {
            id,
            body,
            items,
            fault,
        })
    });
    prop_oneof![12 => ask, 1 => Just(Move::LoadPolicy), 1 => Just(Move::Forget)]
}

fn bursts() -> impl Strategy<Value = Vec<Burst>> {
    let killed = prop_oneof![3 => Just(None), 1 => (0_usize..60).prop_map(Some)];
    prop::collection::vec((prop::collection::vec(next_move(), 1..12), killed), 1..8)
}

fn limits() -> impl Strategy<Value = LedgerLimits> {
    (1_usize..24, 1_usize..24).prop_map(|(queue, batch)| LedgerLimits { queue, batch })
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_durable_ledger_does_as_a_model_of_it(bursts in bursts(), limits in limits()) {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(bursts, limits));
    }
}
