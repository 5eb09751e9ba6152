use ostrakon_types::{Decision, Digest, RequestId, UnixMillis};

use super::{Case, CaseReport, Expect, Expected, Failure, Load, Suite, SuiteReport};
use crate::{
    LoadPolicyError, Loaded, MemoryLedger, Policy, Registry, document, load, source::Source,
};

/// Runs a suite whose policy stands in it.
#[must_use]
pub fn run(suite: &Suite, registry: &Registry) -> SuiteReport {
    run_with(suite, registry, |file| {
        Err(format!("no way was given to read `{file}`"))
    })
}

/// Runs a suite; `read` gives the text of a policy file that the suite names, or says why it cannot.
#[must_use]
pub fn run_with(
    suite: &Suite,
    registry: &Registry,
    read: impl FnOnce(&str) -> Result<String, String>,
) -> SuiteReport {
    let content = &suite.content;
    let must_fail = content.load == Load::Error;
    let loading = |failure| CaseReport {
        name: "loading the policy".into(),
        failure,
    };
    let cases = match (policy(suite, registry, read), must_fail) {
        (Ok(_), true) => vec![loading(Some(Failure::Loaded))],
        (Err(Failure::NotLoaded { .. }), true) => vec![loading(None)],
        (Err(failure), _) => vec![loading(Some(failure))],
        (Ok(policy), false) => {
            let ledger = MemoryLedger::new();
            let cases = (1_u32..).zip(&content.cases);
            cases
                .map(|(number, case)| judge(&policy, &ledger, number, case))
                .collect()
        }
    };
    SuiteReport {
        file: suite.file.clone(),
        name: content.name.clone(),
        cases,
    }
}

fn policy(
    suite: &Suite,
    registry: &Registry,
    read: impl FnOnce(&str) -> Result<String, String>,
) -> Result<Policy, Failure> {
    let loaded = match suite.policy_file() {
        Some(file) => {
            let text = read(file).map_err(|message| Failure::NotRead { message })?;
            Policy::load(file, &text, &suite.content.timezone, registry)
        }
        None => embedded(suite, registry),
    };
    match loaded {
        Ok(loaded) => Ok(loaded.policy),
        Err(diagnostics) => Err(Failure::NotLoaded { diagnostics }),
    }
}

/// The policy that stands in the suite, so that its faults are placed in the suite's file.
fn embedded(suite: &Suite, registry: &Registry) -> Result<Loaded, LoadPolicyError> {
    let source = Source::new(&suite.file, &suite.text);
    let document = document::read(&source).map_err(LoadPolicyError::new)?;
    let entries = document.value.as_mapping().into_iter().flatten();
    let entry = entries
        .enumerate()
        .find(|(_, (key, _))| key.as_str() == Some("policy"));
    let Some((index, (_, value))) = entry else {
        let fault = source.error(document.root.span, "the suite has no `policy`");
        return Err(LoadPolicyError::new(vec![fault]));
    };
    let (_, node) = document.root.entry(index);
    load::load(&source, value, &node, &suite.content.timezone, registry)
}

fn judge(policy: &Policy, ledger: &MemoryLedger, number: u32, case: &Case) -> CaseReport {
    // The explanation must tell the counts as they were before this case was counted.
    let explain = || {
        policy
            .explain(&case.request, case.at)
            .with_counts(|key| ledger.count(key))
    };
    let explanation = Box::new(explain());
    let proposal = policy.evaluate(&case.request, case.at).into_proposal();
    let plainly = policy.evaluate_plainly(&case.request, case.at);
    let wrong_hint = proposal != *plainly.proposal();
    let settled = ledger.settle(
        request_id(number),
        Digest::from_bytes([0; 32]),
        vec![proposal],
    );
    let decision = settled
        .ok()
        .and_then(|settled| settled.decisions.into_iter().next());
    let passed = decision
        .as_ref()
        .is_some_and(|decision| case.expect.is_met_by(decision));
    CaseReport {
        name: case
            .name
            .clone()
            .unwrap_or_else(|| format!("case {number}")),
        failure: if wrong_hint {
            Some(Failure::WrongHint { explanation })
        } else if passed {
            None
        } else {
            Some(Failure::Decided {
                expected: case.expect.to_string(),
                decided: decision
                    .as_ref()
                    .map_or_else(|| "no decision".to_owned(), describe),
                explanation,
            })
        },
    }
}

/// An id of the case's own.
fn request_id(number: u32) -> RequestId {
    let mut random = [0; 10];
    for (byte, digit) in random.iter_mut().zip(number.to_be_bytes()) {
        *byte = digit;
    }
    // The version takes four bits of the first byte, and the variant two of the third.
    random.rotate_right(3);
    RequestId::from_parts(UnixMillis(0), random)
}

impl Expect {
    fn is_met_by(self, decision: &Decision) -> bool {
        let (expected, rule_set) = match decision {
            Decision::Approve { rule_set } => (Expected::Approve, *rule_set),
            _ => (Expected::Deny, None),
        };
        self.decision == expected && self.rule_set.is_none_or(|asked| asked == rule_set)
    }
}

impl std::fmt::Display for Expect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.decision, self.rule_set) {
            (Expected::Deny, _) => f.write_str("deny"),
            (Expected::Approve, None) => f.write_str("approve"),
            (Expected::Approve, Some(rule_set)) => f.write_str(&approve(rule_set)),
        }
    }
}

fn describe(decision: &Decision) -> String {
    match decision {
        Decision::Approve { rule_set } => approve(*rule_set),
        _ => "deny".to_owned(),
    }
}

fn approve(rule_set: Option<u32>) -> String {
    match rule_set {
        Some(rule_set) => format!("approve by rule set {rule_set}"),
        None => "approve by default".to_owned(),
    }
}
