//! What the simulated database holds, and the judge of every transaction that becomes durable.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Mutex,
};

use ostrakon_storage::{AuditHead, AuditRow, InstanceId, RequestRecord};
use ostrakon_types::{Decision, LocationId, Recorded, canonical};
use tokio::{sync::Notify, time};

use super::{
    asks::{BEGIN, proposal, told},
    chance::Chance,
    database::SimDatabase,
    *,
};

/// How many events are told of a run that failed.
const TOLD: usize = 80;

/// What a transaction keeps to itself until it commits.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// What counters are to hold; nothing where one is to go.
    pub(super) counters: BTreeMap<CounterKey, Option<u64>>,
    pub(super) records: Vec<RequestRecord>,
    pub(super) folders: BTreeSet<(ProfileId, LocationId)>,
    pub(super) audit: Vec<(InstanceId, u64, Vec<u8>, Vec<u8>)>,
    pub(super) changes: i64,
}

/// A link of a chain: the sealed record, and its authenticator.
type Link = (Vec<u8>, Vec<u8>);

/// The rows of the database.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) counters: BTreeMap<CounterKey, u64>,
    pub(super) requests: BTreeMap<RequestKey, Recorded>,
    pub(super) folders: BTreeSet<(ProfileId, LocationId)>,
    pub(super) chains: BTreeMap<InstanceId, Vec<Link>>,
    pub(super) changes: i64,
}

/// A row that one transaction at a time may change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    Counter(CounterKey),
    Request(RequestKey),
    Folder(ProfileId, LocationId),
    Link(InstanceId, u64),
    Changes,
}

/// How the database is out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Away {
    Gone,
    ReadOnly,
    NoReplica,
}

pub(super) struct State {
    pub(super) chance: Chance,
    pub(super) tables: Tables,
    pub(super) held: BTreeMap<Row, u64>,
    /// Which transaction waits for which.
    pub(super) waits: BTreeMap<u64, u64>,
    pub(super) next: u64,
    pub(super) away: Option<Away>,
    /// Nothing goes wrong any more.
    pub(super) calm: bool,
    /// What clients were told.
    pub(super) answered: BTreeMap<RequestKey, Vec<Option<Denial>>>,
    pub(super) tally: Tally,
    events: VecDeque<String>,
    hash: DefaultHasher,
    broken: Option<String>,
}

/// What happened in a run, to see that it was not idle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) approved: u64,
    pub(super) denied_by_quota: u64,
    pub(super) conflicts: u64,
    pub(super) repeated: u64,
    pub(super) outdated: u64,
    pub(super) unknown_commits: u64,
    pub(super) deadlocks: u64,
    pub(super) overtaken: u64,
    pub(super) crashes: u64,
    pub(super) changes: i64,
    /// A digest of all events.
    pub(super) trace: u64,
}

pub(super) struct World {
    state: Mutex<State>,
    /// Tells that rows are free again.
    pub(super) released: Notify,
    pub(super) bug: Bug,
    begin: time::Instant,
}

impl World {
    pub(super) fn new(seed: u64, bug: Bug) -> Self {
        let state = State {
            chance: Chance::of(seed),
            tables: Tables::default(),
            held: BTreeMap::new(),
            waits: BTreeMap::new(),
            next: 0,
            away: None,
            calm: false,
            answered: BTreeMap::new(),
            tally: Tally::default(),
            events: VecDeque::new(),
            hash: DefaultHasher::new(),
            broken: None,
        };
        Self {
            state: Mutex::new(state),
            released: Notify::new(),
            bug,
            begin: time::Instant::now(),
        }
    }

