//! `reject-rule`: never holds.

use jiff::Zoned;
use ostrakon_types::ApprovalRequest;

use crate::{Arguments, Hint, Reason, Rule, RuleError, Verdict};

#[derive(Debug)]
struct RejectRule;

pub(super) fn build(_arguments: &mut Arguments<'_>) -> Option<Box<dyn Rule>> {
    Some(Box::new(RejectRule))
}

impl Rule for RejectRule {
    fn judge(&self, _request: &ApprovalRequest, _now: &Zoned) -> Result<Verdict, RuleError> {
        Ok(Verdict::fails(Reason::Never))
    }

    fn hint(&self) -> Hint {
        Hint::Never
    }
}
