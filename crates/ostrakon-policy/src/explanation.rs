use std::{cmp::Reverse, fmt};

use jiff::{Timestamp, Zoned, tz::TimeZone};
use ostrakon_types::{
    ApprovalRequest, Charge, CounterKey, MetaItem, Period, RequestKind, UnixMillis,
};
use serde::{Serialize, Serializer};

use crate::{
    Policy, Reason, SessionLimits,
    policy::{BoundRule, millis, strictest},
};

/// Why a policy approves or denies a request: every rule of every rule set, held or not, and why.
///
/// `Display` prints it for a person, with the paths of the request's items. Those are user data:
/// [`Explanation::without_paths`] leaves them out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// What was asked for.
    pub request: RequestKind,
    /// When, in the policy's time zone.
    #[serde(serialize_with = "as_text")]
    pub at: Zoned,
    /// What comes of it.
    pub outcome: Outcome,
    /// The rule sets of the tree; none if the policy does not name the request type.
    pub rule_sets: Vec<SetExplanation>,
    /// How many rule sets are left out, none of which approves.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: usize,
    /// The items of the request, while they are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<MetaItem>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's way to ask")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What comes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It is approved, because the policy does not name its type.
    ApprovedByDefault,
    /// It is denied, because the policy does not name its type.
    DeniedByDefault,
    /// It is approved by this rule set, if its quota is not used up.
    Approved {
        /// The rule set's place in its tree, from 0.
        rule_set: u32,
    },
    /// It is denied: no rule set approves.
    Denied,
    /// It is denied: rule sets would approve, but their quotas are used up.
    QuotaUsedUp,
}

/// What a rule set says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SetExplanation {
    /// Its place in its tree, from 0.
    pub rule_set: u32,
    /// The line of the policy in which it begins.
    pub line: usize,
    /// Whether all its rules hold, quotas aside.
    pub holds: bool,
    /// Its rules.
    pub rules: Vec<RuleExplanation>,
    /// The limits of the session that its approval opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionLimits>,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RuleExplanation {
    /// Its name.
    pub rule: String,
    /// Its id.
    pub rule_id: String,
    /// The line of the policy in which it stands.
    pub line: usize,
    /// Whether it holds, and why.
    #[serde(flatten)]
    pub outcome: RuleOutcome,
    /// What an approval would use up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<ChargeExplanation>,
}

/// Whether a rule holds, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RuleOutcome {
    /// It holds.
    Holds(Reason),
    /// It does not hold.
    Fails(Reason),
    /// It could not tell, and counts as not holding.
    Error(String),
}

/// What an approval would use up on one counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChargeExplanation {
    /// The charge.
    #[serde(flatten)]
    pub charge: Charge,
    /// How many approvals the counter holds, if it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
}

fn as_text<S: Serializer>(at: &Zoned, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

impl ChargeExplanation {
    /// Whether the counter was looked at and is full.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.used.is_some_and(|used| used >= self.charge.limit)
    }
}

impl SetExplanation {
    /// Whether the set approves, as far as its counters were looked at.
    #[must_use]
    pub fn approves(&self) -> bool {
        let mut charges = self.rules.iter().flat_map(|rule| &rule.charges);
        self.holds && !charges.any(ChargeExplanation::is_used_up)
    }
}

impl Policy {
    /// Explains what the policy says of `request` at `now`.
    ///
    /// Quotas are taken as not used up; [`Explanation::with_counts`] takes their counts into account.
    #[must_use]
    pub fn explain(&self, request: &ApprovalRequest, now: Timestamp) -> Explanation {
        self.explain_some(request, now, |_| true)
    }

    /// Explains what the policy says of `request` at `now`, but leaves out rule sets that do not approve
    /// behind the first `others` ones, so that a policy of ten thousand does not make for a long answer.
    #[must_use]
    pub fn explain_briefly(
        &self,
        request: &ApprovalRequest,
        now: Timestamp,
        others: u32,
    ) -> Explanation {
        let candidates = self.candidates(request);
        let is_told = |set: u32| set < others || candidates.binary_search(&set).is_ok();
        self.explain_some(request, now, is_told)
    }

