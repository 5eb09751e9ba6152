use std::fmt;

use serde::Serialize;

use crate::{Explanation, LoadPolicyError};

/// What came of running a suite. `Display` prints it as a test runner does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SuiteReport {
    /// The file.
    pub file: String,
    /// What the suite calls itself.
    pub name: String,
    /// What came of its cases, in order; the loading of the policy is the first one where it failed, or
    /// had to.
    pub cases: Vec<CaseReport>,
}

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CaseReport {
    /// What the case is called, or its number.
    pub name: String,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Why a case failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "failure", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// The policy could not be loaded.
    NotLoaded {
        /// Everything that is wrong with it.
        diagnostics: LoadPolicyError,
    },
    /// The policy's file could not be read.
    NotRead {
        /// Why.
        message: String,
    },
    /// The policy loaded, but must not.
    Loaded,
    /// The policy decided otherwise.
    Decided {
        /// The decision that the suite asks for.
        expected: String,
        /// The decision that was made.
        decided: String,
        /// Why it was made.
        explanation: Box<Explanation>,
    },
    /// The index over rule sets passed over one that approves: the hint of a rule claims too much.
    WrongHint {
        /// What a rule set says that was passed over.
        explanation: Box<Explanation>,
    },
}

impl SuiteReport {
    /// How many cases came out as they must.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.cases.len() - self.failed()
    }

    /// How many cases did not.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.cases
            .iter()
            .filter(|case| case.failure.is_some())
            .count()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoaded { diagnostics } => diagnostics.fmt(f),
            Self::NotRead { message } => write!(f, "policy file not read: {message}"),
            Self::Loaded => f.write_str("the policy loaded, but must not"),
            Self::Decided {
                expected,
                decided,
                explanation,
            } => write!(f, "expected {expected}, got {decided}\n{explanation}"),
            Self::WrongHint { explanation } => {
                write!(f, "the hint of a rule claims too much\n{explanation}")
            }
        }
    }
}

impl fmt::Display for SuiteReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in &self.cases {
            if let Some(failure) = &case.failure {
                writeln!(f, "FAILED {}: {}: {}", self.file, self.name, case.name)?;
                for line in failure.to_string().lines() {
                    writeln!(f, "  {line}")?;
                }
            }
        }
        let (passed, failed) = (self.passed(), self.failed());
        write!(f, "{}: {passed} passed, {failed} failed", self.file)
    }
}
