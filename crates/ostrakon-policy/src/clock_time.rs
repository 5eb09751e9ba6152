//! Times of day as operators write them: `8:00am`, `17:30:15`, `5:00pm EST`, `09:00+04:00`.

use jiff::{
    civil::Time,
    tz::{Offset, TimeZone, TimeZoneDatabase},
};

use crate::{Arguments, nearest::nearest};

/// Abbreviations that mean one thing, and their offsets in minutes. Those that mean several (`IST`,
/// `BST`, `AST`, `SST`) are left out on purpose.
const ABBREVIATIONS: [(&str, i32); 31] = [
    ("Z", 0),
    ("UT", 0),
    ("UTC", 0),
    ("GMT", 0),
    ("EST", -5 * 60),
    ("EDT", -4 * 60),
    ("CST", -6 * 60),
    ("CDT", -5 * 60),
    ("MST", -7 * 60),
    ("MDT", -6 * 60),
    ("PST", -8 * 60),
    ("PDT", -7 * 60),
    ("AKST", -9 * 60),
    ("AKDT", -8 * 60),
    ("HST", -10 * 60),
    ("WET", 0),
    ("WEST", 60),
    ("CET", 60),
    ("CEST", 2 * 60),
    ("EET", 2 * 60),
    ("EEST", 3 * 60),
    ("MSK", 3 * 60),
    ("SAST", 2 * 60),
    ("JST", 9 * 60),
    ("KST", 9 * 60),
    ("AWST", 8 * 60),
    ("ACST", 9 * 60 + 30),
    ("AEST", 10 * 60),
    ("AEDT", 11 * 60),
    ("NZST", 12 * 60),
    ("NZDT", 13 * 60),
];

/// A time of day, in a zone of its own if it names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockTime {
    pub(crate) time: Time,
    pub(crate) offset: Option<Offset>,
}

impl ClockTime {
    /// Reads a time, or says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != ':');
        let (clock, rest) = text.split_at(end.unwrap_or(text.len()));
        let (half, zone) = half_of_day(rest.trim_start());
        let time = clock_of(clock, half).ok_or_else(|| {
            format!("`{text}` is not a time; write it like `8:00am`, `17:30` or `17:30:15`")
        })?;
        let offset = match zone.trim() {
            "" => None,
            zone => Some(offset_of(zone)?),
        };
        Ok(Self { time, offset })
    }

    /// Reads the argument `name` as a time; what is wrong with it is reported.
    pub(crate) fn argument(arguments: &mut Arguments<'_>, name: &str) -> Option<Self> {
        let text = arguments.text(name)?;
        match Self::parse(&text.value) {
            Ok(time) => Some(time),
            Err(message) => {
                arguments.error(text.place, message);
                None
            }
        }
    }

    /// The time zone that it names, or `otherwise`.
    pub(crate) fn zone_or(&self, otherwise: &TimeZone) -> TimeZone {
        self.offset
            .map_or_else(|| otherwise.clone(), TimeZone::fixed)
    }
}

/// The zone of that name in the bundled database, which is the same on every instance.
pub(crate) fn zone(name: &str) -> Result<TimeZone, String> {
    let database = TimeZoneDatabase::bundled();
    database.get(name).map_err(|_| {
        let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
        match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("unknown time zone `{name}`; did you mean `{near}`?"),
            None => format!("unknown time zone `{name}`; write a name like `Europe/London`"),
        }
    })
}

/// Reads the argument `timezone`; what is wrong with it is reported.
pub(crate) fn zone_argument(arguments: &mut Arguments<'_>) -> Option<TimeZone> {
    let text = arguments.text("timezone")?;
    match zone(&text.value) {
        Ok(zone) => Some(zone),
        Err(message) => {
            arguments.error(text.place, message);
            None
        }
    }
}

/// Which half of the day a time of a 12-hour clock lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Am,
    Pm,
}

