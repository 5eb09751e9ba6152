use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ostrakon_types::{
    Charge, CounterKey, Digest, ProfileId, Proposal, Recorded, Refusal, Reply, RequestId, Settled,
    Settling, Step, UnixMillis,
};

/// A ledger in memory, for embedding and for tests: what it knows is gone with the process.
///
/// It settles under a lock, so that finding that a charge fits and counting it are one act: under any
/// concurrency, a limit of N gives at most N approvals.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    counters: HashMap<CounterKey, Counter>,
    requests: HashMap<RequestId, Recorded>,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    count: u64,
    resets_at: UnixMillis,
}

impl MemoryLedger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decides the items of a request, one for each proposal, in order.
    ///
    /// A request that comes again under the same id, with the same `body`, gets the decisions that it
    /// got first and is not charged again.
    ///
    /// # Errors
    /// When the id was used for another body.
    pub fn settle(
        &self,
        id: RequestId,
        body: Digest,
        proposals: Vec<Proposal>,
    ) -> Result<Settled, Refusal> {
        let mut book = self.book();
        let mut settling = Settling::new(body, proposals);
        let mut reply = Reply::Start;
        loop {
            reply = match settling.next(reply) {
                Step::Recall => Reply::Recalled(book.requests.get(&id).cloned()),
                Step::Charge(charge) => Reply::Charged(book.charge(charge)),
                Step::Refund(charge) => {
                    book.refund(charge);
                    Reply::Done
                }
                Step::Apply(_) => Reply::Applied(true),
                Step::Record(recorded) => {
                    book.requests.insert(id, recorded.clone());
                    Reply::Done
                }
                Step::Finish(settled) => return settled,
            };
        }
    }

    /// How many approvals the counter holds.
    #[must_use]
    pub fn count(&self, key: &CounterKey) -> u64 {
        self.book()
            .counters
            .get(key)
            .map_or(0, |counter| counter.count)
    }

    /// Every counter that holds an approval, in the order of their keys.
    #[must_use]
    pub fn counts(&self) -> Vec<(CounterKey, u64)> {
        let book = self.book();
        let mut counts: Vec<(CounterKey, u64)> = book
            .counters
            .iter()
            .map(|(key, counter)| (key.clone(), counter.count))
            .collect();
        counts.sort_unstable();
        counts
    }

    /// Sets all counters of a profile to zero.
    pub fn clear(&self, profile: &ProfileId) {
        self.book()
            .counters
            .retain(|key, _| key.profile != *profile);
    }

    /// Forgets counters whose window has ended by `now`. Nothing can be charged to them any more.
    pub fn forget_ended(&self, now: UnixMillis) {
        self.book()
            .counters
            .retain(|_, counter| counter.resets_at > now);
    }

    /// Forgets a request, so that its id could be used again. Do so only when it can no longer come.
    pub fn forget_request(&self, id: &RequestId) {
        self.book().requests.remove(id);
    }

    /// A panic under the lock can only have left a charge too many: going on errs to fewer approvals.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn charge(&mut self, charge: &Charge) -> bool {
        let count = self
            .counters
            .get(&charge.key)
            .map_or(0, |counter| counter.count);
        if count >= charge.limit {
            return false;
        }
        let counter = Counter {
            count: count + 1,
            resets_at: charge.resets_at,
        };
        self.counters.insert(charge.key.clone(), counter);
        true
    }

    fn refund(&mut self, charge: &Charge) {
        if let Some(counter) = self.counters.get_mut(&charge.key) {
            counter.count = counter.count.saturating_sub(1);
            if counter.count == 0 {
                self.counters.remove(&charge.key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
