use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use jiff::{Timestamp, Zoned, tz::TimeZone};
use ostrakon_types::{ApprovalRequest, Candidate, Charge, RequestKind, UnixMillis};

use crate::{
    Evaluation, Rule, RuleError, RuleFailure, SessionLimits, Verdict,
    index::{Candidates, Index},
    rule_id::Content,
};

/// A policy: for each request type that it names, a tree of rule sets. It does not change.
#[derive(Debug)]
pub struct Policy {
    trees: BTreeMap<RequestKind, Tree>,
    time_zone: TimeZone,
}

/// Rule sets of which one must approve.
#[derive(Debug)]
struct Tree {
    sets: Vec<RuleSet>,
    index: Index,
}

/// Rules that must all hold.
#[derive(Debug)]
pub(crate) struct RuleSet {
    pub(crate) rules: Vec<BoundRule>,
    pub(crate) line: usize,
}

/// A rule, and what the file says of it.
#[derive(Debug)]
pub(crate) struct BoundRule {
    pub(crate) rule: Box<dyn Rule>,
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) line: usize,
    /// The rule's content, if it says that it charges.
    pub(crate) quota: Option<Content>,
}

/// What a rule says of a request: its verdict, and its charges if it holds.
pub(crate) type Judgement = Result<(Verdict, Vec<Charge>), RuleError>;

/// What an approval by a rule set uses up, and how it limits a session.
#[derive(Default)]
struct Approval {
    charges: Vec<Charge>,
    session: Option<SessionLimits>,
}

impl BoundRule {
    /// Judges the request. A panic of the rule is an error like any other.
    pub(crate) fn judge(&self, request: &ApprovalRequest, now: &Zoned) -> Judgement {
        caught(|| {
            let verdict = self.rule.judge(request, now)?;
            let charges = if verdict.is_held() {
                self.rule.charges(request, now)
            } else {
                Vec::new()
            };
            Ok((verdict, charges))
        })
    }

    /// Whether the rule holds; if so, the approval is by this rule too. It is [`BoundRule::judge`]
    /// without what only an explanation needs.
    fn approve(
        &self,
        request: &ApprovalRequest,
        now: &Zoned,
        approval: &mut Approval,
    ) -> Result<bool, RuleError> {
        caught(|| match &self.rule.judge(request, now) {
            Ok(verdict) if verdict.is_held() => {
                approval.add(self.rule.charges(request, now), verdict.session());
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(error) => Err(error.clone()),
        })
    }
}

/// What a rule says, its panic as an error.
fn caught<T>(judge: impl FnOnce() -> Result<T, RuleError>) -> Result<T, RuleError> {
    let judged = catch_unwind(AssertUnwindSafe(judge));
    judged.unwrap_or_else(|_| Err(RuleError::new("the rule panicked")))
}

impl Approval {
    fn add(&mut self, charges: Vec<Charge>, session: Option<SessionLimits>) {
        if self.charges.is_empty() && !charges.is_empty() {
            self.charges = charges;
        } else {
            self.charges.extend(charges);
        }
        if session.is_some() {
            self.session = strictest(self.session, session);
        }
    }
}

impl Policy {
    pub(crate) fn new(trees: BTreeMap<RequestKind, Vec<RuleSet>>, time_zone: TimeZone) -> Self {
        let trees = trees.into_iter().map(|(kind, sets)| {
            let index = Index::new(&sets);
            (kind, Tree { sets, index })
        });
        Self {
            trees: trees.collect(),
            time_zone,
        }
    }

    /// The time zone of times that name none, and of the hours and days of quotas.
    #[must_use]
    pub fn time_zone(&self) -> &TimeZone {
        &self.time_zone
    }

    /// Whether the policy has a tree for `kind`. Where it has none, the default applies.
    #[must_use]
    pub fn names(&self, kind: RequestKind) -> bool {
        self.trees.contains_key(&kind)
    }

    /// Whether requests of a type that a policy does not name are approved.
    #[must_use]
    pub fn approves_by_default(kind: RequestKind) -> bool {
        matches!(
            kind,
            RequestKind::CreateProfile | RequestKind::CreateLocation
        )
    }

    /// The ids of all rules with the names of the rules, in the order of request types and of the file.
    pub fn rule_ids(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules()
            .map(|rule| (rule.id.as_str(), rule.name.as_str()))
    }

    pub(crate) fn rules(&self) -> impl Iterator<Item = &BoundRule> {
        let sets = self.trees.values().flat_map(|tree| &tree.sets);
        sets.flat_map(|set| &set.rules)
    }

