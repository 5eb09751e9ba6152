/// Numbers that may still come after a higher one, but for a word's worth.
const WORDS: u32 = 16;

/// Remembers which of the newest numbers were taken (as RFC 6479 does it for IPsec).
pub(super) struct Window {
    /// The highest word that has a taken number, or the first one.
    newest: u32,
    taken: [u64; WORDS as usize],
}

impl Window {
    pub(super) const fn new() -> Self {
        Self {
            newest: 0,
            taken: [0; WORDS as usize],
        }
    }

    /// Takes a number. Each is taken once, and none that is older than the window reaches.
    pub(super) fn take(&mut self, number: u32) -> bool {
        let word = number / u64::BITS;
        if word.saturating_add(WORDS) <= self.newest {
            return false;
        }
        // The words between are those of numbers that nobody has seen.
        let passed = word.saturating_sub(self.newest).min(WORDS);
        for back in 0..passed {
            if let Some(passed) = self.slot(word - back) {
                *passed = 0;
            }
        }
        self.newest = self.newest.max(word);
        let bit = 1 << (number % u64::BITS);
        let Some(slot) = self.slot(word) else {
            return false;
        };
        let fresh = *slot & bit == 0;
        *slot |= bit;
        fresh
    }

    fn slot(&mut self, word: u32) -> Option<&mut u64> {
        self.taken.get_mut((word % WORDS) as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// How much older than the newest a number may be, at least.
    const REACH: u32 = (WORDS - 1) * u64::BITS;

    #[test]
    fn a_number_is_taken_once_and_not_when_it_is_too_old() {
        let mut window = Window::new();
        assert!(window.take(0) && !window.take(0));
        assert!(window.take(REACH + 63) && window.take(1) && !window.take(1));
        assert!(window.take(REACH + 64));
        assert!(!window.take(2), "a word older than the window reaches");
        assert!(window.take(64));
        assert!(window.take(u32::MAX) && !window.take(u32::MAX));
        assert!(!window.take(64) && window.take(u32::MAX - REACH));
    }

    proptest! {
        /// Against a set that forgets nothing: never twice, and always what is within reach.
        #[test]
        fn is_as_a_set_within_its_reach(
            numbers in prop::collection::vec((0..3_u32, 0..2_000_u32), 1..400),
        ) {
            let (mut window, mut set, mut newest) = (Window::new(), BTreeSet::new(), 0_u32);
            for (far, near) in numbers {
                // Mostly near the newest, before it or after it, sometimes far ahead.
                let number = match far {
                    0 => newest.saturating_sub(near),
                    1 => newest + near % 70,
                    _ => newest + near,
                };
                let taken = window.take(number);
                let unseen = set.insert(number);
                prop_assert!(!taken || unseen, "{number} was taken twice");
                if newest.saturating_sub(number) <= REACH {
                    prop_assert_eq!(taken, unseen, "{} of {}", number, newest);
                }
                newest = newest.max(number);
            }
        }
    }
}
