use std::collections::{HashMap, hash_map::Entry};

use ostrakon_storage::{CounterChange, RequestKey, RequestRecord, StoreError, Transaction};
use ostrakon_types::{Charge, CounterKey, Recorded, UnixMillis};

use super::SettleRequest;

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
        let mut counters = HashMap::new();
        let mut wanted = Vec::new();
        for request in requests.filter(|request| !recalled.contains_key(&request.key)) {
            let candidates = request.items.iter().flat_map(|i| &i.proposal.candidates);
            for charge in candidates.flat_map(|candidate| candidate.charges()) {
                if let Entry::Vacant(vacant) = counters.entry(&charge.key) {
                    wanted.push(&charge.key);
                    vacant.insert(Count {
                        read: None,
                        count: 0,
                    });
                }
            }
        }
        let counts = tx.counts(&wanted).await?;
        for (key, read) in wanted.into_iter().zip(counts) {
            let count = read.unwrap_or(0);
            counters.insert(key, Count { read, count });
        }
        Ok(Self {
            counters,
            recalled,
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
        let counter = self.counters.get_mut(&charge.key);
        let fitting = counter.filter(|counter| counter.count < charge.limit);
        fitting.map(|counter| counter.count += 1).is_some()
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

    /// The counters that are to hold something else than what was read, in the order of their keys: so
    /// all writers take their rows in one order.
    pub(super) fn changes(&self) -> Vec<CounterChange<'j>> {
        let mut changes: Vec<_> = self
            .counters
            .iter()
            .filter(|(_, counter)| counter.read.unwrap_or(0) != counter.count)
            .map(|(&key, &Count { read, count })| CounterChange { key, read, count })
            .collect();
        changes.sort_unstable_by_key(|change| change.key);
        changes
    }
}