    /// Looks at, and changes, the state. Nobody else runs meanwhile.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    pub(super) fn now(&self) -> UnixMillis {
        BEGIN.plus(i64::try_from(self.begin.elapsed().as_millis()).unwrap())
    }

    /// Notes an event for who has to find out what went wrong.
    pub(super) fn event(&self, what: &str) {
        let line = format!("{:>7} {what}", self.begin.elapsed().as_millis());
        self.with(|state| {
            line.hash(&mut state.hash);
            if state.events.len() == TOLD && state.broken.is_none() {
                state.events.pop_front();
            }
            if state.broken.is_none() {
                state.events.push_back(line);
            }
        });
    }

    pub(super) fn is_broken(&self) -> bool {
        self.with(|state| state.broken.is_some())
    }

    pub(super) fn broken(&self, what: String) {
        self.event(&format!("BROKEN {what}"));
        self.with(|state| {
            state.broken.get_or_insert(what);
        });
    }

    /// How the run ended.
    pub(super) fn outcome(&self) -> Result<Tally, String> {
        self.with(|state| match &state.broken {
            Some(broken) => {
                let events: Vec<_> = state.events.iter().map(String::as_str).collect();
                Err(format!("{broken}\n{}", events.join("\n")))
            }
            None => {
                let mut tally = state.tally.clone();
                tally.changes = state.tables.changes;
                tally.trace = state.hash.finish();
                Ok(tally)
            }
        })
    }

    /// Makes a transaction's work durable, which began when `begun` changes had been made, once it was
    /// judged.
    pub(super) fn apply(&self, begun: i64, work: Work) {
        let judged = self.with(|state| {
            let judged = state.tables.judge(begun, &work, &mut state.tally);
            state.tables.take(work);
            judged
        });
        if let Err(broken) = judged {
            self.broken(broken);
        }
    }

    /// A client was told the verdicts.
    pub(super) fn answered(&self, key: RequestKey, verdicts: Vec<Option<Denial>>) {
        let broken = self.with(|state| {
            let Some(recorded) = state.tables.requests.get(&key) else {
                return Some(format!("{key:?} was answered and is not on record"));
            };
            let decided: Vec<_> = recorded.decisions.iter().map(denial).collect();
            if decided != verdicts {
                return Some(format!(
                    "{key:?} was told {verdicts:?}, recorded {decided:?}"
                ));
            }
            match state.answered.insert(key, verdicts.clone()) {
                Some(first) if first != verdicts => {
                    Some(format!("{key:?} was told {first:?}, then {verdicts:?}"))
                }
                Some(_) => {
                    state.tally.repeated += 1;
                    None
                }
                None => None,
            }
        });
        if let Some(broken) = broken {
            self.broken(broken);
        }
    }
}

fn denial(decision: &Decision) -> Option<Denial> {
    match decision {
        Decision::Approve { .. } => None,
        Decision::Deny { denial } => Some(*denial),
    }
}

impl Tables {
    fn take(&mut self, work: Work) {
        for (key, count) in work.counters {
            match count {
                Some(count) => self.counters.insert(key, count),
                None => self.counters.remove(&key),
            };
        }
        for record in work.records {
            self.requests.insert(record.key, record.recorded);
        }
        self.folders.extend(work.folders);
        for (instance, _, sealed, mac) in work.audit {
            self.chains.entry(instance).or_default().push((sealed, mac));
        }
        self.changes += work.changes;
    }

    /// Decides again, in the order of the log, what the work has decided, against what is durable.
    fn judge(&self, begun: i64, work: &Work, tally: &mut Tally) -> Result<(), String> {
        let mut counters = Counting::of(&self.counters);
        let mut decided: BTreeMap<RequestKey, Vec<Decision>> = BTreeMap::new();
        let mut next: BTreeMap<InstanceId, u64> = BTreeMap::new();
        for (instance, sequence, bytes, _) in &work.audit {
            let behind = || {
                self.chains
                    .get(instance)
                    .map_or(0, |chain| chain.len() as u64)
            };
            let last = next.entry(*instance).or_insert_with(behind);
            *last += 1;
            if sequence != last {
                return Err(format!(
                    "link {sequence} of {instance} where {last} was next"
                ));
            }
            let record: AuditRecord = canonical::decode(bytes).map_err(|_| "damaged record")?;
            match record.event {
                AuditEvent::Decided {
                    profile,
                    device,
                    request,
                    item,
                    meta,
                    decision,
                    ..
                } => {
                    let key = RequestKey {
                        profile,
                        device,
                        request,
                    };
                    let (policy, kind) = told(&meta);
                    if policy < begun {
                        return Err(format!(
                            "{key:?} was decided by policy {policy}, and {begun} was in force"
                        ));
                    }
                    let proposal = proposal(policy, kind, profile, record.at);
                    let fits = decide(&mut counters, &proposal, &decision, tally);
                    fits.map_err(|broken| format!("{key:?} item {item}: {broken}"))?;
                    let items = decided.entry(key).or_default();
                    items.push(decision);
                    if items.len() != item as usize + 1 {
                        return Err(format!("{key:?} item {item} is on record out of turn"));
                    }
                }
                AuditEvent::QuotaCleared { profile, .. } => {
                    counters.clear(profile, &work.counters);
                }
                _ => {}
            }
        }
        for (key, count) in &work.counters {
            let logged = counters.get(key);
            if logged != *count {
                return Err(format!(
                    "{key:?} is to hold {count:?}, by the log {logged:?}"
                ));
            }
        }
        if let Some(key) = counters
            .changed()
            .find(|key| !work.counters.contains_key(*key))
        {
            return Err(format!("{key:?} was charged and not counted"));
        }
        for record in &work.records {
            if self.requests.contains_key(&record.key) {
                return Err(format!("{:?} was decided twice", record.key));
            }
            if decided.remove(&record.key).as_ref() != Some(&record.recorded.decisions) {
                return Err(format!("{:?} is not on record as decided", record.key));
            }
        }
        match decided.first_key_value() {
            Some((key, _)) => Err(format!("{key:?} is in the log alone")),
            None => Ok(()),
        }
    }
}

