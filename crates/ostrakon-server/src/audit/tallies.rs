//! What gets no record of its own: it is counted, and once a minute the counts are recorded. So strangers
//! cannot fill the log, nor can a known device.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use axum::http::StatusCode;
use ostrakon_custody::{AuditEvent, Tally};
use ostrakon_transport::{envelope::Stranger, http::HandshakeFailure};
use ostrakon_types::{DeviceId, UnixMillis};

use crate::{authority::NotAdmitted, rate::RateLimit};

/// Refusals of one known device that are recorded one by one, a minute.
const PER_DEVICE: u32 = 10;
/// Those of all of them.
const PER_MINUTE: u32 = 600;
/// How many devices are told apart. When there are more, all begin anew.
const DEVICES: usize = 4096;

/// Why something was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Not the request of a known device.
    Stranger(&'static str),
    /// Not read as far as that one could tell whose it is.
    Unread(&'static str),
    /// More first contacts than are let in.
    TooManyFirstContacts,
    /// A first contact while what is left of the disk is kept back.
    NoRoom,
    /// The first contact of a device whose request is not valid.
    FirstContactRefused,
    /// More steps of ceremonies than are relayed.
    TooManySteps,
    /// More requests at once than are worked on, or more bytes than there is memory for.
    TurnedAway,
    /// Nothing could be decided.
    Unavailable,
    /// A refusal of a known device, beyond those that are recorded one by one.
    Refused,
    /// Nobody who may administer the server from afar.
    NoAdministrator(&'static str),
}

impl From<Stranger> for Reason {
    fn from(stranger: Stranger) -> Self {
        Self::Stranger(match stranger {
            Stranger::NotAnEnvelope => "not an envelope",
            Stranger::Sealed => "does not open",
            Stranger::Content => "holds no signed request",
            Stranger::UnknownDevice => "unknown device",
            Stranger::Signature => "not signed by its device",
            Stranger::NoSession => "unknown session",
            Stranger::Repeated => "repeated message of a session",
            _ => "stranger",
        })
    }
}

impl Reason {
    /// Why a request was answered with this status, where nobody knows better.
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        Some(match status {
            StatusCode::BAD_REQUEST => Self::Unread("not a whole request"),
            StatusCode::REQUEST_TIMEOUT => Self::Unread("too slow"),
            StatusCode::LENGTH_REQUIRED => Self::Unread("of no stated length"),
            StatusCode::PAYLOAD_TOO_LARGE => Self::Unread("too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::Unread("of another content type"),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Self::Unread("head too large"),
            StatusCode::SERVICE_UNAVAILABLE => Self::TurnedAway,
            _ => return None,
        })
    }

    /// Why nobody was heard at the administration listener.
    pub(crate) fn of_handshake(failure: HandshakeFailure) -> Self {
        Self::NoAdministrator(match failure {
            HandshakeFailure::NoCertificate => "administration without a certificate",
            HandshakeFailure::Foreign => "administration with a foreign certificate",
            HandshakeFailure::Expired => "administration with an expired certificate",
            HandshakeFailure::Purpose => "administration with a certificate for something else",
            _ => "administration without TLS 1.3",
        })
    }

    /// Why who has a genuine certificate was not heard there.
    pub(crate) fn of_certificate(why: &NotAdmitted) -> Self {
        Self::NoAdministrator(match why {
            NotAdmitted::Unknown => "administration with an unknown certificate",
            NotAdmitted::Purpose => "administration with a certificate for something else",
            NotAdmitted::Revoked => "administration with a revoked certificate",
            NotAdmitted::Expired => "administration with an expired certificate",
            NotAdmitted::Store(_) => return Self::Unavailable,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Stranger(name) | Self::Unread(name) | Self::NoAdministrator(name) => name,
            Self::TooManyFirstContacts => "too many first contacts",
            Self::NoRoom => "first contact while the disk is almost full",
            Self::FirstContactRefused => "first contact refused",
            Self::TooManySteps => "too many steps of ceremonies",
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
    by_reason: BTreeMap<Cow<'static, str>, u64>,
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
        let name = Cow::Borrowed(reason.name());
        *self.lock().by_reason.entry(name).or_default() += 1;
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
        let tally = |(reason, count): (Cow<'_, str>, u64)| Tally {
            reason: reason.into_owned(),
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
            *counts
                .by_reason
                .entry(Cow::Owned(tally.reason))
                .or_default() += tally.count;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        for reason in [Reason::TurnedAway, Reason::Stranger("unknown device")] {
            tallies.count(reason);
        }
        let event = tallies.take(UnixMillis(9)).unwrap();
        tallies.count(Reason::TurnedAway);
        tallies.put_back(event);
        let Some(AuditEvent::Strangers { since, tallies }) = tallies.take(UnixMillis(10)) else {
            panic!("lost");
        };
        assert_eq!(since, UnixMillis(5));
        let told: Vec<_> = tallies
            .iter()
            .map(|tally| (tally.reason.as_str(), tally.count))
            .collect();
        assert_eq!(
            told,
            [("too many requests at once", 2), ("unknown device", 1)]
        );
    }
}
