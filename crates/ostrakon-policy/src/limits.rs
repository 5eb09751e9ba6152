use jiff::Timestamp;
use ostrakon_types::{ApprovalRequest, Charge, OpaqueId, ProfileRef, RequestKind};

use crate::Policy;

impl Policy {
    /// Everything that approvals for a profile at `now` may count on, each counter with its limit. A
    /// counter that has several limits is named with each.
    ///
    /// Rules are asked about a request without a path: one that counts only for certain paths is left
    /// out.
    #[must_use]
    pub fn charges_of(&self, profile: &ProfileRef, now: Timestamp) -> Vec<Charge> {
        let now = now.to_zoned(self.time_zone().clone());
        let mut charges = Vec::new();
        for kind in RequestKind::ALL {
            let request = ApprovalRequest {
                kind,
                device_id: OpaqueId::new(&[]),
                profile: profile.clone(),
                meta: Vec::new(),
                cryptographic_id: OpaqueId::new(&[]),
            };
            let sets = self.tree(kind).unwrap_or_default();
            for rule in sets.iter().flat_map(|set| &set.rules) {
                if rule.quota.is_some()
                    && let Ok((_, charged)) = rule.judge(&request, &now)
                {
                    charges.extend(charged);
                }
            }
        }
        charges.sort_by(|one, other| {
            let key = one.key.cmp(&other.key);
            key.then_with(|| one.limit.cmp(&other.limit))
        });
        charges.dedup();
        charges
    }
}

#[cfg(test)]
mod tests {
    use ostrakon_types::{Period, ProfileId, ProfileWords};

    use super::*;
    use crate::fixture::policy;

    #[test]
    fn every_limit_of_every_counter_is_told_once() {
        let throttle = |id: &str, limits: &str| {
            format!("[{{rule: per-profile-throttle-rule, rule_id: {id}, {limits}}}]")
        };
        let policy = policy(&format!(
            "decrypt: [{}, {}, {}, [{{rule: approve-rule}}]]\nrename: [{}]\n",
            throttle("a", "per_day: 3, per_hour: 2"),
            throttle("a", "per_day: 9"),
            throttle("b", "limits: [{count: 4, per: day, sliding: true}]"),
            throttle("a", "per_day: 3"),
        ));
        let profile = ProfileRef {
            id: ProfileId::from_bytes([5; 16]),
            words: ProfileWords::default(),
        };
        let now = "2026-11-25T10:30:00Z".parse().unwrap();
        let charges = policy.charges_of(&profile, now);
        assert!(
            charges
                .iter()
                .all(|charge| charge.key.profile == profile.id)
        );
        let of = |id: &str, period: Period| -> Vec<u64> {
            let of = charges
                .iter()
                .filter(|charge| *charge.key.rule_id == *id && charge.key.period == period);
            of.map(|charge| charge.limit).collect()
        };
        assert_eq!(of("a", Period::Day), [3, 9]);
        assert_eq!(of("a", Period::Hour), [2]);
        assert_eq!(of("b", Period::SlidingDay), [4; 25]);
        assert_eq!(charges.len(), 28);
    }
}
