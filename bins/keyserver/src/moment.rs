use std::str::FromStr;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use ostrakon_types::UnixMillis;

/// A point of time, as people name one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// As RFC 3339 writes it.
    At(Timestamp),
    /// The first instant of a day.
    Day(Date),
    /// So many seconds ago.
    Ago(i64),
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        // The parser of dates is lenient towards what stands behind them.
        let date = text.parse::<Date>().ok();
        if let Some(date) = date.filter(|date| date.to_string() == text) {
            return Ok(Self::Day(date));
        }
        ago(text).map(Self::Ago).ok_or(
            "write it like `2026-03-09T17:00:00Z`, like `2026-03-09`, or like `7d` for seven days ago",
        )
    }
}

/// How many seconds are meant: `30s`, `15m`, `1h`, `7d`, `4w`.
fn ago(text: &str) -> Option<i64> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        'w' => 7 * 24 * 60 * 60,
        _ => return None,
    };
    let count: u32 = text.get(..text.len() - 1)?.parse().ok()?;
    Some(i64::from(count) * unit)
}

impl Moment {
    /// The instant, at `now`, where clocks are in `zone`.
    pub(crate) fn instant(self, now: UnixMillis, zone: &TimeZone) -> UnixMillis {
        let millis = |at: Timestamp| UnixMillis(at.as_millisecond());
        match self {
            Self::At(at) => millis(at),
            Self::Day(date) => date
                .to_zoned(zone.clone())
                .map_or(UnixMillis(i64::MAX), |midnight| {
                    millis(midnight.timestamp())
                }),
            Self::Ago(seconds) => now.plus(-seconds * 1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_in_the_zone_and_instants_are_what_they_are() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let now = "2026-03-09T17:00:00Z".parse().unwrap();
        let millis = |at: Timestamp| UnixMillis(at.as_millisecond());
        for (text, expected) in [
            ("2026-03-09", "2026-03-08T22:00:00Z"),
            ("2026-03-09T17:00:00Z", "2026-03-09T17:00:00Z"),
            ("2026-03-09T17:00:00+02:00", "2026-03-09T15:00:00Z"),
            ("30s", "2026-03-09T16:59:30Z"),
            ("15m", "2026-03-09T16:45:00Z"),
            ("1h", "2026-03-09T16:00:00Z"),
            ("7d", "2026-03-02T17:00:00Z"),
            ("4w", "2026-02-09T17:00:00Z"),
        ] {
            let moment: Moment = text.parse().unwrap();
            let expected = millis(expected.parse().unwrap());
            assert_eq!(moment.instant(millis(now), &zone), expected, "{text}");
        }
        for text in [
            "",
            "d",
            "7",
            "-7d",
            "7y",
            "1.5h",
            "7µ",
            "yesterday",
            "17:00",
            "2026-3-9",
            "2026-03-09T17:00:00",
            "2026-13-01T00:00:00Z",
        ] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
