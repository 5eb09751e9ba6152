use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use ostrakon_types::UnixMillis;

const MINUTE: i64 = 60_000;

/// Lets a number of events a minute pass, spread evenly, with up to a minute's worth at once.
#[derive(Debug)]
pub(crate) struct RateLimit {
    /// Milliseconds that one event uses up.
    cost: i64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Milliseconds saved up.
    saved: i64,
    at: UnixMillis,
}

impl RateLimit {
    pub(crate) fn per_minute(events: u32, now: UnixMillis) -> Self {
        let cost = if events == 0 {
            i64::MAX
        } else {
            (MINUTE / i64::from(events)).max(1)
        };
        Self {
            cost,
            state: Mutex::new(State {
                saved: MINUTE,
                at: now,
            }),
        }
    }

    /// Whether an event may pass now.
    pub(crate) fn pass(&self, now: UnixMillis) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that is set back gives nothing.
        let passed = now.since(state.at).max(0);
        state.saved = state.saved.saturating_add(passed).min(MINUTE);
        state.at = now;
        let passes = state.saved >= self.cost;
        if passes {
            state.saved -= self.cost;
        }
        passes
    }
}

/// Lets each of many do something so often a minute.
#[derive(Debug)]
pub(crate) struct RateLimits<K> {
    per_minute: u32,
    of: Mutex<HashMap<K, RateLimit>>,
}

/// So many are remembered; past that, all begin anew.
const REMEMBERED: usize = 4096;

impl<K: Copy + Eq + Hash> RateLimits<K> {
    pub(crate) fn per_minute(events: u32) -> Self {
        Self {
            per_minute: events,
            of: Mutex::default(),
        }
    }

    /// Whether an event of `key` may pass now.
    pub(crate) fn pass(&self, key: K, now: UnixMillis) -> bool {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= REMEMBERED && !of.contains_key(&key) {
            of.clear();
        }
        let limit = of.entry(key);
        limit
            .or_insert_with(|| RateLimit::per_minute(self.per_minute, now))
            .pass(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_rate_of_its_own() {
        let limits = RateLimits::per_minute(2);
        let now = UnixMillis(0);
        let passed = |key: u8| (0..5).filter(|_| limits.pass(key, now)).count();
        assert_eq!((passed(1), passed(2), passed(1)), (2, 2, 0));
    }

    #[test]
    fn a_minutes_worth_passes_at_once_and_then_at_the_rate() {
        let limit = RateLimit::per_minute(6, UnixMillis(0));
        let burst = (0..10).filter(|_| limit.pass(UnixMillis(0))).count();
        assert_eq!(burst, 6);
        assert!(!limit.pass(UnixMillis(9_999)));
        assert!(limit.pass(UnixMillis(10_000)));
        assert!(!limit.pass(UnixMillis(10_000)));
        assert!(
            !limit.pass(UnixMillis(0)),
            "a clock set back lets something pass"
        );
        assert!(!RateLimit::per_minute(0, UnixMillis(0)).pass(UnixMillis(i64::MAX)));
    }
}
