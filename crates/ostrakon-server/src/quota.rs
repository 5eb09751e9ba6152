//! Who is at quota, and beginning anew.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use ostrakon_custody::{Change, Ledger, LedgerError};
use ostrakon_policy::Policy;
use ostrakon_shards::words::first_words;
use ostrakon_storage::{Counter, Store, StoreError};
use ostrakon_types::{Charge, CounterKey, Period, ProfileId, ProfileRef, ProfileWords, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::pipeline::{ALL_PROFILES, new_profiles};

/// A profile that a rule throttles now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AtQuota {
    /// The profile; nobody where the server counts over all of them.
    pub profile: Option<ProfileId>,
    /// Its first four words.
    pub words: String,
    /// The id of the rule that counts.
    pub rule_id: String,
    /// The window in which it counts.
    pub period: Period,
    /// How many approvals were counted.
    pub count: u64,
    /// How many there may be.
    pub limit: u64,
    /// When the rule lets something pass again.
    pub resets_at: UnixMillis,
}

/// What an operator calls a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileName {
    /// Its id.
    Id(ProfileId),
    /// Its first words, four at least.
    Words(String),
}

/// Text that names no profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a profile is named by 32 hexadecimal digits, or by four of its words at least")]
pub struct ParseProfileNameError;

