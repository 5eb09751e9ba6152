mod expression;
mod haystack;
mod literal;

use ostrakon_types::{ProfileId, ProfileWords};
use regex_syntax::ParserBuilder;

use crate::{
    RuleError,
    path::{PathPattern, fold, nfc},
};

use haystack::END;
pub(crate) use haystack::Haystack;
pub(crate) use literal::{Literal, Neighbours};

/// Conditions that must be met for a rule to hold, for the index over rule sets.
///
/// A rule set is tried only where the hints of all its rules are met. A hint that claims too little
/// costs time; one that claims too much makes a rule set be passed over that approves. So [`Hint::Any`]
/// is always right, and [`Policy::evaluate_plainly`](crate::Policy::evaluate_plainly) is the oracle that
/// tells a wrong hint; [`suite`](crate::suite) asks it in every case.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Hint {
    /// Nothing is known: the rule may hold for any request.
    #[default]
    Any,
    /// The rule never holds.
    Never,
    /// The request's profile has one of these ids, or its words begin with one of these.
    Profiles {
        /// Ids.
        ids: Vec<ProfileId>,
        /// First words.
        words: Vec<ProfileWords>,
    },
    /// The request names items, each has a canonical path, and each matches one of these.
    Items(Vec<ItemHint>),
}

/// What an item of a request must match for a rule to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemHint {
    /// Literals, of each group of which one stands in the item's [`Haystack`].
    groups: Vec<Vec<Literal>>,
}

impl ItemHint {
    /// An item that matches the pattern, as one of the `paths` of a `meta-rule` does.
    ///
    /// # Errors
    /// When it is no pattern.
    pub fn path(pattern: &str, case_sensitive: bool) -> Result<Self, RuleError> {
        PathPattern::new(pattern, case_sensitive)
            .map(|pattern| Self::of(&pattern))
            .map_err(|fault| RuleError::new(format!("the pattern {fault}")))
    }

    /// An item in which the regular expression finds something, as one of the `regexes` of a
    /// `meta-rule` does.
    ///
    /// # Errors
    /// When it is no regular expression.
    pub fn regex(pattern: &str, case_sensitive: bool) -> Result<Self, RuleError> {
        let parsed = ParserBuilder::new()
            .case_insensitive(!case_sensitive)
            .build()
            .parse(&nfc(pattern))
            .map_err(|_| RuleError::new("the regular expression cannot be read"))?;
        Ok(Self::from_groups(expression::literals(&parsed)))
    }

    pub(crate) fn of(pattern: &PathPattern) -> Self {
        let mut text = String::new();
        if pattern.is_rooted() {
            text.push(END);
        }
        text.push('/');
        for component in pattern.components() {
            text.extend(component.chars().map(fold));
            text.push('/');
        }
        if pattern.is_name() {
            text.push(END);
        }
        let runs = text.split('*').map(|run| vec![Literal::new(run)]);
        Self::from_groups(runs.collect())
    }

    /// Leaves out what nearly every haystack meets.
    fn from_groups(mut groups: Vec<Vec<Literal>>) -> Self {
        groups.retain(|group| group.iter().all(Literal::tells));
        Self { groups }
    }

    pub(crate) fn groups(&self) -> &[Vec<Literal>] {
        &self.groups
    }
}

#[cfg(test)]
mod tests;
