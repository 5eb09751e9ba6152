//! Proposals, decisions, and the settling between them.
//!
//! A policy only proposes: it names the rule sets that would approve a request and what each would
//! use up. [`Settling`] makes that binding for all items of one request: it recalls the answer of an
//! earlier try, finds for each item the first candidate whose charges all fit, and has the decisions
//! recorded. It does none of this itself. It says which step comes next, and its driver (an in-memory
//! ledger, a database transaction, a simulation) carries it out and replies.
//!
//! The driver owes it two things: a charge that fits is counted in the same atomic act that finds that
//! it fits, and all steps of one settling become durable together or not at all.

use std::{borrow::Borrow, sync::Arc};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Digest, ProfileId, UnixMillis};

/// The length of the window in which a counter counts.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Period {
    /// One clock hour.
    #[n(0)]
    Hour,
    /// One calendar day.
    #[n(1)]
    Day,
    /// One clock minute.
    #[n(2)]
    Minute,
    /// A minute and the five seconds behind it, one of many that overlap: they begin every five seconds.
    #[n(3)]
    SlidingMinute,
    /// 60 minutes and the five behind them, one of many that overlap: they begin every five minutes.
    #[n(4)]
    SlidingHour,
    /// 24 hours and the one behind them, one of many that overlap: they begin every hour.
    #[n(5)]
    SlidingDay,
}

/// Which counter a charge counts on.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
pub struct CounterKey {
    /// The profile whose approvals are counted.
    #[n(0)]
    pub profile: ProfileId,
    /// The rule that counts; rules with one id share a counter.
    #[cbor(n(1), with = "crate::shared_text")]
    #[serde(with = "crate::shared_text")]
    pub rule_id: Arc<str>,
    /// The length of the window.
    #[n(2)]
    pub period: Period,
    /// When the window began.
    #[n(3)]
    pub window: UnixMillis,
}

/// One approval on one counter, if the count is still under the limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
pub struct Charge {
    /// The counter.
    #[n(0)]
    pub key: CounterKey,
    /// How many approvals the counter may hold.
    #[n(1)]
    pub limit: u64,
    /// When the window ends and a new one begins at zero.
    #[n(2)]
    pub resets_at: UnixMillis,
}

/// A rule set that approves a request if its charges fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The rule set's place in its tree, from 0; `None` where the policy approves by default.
    pub rule_set: Option<u32>,
    charges: Vec<Charge>,
}

impl Candidate {
    /// A candidate that uses up `charges`. A counter named twice is charged once, under its lowest
    /// limit.
    #[must_use]
    pub fn new(rule_set: Option<u32>, charges: Vec<Charge>) -> Self {
        Self {
            rule_set,
            charges: distinct(charges),
        }
    }

    /// What an approval by this rule set uses up, each counter once.
    #[must_use]
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }
}

/// Each counter once, under its lowest limit, in the order in which they first come.
fn distinct(charges: Vec<Charge>) -> Vec<Charge> {
    // As the rules name them, the windows of a single limit come one earlier than the other.
    if charges.is_sorted_by(|one, next| one.key.window > next.key.window) {
        return charges;
    }
    let mut distinct: Vec<Charge> = Vec::with_capacity(charges.len());
    for charge in charges {
        // Windows tell most counters apart, and are compared sooner than the rest.
        let is_same =
            |other: &&mut Charge| other.key.window == charge.key.window && other.key == charge.key;
        match distinct.iter_mut().find(is_same) {
            Some(other) => other.limit = other.limit.min(charge.limit),
            None => distinct.push(charge),
        }
    }
    distinct
}

/// What a policy says of one request before quotas are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The rule sets that approve, in the order in which they are tried.
    pub candidates: Vec<Candidate>,
    /// The answer when there is no candidate.
    pub otherwise: Denial,
}

impl Proposal {
    /// Approval by one of `candidates`, or denial by policy when there is none.
    #[must_use]
    pub fn new(candidates: Vec<Candidate>) -> Self {
        Self {
            candidates,
            otherwise: Denial::Policy,
        }
    }

    /// Denial, whatever the quotas say.
    #[must_use]
    pub fn denied(denial: Denial) -> Self {
        Self {
            candidates: Vec::new(),
            otherwise: denial,
        }
    }
}

