use std::collections::{HashMap, hash_map::Entry};

use ostrakon_storage::{CounterChange, RequestKey, RequestRecord, Store, StoreError, Transaction};
use ostrakon_types::{Charge, CounterKey, Recorded, UnixMillis};

use super::{SettleRequest, known::Known};

/// What a batch of requests finds in the database and makes of it, until it is written.
///
/// To each request it shows what the ones before it made, as if each had been written alone.
#[derive(Debug, Default)]
pub(super) struct Draft<'j> {
    counters: HashMap<&'j CounterKey, Count>,
    recalled: HashMap<RequestKey, Recorded>,
    made: Vec<RequestRecord>,
    /// Where in `made` a request is.
    places: HashMap<RequestKey, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    read: Option<u64>,
    count: u64,
    /// Whether a charge did not fit, so that somebody is denied for what was read.
    refused: bool,
}

impl Count {
    fn of(read: Option<u64>) -> Self {
        Self {
            read,
            count: read.unwrap_or(0),
            refused: false,
        }
    }
}

impl<'j> Draft<'j> {
    /// Reads what the requests need: their earlier tries, and every counter that they may charge.
    pub(super) async fn read(
        tx: &mut Transaction<'_>,
        requests: impl Iterator<Item = &'j SettleRequest> + Clone,
    ) -> Result<Self, StoreError> {
        let keys: Vec<RequestKey> = requests.clone().map(|request| request.key).collect();
        let recalled = tx.recall(&keys).await?;
        let recalled: HashMap<_, _> = keys
            .into_iter()
            .zip(recalled)
            .filter_map(|(key, recorded)| Some((key, recorded?)))
            .collect();
        let requests = requests.filter(|request| !recalled.contains_key(&request.key));
        let mut counters = HashMap::new();
        let wanted = wanted(requests, &mut counters, |_| None);
        let counts = tx.counts(&wanted).await?;
        counters.extend(wanted.into_iter().zip(counts.into_iter().map(Count::of)));
        Ok(Self {
            counters,
            recalled,
            ..Self::default()
        })
    }

    /// Takes the requests for new ones, and the counters for what is known of them. Of those of which
    /// nothing is known it reads what the last commit left.
    ///
    /// None of it need be so any more when the batch is written: [`Draft::changes`] and the records show
    /// that.
    pub(super) async fn assume(
        store: &Store,
        known: &Known,
        requests: impl Iterator<Item = &'j SettleRequest>,
    ) -> Result<Self, StoreError> {
        let mut counters = HashMap::new();
        let wanted = wanted(requests, &mut counters, |key| known.get(key));
        if !wanted.is_empty() {
            let counts = store.counts(&wanted).await?;
            counters.extend(wanted.into_iter().zip(counts.into_iter().map(Count::of)));
        }
        Ok(Self {
            counters,
            ..Self::default()
        })
    }

    pub(super) fn recall(&self, key: &RequestKey) -> Option<Recorded> {
        let made = self.places.get(key).and_then(|&place| self.made.get(place));
        made.map(|record| &record.recorded)
            .or_else(|| self.recalled.get(key))
            .cloned()
    }

    /// Counts one on the charge's counter if it is under the limit.
    pub(super) fn charge(&mut self, charge: &Charge) -> bool {
        // Every counter was read. One that was not would take no charge.
        let Some(counter) = self.counters.get_mut(&charge.key) else {
            return false;
        };
        let fits = counter.count < charge.limit;
        if fits {
            counter.count += 1;
        } else {
            counter.refused = true;
        }
        fits
    }

    /// Takes back what [`Draft::charge`] counted.
    pub(super) fn refund(&mut self, charge: &Charge) {
        if let Some(counter) = self.counters.get_mut(&charge.key) {
            counter.count = counter.count.saturating_sub(1);
        }
    }

    pub(super) fn record(&mut self, key: RequestKey, recorded: &Recorded, decided_at: UnixMillis) {
        self.places.insert(key, self.made.len());
        self.made.push(RequestRecord {
            key,
            recorded: recorded.clone(),
            decided_at,
        });
    }

    /// The records that were made, in order.
    pub(super) fn records(&self) -> &[RequestRecord] {
        &self.made
    }

    /// The records that were made, in order.
    pub(super) fn into_records(self) -> Vec<RequestRecord> {
        self.made
    }

    /// The counters that are to hold something else than what was read, and those for which somebody is
    /// denied, in the order of their keys: so all writers take their rows in one order.
    pub(super) fn changes(&self) -> Vec<CounterChange> {
        let mut changes: Vec<_> = self
            .counters
            .iter()
            .filter(|(_, counter)| {
                let denies = counter.refused && counter.read.is_some();
                denies || counter.read.unwrap_or(0) != counter.count
            })
            .map(|(&key, &Count { read, count, .. })| CounterChange {
                key: key.clone(),
                read,
                count,
            })
            .collect();
        changes.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        changes
    }

    /// What every counter that was looked at is to hold; none where there is to be no such counter.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'j CounterKey, Option<u64>)> {
        self.counters.iter().map(|(&key, counter)| {
            let none = counter.read.is_none() && counter.count == 0;
            (key, (!none).then_some(counter.count))
        })
    }
}

/// Every counter that the requests may charge, once: into `counters` what is known of it, or given back
/// to be read.
fn wanted<'j>(
    requests: impl Iterator<Item = &'j SettleRequest>,
    counters: &mut HashMap<&'j CounterKey, Count>,
    known: impl Fn(&CounterKey) -> Option<Option<u64>>,
) -> Vec<&'j CounterKey> {
    let mut wanted = Vec::new();
    let items = requests.flat_map(|request| &request.items);
    let candidates = items.flat_map(|item| &item.proposal.candidates);
    for charge in candidates.flat_map(|candidate| candidate.charges()) {
        if let Entry::Vacant(vacant) = counters.entry(&charge.key) {
            let known = known(&charge.key);
            vacant.insert(Count::of(known.flatten()));
            if known.is_none() {
                wanted.push(&charge.key);
            }
        }
    }
    wanted
}