    fn explain_some(
        &self,
        request: &ApprovalRequest,
        now: Timestamp,
        is_told: impl Fn(u32) -> bool,
    ) -> Explanation {
        let at = now.to_zoned(self.time_zone().clone());
        let tree = self.tree(request.kind);
        let sets = tree.unwrap_or_default();
        let rule_sets: Vec<SetExplanation> = (0_u32..)
            .zip(sets)
            .filter(|(rule_set, _)| is_told(*rule_set))
            .map(|(rule_set, set)| SetExplanation::of(rule_set, set.line, &set.rules, request, &at))
            .collect();
        let outcome = match tree {
            None if Self::approves_by_default(request.kind) => Outcome::ApprovedByDefault,
            None => Outcome::DeniedByDefault,
            Some(_) => outcome(&rule_sets),
        };
        Explanation {
            request: request.kind,
            at,
            outcome,
            left_out: sets.len() - rule_sets.len(),
            rule_sets,
            items: request.meta.clone(),
        }
    }
}

fn outcome(rule_sets: &[SetExplanation]) -> Outcome {
    match rule_sets.iter().find(|set| set.approves()) {
        Some(set) => Outcome::Approved {
            rule_set: set.rule_set,
        },
        None if rule_sets.iter().any(|set| set.holds) => Outcome::QuotaUsedUp,
        None => Outcome::Denied,
    }
}

impl SetExplanation {
    fn of(
        rule_set: u32,
        line: usize,
        rules: &[BoundRule],
        request: &ApprovalRequest,
        at: &Zoned,
    ) -> Self {
        let mut session = None;
        let rules: Vec<RuleExplanation> = rules
            .iter()
            .map(|rule| RuleExplanation::of(rule, request, at, &mut session))
            .collect();
        let opens = request.kind == RequestKind::StartSession;
        Self {
            rule_set,
            line,
            holds: rules
                .iter()
                .all(|rule| matches!(rule.outcome, RuleOutcome::Holds(_))),
            rules,
            session: opens.then(|| {
                session.unwrap_or_else(|| SessionLimits::default_at(millis(at.timestamp())))
            }),
        }
    }
}

impl RuleExplanation {
    fn of(
        rule: &BoundRule,
        request: &ApprovalRequest,
        at: &Zoned,
        session: &mut Option<SessionLimits>,
    ) -> Self {
        let (outcome, charges) = match rule.judge(request, at) {
            Ok((verdict, charges)) if verdict.is_held() => {
                *session = strictest(*session, verdict.session());
                (RuleOutcome::Holds(verdict.reason().clone()), charges)
            }
            Ok((verdict, _)) => (RuleOutcome::Fails(verdict.reason().clone()), Vec::new()),
            Err(error) => (RuleOutcome::Error(error.to_string()), Vec::new()),
        };
        let charges = charges
            .into_iter()
            .map(|charge| ChargeExplanation { charge, used: None })
            .collect();
        Self {
            rule: rule.name.clone(),
            rule_id: rule.id.clone(),
            line: rule.line,
            outcome,
            charges,
        }
    }
}

impl Explanation {
    /// Takes into account how many approvals each counter holds.
    #[must_use]
    pub fn with_counts(mut self, count: impl Fn(&CounterKey) -> u64) -> Self {
        let rules = self.rule_sets.iter_mut().flat_map(|set| &mut set.rules);
        for charge in rules.flat_map(|rule| &mut rule.charges) {
            charge.used = Some(count(&charge.charge.key));
        }
        self.concluded()
    }

    /// Takes into account which charges did not fit when the request was settled.
    #[must_use]
    pub fn with_refused(mut self, refused: &[Charge]) -> Self {
        let is_refused = |charge: &Charge| {
            let same = |other: &Charge| other.key == charge.key && other.limit == charge.limit;
            refused.iter().any(same)
        };
        let rules = self.rule_sets.iter_mut().flat_map(|set| &mut set.rules);
        for charge in rules.flat_map(|rule| &mut rule.charges) {
            if is_refused(&charge.charge) {
                charge.used = Some(charge.charge.limit);
            }
        }
        self.concluded()
    }

    /// What comes of the request once charges were looked at.
    fn concluded(mut self) -> Self {
        let by_default = [Outcome::ApprovedByDefault, Outcome::DeniedByDefault];
        if !by_default.contains(&self.outcome) {
            self.outcome = outcome(&self.rule_sets);
        }
        self
    }

    /// Leaves out the paths of the request's items, which are user data.
    #[must_use]
    pub fn without_paths(mut self) -> Self {
        self.items.clear();
        self
    }

