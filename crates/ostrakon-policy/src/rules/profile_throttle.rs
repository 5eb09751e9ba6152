//! `per-profile-throttle-rule`: the profile's approvals in the current clock hour and day are under the
//! limits.
//!
//! The rule itself always holds: it names its charges, and the ledger counts them in the same act that
//! approves. A rule that compared a count of its own would let two requests pass at once.

use jiff::{ToSpan, Zoned, civil::DateTime, tz::TimeZone};
use ostrakon_types::{ApprovalRequest, Charge, CounterKey, Period, RequestKind, UnixMillis};

use crate::{Arguments, Reason, Rule, RuleError, Verdict};

/// Request types that are made before there is a profile to count for.
const NEVER_SEEN: [RequestKind; 1] = [RequestKind::CreateProfile];

#[derive(Debug)]
struct ProfileThrottleRule {
    rule_id: String,
    limits: Vec<(Period, u64)>,
}

pub(super) fn build(arguments: &mut Arguments<'_>) -> Option<Box<dyn Rule>> {
    let mut limits = Vec::new();
    for (name, period) in [("per_day", Period::Day), ("per_hour", Period::Hour)] {
        if let Some(limit) = arguments.count(name) {
            limits.push((period, limit));
            if limit == 0 {
                let place = arguments.place(name);
                arguments.warn(place, format!("`{name}: 0` never holds"));
            }
        }
    }
    if limits.is_empty() && !arguments.has_errors() {
        arguments
            .error(arguments.here(), "`per-profile-throttle-rule` has no limit")
            .help("set `per_hour`, `per_day`, or both");
    }
    arguments.flag("persistent");
    if arguments.is_given("persistent") {
        let place = arguments.place("persistent");
        arguments.inform(
            place,
            "`persistent` changes nothing: every counter is durable",
        );
    }
    if arguments.is_rule_id_derived() {
        arguments
            .warn(
                arguments.here(),
                "`per-profile-throttle-rule` has no `rule_id`",
            )
            .help("give it one: without it, editing the rule starts its counters anew");
    }
    super::warn_never_seen(arguments, "per-profile-throttle-rule", &NEVER_SEEN);
    Some(Box::new(ProfileThrottleRule {
        rule_id: arguments.rule_id().to_owned(),
        limits,
    }))
}

impl Rule for ProfileThrottleRule {
    fn judge(&self, request: &ApprovalRequest, now: &Zoned) -> Result<Verdict, RuleError> {
        if NEVER_SEEN.contains(&request.kind) {
            return Ok(Verdict::fails(Reason::NeverSeen(request.kind)));
        }
        // A limit whose window cannot be told could not be charged.
        if self.charges(request, now).len() < self.limits.len() {
            return Err(RuleError::new("the calendar has no window for the time"));
        }
        Ok(Verdict::holds(Reason::Quota))
    }

    fn charges(&self, request: &ApprovalRequest, now: &Zoned) -> Vec<Charge> {
        self.limits
            .iter()
            .filter_map(|(period, limit)| {
                let (window, resets_at) = window(*period, now)?;
                Some(Charge {
                    key: CounterKey {
                        profile: request.profile.id,
                        rule_id: self.rule_id.clone(),
                        period: *period,
                        window,
                    },
                    limit: *limit,
                    resets_at,
                })
            })
            .collect()
    }
}

/// When the clock hour or day that `now` lies in began, and when the next one begins.
///
/// A window is a stretch of civil time: an hour that the end of daylight saving time repeats is one
/// window, which begins where it first began and ends where it last ends.
fn window(period: Period, now: &Zoned) -> Option<(UnixMillis, UnixMillis)> {
    let (start, length) = match period {
        Period::Hour => (now.date().at(now.hour(), 0, 0, 0), 1.hour()),
        _ => (now.date().at(0, 0, 0, 0), 1.day()),
    };
    let end = start.checked_add(length).ok()?;
    Some((first(now.time_zone(), start)?, last(now.time_zone(), end)?))
}

/// The first instant at which clocks of the zone show the time, or would if it were not skipped.
fn first(zone: &TimeZone, time: DateTime) -> Option<UnixMillis> {
    let instant = zone.to_ambiguous_timestamp(time).compatible().ok()?;
    Some(UnixMillis(instant.as_millisecond()))
}

/// The last such instant.
fn last(zone: &TimeZone, time: DateTime) -> Option<UnixMillis> {
    let instant = zone.to_ambiguous_timestamp(time).later().ok()?;
    Some(UnixMillis(instant.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    fn window_of(period: Period, text: &str) -> (String, String) {
        let (start, end) = window(period, &at(text)).unwrap();
        let show = |millis: UnixMillis| {
            jiff::Timestamp::from_millisecond(millis.0)
                .unwrap()
                .to_string()
        };
        (show(start), show(end))
    }

    #[test]
    fn windows_are_clock_hours_and_days_of_the_zone() {
        let day = window_of(Period::Day, "2026-07-01T12:30:00+05:30[Asia/Kolkata]");
        assert_eq!(day.0, "2026-06-30T18:30:00Z");
        assert_eq!(day.1, "2026-07-01T18:30:00Z");
        let hour = window_of(Period::Hour, "2026-07-01T12:30:00+05:30[Asia/Kolkata]");
        assert_eq!(hour.0, "2026-07-01T06:30:00Z");
        assert_eq!(hour.1, "2026-07-01T07:30:00Z");
    }

    #[test]
    fn a_repeated_hour_is_one_window() {
        let first = window_of(Period::Hour, "2026-10-25T01:30:00+01:00[Europe/London]");
        let second = window_of(Period::Hour, "2026-10-25T01:30:00+00:00[Europe/London]");
        assert_eq!(first, second);
        assert_eq!(first.0, "2026-10-25T00:00:00Z");
        assert_eq!(first.1, "2026-10-25T02:00:00Z");
    }

    #[test]
    fn a_repeated_half_hour_is_one_window_too() {
        let zone = "[Australia/Lord_Howe]";
        let first = window_of(Period::Hour, &format!("2026-04-05T01:45:00+11:00{zone}"));
        let second = window_of(Period::Hour, &format!("2026-04-05T01:45:00+10:30{zone}"));
        assert_eq!(first, second);
    }

    #[test]
    fn days_of_23_and_25_hours_are_whole() {
        let short = window_of(Period::Day, "2026-03-29T12:00:00+01:00[Europe/London]");
        assert_eq!(short.0, "2026-03-29T00:00:00Z");
        assert_eq!(short.1, "2026-03-29T23:00:00Z");
        let long = window_of(Period::Day, "2026-10-25T12:00:00+00:00[Europe/London]");
        assert_eq!(long.0, "2026-10-24T23:00:00Z");
        assert_eq!(long.1, "2026-10-26T00:00:00Z");
    }

    #[test]
    fn the_end_of_a_window_that_runs_into_a_repetition_lies_behind_it() {
        // At 00:01 clocks went back to 23:01 of the day before.
        let day = window_of(Period::Day, "2010-11-06T23:30:00-03:30[America/St_Johns]");
        assert_eq!(day.1, "2010-11-07T03:30:00Z");
    }
}