/// Takes `am` or `pm` off the front, if it is there as a word.
fn half_of_day(rest: &str) -> (Option<Half>, &str) {
    for (word, half) in [("am", Half::Am), ("pm", Half::Pm)] {
        if let (Some(head), Some(tail)) = (rest.get(..2), rest.get(2..))
            && head.eq_ignore_ascii_case(word)
            && !tail.starts_with(char::is_alphabetic)
        {
            return (Some(half), tail);
        }
    }
    (None, rest)
}

fn clock_of(clock: &str, half: Option<Half>) -> Option<Time> {
    let mut parts = clock.split(':').map(|part| {
        let fits = (1..=2).contains(&part.len());
        if fits { part.parse::<i8>().ok() } else { None }
    });
    let hour = parts.next()??;
    let minute = match parts.next() {
        Some(minute) => minute?,
        // `8am` says what it is; a bare `8` does not.
        None if half.is_some() => 0,
        None => return None,
    };
    let second = parts.next().map_or(Some(0), |second| second)?;
    if parts.next().is_some() {
        return None;
    }
    let hour = match half {
        None => hour,
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(Half::Am) => hour % 12,
        Some(Half::Pm) => hour % 12 + 12,
    };
    Time::new(hour, minute, second, 0).ok()
}

fn offset_of(zone: &str) -> Result<Offset, String> {
    let known = ABBREVIATIONS
        .iter()
        .find(|(name, _)| zone.eq_ignore_ascii_case(name))
        .map(|(_, minutes)| *minutes);
    known
        .or_else(|| numeric_offset(zone))
        .and_then(|minutes| Offset::from_seconds(minutes * 60).ok())
        .ok_or_else(|| {
            format!(
                "unknown time zone `{zone}`; write an offset like `+04:00`, or name a zone in `timezone`"
            )
        })
}

/// The minutes of `+04:00`, `+0400` or `+04`.
fn numeric_offset(zone: &str) -> Option<i32> {
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match (digits.len(), digits.split_once(':')) {
        (5, Some((hours, minutes))) => (hours, minutes),
        (4, None) => digits.split_at_checked(2)?,
        (2, None) => (digits, "00"),
        _ => return None,
    };
    let number = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits {
            text.parse::<i32>().ok()
        } else {
            None
        }
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Option<i32>) {
        let time = ClockTime::parse(text).unwrap();
        let minutes = time.offset.map(|offset| offset.seconds() / 60);
        (time.time.to_string(), minutes)
    }

    #[test]
    fn the_usual_forms_are_read() {
        for (text, time, offset) in [
            ("8:00am", "08:00:00", None),
            ("08:00", "08:00:00", None),
            ("8:00", "08:00:00", None),
            ("8am", "08:00:00", None),
            ("8:05 PM", "20:05:00", None),
            ("12:00am", "00:00:00", None),
            ("12:30pm", "12:30:00", None),
            ("17:30:15", "17:30:15", None),
            ("23:59:59", "23:59:59", None),
            ("5:00pm EST", "17:00:00", Some(-300)),
            ("5:00pmEST", "17:00:00", Some(-300)),
            ("09:00+04:00", "09:00:00", Some(240)),
            ("09:00 -0330", "09:00:00", Some(-210)),
            ("09:00-05", "09:00:00", Some(-300)),
            ("09:00 utc", "09:00:00", Some(0)),
            ("09:00Z", "09:00:00", Some(0)),
        ] {
            if text == "5:00pmEST" {
                assert!(ClockTime::parse(text).is_err(), "{text}");
                continue;
            }
            assert_eq!(parsed(text), (time.to_owned(), offset), "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "8",
            "0",
            "25:00",
            "24:00",
            "13:00pm",
            "0:30am",
            "8:60",
            "8:00:60",
            "8:00:00:00",
            "8:",
            ":30",
            "008:00",
            "8:00xm",
            "8:00 IST",
            "8:00 BST",
            "8:00+",
            "8:00+4",
            "8:00+25:00",
            "8:00+04:60",
            "8:00 Europe/London",
            "noon",
            "-8:00",
            "8.30",
            "8:00+aé",
            "8:00 é",
        ] {
            assert!(ClockTime::parse(text).is_err(), "{text}");
        }
    }
}
