use std::collections::HashMap;

use ostrakon_storage::{CounterChange, RequestKey, RequestRecord, StoreError};
use ostrakon_types::{Charge, CounterKey, Recorded, UnixMillis};

use super::{
    SettleRequest,
    database::{Database, Transact},
    known::Known,
};

/// What a batch of requests finds in the database and makes of it, until it is written.
///
/// To each request it shows what the ones before it made, as if each had been written alone.
#[derive(Debug, Default)]
pub(super) struct Draft {
    counters: HashMap<CounterKey, Count>,
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

impl Draft {
    /// Reads what the requests need: their earlier tries, and every counter that they may charge.
    pub(super) async fn read<'r>(
        tx: &mut impl Transact,
        requests: impl Iterator<Item = &'r SettleRequest> + Clone,
    ) -> Result<Self, StoreError> {
        let keys: Vec<RequestKey> = requests.clone().map(|request| request.key).collect();
        let recalled = tx.recall(&keys).await?;
        let recalled: HashMap<_, _> = keys
            .into_iter()
            .zip(recalled)
            .filter_map(|(key, recorded)| Some((key, recorded?)))
            .collect();
        let requests = requests.filter(|request| !recalled.contains_key(&request.key));
        let mut draft = Self::default();
        let wanted = draft.look_up(requests, |_| None);
        draft.recalled = recalled;
        let counts = tx.counts(&wanted).await?;
        draft.note(wanted, counts);
        Ok(draft)
    }

    /// Takes more requests in: for new ones, and the counters for what is known of them. Of those of
    /// which nothing is known it reads what the last commit left.
    ///
    /// None of it need be so any more when the batch is written: [`Draft::changes`] and the records show
    /// that.
    pub(super) async fn assume<'r>(
        &mut self,
        store: &impl Database,
        known: &Known,
        requests: impl Iterator<Item = &'r SettleRequest>,
    ) -> Result<(), StoreError> {
        let wanted = self.look_up(requests, |key| known.get(key));
        if !wanted.is_empty() {
            let counts = store.counts(&wanted).await?;
            self.note(wanted, counts);
        }
        Ok(())
    }

    /// Notes what is known of the counters that the requests may charge. Gives those of which nothing is.
    fn look_up<'r>(
        &mut self,
        requests: impl Iterator<Item = &'r SettleRequest>,
        known: impl Fn(&CounterKey) -> Option<Option<u64>>,
    ) -> Vec<&'r CounterKey> {
        let mut wanted = Vec::new();
        let items = requests.flat_map(|request| &request.items);
        let candidates = items.flat_map(|item| &item.proposal.candidates);
        for charge in candidates.flat_map(|candidate| candidate.charges()) {
            if !self.counters.contains_key(&charge.key) {
                let known = known(&charge.key);
                if known.is_none() {
                    wanted.push(&charge.key);
                }
                let count = Count::of(known.flatten());
                self.counters.insert(charge.key.clone(), count);
            }
        }
        wanted
    }

    fn note(&mut self, wanted: Vec<&CounterKey>, counts: Vec<Option<u64>>) {
        for (key, read) in wanted.into_iter().zip(counts) {
            if let Some(count) = self.counters.get_mut(key) {
                *count = Count::of(read);
            }
        }
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

    /// Takes the records that were made, in order.
    pub(super) fn take_records(&mut self) -> Vec<RequestRecord> {
        self.places.clear();
        std::mem::take(&mut self.made)
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
            .map(|(key, &Count { read, count, .. })| CounterChange {
                key: key.clone(),
                read,
                count,
            })
            .collect();
        changes.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        changes
    }

    /// What every counter that was looked at is to hold; none where there is to be no such counter.
    pub(super) fn into_counts(self) -> impl Iterator<Item = (CounterKey, Option<u64>)> {
        self.counters.into_iter().map(|(key, counter)| {
            let none = counter.read.is_none() && counter.count == 0;
            (key, (!none).then_some(counter.count))
        })
    }
}