    /// The rule sets that may approve the request, ascending, as far as the index tells.
    pub(crate) fn candidates(&self, request: &ApprovalRequest) -> Candidates<'_> {
        let tree = self.trees.get(&request.kind);
        tree.map(|tree| tree.index.candidates(request))
            .unwrap_or_default()
    }

    pub(crate) fn tree(&self, kind: RequestKind) -> Option<&[RuleSet]> {
        self.trees.get(&kind).map(|tree| tree.sets.as_slice())
    }

    /// Says which rule sets approve `request` at `now`, in order, and what each would use up.
    ///
    /// It is pure: it counts nothing and decides nothing. A ledger takes the first rule set whose
    /// charges all fit, and counts them in the same act. Rule sets behind one that approves without a
    /// charge are not looked at, nor are those that cannot approve by their rules' [`Hint`]s, so that the
    /// time it takes does not grow with the number of rule sets that are about something else.
    ///
    /// [`Hint`]: crate::Hint
    #[must_use]
    pub fn evaluate(&self, request: &ApprovalRequest, now: Timestamp) -> Evaluation {
        let Some(tree) = self.trees.get(&request.kind) else {
            return Self::default_for(request.kind, now);
        };
        let candidates = tree.index.candidates(request);
        let sets = candidates.iter().filter_map(|index| {
            let set = tree.sets.get(usize::try_from(*index).ok()?)?;
            Some((*index, set))
        });
        self.try_each(sets, request, now)
    }

    /// Says what [`Policy::evaluate`] says, but tries each rule set, whatever its rules hint at.
    ///
    /// It is the oracle for tests of [`Rule::hint`]: an evaluation that differs from it, but in the
    /// failures of rule sets that were passed over, shows that a hint claims too much.
    #[must_use]
    pub fn evaluate_plainly(&self, request: &ApprovalRequest, now: Timestamp) -> Evaluation {
        match self.tree(request.kind) {
            Some(sets) => self.try_each((0..).zip(sets), request, now),
            None => Self::default_for(request.kind, now),
        }
    }

    fn try_each<'s>(
        &self,
        mut sets: impl Iterator<Item = (u32, &'s RuleSet)>,
        request: &ApprovalRequest,
        now: Timestamp,
    ) -> Evaluation {
        let mut evaluation = Evaluation::new(request.kind, now);
        let mut next = sets.next();
        if next.is_none() {
            return evaluation;
        }
        let now = now.to_zoned(self.time_zone.clone());
        while let Some((index, set)) = next {
            let mut approval = Approval::default();
            if set.approve(request, &now, index, &mut approval, &mut evaluation) {
                let is_last = approval.charges.is_empty();
                let candidate = Candidate::new(Some(index), approval.charges);
                evaluation.propose(candidate, approval.session);
                if is_last {
                    break;
                }
            }
            next = sets.next();
        }
        evaluation
    }

    fn default_for(kind: RequestKind, now: Timestamp) -> Evaluation {
        let mut evaluation = Evaluation::new(kind, now);
        if Self::approves_by_default(kind) {
            evaluation.propose(Candidate::new(None, Vec::new()), None);
        }
        evaluation
    }
}

impl RuleSet {
    /// Whether every rule holds, and what the approval by this set is then.
    fn approve(
        &self,
        request: &ApprovalRequest,
        now: &Zoned,
        index: u32,
        approval: &mut Approval,
        evaluation: &mut Evaluation,
    ) -> bool {
        for rule in &self.rules {
            match rule.approve(request, now, approval) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    evaluation.fail(RuleFailure::new(index, rule, &error));
                    return false;
                }
            }
        }
        in_order(&mut approval.charges);
        true
    }
}

/// The stricter of what limits there are.
pub(crate) fn strictest(
    one: Option<SessionLimits>,
    other: Option<SessionLimits>,
) -> Option<SessionLimits> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.strictest(other)),
        (one, other) => one.or(other),
    }
}

/// Brings charges into an order that does not depend on the order of the rules: the one that takes
/// longest to begin anew first, because a denial names the first that does not fit.
fn in_order(charges: &mut [Charge]) {
    charges.sort_by(|one, other| {
        let late = other.resets_at.cmp(&one.resets_at);
        late.then_with(|| one.key.cmp(&other.key))
            .then_with(|| one.limit.cmp(&other.limit))
    });
}

/// The instant as the ledger counts it.
pub(crate) fn millis(now: Timestamp) -> UnixMillis {
    UnixMillis(now.as_millisecond())
}

#[cfg(test)]
mod tests;
