//! `session-params-rule`: always holds, and limits the session that a `start_session` approval opens.

use std::num::NonZeroU64;

use jiff::{
    Timestamp, Zoned,
    civil::{Date, Time},
    tz::TimeZone,
};
use ostrakon_types::{ApprovalRequest, RequestKind, UnixMillis};

use crate::{
    Arguments, Reason, Rule, RuleError, SessionLimits, Verdict,
    clock_time::{ClockTime, zone_argument},
};

/// The shortest session, in seconds.
const MIN_SECONDS: u64 = 2;
/// The longest session, in seconds: one less than a week.
const MAX_SECONDS: u64 = 7 * 24 * 60 * 60 - 1;

#[derive(Debug)]
struct SessionParamsRule {
    max_request_count: Option<NonZeroU64>,
    max_seconds: i64,
    end_by: Option<(Time, TimeZone)>,
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
    let max_seconds = arguments
        .count_within(
            "max_time_seconds",
            MIN_SECONDS..=MAX_SECONDS,
            "seconds; the longest session is one second less than a week",
        )
        .and_then(|seconds| i64::try_from(seconds).ok())
        .unwrap_or(SessionLimits::DEFAULT_SECONDS);
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
        let today = now.with_time_zone(zone.clone()).date();
        let next = next_at(zone, *time, today, now.timestamp())
            .map_err(|_| RuleError::new("the calendar ends before `end_by_time` comes"))?;
        Ok(UnixMillis(latest.min(next.as_millisecond())))
    }
}

/// The first instant after `now`, which is on the day `today`, at which clocks of the zone show the time,
/// or would if it were not skipped. A time that comes twice is met the first time, or else the second.
fn next_at(
    zone: &TimeZone,
    time: Time,
    today: Date,
    now: Timestamp,
) -> Result<Timestamp, jiff::Error> {
    let on = |date: Date| zone.to_ambiguous_timestamp(date.to_datetime(time));
    for end in [on(today).compatible()?, on(today).later()?] {
        if end > now {
            return Ok(end);
        }
    }
    on(today.tomorrow()?).compatible()
}

impl Rule for SessionParamsRule {
    fn judge(&self, _request: &ApprovalRequest, now: &Zoned) -> Result<Verdict, RuleError> {
        let limits = SessionLimits::new(self.max_request_count, self.ends_at(now)?);
        Ok(Verdict::holds(Reason::SessionLimits).with_session(limits))
    }
}

#[cfg(test)]
mod tests {
    use ostrakon_types::RequestKind;

    use crate::fixture::{at, policy_in, request};

    /// When a session ends that is opened at the instant.
    fn ends(zone: &str, by: &str, opened: &str) -> String {
        let text = format!(
            "start_session: [[{{rule: session-params-rule, max_time_seconds: 90000, end_by_time: '{by}'}}]]"
        );
        let request = request(RequestKind::StartSession, &[]);
        let evaluation = policy_in(&text, zone).evaluate(&request, at(opened));
        let ends_at = evaluation.session(Some(0)).unwrap().ends_at;
        let ends_at = jiff::Timestamp::from_millisecond(ends_at.0).unwrap();
        ends_at.to_string()
    }

    #[test]
    fn a_session_ends_the_next_time_that_clocks_show_the_time() {
        for (zone, by, opened, expected) in [
            (
                "UTC",
                "17:00",
                "2026-03-09T16:00:00Z",
                "2026-03-09T17:00:00Z",
            ),
            (
                "UTC",
                "17:00",
                "2026-03-09T17:00:00Z",
                "2026-03-10T17:00:00Z",
            ),
            (
                "UTC",
                "5:00pm EST",
                "2026-03-09T16:00:00Z",
                "2026-03-09T22:00:00Z",
            ),
            // 01:30 comes twice on the day on which summer time ends ...
            (
                "Europe/London",
                "01:30",
                "2026-10-25T00:00:00Z",
                "2026-10-25T00:30:00Z",
            ),
            (
                "Europe/London",
                "01:30",
                "2026-10-25T00:45:00Z",
                "2026-10-25T01:30:00Z",
            ),
            (
                "Europe/London",
                "01:30",
                "2026-10-25T01:45:00Z",
                "2026-10-26T01:30:00Z",
            ),
            // ... and not at all on the one on which it begins.
            (
                "Europe/London",
                "01:30",
                "2026-03-29T00:00:00Z",
                "2026-03-29T01:30:00Z",
            ),
        ] {
            assert_eq!(
                ends(zone, by, opened),
                expected,
                "{by} {zone} from {opened}"
            );
        }
    }
}
