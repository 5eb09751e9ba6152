use std::{collections::BTreeMap, time::Duration};

/// How long things took: every one, to the microsecond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// How often each number of microseconds occurred. As large as the numbers are different.
    counts: BTreeMap<u64, u64>,
    total: u64,
}

impl Latencies {
    pub(super) fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        *self.counts.entry(micros).or_default() += 1;
        self.total += 1;
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (micros, count) in other.counts {
            *self.counts.entry(micros).or_default() += count;
        }
        self.total += other.total;
    }

    /// The least duration that at least `permille` of 1000 did not exceed; none where there were none.
    #[must_use]
    pub fn permille(&self, permille: u16) -> Option<Duration> {
        // The rank is from 1 to `total`, rounded up.
        let rank = (u128::from(self.total) * u128::from(permille.min(1000))).div_ceil(1000);
        let mut seen = 0_u128;
        self.counts.iter().find_map(|(&micros, &count)| {
            seen += u128::from(count);
            (seen >= rank.max(1)).then(|| Duration::from_micros(micros))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.permille(500), None);
        for micros in (1..=1000).rev() {
            latencies.add(Duration::from_micros(micros));
        }
        let mut other = Latencies::default();
        other.add(Duration::from_secs(3));
        let at = |l: &Latencies, permille| l.permille(permille).map(|d| d.as_micros());
        for permille in [1, 500, 990, 999, 1000] {
            assert_eq!(at(&latencies, permille), Some(u128::from(permille)));
        }
        latencies.merge(other);
        assert_eq!(at(&latencies, 1000), Some(3_000_000));
        assert_eq!(at(&latencies, 999), Some(1000));
        assert_eq!(at(&latencies, 0), Some(1));
        assert_eq!(at(&latencies, u16::MAX), Some(3_000_000));
    }
}
