//! Policy suites: recorded cases, and the decisions that a policy must come to.
//!
//! A suite is a YAML or JSON file. Its cases run in order and share quotas; `at` sets the clock.
//!
//! ```
//! use ostrakon_policy::{Registry, suite::{Suite, run}};
//!
//! let suite = Suite::from_str("twice.yml", r#"
//! name: twice a day
//! timezone: UTC
//! policy:
//!   decrypt: [[{rule: per-profile-throttle-rule, rule_id: twice, per_day: 2}]]
//! cases:
//!   - &case
//!     at: 2022-03-09T17:00:00Z
//!     request:
//!       type: decrypt
//!       device_id: "646576"
//!       profile: {id: da585c21572cc938b99cd6ab4df19e3d}
//!       meta: [{meta: root/sub/file.txt, complete: true}]
//!       cryptographic_id: "636964"
//!     expect: {decision: approve, rule_set: 0}
//!   - *case
//! "#)?;
//! let report = run(&suite, &Registry::bundled());
//! assert_eq!((report.passed(), report.failed()), (2, 0), "{report}");
//! # Ok::<(), ostrakon_policy::suite::LoadSuiteError>(())
//! ```

mod report;
mod run;

use jiff::{Timestamp, tz::TimeZone};
use ostrakon_types::ApprovalRequest;
use serde::{Deserialize, Deserializer, de};
use serde_yaml::Value;

pub use report::{CaseReport, Failure, SuiteReport};
pub use run::{run, run_with};

use crate::{Diagnostic, LoadPolicyError, document, source::Source};

/// A suite that has been read, but not run.
#[derive(Clone, Debug)]
pub struct Suite {
    file: String,
    text: String,
    content: Content,
}

/// Why a suite cannot be read. `Display` prints where and what, as [`Diagnostic`] does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"))]
pub struct LoadSuiteError {
    diagnostics: Vec<Diagnostic>,
}

impl LoadSuiteError {
    /// What is wrong with the file.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

/// The file as it stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    name: String,
    #[serde(deserialize_with = "time_zone")]
    timezone: TimeZone,
    #[serde(default, deserialize_with = "some")]
    policy: Option<Value>,
    policy_file: Option<String>,
    #[serde(default)]
    load: Load,
    #[serde(default)]
    cases: Vec<Case>,
}

/// Whether loading the policy must succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Load {
    #[default]
    Ok,
    Error,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: Option<String>,
    #[serde(deserialize_with = "timestamp")]
    at: Timestamp,
    request: ApprovalRequest,
    expect: Expect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    decision: Expected,
    /// Not compared where the file does not say it.
    #[serde(default, deserialize_with = "some")]
    rule_set: Option<Option<u32>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expected {
    Approve,
    Deny,
}

/// Tells a null from nothing.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

fn time_zone<'de, D: Deserializer<'de>>(from: D) -> Result<TimeZone, D::Error> {
    let name = String::deserialize(from)?;
    crate::clock_time::zone(&name).map_err(de::Error::custom)
}

fn timestamp<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(from)?;
    let message = || format!("`{text}` is no instant; write it like `2026-03-09T17:00:00Z`");
    text.parse().map_err(|_| de::Error::custom(message()))
}

fn maybe_timestamp<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    timestamp(from).map(Some)
}

impl Suite {
    /// Reads a suite. `name` stands for the file in what is said of it.
    ///
    /// # Errors
    /// When the text is no suite. A policy in it is not looked at yet.
    pub fn from_str(name: &str, text: &str) -> Result<Self, LoadSuiteError> {
        let source = Source::new(name, text);
        let fail = |diagnostics| LoadSuiteError { diagnostics };
        let document = document::read(&source).map_err(fail)?;
        let content: Content = serde_yaml::from_str(source.text)
            .map_err(|error| fail(vec![document::unfit(&source, &error)]))?;
        let fault = match (&content.policy, &content.policy_file) {
            (Some(_), Some(_)) => Some("a suite has a `policy` or a `policy_file`, not both"),
            (None, None) => Some("a suite needs a `policy` or a `policy_file`"),
            _ if content.load == Load::Error && !content.cases.is_empty() => {
                Some("a suite whose policy must not load has no cases")
            }
            _ => None,
        };
        if let Some(fault) = fault {
            return Err(fail(vec![source.error(document.root.span, fault)]));
        }
        Ok(Self {
            file: name.to_owned(),
            text: text.to_owned(),
            content,
        })
    }

    /// What the suite calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.content.name
    }

    /// The file that holds its policy, as it is written there, if the policy is not in the suite itself.
    #[must_use]
    pub fn policy_file(&self) -> Option<&str> {
        self.content.policy_file.as_deref()
    }
}

/// A request, as it stands in a file, to be explained: a case that expects nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Question {
    /// When it is asked; `None` for now.
    #[serde(default, deserialize_with = "maybe_timestamp")]
    pub at: Option<Timestamp>,
    /// What is asked for.
    pub request: ApprovalRequest,
}

impl Question {
    /// A question as given.
    #[must_use]
    pub fn new(at: Option<Timestamp>, request: ApprovalRequest) -> Self {
        Self { at, request }
    }

    /// Reads a question. `name` stands for the file in what is said of it.
    ///
    /// # Errors
    /// When the text is none.
    pub fn from_str(name: &str, text: &str) -> Result<Self, LoadSuiteError> {
        let source = Source::new(name, text);
        let fail = |diagnostics| LoadSuiteError { diagnostics };
        document::read(&source).map_err(fail)?;
        serde_yaml::from_str(source.text)
            .map_err(|error| fail(vec![document::unfit(&source, &error)]))
    }
}

impl From<LoadPolicyError> for LoadSuiteError {
    fn from(error: LoadPolicyError) -> Self {
        Self {
            diagnostics: error.into_diagnostics(),
        }
    }
}

#[cfg(test)]
mod tests;
