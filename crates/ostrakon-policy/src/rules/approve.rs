//! `approve-rule`: always holds.

use jiff::Zoned;
use ostrakon_types::ApprovalRequest;

use crate::{Arguments, Reason, Rule, RuleError, Verdict};

#[derive(Debug)]
struct ApproveRule;

pub(super) fn build(_arguments: &mut Arguments<'_>) -> Option<Box<dyn Rule>> {
    Some(Box::new(ApproveRule))
}

impl Rule for ApproveRule {
    fn judge(&self, _request: &ApprovalRequest, _now: &Zoned) -> Result<Verdict, RuleError> {
        Ok(Verdict::holds(Reason::Always))
    }
}