/// Why a request was denied, as far as the requester is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Denial {
    /// No rule set of the policy approves.
    #[n(0)]
    Policy,
    /// A rule set would approve, but its quota is used up.
    #[n(1)]
    Quota {
        /// The earliest time at which a quota that stood in the way begins anew.
        #[n(0)]
        resets_at: UnixMillis,
    },
    /// The server answers no requests until an operator enables it again.
    #[n(2)]
    Disabled,
    /// What the request would make exists already, or what it would change has changed.
    #[n(3)]
    Conflict,
    /// A limit of the whole server is used up.
    #[n(4)]
    ServerLimit {
        /// When it begins anew.
        #[n(0)]
        resets_at: UnixMillis,
    },
}

/// The binding answer to one item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// Granted, and charged where the rule set charges.
    #[n(0)]
    Approve {
        /// The rule set that approved; `None` by default.
        #[n(0)]
        rule_set: Option<u32>,
    },
    /// Not granted, nothing charged.
    #[n(1)]
    Deny {
        /// Why.
        #[n(0)]
        denial: Denial,
    },
}

impl Decision {
    /// Whether the item was granted.
    #[must_use]
    pub fn is_approved(&self) -> bool {
        matches!(self, Self::Approve { .. })
    }
}

/// What the ledger holds of an earlier try of a request.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Recorded {
    /// The digest of the body that was decided upon.
    #[n(0)]
    pub body: Digest,
    /// The decisions, item by item.
    #[n(1)]
    pub decisions: Vec<Decision>,
}

/// The next act that a [`Settling`] needs of its driver.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Look up this request's record. Reply [`Reply::Recalled`].
    Recall,
    /// Count one on the charge's counter if it is under the limit. Reply [`Reply::Charged`].
    Charge(&'a Charge),
    /// Take one back from the charge's counter. Reply [`Reply::Done`].
    Refund(&'a Charge),
    /// Carry out what item number `0` asks for beside its decision, if anything. Reply
    /// [`Reply::Applied`].
    Apply(usize),
    /// Record the request with these decisions, and write its audit records. Reply [`Reply::Done`].
    Record(&'a Recorded),
    /// Nothing more: the answer is settled.
    Finish(Result<Settled, Refusal>),
}

/// What came of a [`Step`].
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing was asked yet.
    Start,
    /// The record of the request, if there is one.
    Recalled(Option<Recorded>),
    /// Whether the charge fitted, and was counted.
    Charged(bool),
    /// Whether what the item asks for could be carried out, and was.
    Applied(bool),
    /// Done as asked.
    Done,
}

/// The binding answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The decisions, item by item.
    pub decisions: Vec<Decision>,
    /// Whether they are those of an earlier try.
    pub repeated: bool,
}

/// Why a request got no decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its id was used before, for another body.
    #[error("request id was used for another request")]
    IdReused,
    /// The driver's reply does not belong to the step: a fault in the driver.
    #[error("ledger replied out of turn")]
    OutOfTurn,
}

/// Which step the driver was last asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Start,
    Recalling,
    /// Charge number `charge` of the candidate is asked for.
    Charging {
        candidate: usize,
        charge: usize,
    },
    /// Charge number `charge` of the candidate is taken back, last first. Then the next candidate is
    /// tried, or, after a clash, the item is denied.
    Refunding {
        candidate: usize,
        charge: usize,
        clashed: bool,
    },
    Applying {
        candidate: usize,
    },
    Recording,
    Finished(Result<Settled, Refusal>),
}

/// Settles the items of one request, in order. The proposals are its own, or borrowed.
#[derive(Debug)]
pub struct Settling<P = Proposal> {
    proposals: Vec<P>,
    recorded: Recorded,
    state: State,
    /// The earliest reset among the charges of the current item that did not fit.
    resets_at: Option<UnixMillis>,
}

impl<P: Borrow<Proposal>> Settling<P> {
    /// Settles `proposals`, one for each item, for a request whose body has the digest `body`.
    #[must_use]
    pub fn new(body: Digest, proposals: Vec<P>) -> Self {
        let decisions = Vec::with_capacity(proposals.len());
        Self {
            proposals,
            recorded: Recorded { body, decisions },
            state: State::Start,
            resets_at: None,
        }
    }

