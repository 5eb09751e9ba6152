//! `session-params-rule`: always holds, and limits the session that a `start_session` approval opens.

use std::num::NonZeroU64;

use jiff::{ToSpan, Zoned};
use ostrakon_types::{ApprovalRequest, RequestKind, UnixMillis};

use crate::{
    Arguments, Reason, Rule, RuleError, SessionLimits, Verdict,
    clock_time::{ClockTime, zone_argument},
};

/// The shortest session, in seconds.
const MIN_SECONDS: i64 = 2;
/// The longest session, in seconds: one less than a week.
const MAX_SECONDS: i64 = 7 * 24 * 60 * 60 - 1;

#[derive(Debug)]
struct SessionParamsRule {
    max_request_count: Option<NonZeroU64>,
    max_seconds: i64,
    end_by: Option<(jiff::civil::Time, jiff::tz::TimeZone)>,
}

pub(super) fn build(arguments: &mut Arguments<'_>) -> Option<Box<dyn Rule>> {
    if arguments.request_kind() != RequestKind::StartSession {
        arguments.error(
            arguments.here(),
            "`session-params-rule` can only stand under `start_session`",
        );
    }
    let max_request_count = arguments
        .count("max_request_count")
        .and_then(NonZeroU64::new);
    let max_seconds = match arguments.count("max_time_seconds").map(i64::try_from) {
        None => SessionLimits::DEFAULT_SECONDS,
        Some(Ok(seconds)) if (MIN_SECONDS..=MAX_SECONDS).contains(&seconds) => seconds,
        Some(_) => {
            let place = arguments.place("max_time_seconds");
            let message = format!("`max_time_seconds` must be from {MIN_SECONDS} to {MAX_SECONDS}");
            arguments.error(place, message);
            MIN_SECONDS
        }
    };
    let end_by = ClockTime::argument(arguments, "end_by_time");
    let zone = zone_argument(arguments);
    if end_by.is_some_and(|time| time.offset.is_some()) && zone.is_some() {
        let place = arguments.place("timezone");
        arguments
            .error(place, "the time names a time zone, and so does `timezone`")
            .help("remove one of them");
    }
    let zone = zone.unwrap_or_else(|| arguments.time_zone().clone());
    Some(Box::new(SessionParamsRule {
        max_request_count,
        max_seconds,
        end_by: end_by.map(|time| (time.time, time.zone_or(&zone))),
    }))
}

impl SessionParamsRule {
    /// When a session that begins now ends: at the next time of day at which it must, at the latest.
    fn ends_at(&self, now: &Zoned) -> Result<UnixMillis, RuleError> {
        let latest = now.timestamp().as_millisecond() + self.max_seconds * 1000;
        let Some((time, zone)) = &self.end_by else {
            return Ok(UnixMillis(latest));
        };
        let here = now.with_time_zone(zone.clone());
        let on = |date: jiff::civil::Date| {
            zone.to_ambiguous_timestamp(date.to_datetime(*time))
                .compatible()
        };
        let next = on(here.date()).and_then(|end| {
            if end > now.timestamp() {
                Ok(end)
            } else {
                on(here.date().checked_add(1.day())?)
            }
        });
        let next =
            next.map_err(|_| RuleError::new("the calendar ends before `end_by_time` comes"))?;
        Ok(UnixMillis(latest.min(next.as_millisecond())))
    }
}

impl Rule for SessionParamsRule {
    fn judge(&self, _request: &ApprovalRequest, now: &Zoned) -> Result<Verdict, RuleError> {
        let limits = SessionLimits::new(self.max_request_count, self.ends_at(now)?);
        Ok(Verdict::holds(Reason::SessionLimits).with_session(limits))
    }
}
