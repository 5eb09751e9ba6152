//! What stands in every text in which a regular expression finds something.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

use super::{
    haystack::END,
    literal::{Letters, Literal},
};
use crate::path::fold;

/// Literals, of each group of which one stands in every text in which the expression finds something.
pub(super) fn literals(expression: &Hir) -> Vec<Vec<Literal>> {
    let mut groups = Groups::default();
    groups.visit(expression);
    groups.end_run(Letters::ANY);
    groups.found
}

#[derive(Default)]
struct Groups {
    /// Letters that stand one behind the other, as far as they were seen.
    run: String,
    /// One of what the letter before them is, or, where there are none, the one before what comes next.
    before: Letters,
    /// Whether nothing comes before what comes next.
    at_start: bool,
    found: Vec<Vec<Literal>>,
}

impl Groups {
    fn visit(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Look(Look::Start) => self.at_start = self.run.is_empty(),
            HirKind::Look(Look::End) if !self.run.is_empty() => {
                self.run.extend(['/', END]);
                self.end_run(Letters::ANY);
            }
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
                Ok(text) => text.chars().for_each(|letter| self.push(fold(letter))),
                Err(_) => self.end_run(Letters::ANY),
            },
            HirKind::Class(class) => match only_letter(class) {
                Some(letter) => self.push(letter),
                None => self.end_run(letters(class)),
            },
            HirKind::Capture(capture) => self.visit(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.visit(part)),
            HirKind::Repetition(repetition) if repetition.min == 0 => self.end_run(Letters::ANY),
            HirKind::Repetition(repetition) => match repetition.sub.kind() {
                // Whatever its length, it begins and ends with one of the letters.
                HirKind::Class(class) => self.end_run(letters(class)),
                _ => {
                    self.end_run(Letters::ANY);
                    self.visit(&repetition.sub);
                    self.end_run(Letters::ANY);
                }
            },
            HirKind::Alternation(branches) => {
                self.end_run(Letters::ANY);
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
            inner.end_run(Letters::ANY);
            let length = |literal: &Literal| literal.text().len();
            let longest = |group: &Vec<Literal>| group.iter().map(length).min();
            match inner.found.into_iter().max_by_key(longest) {
                Some(best) => group.extend(best),
                None => return,
            }
        }
        self.found.push(group);
    }

    fn push(&mut self, letter: char) {
        // Only a complete path begins with a slash, where it is searched.
        if self.at_start && letter == '/' {
            self.run.push(END);
        }
        self.at_start = false;
        self.run.push(letter);
    }

    /// Ends the run, if there is one. What comes next is a letter that is one of `next`.
    fn end_run(&mut self, next: Letters) {
        if !self.run.is_empty() {
            let literal = Literal::new(&self.run).between(self.before, next);
            self.run.clear();
            self.found.push(vec![literal]);
        }
        self.before = next;
        self.at_start = false;
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

/// The letters of the class, as far as they say what stands next to a literal.
fn letters(class: &Class) -> Letters {
    match class {
        Class::Unicode(class) => {
            Letters::in_ranges(class.iter().map(|range| range.start()..=range.end()))
        }
        Class::Bytes(_) => Letters::ANY,
    }
}
