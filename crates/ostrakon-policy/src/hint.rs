use ostrakon_types::{ProfileId, ProfileWords};
use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind},
};

use crate::{
    RuleError,
    path::{PathPattern, fold, nfc},
};

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
    /// Literals, of each group of which one stands in the item's [`haystack`].
    groups: Vec<Vec<String>>,
}

/// Stands at both ends of a haystack. No canonical path contains it.
const END: char = '\0';

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
        let mut groups = Groups::default();
        groups.visit(&parsed);
        groups.end_run();
        Ok(Self::from_groups(groups.found))
    }

    pub(crate) fn of(pattern: &PathPattern) -> Self {
        let mut text = String::new();
        if pattern.is_rooted() {
            text.push(END);
        }
        text.push('/');
        for component in pattern.components() {
            text.extend(component.iter().map(|letter| fold(*letter)));
            text.push('/');
        }
        if pattern.is_name() {
            text.push(END);
        }
        Self::from_groups(text.split('*').map(|run| vec![run.to_owned()]).collect())
    }

    /// Leaves out what every haystack meets.
    fn from_groups(mut groups: Vec<Vec<String>>) -> Self {
        groups.retain(|group| {
            let says_something = |text: &String| text.chars().any(|c| c != '/' && c != END);
            group.iter().all(says_something)
        });
        Self { groups }
    }

    pub(crate) fn groups(&self) -> &[Vec<String>] {
        &self.groups
    }
}

/// Writes an item's path as hints see it: without regard to case, with `/` around every component, and
/// with both ends marked.
pub(crate) fn haystack(path: &str) -> String {
    let mut text = String::with_capacity(path.len() + 4);
    text.push(END);
    text.push('/');
    if path.is_ascii() {
        text.push_str(path);
        text.make_ascii_lowercase();
    } else {
        text.extend(path.chars().map(fold));
    }
    text.push('/');
    text.push(END);
    text
}

/// The literals that stand in every text in which a regular expression finds something.
#[derive(Default)]
struct Groups {
    /// Letters that stand one behind the other, as far as they were seen.
    run: String,
    found: Vec<Vec<String>>,
}

impl Groups {
    fn visit(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
                Ok(text) => self.run.extend(text.chars().map(fold)),
                Err(_) => self.end_run(),
            },
            HirKind::Class(class) => match only_letter(class) {
                Some(letter) => self.run.push(letter),
                None => self.end_run(),
            },
            HirKind::Capture(capture) => self.visit(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.visit(part)),
            HirKind::Repetition(repetition) => {
                self.end_run();
                if repetition.min > 0 {
                    self.visit(&repetition.sub);
                    self.end_run();
                }
            }
            HirKind::Alternation(branches) => {
                self.end_run();
                self.alternation(branches);
            }
        }
    }

    /// One literal of each branch, if every branch has any.
    fn alternation(&mut self, branches: &[Hir]) {
        let mut group = Vec::with_capacity(branches.len());
        for branch in branches {
            let mut inner = Self::default();
            inner.visit(branch);
            inner.end_run();
            let longest = |group: &Vec<String>| group.iter().map(String::len).min();
            match inner.found.into_iter().max_by_key(longest) {
                Some(best) => group.extend(best),
                None => return,
            }
        }
        self.found.push(group);
    }

    fn end_run(&mut self) {
        if !self.run.is_empty() {
            self.found.push(vec![std::mem::take(&mut self.run)]);
        }
    }
}

/// The letter that all letters of the class are, case aside.
fn only_letter(class: &Class) -> Option<char> {
    /// More than letters have cases.
    const MOST: usize = 8;
    let Class::Unicode(class) = class else {
        return None;
    };
    let mut letters = class
        .iter()
        .flat_map(|range| range.start()..=range.end())
        .map(fold)
        .take(MOST + 1);
    let first = letters.next()?;
    let mut count = 1;
    for letter in letters {
        count += 1;
        if letter != first || count > MOST {
            return None;
        }
    }
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(pattern: &str) -> Vec<Vec<String>> {
        ItemHint::regex(pattern, false).unwrap().groups
    }

    #[test]
    fn literals_of_regular_expressions_are_found() {
        for (pattern, expected) in [
            (
                "^/Projects/p123/.*\\.xlsx$",
                vec![vec!["/projects/p123/"], vec![".xlsx"]],
            ),
            ("(ab|cd)+e", vec![vec!["ab", "cd"], vec!["e"]]),
            ("(abc)?d", vec![vec!["d"]]),
            ("(abc|d*)e", vec![vec!["e"]]),
            ("[a-z]+", vec![]),
            ("straße", vec![vec!["straße"]]),
            ("[Kk]elvin", vec![vec!["kelvin"]]),
            ("", vec![]),
        ] {
            assert_eq!(regex(pattern), expected, "{pattern}");
        }
        assert!(ItemHint::regex("(", false).is_err());
    }

    #[test]
    fn literals_of_patterns_know_where_components_end() {
        for (pattern, expected) in [
            ("/Root/Sub", vec![vec!["\0/root/sub/"]]),
            ("/root/s*b/x", vec![vec!["\0/root/s"], vec!["b/x/"]]),
            ("sub/path", vec![vec!["/sub/path/"]]),
            ("sub/", vec![vec!["/sub/"]]),
            ("name.txt", vec![vec!["/name.txt/\0"]]),
            ("*.xlsx", vec![vec![".xlsx/\0"]]),
            ("*", vec![]),
            ("/", vec![]),
        ] {
            assert_eq!(
                ItemHint::path(pattern, true).unwrap().groups,
                expected,
                "{pattern}"
            );
        }
        assert!(ItemHint::path("a//b", true).is_err());
    }
}
