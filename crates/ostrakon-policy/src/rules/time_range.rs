//! `time-range-rule`: the request comes on certain days, at certain times of day.

use std::{cmp::Ordering, collections::BTreeSet};

use jiff::{
    Zoned,
    civil::{Date, Time},
    tz::TimeZone,
};
use ostrakon_types::ApprovalRequest;

use crate::{
    Arguments, Reason, Rule, RuleError, Verdict,
    clock_time::{ClockTime, zone_argument},
};

#[derive(Debug)]
struct TimeRangeRule {
    /// The first and the last instant of the window; the last one of the next day, if it comes first.
    times: Option<(Time, Time)>,
    /// By number, from 0 for Monday.
    weekdays: [bool; 7],
    include: BTreeSet<Date>,
    exclude: BTreeSet<Date>,
    zone: TimeZone,
}

pub(super) fn build(arguments: &mut Arguments<'_>) -> Option<Box<dyn Rule>> {
    let start = ClockTime::argument(arguments, "time_start");
    let end = ClockTime::argument(arguments, "time_end");
    for (given, missing) in [("time_start", "time_end"), ("time_end", "time_start")] {
        if arguments.is_given(given) && !arguments.is_given(missing) {
            let place = arguments.place(given);
            arguments.error(place, format!("`{given}` without `{missing}`"));
        }
    }
    let overnight = arguments.flag("overnight");
    if overnight && start.is_none() && !arguments.has_errors() {
        let place = arguments.place("overnight");
        arguments.error(place, "`overnight` without `time_start` and `time_end`");
    }
    let zone = zone_argument(arguments);
    let weekdays = weekdays(arguments);
    let include = dates(arguments, "include");
    let exclude = dates(arguments, "exclude");
    if arguments.is_given("include") && !arguments.is_given("days") {
        let place = arguments.place("include");
        arguments
            .warn(place, "`include` without `days` restricts nothing")
            .help("list the weekdays in `days`, or write `days: []` for none");
    }
    let restricts = ["time_start", "time_end", "days", "include", "exclude"]
        .iter()
        .any(|name| arguments.is_given(name));
    if !restricts {
        arguments.warn(arguments.here(), "`time-range-rule` restricts nothing");
    }
    if weekdays == [false; 7] && include.is_empty() && !arguments.has_errors() {
        let place = arguments.place("days");
        arguments.warn(place, "`days` is empty: the rule never holds");
    }
    let (times, zone) = match start.zip(end) {
        Some((start, end)) => {
            let zone = common_zone(arguments, start, end, zone);
            (Some(times(arguments, start, end, overnight)?), zone)
        }
        None => (None, zone),
    };
    Some(Box::new(TimeRangeRule {
        times,
        weekdays,
        include,
        exclude,
        zone: zone.unwrap_or_else(|| arguments.time_zone().clone()),
    }))
}

fn times(
    arguments: &mut Arguments<'_>,
    start: ClockTime,
    end: ClockTime,
    overnight: bool,
) -> Option<(Time, Time)> {
    let place = arguments.place("time_start");
    match (start.time.cmp(&end.time), overnight) {
        (Ordering::Less, false) | (Ordering::Greater, true) => {
            return Some((start.time, end.time));
        }
        (Ordering::Greater, false) => arguments
            .error(place, "`time_start` must come before `time_end`")
            .help("if the window goes over midnight, say so with `overnight: true`"),
        (_, true) => arguments
            .error(
                place,
                "`time_start` must come after `time_end` in a window over midnight",
            )
            .help("remove `overnight`"),
        (Ordering::Equal, false) => {
            arguments.error(place, "`time_start` must come before `time_end`")
        }
    };
    None
}

/// The zone in which the window lies: the one that both times name, or the one of `timezone`.
fn common_zone(
    arguments: &mut Arguments<'_>,
    start: ClockTime,
    end: ClockTime,
    named: Option<TimeZone>,
) -> Option<TimeZone> {
    let place = arguments.place("time_end");
    if start.offset != end.offset {
        arguments
            .error(
                place,
                "`time_start` and `time_end` are in different time zones",
            )
            .help("name the same zone in both, or in neither");
    } else if start.offset.is_some() && named.is_some() {
        arguments
            .error(place, "the times name a time zone, and so does `timezone`")
            .help("remove one of them");
    }
    named.or_else(|| start.offset.map(TimeZone::fixed))
}

fn weekdays(arguments: &mut Arguments<'_>) -> [bool; 7] {
    let meaning = "weekdays are numbered from 0 for Monday to 6 for Sunday";
    let Some(days) = arguments.counts_within("days", 0..=6, meaning) else {
        return [true; 7];
    };
    let mut listed = [false; 7];
    for day in days {
        let index = usize::try_from(day.value).unwrap_or(usize::MAX);
        if let Some(listed) = listed.get_mut(index) {
            *listed = true;
        }
    }
    listed
}

fn dates(arguments: &mut Arguments<'_>, name: &str) -> BTreeSet<Date> {
    let mut dates = BTreeSet::new();
    for text in arguments.text_or_texts(name).into_iter().flatten() {
        // The parser is lenient towards times and zones behind the date; a policy is not.
        match text.value.parse::<Date>() {
            Ok(date) if date.to_string() == text.value => {
                dates.insert(date);
            }
            _ => {
                arguments
                    .error(text.place, format!("`{}` is not a date", text.value))
                    .help("write it like `2022-06-01`");
            }
        }
    }
    dates
}

/// Whether the time lies in the window, which goes over midnight if it ends before it starts.
fn within(start: Time, end: Time, time: Time) -> bool {
    if end < start {
        time >= start || time <= end
    } else {
        (start..=end).contains(&time)
    }
}

impl Rule for TimeRangeRule {
    fn judge(&self, _request: &ApprovalRequest, now: &Zoned) -> Result<Verdict, RuleError> {
        // Date and time of day are both taken in the window's own zone, so that its days are not shifted.
        let now = now.with_time_zone(self.zone.clone());
        let time = now.time();
        let day = match self.times {
            // What is left of a night belongs to the day on which the night began.
            Some((start, end)) if end < start && time <= end => now
                .yesterday()
                .map_err(|_| RuleError::new("the calendar has no day before the first"))?,
            _ => now.clone(),
        };
        let date = day.date();
        if self.exclude.contains(&date) {
            return Ok(Verdict::fails(Reason::DateExcluded(date)));
        }
        let weekday = day.weekday();
        let listed = usize::try_from(weekday.to_monday_zero_offset())
            .ok()
            .and_then(|index| self.weekdays.get(index))
            .is_some_and(|listed| *listed);
        if !listed && !self.include.contains(&date) {
            return Ok(Verdict::fails(Reason::DayNotListed { date, weekday }));
        }
        if let Some((start, end)) = self.times
            && !within(start, end, time)
        {
            return Ok(Verdict::fails(Reason::OutOfTime { time, start, end }));
        }
        Ok(Verdict::holds(Reason::InTime { date, time }))
    }
}

#[cfg(test)]
mod tests;
