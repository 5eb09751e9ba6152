use std::fmt;

use jiff::Zoned;
use ostrakon_types::{ApprovalRequest, Charge};

use crate::{Hint, Verdict};

/// One condition that a request must meet.
///
/// A rule does no I/O and reads no clock: all it may look at is the request and the instant that is
/// handed in, in the policy's time zone. The same two always give the same verdict.
///
/// ```
/// use jiff::Zoned;
/// use ostrakon_policy::{Rule, RuleError, Verdict};
/// use ostrakon_types::ApprovalRequest;
///
/// /// Holds for requests about at most so many files.
/// #[derive(Debug)]
/// struct AtMost(usize);
///
/// impl Rule for AtMost {
///     fn judge(&self, request: &ApprovalRequest, _now: &Zoned) -> Result<Verdict, RuleError> {
///         let count = request.meta.len();
///         Ok(if count <= self.0 {
///             Verdict::holds(format!("{count} items are at most {}", self.0))
///         } else {
///             Verdict::fails(format!("{count} items are more than {}", self.0))
///         })
///     }
/// }
/// ```
pub trait Rule: fmt::Debug + Send + Sync {
    /// Judges `request` at `now`.
    ///
    /// # Errors
    /// When the rule cannot tell. An error counts as not holding and is reported, and so does a panic.
    fn judge(&self, request: &ApprovalRequest, now: &Zoned) -> Result<Verdict, RuleError>;

    /// What an approval through this rule uses up, settled with the approval or not at all.
    ///
    /// It is asked only when the rule holds.
    fn charges(&self, _request: &ApprovalRequest, _now: &Zoned) -> Vec<Charge> {
        Vec::new()
    }

    /// Conditions that must be met for this rule to hold, for the index over rule sets.
    ///
    /// It is asked once, when the policy loads.
    fn hint(&self) -> Hint {
        Hint::Any
    }
}

/// Why a rule could not tell whether it holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(String);

impl RuleError {
    /// An error that is reported as `message`: lower case, no period. It is logged, so that it must not
    /// tell paths or names, which are user data.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}
