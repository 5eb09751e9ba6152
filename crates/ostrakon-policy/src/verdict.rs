use std::{fmt, sync::Arc};

use jiff::civil::{Date, Time, Weekday};
use ostrakon_types::RequestKind;
use serde::{Serialize, Serializer};

use crate::SessionLimits;

/// What a rule says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    holds: bool,
    reason: Reason,
    session: Option<SessionLimits>,
}

impl Verdict {
    /// The rule holds, for `reason`.
    #[must_use]
    pub fn holds(reason: impl Into<Reason>) -> Self {
        Self {
            holds: true,
            reason: reason.into(),
            session: None,
        }
    }

    /// The rule does not hold, for `reason`.
    #[must_use]
    pub fn fails(reason: impl Into<Reason>) -> Self {
        Self {
            holds: false,
            reason: reason.into(),
            session: None,
        }
    }

    /// Limits the session that the approval opens, if it opens one.
    #[must_use]
    pub fn with_session(self, limits: SessionLimits) -> Self {
        Self {
            session: Some(limits),
            ..self
        }
    }

    /// Whether the rule holds.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.holds
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The limits of the session that the approval opens.
    #[must_use]
    pub fn session(&self) -> Option<SessionLimits> {
        self.session
    }
}

/// Why a rule holds or does not hold.
///
/// Items of a request's metadata are named by their number, from 0, so that a reason can be logged
/// without telling a path. `Display` says it in a person's words, and counts from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The rule always holds.
    Always,
    /// The rule never holds.
    Never,
    /// The rule never sees what it tests in requests of this type.
    NeverSeen(RequestKind),
    /// Every item matches the rule's entries.
    EveryItemMatches,
    /// The request names no item.
    NoItems,
    /// The item's path has no canonical form.
    NotCanonical {
        /// The item.
        item: usize,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The item's path is not known to be whole.
    Incomplete {
        /// The item.
        item: usize,
    },
    /// The item matches an entry that must not be matched.
    Excluded {
        /// The item.
        item: usize,
        /// The entry, as it stands in the policy.
        entry: Arc<str>,
    },
    /// The item matches none of the entries.
    NoEntryMatches {
        /// The item.
        item: usize,
    },
    /// The profile is listed.
    ProfileListed,
    /// The profile is not listed.
    ProfileNotListed,
    /// Date and time are in range.
    InTime {
        /// The date in the rule's time zone.
        date: Date,
        /// The time there.
        time: Time,
    },
    /// The date is excluded.
    DateExcluded(Date),
    /// Neither the date nor its weekday is listed.
    DayNotListed {
        /// The date in the rule's time zone.
        date: Date,
        /// Its weekday.
        weekday: Weekday,
    },
    /// The time is out of range.
    OutOfTime {
        /// The time in the rule's time zone.
        time: Time,
        /// The first instant of the range.
        start: Time,
        /// The last instant of the range.
        end: Time,
    },
    /// The rule holds as long as its quota is not used up.
    Quota,
    /// The rule sets limits of the session.
    SessionLimits,
    /// What a custom rule says.
    Other(String),
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self::Other(text)
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        Self::Other(text.to_owned())
    }
}

impl Reason {
    /// The number of the item that it is about, from 0.
    #[must_use]
    pub fn item(&self) -> Option<usize> {
        match self {
            Self::NotCanonical { item, .. }
            | Self::Incomplete { item }
            | Self::Excluded { item, .. }
            | Self::NoEntryMatches { item } => Some(*item),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("it always holds"),
            Self::Never => f.write_str("it never holds"),
            Self::NeverSeen(kind) => write!(f, "it can never hold in a `{kind}` request"),
            Self::EveryItemMatches => f.write_str("every item matches"),
            Self::NoItems => f.write_str("the request names no item"),
            Self::NotCanonical { item, fault } => {
                write!(f, "the path of item {} {fault}", item + 1)
            }
            Self::Incomplete { item } => {
                write!(f, "the path of item {} is not complete", item + 1)
            }
            Self::Excluded { item, entry } => {
                write!(f, "item {} matches `{entry}`", item + 1)
            }
            Self::NoEntryMatches { item } => write!(f, "item {} matches no entry", item + 1),
            Self::ProfileListed => f.write_str("the profile is listed"),
            Self::ProfileNotListed => f.write_str("the profile is not listed"),
            Self::InTime { date, time } => write!(f, "{date} {} is in range", Clock(*time)),
            Self::DateExcluded(date) => write!(f, "{date} is excluded"),
            Self::DayNotListed { date, weekday } => {
                write!(f, "neither {date} nor its weekday, {weekday:?}, is listed")
            }
            Self::OutOfTime { time, start, end } => write!(
                f,
                "{} is not within {} to {}",
                Clock(*time),
                Clock(*start),
                Clock(*end)
            ),
            Self::Quota => f.write_str("it holds while its quota lasts"),
            Self::SessionLimits => f.write_str("it always holds, and limits the session"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A time of day as people write it: minutes, and seconds where there are any.
pub(crate) struct Clock(pub(crate) Time);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.0;
        write!(f, "{:02}:{:02}", time.hour(), time.minute())?;
        if time.second() != 0 || time.subsec_nanosecond() != 0 {
            write!(f, ":{:02}", time.second())?;
        }
        Ok(())
    }
}
