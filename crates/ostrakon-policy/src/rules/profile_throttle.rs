//! `per-profile-throttle-rule`: the profile's approvals in the current clock minute, hour and day, or in
//! the minute, 60 minutes or 24 hours before now, are under the limits.
//!
//! The rule itself always holds: it names its charges, and the ledger counts them in the same act that
//! approves. A rule that compared a count of its own would let two requests pass at once.

use std::sync::Arc;

use jiff::{ToSpan, Zoned, civil::DateTime, tz::TimeZone};
use ostrakon_types::{ApprovalRequest, Charge, CounterKey, Period, RequestKind, UnixMillis};

use crate::{Arguments, Reason, Rule, RuleError, Verdict};

/// Request types that are made before there is a profile to count for.
const NEVER_SEEN: [RequestKind; 1] = [RequestKind::CreateProfile];

/// What `per` may say, and the windows that it means: of the clock, and sliding.
const PERIODS: [(&str, Period, Period); 3] = [
    ("minute", Period::Minute, Period::SlidingMinute),
    ("hour", Period::Hour, Period::SlidingHour),
    ("day", Period::Day, Period::SlidingDay),
];

#[derive(Debug)]
struct ProfileThrottleRule {
    rule_id: Arc<str>,
    limits: Vec<(Period, u64)>,
}

pub(super) fn build(arguments: &mut Arguments<'_>) -> Option<Box<dyn Rule>> {
    let mut limits = Vec::new();
    for (name, period) in [
        ("per_day", Period::Day),
        ("per_hour", Period::Hour),
        ("per_minute", Period::Minute),
    ] {
        if let Some(limit) = arguments.count(name) {
            limits.push((period, limit));
            if limit == 0 {
                let place = arguments.place(name);
                arguments.warn(place, format!("`{name}: 0` never holds"));
            }
        }
    }
    limits.extend(arguments.groups("limits", limit).into_iter().flatten());
    if limits.is_empty() && !arguments.has_errors() {
        arguments
            .error(arguments.here(), "`per-profile-throttle-rule` has no limit")
            .help("set `per_minute`, `per_hour`, `per_day`, or `limits`");
    }
    arguments.counts_approvals();
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
        rule_id: arguments.rule_id().into(),
        limits,
    }))
}

/// One of the `limits`.
fn limit(arguments: &mut Arguments<'_>) -> Option<(Period, u64)> {
    let count = arguments.count("count");
    let per = arguments.choice("per", &PERIODS.map(|(name, ..)| name));
    let sliding = arguments.flag("sliding");
    arguments.require("count");
    arguments.require("per");
    let (count, per) = (count?, per?);
    if count == 0 {
        let place = arguments.place("count");
        arguments.warn(place, "`count: 0` never holds");
    }
    let (_, of_the_clock, slides) = PERIODS.get(per.value)?;
    Some((if sliding { *slides } else { *of_the_clock }, count))
}

impl ProfileThrottleRule {
    /// The windows that `now` lies in, each with the limit of what may be approved in it.
    ///
    /// A limit whose window cannot be told is left out.
    fn windows(&self, now: &Zoned) -> impl Iterator<Item = (Period, Window, u64)> {
        let millis = now.timestamp().as_millisecond();
        self.limits.iter().flat_map(move |(period, limit)| {
            let slide = sliding(*period);
            let sliding = slide
                .into_iter()
                .flat_map(move |slide| slide.windows(millis));
            let of_the_clock = slide.is_none().then(|| window(*period, now)).flatten();
            let windows = sliding.chain(of_the_clock);
            windows.map(|window| (*period, window, *limit))
        })
    }

    /// Whether there is a window for each limit.
    fn has_all_windows(&self, now: &Zoned) -> bool {
        // Only the first and the last days of the calendar lack one.
        let is_inside = (-9998..=9998).contains(&now.year());
        let has_window = |(period, _): &(Period, u64)| {
            sliding(*period).is_some() || window(*period, now).is_some()
        };
        is_inside || self.limits.iter().all(has_window)
    }
}

impl Rule for ProfileThrottleRule {
    fn judge(&self, request: &ApprovalRequest, now: &Zoned) -> Result<Verdict, RuleError> {
        if NEVER_SEEN.contains(&request.kind) {
            return Ok(Verdict::fails(Reason::NeverSeen(request.kind)));
        }
        // A limit whose window cannot be told could not be charged.
        if !self.has_all_windows(now) {
            return Err(RuleError::new("the calendar has no window for the time"));
        }
        Ok(Verdict::holds(Reason::Quota))
    }

