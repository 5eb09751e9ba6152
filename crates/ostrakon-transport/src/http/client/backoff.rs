//! How long to wait before all servers are tried again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Pauses that double from [`FIRST`] to [`LONGEST`], each shortened by a random part of its half, so
/// that clients that failed together do not come back together.
pub(super) struct Backoff {
    next: Duration,
    /// The shortest time after which a server asked to be tried again.
    asked: Option<Duration>,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self {
            next: FIRST,
            asked: None,
        }
    }

    /// Takes a server's `Retry-After` into the next pause.
    pub(super) fn heed(&mut self, retry_after: Option<Duration>) {
        self.asked = self.asked.into_iter().chain(retry_after).min();
    }

    pub(super) fn pause(&mut self) -> Duration {
        // Without a random source the pauses are merely in step with those of others.
        let pause = jittered(self.next, getrandom::u32().unwrap_or(0));
        self.next = (self.next * 2).min(LONGEST);
        self.asked.take().map_or(pause, |asked| asked.max(pause))
    }
}

fn jittered(pause: Duration, random: u32) -> Duration {
    pause - (pause / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_their_bounds() {
        let mut backoff = Backoff::new();
        let mut longest = FIRST;
        for _ in 0..12 {
            let pause = backoff.pause();
            assert!(pause >= longest / 2 && pause <= longest);
            longest = (longest * 2).min(LONGEST);
        }
        assert_eq!(jittered(LONGEST, 0), LONGEST);
        assert_eq!(jittered(LONGEST, u32::MAX), LONGEST / 2);
    }

    #[test]
    fn the_shortest_wish_of_a_round_is_heeded_once() {
        let mut backoff = Backoff::new();
        for seconds in [7, 3, 9] {
            backoff.heed(Some(Duration::from_secs(seconds)));
        }
        backoff.heed(None);
        assert_eq!(backoff.pause(), Duration::from_secs(3));
        assert!(backoff.pause() <= 2 * FIRST);
    }
}
