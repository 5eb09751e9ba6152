//! How long what was approved may be done. Who asked does it at once; kept for later, an approval would undo what
//! was done since.

use ostrakon_types::UnixMillis;

use super::Stand;
use crate::admin::Caller;

/// How long from when enough approvals were counted, in milliseconds. Who asks from afar must have the answers
/// counted as often: what nobody counts could be approved since long.
const FRESH: i64 = 2 * 60 * 1000;

/// How long a ceremony that was opened from afar waits at most, in milliseconds.
pub(super) const LONGEST_FROM_AFAR: i64 = 60 * 60 * 1000;

/// When a ceremony was looked at.
pub(super) struct Age {
    counted_at: UnixMillis,
    approved_at: Option<UnixMillis>,
}

impl Age {
    pub(super) fn new(now: UnixMillis) -> Self {
        Self {
            counted_at: now,
            approved_at: None,
        }
    }

    /// Notes what answers came to.
    pub(super) fn counted(&mut self, stand: &Stand, now: UnixMillis) {
        self.counted_at = now;
        if *stand == Stand::Approved {
            self.approved_at.get_or_insert(now);
        }
    }

    /// Whether it is too late for what `caller` asked for.
    pub(super) fn is_old(&self, caller: Caller, now: UnixMillis) -> bool {
        let since = match (self.approved_at, caller) {
            (Some(approved_at), _) => approved_at,
            (None, Caller::Administrator(_)) => self.counted_at,
            (None, Caller::Operator) => return false,
        };
        now.since(since) > FRESH
    }
}
