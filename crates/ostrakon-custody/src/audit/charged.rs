use std::sync::Arc;

use minicbor::{Decode, Encode};
use ostrakon_types::{Charge, CounterKey, Decision, Period, ProfileId, Proposal, UnixMillis};

/// Counters that one approval counted on: those of one rule, in one period. A sliding period has many
/// windows at once, so they are told by their distances.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Charged {
    /// The rule's id.
    #[n(0)]
    pub rule_id: String,
    /// The length of the windows.
    #[n(1)]
    pub period: Period,
    /// When the first window began, and then how much later than the one before the next one did.
    #[n(2)]
    pub windows: Vec<i64>,
    /// Whose counters; by default those of the profile for which was asked.
    #[n(3)]
    pub profile: Option<ProfileId>,
}

impl Charged {
    /// What an approval of `proposal` for `profile` was charged to, if anything.
    pub(crate) fn by(
        proposal: &Proposal,
        decision: &Decision,
        profile: &ProfileId,
    ) -> Option<Vec<Self>> {
        let Decision::Approve { rule_set } = decision else {
            return None;
        };
        let mut candidates = proposal.candidates.iter();
        let chosen = candidates.find(|candidate| candidate.rule_set == *rule_set)?;
        let mut charges: Vec<&Charge> = chosen.charges().iter().collect();
        charges.sort_by(|one, other| one.key.cmp(&other.key));
        let mut all: Vec<Self> = Vec::new();
        let mut last = UnixMillis(0);
        for charge in charges {
            let CounterKey {
                profile: of,
                rule_id,
                period,
                window,
            } = &charge.key;
            let of = Some(*of).filter(|of| of != profile);
            match all.last_mut() {
                Some(same)
                    if same.rule_id == **rule_id
                        && same.period == *period
                        && same.profile == of =>
                {
                    same.windows.push(window.since(last));
                }
                _ => all.push(Self {
                    rule_id: rule_id.to_string(),
                    period: *period,
                    windows: vec![window.0],
                    profile: of,
                }),
            }
            last = *window;
        }
        Some(all).filter(|all| !all.is_empty())
    }

    /// The counters, where `profile` is the one for which was asked.
    pub fn counters(&self, profile: ProfileId) -> impl Iterator<Item = CounterKey> {
        let of = self.profile.unwrap_or(profile);
        let windows = self.windows.iter().scan(0_i64, |window, distance| {
            *window = window.saturating_add(*distance);
            Some(UnixMillis(*window))
        });
        let shared: Arc<str> = self.rule_id.as_str().into();
        windows.map(move |window| CounterKey {
            profile: of,
            rule_id: Arc::clone(&shared),
            period: self.period,
            window,
        })
    }
}

#[cfg(test)]
mod tests {
    use ostrakon_types::{Candidate, Denial, canonical};

    use super::*;

    const ASKED: ProfileId = ProfileId::from_bytes([1; 16]);

    fn charge(profile: u8, rule_id: &str, period: Period, window: i64) -> Charge {
        Charge {
            key: CounterKey {
                profile: ProfileId::from_bytes([profile; 16]),
                rule_id: rule_id.into(),
                period,
                window: UnixMillis(window),
            },
            limit: 9,
            resets_at: UnixMillis(0),
        }
    }

    #[test]
    fn the_counters_of_an_approval_are_told_in_few_bytes_and_told_back() {
        let day = 1_772_000_000_000;
        let mut charges: Vec<Charge> = (0..25)
            .map(|hour| charge(1, "a", Period::SlidingDay, day - hour * 3_600_000))
            .collect();
        charges.push(charge(1, "b", Period::Day, day));
        charges.push(charge(0, "server/new-profiles", Period::Day, day));
        let mut keys: Vec<CounterKey> = charges.iter().map(|charge| charge.key.clone()).collect();
        keys.sort();
        let other = Candidate::new(Some(3), vec![charge(1, "c", Period::Hour, day)]);
        let proposal = Proposal::new(vec![other, Candidate::new(Some(7), charges)]);
        let approved = Decision::Approve { rule_set: Some(7) };
        let charged = Charged::by(&proposal, &approved, &ASKED).unwrap();
        assert!(canonical::encode(&charged).len() < 220);
        let mut told: Vec<CounterKey> = charged
            .iter()
            .flat_map(|charged| charged.counters(ASKED))
            .collect();
        told.sort();
        assert_eq!(told, keys);

        let denied = Decision::Deny {
            denial: Denial::Policy,
        };
        assert_eq!(Charged::by(&proposal, &denied, &ASKED), None);
        let free = Proposal::new(vec![Candidate::new(None, Vec::new())]);
        let approved = Decision::Approve { rule_set: None };
        assert_eq!(Charged::by(&free, &approved, &ASKED), None);
    }
}
