use std::num::NonZeroU64;

use ostrakon_types::UnixMillis;
use serde::Serialize;

/// How far a session that a `start_session` approval opens may go.
///
/// A session spares the user the repeated question, never the rules, charges or audit of what is done
/// in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionLimits {
    /// How many requests it may cover; `None` for any number.
    pub max_request_count: Option<NonZeroU64>,
    /// When it ends, whatever was asked in it.
    pub ends_at: UnixMillis,
}

impl SessionLimits {
    /// How long a session lasts where no rule says otherwise.
    pub const DEFAULT_SECONDS: i64 = 300;

    /// Limits as given.
    #[must_use]
    pub fn new(max_request_count: Option<NonZeroU64>, ends_at: UnixMillis) -> Self {
        Self {
            max_request_count,
            ends_at,
        }
    }

    /// The limits of a session opened at `now` where no rule sets any.
    #[must_use]
    pub fn default_at(now: UnixMillis) -> Self {
        Self::new(None, now.plus(Self::DEFAULT_SECONDS * 1000))
    }

    /// The stricter of each.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        Self {
            max_request_count: self
                .max_request_count
                .into_iter()
                .chain(other.max_request_count)
                .min(),
            ends_at: self.ends_at.min(other.ends_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strictest_of_each_is_taken() {
        let few = SessionLimits::new(NonZeroU64::new(3), UnixMillis(9));
        let short = SessionLimits::new(None, UnixMillis(5));
        let both = SessionLimits::new(NonZeroU64::new(3), UnixMillis(5));
        assert_eq!(few.strictest(short), both);
        assert_eq!(short.strictest(few), both);
        assert_eq!(
            SessionLimits::default_at(UnixMillis(0)),
            SessionLimits::new(None, UnixMillis(300_000))
        );
    }
}