/// Counters as the log makes them, over those that are durable.
struct Counting<'t> {
    durable: &'t BTreeMap<CounterKey, u64>,
    made: BTreeMap<CounterKey, Option<u64>>,
}

impl<'t> Counting<'t> {
    fn of(durable: &'t BTreeMap<CounterKey, u64>) -> Self {
        Self {
            durable,
            made: BTreeMap::new(),
        }
    }

    fn get(&self, key: &CounterKey) -> Option<u64> {
        let durable = || self.durable.get(key).copied();
        self.made.get(key).copied().unwrap_or_else(durable)
    }

    fn charge(&mut self, key: &CounterKey) {
        let count = self.get(key).unwrap_or(0) + 1;
        self.made.insert(key.clone(), Some(count));
    }

    /// Takes away those of the profile that the work takes away: of one that is made meanwhile, who clears
    /// need not know.
    fn clear(&mut self, profile: Option<ProfileId>, work: &BTreeMap<CounterKey, Option<u64>>) {
        let gone = work
            .iter()
            .filter(|(_, count)| count.is_none())
            .map(|(key, _)| key);
        let gone = gone.filter(|key| Some(key.profile) == profile);
        self.made.extend(gone.map(|key| (key.clone(), None)));
    }

    fn changed(&self) -> impl Iterator<Item = &CounterKey> {
        let differs =
            |(key, count): &(&CounterKey, &Option<u64>)| self.durable.get(*key).copied() != **count;
        self.made.iter().filter(differs).map(|(key, _)| key)
    }

    fn is_full(&self, candidate: &Candidate) -> bool {
        let full = |charge: &Charge| self.get(&charge.key).unwrap_or(0) >= charge.limit;
        candidate.charges().iter().any(full)
    }
}

/// Whether the decision is what the counters allow; and counts it.
fn decide(
    counters: &mut Counting<'_>,
    proposal: &Proposal,
    decision: &Decision,
    tally: &mut Tally,
) -> Result<(), String> {
    let first = proposal
        .candidates
        .iter()
        .find(|candidate| !counters.is_full(candidate));
    match (decision, first) {
        (Decision::Approve { rule_set }, Some(fits)) if fits.rule_set == *rule_set => {
            for charge in fits.charges() {
                counters.charge(&charge.key);
            }
            tally.approved += 1;
            Ok(())
        }
        (
            Decision::Deny {
                denial: Denial::Quota { .. },
            },
            None,
        ) if !proposal.candidates.is_empty() => {
            tally.denied_by_quota += 1;
            Ok(())
        }
        (
            Decision::Deny {
                denial: Denial::Conflict,
            },
            Some(_),
        ) => {
            tally.conflicts += 1;
            Ok(())
        }
        (
            Decision::Deny {
                denial: Denial::Policy,
            },
            None,
        ) if proposal.candidates.is_empty() => Ok(()),
        (decision, first) => {
            let first = first.map(|candidate| candidate.rule_set);
            Err(format!(
                "{decision:?}, where the first that fits is {first:?}"
            ))
        }
    }
}

/// What is left of the chains once everybody has ended: each is linked again from its beginning.
pub(super) fn chains_hold(
    database: &SimDatabase,
    tables: &Tables,
    log: impl Fn(InstanceId) -> AuditLog,
) -> Result<(), String> {
    for (&instance, chain) in &tables.chains {
        let records: Vec<AuditRecord> = chain
            .iter()
            .map(|(sealed, _)| canonical::decode(sealed).unwrap())
            .collect();
        let linked = log(instance).link(database, AuditHead::EMPTY, &records);
        let (rows, _): (Vec<AuditRow>, _) = linked.unwrap();
        let differs = |(row, (_, mac)): (&AuditRow, &(Vec<u8>, Vec<u8>))| row.mac != *mac;
        if let Some(at) = rows.iter().zip(chain).position(differs) {
            return Err(format!(
                "record {} of {instance} is out of the chain",
                at + 1
            ));
        }
    }
    Ok(())
}