    /// Takes the reply to the last step and names the next one.
    ///
    /// The first reply is [`Reply::Start`]. A reply that does not belong to the last step finishes the
    /// settling with [`Refusal::OutOfTurn`], and the driver must undo all it did.
    pub fn next(&mut self, reply: Reply) -> Step<'_> {
        self.state = match (&self.state, reply) {
            (State::Start, Reply::Start) => State::Recalling,
            (State::Recalling, Reply::Recalled(None)) => self.candidate(0),
            (State::Recalling, Reply::Recalled(Some(earlier))) => {
                State::Finished(if earlier.body == self.recorded.body {
                    Ok(Settled {
                        decisions: earlier.decisions,
                        repeated: true,
                    })
                } else {
                    Err(Refusal::IdReused)
                })
            }
            (&State::Charging { candidate, charge }, Reply::Charged(true)) => {
                self.charge(candidate, charge + 1)
            }
            (&State::Charging { candidate, charge }, Reply::Charged(false)) => {
                let full = self
                    .charges(candidate)
                    .get(charge)
                    .map(|full| full.resets_at);
                self.resets_at = self.resets_at.into_iter().chain(full).min();
                self.refund(candidate, charge, false)
            }
            (
                &State::Refunding {
                    candidate,
                    charge,
                    clashed,
                },
                Reply::Done,
            ) => self.refund(candidate, charge, clashed),
            (&State::Applying { candidate }, Reply::Applied(true)) => {
                let rule_set = self
                    .current(candidate)
                    .and_then(|candidate| candidate.rule_set);
                self.decide(Decision::Approve { rule_set })
            }
            (&State::Applying { candidate }, Reply::Applied(false)) => {
                self.refund(candidate, self.charges(candidate).len(), true)
            }
            (State::Recording, Reply::Done) => {
                let decisions = std::mem::take(&mut self.recorded.decisions);
                State::Finished(Ok(Settled {
                    decisions,
                    repeated: false,
                }))
            }
            _ => State::Finished(Err(Refusal::OutOfTurn)),
        };
        self.step()
    }

    fn step(&self) -> Step<'_> {
        let charge = |candidate, charge| self.charges(candidate).get(charge);
        let step = match self.state {
            State::Start | State::Recalling => Some(Step::Recall),
            State::Charging {
                candidate,
                charge: at,
            } => charge(candidate, at).map(Step::Charge),
            State::Refunding {
                candidate,
                charge: at,
                ..
            } => charge(candidate, at).map(Step::Refund),
            State::Applying { .. } => Some(Step::Apply(self.item())),
            State::Recording => Some(Step::Record(&self.recorded)),
            State::Finished(ref settled) => Some(Step::Finish(settled.clone())),
        };
        step.unwrap_or(Step::Finish(Err(Refusal::OutOfTurn)))
    }

    /// The number of the item that is being settled.
    fn item(&self) -> usize {
        self.recorded.decisions.len()
    }

    fn current(&self, candidate: usize) -> Option<&Candidate> {
        let proposal = self.proposals.get(self.item())?;
        proposal.borrow().candidates.get(candidate)
    }

    fn charges(&self, candidate: usize) -> &[Charge] {
        self.current(candidate).map_or(&[], Candidate::charges)
    }

    /// Tries the candidate of the current item, or decides the item when there is no further one.
    fn candidate(&mut self, candidate: usize) -> State {
        if self.current(candidate).is_some() {
            return self.charge(candidate, 0);
        }
        let Some(proposal) = self.proposals.get(self.item()) else {
            return State::Recording;
        };
        let denial = match self.resets_at {
            Some(resets_at) => Denial::Quota { resets_at },
            None => proposal.borrow().otherwise,
        };
        self.decide(Decision::Deny { denial })
    }

    fn charge(&self, candidate: usize, charge: usize) -> State {
        if charge < self.charges(candidate).len() {
            State::Charging { candidate, charge }
        } else {
            State::Applying { candidate }
        }
    }

    /// Takes back the last of the candidate's first `charged` charges, or goes on when none is left.
    fn refund(&mut self, candidate: usize, charged: usize, clashed: bool) -> State {
        match charged.checked_sub(1) {
            Some(charge) => State::Refunding {
                candidate,
                charge,
                clashed,
            },
            None if clashed => self.decide(Decision::Deny {
                denial: Denial::Conflict,
            }),
            None => self.candidate(candidate + 1),
        }
    }

    fn decide(&mut self, decision: Decision) -> State {
        self.recorded.decisions.push(decision);
        self.resets_at = None;
        self.candidate(0)
    }
}

#[cfg(test)]
mod tests;
