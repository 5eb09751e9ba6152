#![doc = include_str!("../README.md")]
//!
//! # Map
//!
//! [`Policy::load`] turns the text of a `keyserver.yml` into a [`Policy`], by means of the rules that a
//! [`Registry`] knows. [`Policy::evaluate`] says which rule sets may approve a request and what each
//! would use up; a ledger ([`MemoryLedger`], or a durable one) makes that a decision.
//! [`Policy::explain`] says the same to a person. [`suite`] runs recorded cases against a policy.
//!
//! Deliberately absent: clocks, files, sockets, threads, randomness. Time is an argument, and the file
//! that a policy stands in is the caller's to read.

mod arguments;
mod clock_time;
mod diagnostic;
mod document;
mod evaluation;
mod explanation;
#[cfg(test)]
mod fixture;
mod hint;
mod index;
mod ledger;
mod limits;
mod load;
mod nearest;
mod path;
mod policy;
mod quotas;
mod registry;
mod rule;
mod rule_id;
mod rules;
mod schema;
mod session;
pub mod simulate;
mod source;
pub mod suite;
mod verdict;

pub use arguments::{Arguments, Located, Note, Place};
pub use diagnostic::{Diagnostic, LoadPolicyError, Severity};
pub use evaluation::{Evaluation, RuleFailure};
pub use explanation::{
    ChargeExplanation, Explanation, Outcome, RuleExplanation, RuleOutcome, SetExplanation,
};
pub use hint::{Hint, ItemHint};
pub use ledger::MemoryLedger;
pub use load::Loaded;
pub use policy::Policy;
pub use quotas::{QuotaChange, QuotaFate};
pub use registry::{BuildRule, RegisterRuleError, Registry};
pub use rule::{Rule, RuleError};
pub use schema::Schema;
pub use session::SessionLimits;
pub use verdict::{Reason, Verdict};