/// Why quotas were not cleared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClearQuotaError {
    /// There is no such profile.
    #[error("there is no profile `{0}`")]
    Unknown(ProfileName),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl FromStr for ProfileName {
    type Err = ParseProfileNameError;

    fn from_str(text: &str) -> Result<Self, ParseProfileNameError> {
        if let Ok(id) = text.trim().parse() {
            return Ok(Self::Id(id));
        }
        let words = ProfileWords::new(&text.replace('-', " "));
        let is_word = |word: &str| word.chars().all(|c| c.is_ascii_lowercase());
        if words.iter().count() >= 4 && words.iter().all(is_word) {
            Ok(Self::Words(words.as_str().to_owned()))
        } else {
            Err(ParseProfileNameError)
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// Lists the profiles that are at quota by the policy, each with the rule.
pub(crate) async fn at_quota(
    store: &Store,
    policy: &Policy,
    max_new_profiles: u64,
    now: UnixMillis,
) -> Result<Vec<AtQuota>, StoreError> {
    let mut all = full(
        None,
        &[new_profiles(now, max_new_profiles)],
        &store.counters(&ALL_PROFILES).await?,
    );
    let Ok(instant) = Timestamp::from_millisecond(now.0) else {
        return Ok(all);
    };
    let charges_of = |profile: ProfileId| {
        let words = first_words(&profile);
        policy.charges_of(&ProfileRef { id: profile, words }, instant)
    };
    // No profile that has counted less is at any limit.
    let limits = charges_of(ALL_PROFILES);
    let least = limits.iter().map(|charge| charge.limit).min();
    let Some(least) = least else { return Ok(all) };
    let mut after = Some(ALL_PROFILES);
    loop {
        let profiles = store.profiles_that_counted(least.max(1), after).await?;
        let Some(last) = profiles.last() else { break };
        after = Some(*last);
        for profile in &profiles {
            let counters = store.counters(profile).await?;
            all.extend(full(Some(*profile), &charges_of(*profile), &counters));
        }
    }
    Ok(all)
}

/// The charges that do not fit any more, by rule, window and limit.
fn full(profile: Option<ProfileId>, charges: &[Charge], counters: &[Counter]) -> Vec<AtQuota> {
    let counts: BTreeMap<&CounterKey, u64> = counters
        .iter()
        .map(|counter| (&counter.key, counter.count))
        .collect();
    let words = profile.map_or_else(String::new, |profile| {
        first_words(&profile).first(4).to_owned()
    });
    let mut full: Vec<AtQuota> = Vec::new();
    for charge in charges {
        let count = counts.get(&charge.key).copied().unwrap_or(0);
        if count < charge.limit || charge.limit == 0 {
            continue;
        }
        let same = |other: &&mut AtQuota| {
            other.rule_id == *charge.key.rule_id
                && other.period == charge.key.period
                && other.limit == charge.limit
        };
        // A sliding limit has many windows at once, and holds until the last of them that is full ends.
        match full.iter_mut().find(same) {
            Some(other) => {
                other.count = other.count.max(count);
                other.resets_at = other.resets_at.max(charge.resets_at);
            }
            None => full.push(AtQuota {
                profile,
                words: words.clone(),
                rule_id: charge.key.rule_id.to_string(),
                period: charge.key.period,
                count,
                limit: charge.limit,
                resets_at: charge.resets_at,
            }),
        }
    }
    full
}

/// Finds the profile that is meant.
pub(crate) async fn find(store: &Store, name: &ProfileName) -> Result<ProfileId, ClearQuotaError> {
    let unknown = || ClearQuotaError::Unknown(name.clone());
    match name {
        ProfileName::Id(id) => match store.profile(id).await?.is_empty() {
            true => Err(unknown()),
            false => Ok(*id),
        },
        ProfileName::Words(words) => {
            let words = ProfileWords::new(words);
            let found = store.profile_by_words(words.first(4)).await?;
            let id = found.ok_or_else(unknown)?;
            // More words than are unique must be right, too, as far as the id tells them.
            let known = first_words(&id);
            let told = ProfileWords::new(words.first(known.iter().count()));
            if known.starts_with(&told) {
                Ok(id)
            } else {
                Err(unknown())
            }
        }
    }
}

/// Sets counters back to zero: those of the profiles, or everybody's where none is named. Answers with how
/// many there were.
pub(crate) async fn clear(
    store: &Store,
    ledger: &Ledger,
    profiles: &[ProfileName],
    now: UnixMillis,
) -> Result<u64, ClearQuotaError> {
    let found = find_all(store, profiles).await?;
    Ok(clear_of(ledger, &found, None, now).await?)
}

/// Finds the profiles that are meant: all of them, or none where one is misspelt.
pub(crate) async fn find_all(
    store: &Store,
    profiles: &[ProfileName],
) -> Result<Vec<ProfileId>, ClearQuotaError> {
    let mut found = Vec::with_capacity(profiles.len());
    for name in profiles {
        found.push(find(store, name).await?);
    }
    Ok(found)
}

/// Sets their counters back to zero, or everybody's where there is none, on whose word where it is not the
/// operator's.
pub(crate) async fn clear_of(
    ledger: &Ledger,
    profiles: &[ProfileId],
    by: Option<String>,
    now: UnixMillis,
) -> Result<u64, LedgerError> {
    let mut whose: Vec<_> = profiles.iter().copied().map(Some).collect();
    if whose.is_empty() {
        whose.push(None);
    }
    let mut cleared = 0;
    for profile in whose {
        let by = by.clone();
        let change = Change::ClearQuota { profile, by };
        let rows = ledger.administer(change, now).await?;
        cleared += u64::try_from(rows).unwrap_or(0);
    }
    Ok(cleared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_named_by_id_or_by_four_words_at_least() {
        let id = "f4281d9cc1f3b3be8d5acb094af9eac3";
        assert!(matches!(id.parse(), Ok(ProfileName::Id(_))));
        for text in [
            "Vintage domain  grunt loop",
            "vintage-domain-grunt-loop-depth",
        ] {
            let name: ProfileName = text.parse().unwrap();
            assert!(
                name.to_string().starts_with("vintage domain grunt loop"),
                "{name}"
            );
        }
        for text in [
            "",
            "vintage domain grunt",
            "a b c 4",
            "../x y z w",
            &id[1..],
        ] {
            assert_eq!(
                text.parse::<ProfileName>(),
                Err(ParseProfileNameError),
                "{text}"
            );
        }
    }

    #[test]
    fn a_sliding_limit_is_told_once_and_until_its_last_full_window_ends() {
        let profile = ProfileId::from_bytes([1; 16]);
        let charge = |window: i64, limit| Charge {
            key: CounterKey {
                profile,
                rule_id: "a".into(),
                period: Period::SlidingHour,
                window: UnixMillis(window),
            },
            limit,
            resets_at: UnixMillis(window + 100),
        };
        let counter = |window, count| Counter {
            key: charge(window, 0).key,
            count,
        };
        let charges = [
            charge(1, 3),
            charge(2, 3),
            charge(3, 3),
            charge(1, 9),
            charge(4, 0),
        ];
        let counters = [counter(1, 5), counter(2, 3), counter(3, 2)];
        let full = full(Some(profile), &charges, &counters);
        let [only] = &full[..] else {
            panic!("{full:?}")
        };
        assert_eq!(
            (only.count, only.limit, only.resets_at),
            (5, 3, UnixMillis(102))
        );
        assert_eq!(only.words.split(' ').count(), 4);
    }
}
