use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use ostrakon_types::UnixMillis;
use rustix::time::{ClockId, clock_gettime};

type Read = dyn Fn() -> UnixMillis + Send + Sync;
type SinceBoot = dyn Fn() -> i64 + Send + Sync;

/// The wall clock. All that the server knows of time comes from here.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<Read>,
    since_boot: Option<Arc<SinceBoot>>,
}

impl Clock {
    /// The operating system's clock.
    #[must_use]
    pub fn system() -> Self {
        let wall = || {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads the clock"
            )]
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            UnixMillis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
        };
        // It goes on while the machine sleeps, and nobody can set it.
        let since_boot = || {
            let time = clock_gettime(ClockId::Boottime);
            time.tv_sec * 1000 + time.tv_nsec / 1_000_000
        };
        Self {
            wall: Arc::new(wall),
            since_boot: Some(Arc::new(since_boot)),
        }
    }

    /// A clock that shows what `now` returns. That it jumps is not noticed.
    #[must_use]
    pub fn from_fn(now: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        Self {
            wall: Arc::new(now),
            since_boot: None,
        }
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        (self.wall)()
    }

    /// How long the machine has been running, in milliseconds, where that is known.
    pub(crate) fn since_boot(&self) -> Option<i64> {
        self.since_boot.as_ref().map(|read| read())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
