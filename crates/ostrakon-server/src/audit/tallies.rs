//! What gets no record of its own: it is counted, and once a minute the counts are recorded. So strangers
//! cannot fill the log, nor can a known device.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use ostrakon_custody::{AuditEvent, Tally};
use ostrakon_transport::envelope::Stranger;
use ostrakon_types::{DeviceId, UnixMillis};

use crate::rate::RateLimit;

/// Refusals of one known device that are recorded one by one, a minute.
const PER_DEVICE: u32 = 10;
/// Those of all of them.
const PER_MINUTE: u32 = 600;
/// How many devices are told apart. When there are more, all begin anew.
const DEVICES: usize = 4096;

/// Why something was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// Not the request of a known device.
    Stranger(&'static str),
    /// More first contacts than are let in.
    TooManyFirstContacts,
    /// The first contact of a device whose request is not valid.
    FirstContactRefused,
    /// More requests at once than are worked on.
    TurnedAway,
    /// Nothing could be decided.
    Unavailable,
    /// A refusal of a known device, beyond those that are recorded one by one.
    Refused,
}

impl From<Stranger> for Reason {
    fn from(stranger: Stranger) -> Self {
        Self::Stranger(match stranger {
            Stranger::NotAnEnvelope => "not an envelope",
            Stranger::Sealed => "does not open",
            Stranger::Content => "holds no signed request",
            Stranger::UnknownDevice => "unknown device",
            Stranger::Signature => "not signed by its device",
            _ => "stranger",
        })
    }
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::Stranger(name) => name,
            Self::TooManyFirstContacts => "too many first contacts",
            Self::FirstContactRefused => "first contact refused",
            Self::TurnedAway => "too many requests at once",
            Self::Unavailable => "cannot decide now",
            Self::Refused => "refused, known device",
        }
    }
}

/// Counts, and bounds on what is recorded one by one.
#[derive(Debug)]
pub(crate) struct Tallies {
    counts: Mutex<Counts>,
    refusals: RateLimit,
    devices: Mutex<HashMap<DeviceId, RateLimit>>,
}

#[derive(Debug)]
struct Counts {
    since: UnixMillis,
    by_reason: BTreeMap<Reason, u64>,
}

impl Tallies {
    pub(crate) fn new(now: UnixMillis) -> Self {
        Self {
            counts: Mutex::new(Counts {
                since: now,
                by_reason: BTreeMap::new(),
            }),
            refusals: RateLimit::per_minute(PER_MINUTE, now),
            devices: Mutex::default(),
        }
    }

    pub(crate) fn count(&self, reason: Reason) {
        *self.lock().by_reason.entry(reason).or_default() += 1;
    }

    /// Whether a refusal of a known device gets a record of its own. If not, it is counted.
    pub(crate) fn records(&self, device: DeviceId, now: UnixMillis) -> bool {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if devices.len() >= DEVICES && !devices.contains_key(&device) {
            devices.clear();
        }
        let of_device = devices
            .entry(device)
            .or_insert_with(|| RateLimit::per_minute(PER_DEVICE, now));
        let records = of_device.pass(now) && self.refusals.pass(now);
        drop(devices);
        if !records {
            self.count(Reason::Refused);
        }
        records
    }

    /// Takes what was counted, to be recorded.
    pub(crate) fn take(&self, now: UnixMillis) -> Option<AuditEvent> {
        let mut counts = self.lock();
        if counts.by_reason.is_empty() {
            counts.since = now;
            return None;
        }
        let since = std::mem::replace(&mut counts.since, now);
        let by_reason = std::mem::take(&mut counts.by_reason);
        let tally = |(reason, count): (Reason, u64)| Tally {
            reason: reason.name().to_owned(),
            count,
        };
        Some(AuditEvent::Strangers {
            since,
            tallies: by_reason.into_iter().map(tally).collect(),
        })
    }

    /// Puts back what could not be recorded.
    pub(crate) fn put_back(&self, event: AuditEvent) {
        let AuditEvent::Strangers { since, tallies } = event else {
            return;
        };
        let mut counts = self.lock();
        counts.since = counts.since.min(since);
        for tally in tallies {
            if let Some(reason) = ALL.into_iter().find(|reason| reason.name() == tally.reason) {
                *counts.by_reason.entry(reason).or_default() += tally.count;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every reason.
const ALL: [Reason; 11] = [
    Reason::Stranger("not an envelope"),
    Reason::Stranger("does not open"),
    Reason::Stranger("holds no signed request"),
    Reason::Stranger("unknown device"),
    Reason::Stranger("not signed by its device"),
    Reason::Stranger("stranger"),
    Reason::TooManyFirstContacts,
    Reason::FirstContactRefused,
    Reason::TurnedAway,
    Reason::Unavailable,
    Reason::Refused,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_floods_is_counted_and_others_are_still_recorded() {
        let now = UnixMillis(1_000_000);
        let tallies = Tallies::new(now);
        let device = |byte| DeviceId::from_bytes([byte; 16]);
        let recorded = (0..100).filter(|_| tallies.records(device(1), now)).count();
        assert_eq!(recorded, 10);
        assert!(tallies.records(device(2), now));
        assert!(tallies.records(device(1), now.plus(6_000)));
        let Some(AuditEvent::Strangers {
            since,
            tallies: counted,
        }) = tallies.take(now.plus(9))
        else {
            panic!("nothing was counted");
        };
        assert_eq!(since, now);
        assert_eq!(
            counted,
            [Tally {
                reason: "refused, known device".into(),
                count: 90
            }]
        );
        assert_eq!(tallies.take(now), None);
        // All devices together have a bound, too.
        let recorded = (0..=255_u8)
            .flat_map(|byte| [byte; 10])
            .filter(|byte| tallies.records(device(*byte), now.plus(9)))
            .count();
        assert!((500..=600).contains(&recorded), "{recorded}");
    }

    #[test]
    fn what_could_not_be_recorded_is_counted_on() {
        let tallies = Tallies::new(UnixMillis(5));
        for reason in ALL {
            tallies.count(reason);
        }
        let event = tallies.take(UnixMillis(9)).unwrap();
        tallies.count(Reason::TurnedAway);
        tallies.put_back(event);
        let Some(AuditEvent::Strangers { since, tallies }) = tallies.take(UnixMillis(10)) else {
            panic!("lost");
        };
        assert_eq!(since, UnixMillis(5));
        assert_eq!(tallies.len(), ALL.len());
        assert_eq!(tallies.iter().map(|tally| tally.count).sum::<u64>(), 12);
    }
}
