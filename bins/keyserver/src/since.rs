use std::str::FromStr;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// From when on: an instant, or a day from its first instant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    Instant(Timestamp),
    Day(Date),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The parser of dates is lenient towards what stands behind them.
        let date = text.parse::<Date>().ok();
        match (text.parse(), date.filter(|date| date.to_string() == text)) {
            (Ok(instant), _) => Ok(Self::Instant(instant)),
            (_, Some(date)) => Ok(Self::Day(date)),
            _ => Err("write it like `2026-03-09` or `2026-03-09T17:00:00Z`".to_owned()),
        }
    }
}

impl Since {
    /// The instant, where clocks are in `zone`.
    pub(crate) fn instant(self, zone: &TimeZone) -> Timestamp {
        match self {
            Self::Instant(instant) => instant,
            Self::Day(date) => date
                .to_zoned(zone.clone())
                .map_or(Timestamp::MAX, |midnight| midnight.timestamp()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_in_the_zone_and_instants_are_what_they_are() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        for (text, expected) in [
            ("2026-03-09", "2026-03-08T22:00:00Z"),
            ("2026-03-09T17:00:00Z", "2026-03-09T17:00:00Z"),
            ("2026-03-09T17:00:00+02:00", "2026-03-09T15:00:00Z"),
        ] {
            let since: Since = text.parse().unwrap();
            assert_eq!(since.instant(&zone).to_string(), expected, "{text}");
        }
        for text in ["", "yesterday", "2026-03-09T17:00:00", "2026-3-9", "17:00"] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
    }
}
