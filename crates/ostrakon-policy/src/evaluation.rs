use jiff::Timestamp;
use ostrakon_types::{Candidate, Proposal, RequestKind};
use serde::Serialize;

use crate::{
    RuleError, SessionLimits,
    policy::{BoundRule, millis},
};

/// What a policy says of one request, before quotas are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    proposal: Proposal,
    /// The limits of the session that each candidate would open.
    sessions: Vec<SessionLimits>,
    /// The limits where no rule sets any; `None` where the request opens no session.
    default_session: Option<SessionLimits>,
    failures: Vec<RuleFailure>,
}

/// A rule that could not tell whether it holds, and so counted as not holding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RuleFailure {
    /// The rule set's place in its tree, from 0.
    pub rule_set: u32,
    /// The rule's name.
    pub rule: String,
    /// The rule's id.
    pub rule_id: String,
    /// What went wrong.
    pub message: String,
}

impl RuleFailure {
    pub(crate) fn new(rule_set: u32, rule: &BoundRule, error: &RuleError) -> Self {
        Self {
            rule_set,
            rule: rule.name.clone(),
            rule_id: rule.id.clone(),
            message: error.to_string(),
        }
    }
}

impl Evaluation {
    /// A denial, as yet.
    pub(crate) fn new(kind: RequestKind, now: Timestamp) -> Self {
        Self {
            proposal: Proposal::new(Vec::new()),
            sessions: Vec::new(),
            default_session: (kind == RequestKind::StartSession)
                .then(|| SessionLimits::default_at(millis(now))),
            failures: Vec::new(),
        }
    }

    pub(crate) fn propose(&mut self, candidate: Candidate, session: Option<SessionLimits>) {
        let candidates = &mut self.proposal.candidates;
        if candidates.is_empty() {
            // As a rule there is one: room for more is made when they come.
            *candidates = vec![candidate];
        } else {
            candidates.push(candidate);
        }
        self.sessions.extend(
            self.default_session
                .map(|default| session.unwrap_or(default)),
        );
    }

    pub(crate) fn fail(&mut self, failure: RuleFailure) {
        self.failures.push(failure);
    }

    /// The rule sets that approve, in order, with what each would use up.
    #[must_use]
    pub fn proposal(&self) -> &Proposal {
        &self.proposal
    }

    /// The rule sets that approve, in order, with what each would use up.
    #[must_use]
    pub fn into_proposal(self) -> Proposal {
        self.proposal
    }

    /// The limits of the session that an approval by `rule_set` opens; `None` if it opens none, or is
    /// not proposed.
    #[must_use]
    pub fn session(&self, rule_set: Option<u32>) -> Option<SessionLimits> {
        let mut candidates = self.proposal.candidates.iter().zip(&self.sessions);
        candidates
            .find(|(candidate, _)| candidate.rule_set == rule_set)
            .map(|(_, session)| *session)
    }

    /// The rules that could not tell, for the log.
    #[must_use]
    pub fn failures(&self) -> &[RuleFailure] {
        &self.failures
    }
}