    fn rule(&self, f: &mut fmt::Formatter<'_>, rule: &RuleExplanation) -> fmt::Result {
        let (holds, item) = match &rule.outcome {
            RuleOutcome::Holds(reason) => ("holds", reason.item()),
            RuleOutcome::Fails(reason) => ("does not hold", reason.item()),
            RuleOutcome::Error(_) => ("fails", None),
        };
        write!(f, "\n    {} (line {}) {holds}: ", rule.rule, rule.line)?;
        match &rule.outcome {
            RuleOutcome::Holds(reason) | RuleOutcome::Fails(reason) => write!(f, "{reason}")?,
            RuleOutcome::Error(message) => f.write_str(message)?,
        }
        if let Some(item) = item.and_then(|item| self.items.get(item)) {
            let part = if item.complete { "" } else { " (partial)" };
            write!(f, ": {:?}{part}", item.meta)?;
        }
        for (index, charge) in rule.charges.iter().enumerate() {
            if !is_outdone(charge, index, &rule.charges) {
                write!(f, "\n      {}", self.charge(charge))?;
            }
        }
        Ok(())
    }

    fn charge(&self, of: &ChargeExplanation) -> String {
        let period = match of.charge.key.period {
            Period::Minute => "this minute",
            Period::Hour => "this hour",
            Period::Day => "this day",
            Period::SlidingMinute => "any minute",
            Period::SlidingHour => "any 60 minutes",
            Period::SlidingDay => "any 24 hours",
            _ => "this window",
        };
        let limit = of.charge.limit;
        let used = match of.used {
            Some(used) => format!("{used} of {limit} used"),
            None => format!("at most {limit}"),
        };
        let resets_at = instant(of.charge.resets_at, self.at.time_zone());
        if is_sliding(of.charge.key.period) {
            format!("{used} in {period}, these counted until {resets_at}")
        } else {
            format!("{used} in {period}, which ends at {resets_at}")
        }
    }
}

fn is_sliding(period: Period) -> bool {
    matches!(
        period,
        Period::SlidingMinute | Period::SlidingHour | Period::SlidingDay
    )
}

/// Whether the charge is on one of the overlapping windows of a sliding limit, and another of them is
/// fuller, or as full and ends later: one of them is enough for a person.
fn is_outdone(charge: &ChargeExplanation, index: usize, all: &[ChargeExplanation]) -> bool {
    let weight = |charge: &ChargeExplanation, index: usize| {
        (charge.used, charge.charge.resets_at, Reverse(index))
    };
    is_sliding(charge.charge.key.period)
        && all.iter().enumerate().any(|(other_index, other)| {
            other.charge.key.period == charge.charge.key.period
                && other.charge.limit == charge.charge.limit
                && weight(other, other_index) > weight(charge, index)
        })
}

/// The instant in a person's words, in the policy's time zone.
fn instant(at: UnixMillis, zone: &TimeZone) -> String {
    Timestamp::from_millisecond(at.0).map_or_else(
        |_| "the end of time".to_owned(),
        |at| at.to_zoned(zone.clone()).strftime("%F %T %Z").to_string(),
    )
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: ", self.request, self.at.strftime("%F %T %Z"))?;
        let kind = self.request;
        match self.outcome {
            Outcome::ApprovedByDefault => {
                write!(f, "approved by default: the policy has no section `{kind}`")?;
            }
            Outcome::DeniedByDefault => {
                write!(f, "denied by default: the policy has no section `{kind}`")?;
            }
            Outcome::Approved { rule_set } => write!(f, "approved by rule set {rule_set}")?,
            Outcome::Denied if self.rule_sets.is_empty() => {
                write!(f, "denied: the section `{kind}` has no rule set")?;
            }
            Outcome::Denied => write!(f, "denied: no rule set approves")?,
            Outcome::QuotaUsedUp => write!(f, "denied: quota used up")?,
        }
        for set in &self.rule_sets {
            let says = if set.approves() {
                "approves"
            } else if set.holds {
                "would approve, but its quota is used up"
            } else {
                "does not approve"
            };
            write!(
                f,
                "\n  rule set {} (line {}) {says}",
                set.rule_set, set.line
            )?;
            if set.rules.is_empty() {
                write!(f, ": it has no rules")?;
            }
            for rule in &set.rules {
                self.rule(f, rule)?;
            }
            if let (true, Some(session)) = (set.holds, set.session) {
                let ends_at = instant(session.ends_at, self.at.time_zone());
                write!(f, "\n    the session ends at {ends_at}")?;
                if let Some(count) = session.max_request_count {
                    write!(f, " or after {count} requests")?;
                }
            }
        }
        if self.left_out > 0 {
            write!(f, "\n  {} more rule sets do not approve", self.left_out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
