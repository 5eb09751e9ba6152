//! Whether the wall clock can be believed.
//!
//! Windows of quotas and times of policies go by the wall clock, which can be set. So it is compared with
//! one that cannot, the time since the machine started, and where instances share a database with that
//! one's clock. While it is off, nothing is decided.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use ostrakon_types::UnixMillis;

/// How far the wall clock may be set at once, in milliseconds: a minute.
pub(crate) const MOST_SET: i64 = 60_000;

/// How far it may be from the clock of a shared database, in milliseconds: as far as clocks of clients may be
/// from it.
pub(crate) const MOST_APART: i64 = 30_000;

/// After so long, in milliseconds, it counts from where it is by then: clocks drift.
const REBASED: i64 = 3_600_000;

/// Why the wall clock is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockFault {
    /// It was set by so many milliseconds.
    Set(i64),
    /// It is so many milliseconds ahead of the database's.
    Apart(i64),
}

impl fmt::Display for ClockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, what) = match self {
            Self::Set(by) => (by, "this machine's clock was set"),
            Self::Apart(by) => (
                by,
                "this machine's clock and the database's differ: it is off",
            ),
        };
        write!(f, "{what} by {:+} s", by / 1000)
    }
}

/// Compares the wall clock with others.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    base: Option<Base>,
    /// How far the wall clock is ahead of the database's.
    ahead: Option<i64>,
}

/// When the machine started by the wall clock, and since when that is taken for true.
#[derive(Clone, Copy, Debug)]
struct Base {
    started: i64,
    since_boot: i64,
}

impl ClockWatch {
    /// Why the wall clock that shows `now` is not believed, if so.
    pub(crate) fn fault(&self, now: UnixMillis, since_boot: Option<i64>) -> Option<ClockFault> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since_boot) = since_boot {
            let new = Base {
                started: now.0.saturating_sub(since_boot),
                since_boot,
            };
            let base = *state.base.get_or_insert(new);
            let by = new.started.saturating_sub(base.started);
            if by.saturating_abs() > MOST_SET {
                return Some(ClockFault::Set(by));
            }
            if since_boot.saturating_sub(base.since_boot) > REBASED {
                state.base = Some(new);
            }
        }
        let apart = state.ahead.filter(|by| by.saturating_abs() > MOST_APART);
        apart.map(ClockFault::Apart)
    }

    /// Takes the wall clock for right from now on.
    pub(crate) fn accept(&self) {
        self.lock().base = None;
    }

    /// Notes how far the wall clock is ahead of the database's, in milliseconds.
    pub(crate) fn note_ahead(&self, by: i64) {
        self.lock().ahead = Some(by);
    }

    /// How far it is, where there is such a database.
    pub(crate) fn ahead(&self) -> Option<i64> {
        self.lock().ahead
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    #[test]
    fn a_clock_that_was_set_is_off_until_it_is_back_or_taken_for_right() {
        let watch = ClockWatch::default();
        let look = |wall: i64, boot: i64| watch.fault(UnixMillis(NOW + wall), Some(boot));
        assert_eq!(look(0, 5_000), None);
        // It goes on, and is adjusted a little.
        assert_eq!(look(10_000, 15_000), None);
        assert_eq!(look(65_000, 20_000), None);
        assert_eq!(look(115_000, 25_000), Some(ClockFault::Set(95_000)));
        assert_eq!(look(-3_575_000, 30_000), Some(ClockFault::Set(-3_600_000)));
        assert_eq!(look(35_000, 35_000), None);
        // A sleeping machine's clocks go on alike.
        assert_eq!(look(90_035_000, 90_035_000), None);
        // It has counted from there since.
        assert_eq!(look(90_100_000, 90_036_000), Some(ClockFault::Set(64_000)));
        watch.accept();
        assert_eq!(look(90_101_000, 90_037_000), None);
        assert_eq!(look(90_102_000, 90_038_000), None);
    }

    #[test]
    fn a_clock_that_is_far_from_the_databases_is_off() {
        let watch = ClockWatch::default();
        let look = || watch.fault(UnixMillis(NOW), None);
        assert_eq!(look(), None);
        watch.note_ahead(-29_000);
        assert_eq!(look(), None);
        watch.note_ahead(-31_000);
        assert_eq!(look(), Some(ClockFault::Apart(-31_000)));
        watch.note_ahead(12);
        assert_eq!((look(), watch.ahead()), (None, Some(12)));
    }

    #[test]
    fn what_is_wrong_is_said_in_seconds() {
        assert_eq!(
            ClockFault::Set(-3_600_000).to_string(),
            "this machine's clock was set by -3600 s"
        );
        assert_eq!(
            ClockFault::Apart(31_000).to_string(),
            "this machine's clock and the database's differ: it is off by +31 s"
        );
    }
}
