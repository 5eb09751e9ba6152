use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;

use crate::{Policy, rule_id::Content};

/// What becomes of the counts under one `rule_id` when a policy takes the place of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QuotaChange {
    /// The id.
    pub rule_id: String,
    /// What becomes of its counts.
    pub fate: QuotaFate,
}

/// What becomes of a quota's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuotaFate {
    /// The rule is as it was, and so are its counts.
    Kept,
    /// The rule was changed: its new limits apply to the counts as they stand.
    Changed,
    /// There was no such quota: it begins at zero, or where it was when it was last in force.
    New,
    /// No rule uses it any more: its counts stay until their windows end.
    Dropped,
}

impl fmt::Display for QuotaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = match self.fate {
            QuotaFate::Kept => "kept",
            QuotaFate::Changed => "changed: the new limits apply to the counts as they stand",
            QuotaFate::New => "new",
            QuotaFate::Dropped => "dropped: no rule uses it any more",
        };
        write!(f, "quota `{}`: {fate}", self.rule_id)
    }
}

impl Policy {
    /// Says of each quota what becomes of its counts when this policy takes the place of `before`, in the
    /// order of their ids.
    #[must_use]
    pub fn quota_changes(&self, before: &Self) -> Vec<QuotaChange> {
        let (now, before) = (self.quotas(), before.quotas());
        let ids: BTreeSet<&str> = now.keys().chain(before.keys()).copied().collect();
        ids.into_iter()
            .map(|id| QuotaChange {
                rule_id: id.to_owned(),
                fate: match (before.get(id), now.get(id)) {
                    (Some(before), Some(now)) if before == now => QuotaFate::Kept,
                    (Some(_), Some(_)) => QuotaFate::Changed,
                    (None, _) => QuotaFate::New,
                    (_, None) => QuotaFate::Dropped,
                },
            })
            .collect()
    }

    /// The contents of the rules that charge, by their ids. Rules that share an id share its counts.
    fn quotas(&self) -> BTreeMap<&str, BTreeSet<Content>> {
        let mut quotas: BTreeMap<&str, BTreeSet<Content>> = BTreeMap::new();
        for rule in self.rules() {
            if let Some(content) = rule.quota {
                quotas.entry(&rule.id).or_default().insert(content);
            }
        }
        quotas
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::policy;

    #[test]
    fn each_quota_is_told_what_becomes_of_it() {
        let throttle = |id: &str, limit: u64| {
            format!("{{rule: per-profile-throttle-rule, rule_id: {id}, per_day: {limit}}}")
        };
        let of = |rules: [String; 3]| policy(&format!("decrypt: [[{}]]", rules.join(", ")));
        let before = of([throttle("a", 1), throttle("b", 1), throttle("c", 1)]);
        let after = of([throttle("d", 1), throttle("b", 2), throttle("a", 1)]);
        let said: Vec<String> = after
            .quota_changes(&before)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            said,
            [
                "quota `a`: kept",
                "quota `b`: changed: the new limits apply to the counts as they stand",
                "quota `c`: dropped: no rule uses it any more",
                "quota `d`: new",
            ]
        );
        // What is no quota is not spoken of, and moving a rule changes nothing.
        let moved = policy(&format!(
            "decrypt: [[{{rule: approve-rule}}], [{}]]",
            throttle("a", 1)
        ));
        let alone = policy(&format!("decrypt: [[{}]]", throttle("a", 1)));
        assert_eq!(moved.quota_changes(&alone)[0].fate, QuotaFate::Kept);
        assert_eq!(moved.quota_changes(&alone).len(), 1);
    }
}
