use std::collections::HashMap;

use ostrakon_types::CounterKey;

/// How many counters a generation holds: with both full, some 4 MiB.
const GENERATION: usize = 16 * 1024;

/// What the counters hold, as far as the writer has read or written them itself.
///
/// Others may have changed them since, so this serves to plan with: what is planned on it is written on
/// condition that it still holds. It keeps what was used last: when the younger of two generations is
/// full, the older one is forgotten.
#[derive(Debug, Default)]
pub(super) struct Known {
    younger: HashMap<CounterKey, Option<u64>>,
    older: HashMap<CounterKey, Option<u64>>,
}

impl Known {
    /// What is known of the counter: its count, or that there is none such.
    pub(super) fn get(&self, key: &CounterKey) -> Option<Option<u64>> {
        let known = self.younger.get(key).or_else(|| self.older.get(key));
        known.copied()
    }

    pub(super) fn set(&mut self, key: CounterKey, count: Option<u64>) {
        if self.younger.len() >= GENERATION {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(key, count);
    }

    pub(super) fn forget(&mut self) {
        self.younger.clear();
        self.older.clear();
    }
}

#[cfg(test)]
mod tests {
    use ostrakon_types::{Period, UnixMillis};

    use super::*;
    use crate::ledger::tests::{NOW, PROFILE};

    fn key(window: usize) -> CounterKey {
        CounterKey {
            profile: PROFILE,
            rule_id: "rule".into(),
            period: Period::Day,
            window: UnixMillis(NOW.0 + i64::try_from(window).unwrap()),
        }
    }

    #[test]
    fn what_was_used_last_is_known_and_memory_is_bounded() {
        let mut known = Known::default();
        for window in 0..3 * GENERATION {
            known.set(key(window), Some(1));
            known.set(key(window), Some(window as u64));
        }
        assert_eq!(known.get(&key(0)), None);
        for window in 2 * GENERATION..3 * GENERATION {
            assert_eq!(known.get(&key(window)), Some(Some(window as u64)));
        }
        assert!(known.younger.len() + known.older.len() <= 2 * GENERATION);
        known.forget();
        assert_eq!(known.get(&key(3 * GENERATION - 1)), None);
    }
}