    fn charges(&self, request: &ApprovalRequest, now: &Zoned) -> Vec<Charge> {
        let charge = |(period, (window, resets_at), limit)| Charge {
            key: CounterKey {
                profile: request.profile.id,
                rule_id: self.rule_id.clone(),
                period,
                window,
            },
            limit,
            resets_at,
        };
        let count = |(period, _): &(Period, u64)| sliding(*period).map_or(1, Slide::count);
        let mut charges = Vec::with_capacity(self.limits.iter().map(count).sum());
        charges.extend(self.windows(now).map(charge));
        charges
    }
}

/// When a window begins, and when it ends.
type Window = (UnixMillis, UnixMillis);

/// Windows of one length that overlap: one begins with every step.
///
/// Each is one step longer than the stretch of time that the limit is for, so that any such stretch,
/// wherever it begins, lies within one of them. An approval counts on all that it lies in. So the limit
/// holds for every stretch, by counters alone; and what was approved is forgotten a step late at most.
#[derive(Clone, Copy)]
struct Slide {
    step: i64,
    length: i64,
}

/// How the windows of a sliding period overlap, in milliseconds.
fn sliding(period: Period) -> Option<Slide> {
    let (step, stretch) = match period {
        Period::SlidingMinute => (5_000, 60_000),
        Period::SlidingHour => (300_000, 3_600_000),
        Period::SlidingDay => (3_600_000, 86_400_000),
        _ => return None,
    };
    Some(Slide {
        step,
        length: stretch + step,
    })
}

impl Slide {
    /// How many windows an instant lies in.
    fn count(self) -> usize {
        usize::try_from(self.length / self.step).unwrap_or_default()
    }

    fn windows(self, now: i64) -> impl Iterator<Item = Window> {
        let (step, length) = (self.step, self.length);
        let last = now - now.rem_euclid(step);
        (0..length / step).map(move |steps| {
            let begin = UnixMillis(last - steps * step);
            (begin, begin.plus(length))
        })
    }
}

/// When the clock minute, hour or day that `now` lies in began, and when the next one begins.
///
/// A window is a stretch of civil time: an hour that the end of daylight saving time repeats is one
/// window, which begins where it first began and ends where it last ends.
fn window(period: Period, now: &Zoned) -> Option<Window> {
    let (start, length) = match period {
        Period::Minute => (now.date().at(now.hour(), now.minute(), 0, 0), 1.minute()),
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

    /// How many of the approvals asked for at these seconds a policy grants.
    fn granted(limits: &str, seconds: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let text =
            format!("decrypt: [[{{rule: per-profile-throttle-rule, rule_id: a, {limits}}}]]");
        let policy = crate::fixture::policy(&text);
        let request = crate::fixture::request(RequestKind::Decrypt, &["a"]);
        let ledger = crate::MemoryLedger::new();
        let mut granted = Vec::new();
        for (number, second) in (0_u16..).zip(seconds) {
            let now = jiff::Timestamp::from_second(1_772_000_000 + second).unwrap();
            let proposal = policy.evaluate(&request, now).into_proposal();
            let mut random = [0; 10];
            random[..2].copy_from_slice(&number.to_be_bytes());
            random.rotate_right(3);
            let id = ostrakon_types::RequestId::from_parts(UnixMillis(0), random);
            let body = ostrakon_types::Digest::from_bytes([0; 32]);
            let settled = ledger.settle(id, body, vec![proposal]).unwrap();
            if settled.decisions[0].is_approved() {
                granted.push(second);
            }
        }
        granted
    }

    #[test]
    fn windows_of_all_lengths_hold_together() {
        // 1_772_000_000 is 20 seconds into a minute, and 13 minutes into an hour.
        let limits = "limits: [{count: 2, per: minute}, {count: 3, per: hour}], per_day: 4";
        assert_eq!(
            granted(limits, [0, 1, 2, 40, 41, 3600, 3601]),
            [0, 1, 40, 3600]
        );
        assert_eq!(granted("per_minute: 1", [0, 39, 40, 41]), [0, 40]);
    }

    /// Whatever is asked for, no stretch of the length sees more than the limit; and what was granted
    /// is forgotten a step after that stretch at the latest.
    #[test]
    fn a_sliding_limit_holds_wherever_one_begins_to_count() {
        let limits = "limits: [{count: 3, per: minute, sliding: true}]";
        let granted = granted(limits, (0..600).map(|second| second * 7 % 5 + second));
        for window in granted.windows(4) {
            assert!(window[3] - window[0] >= 60, "{window:?}");
            assert!(window[3] - window[0] <= 75, "{window:?}");
        }
        assert!(granted.len() >= 3 * 8);
        let hour =
            "limits: [{count: 1, per: hour, sliding: true}, {count: 2, per: day, sliding: true}]";
        let granted = super::tests::granted(hour, (0..200).map(|tens| tens * 600));
        // The second limit forgets what was approved at 0 and at 4200 only after a day and an hour.
        assert_eq!(granted, [0, 4200, 89_400, 93_600]);
    }
}
