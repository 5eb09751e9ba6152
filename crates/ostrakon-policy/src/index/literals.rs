//! Finding literals in a path, all at once.

use aho_corasick::{Anchored, automaton::Automaton, dfa::DFA, nfa::contiguous::NFA};

use super::prefixes::Prefixes;
use crate::hint::{Haystack, Literal, Neighbours};

/// Up to so many bytes of literals the automaton is a table, which is faster, and larger.
const TABLE_BYTES: usize = 1 << 11;

/// No more of a literal than that, its end, is put into the automaton.
const LITERAL_BYTES: usize = 64;

/// The literals that the rule sets of a tree ask for, by their numbers.
#[derive(Debug)]
pub(crate) struct Literals {
    /// Those that are folders from the root on, as most are: a hash map has them sooner.
    folders: Prefixes,
    /// All others.
    automaton: Option<Kind>,
    /// The number of each literal in the automaton, and what stands next to it.
    numbers: Box<[(u32, Neighbours)]>,
}

#[derive(Debug)]
enum Kind {
    Table(DFA),
    Compact(NFA),
}

impl Literals {
    /// `None` if the automaton would hold more than `most` bytes of literals.
    pub(crate) fn new(literals: &[&Literal], most: usize) -> Option<Self> {
        let folders = (0..)
            .zip(literals)
            .filter_map(|(number, literal)| Some((literal.folder()?.into(), number)));
        let others = (0..)
            .zip(literals)
            .filter(|(_, literal)| literal.folder().is_none());
        let others = others.map(|(number, literal)| (number, literal.end(LITERAL_BYTES)));
        let texts = others.clone().map(|(_, (text, _))| text);
        let bytes: usize = texts.clone().map(<[u8]>::len).sum();
        if bytes > most {
            return None;
        }
        let automaton = match bytes {
            0 => None,
            1..=TABLE_BYTES => Some(Kind::Table(DFA::new(texts).ok()?)),
            _ => Some(Kind::Compact(NFA::new(texts).ok()?)),
        };
        let numbers = others.map(|(number, (_, neighbours))| (number, neighbours));
        Some(Self {
            folders: Prefixes::new(b'/', folders),
            automaton,
            numbers: numbers.collect(),
        })
    }

    pub(crate) fn none() -> Self {
        Self {
            folders: Prefixes::new(b'/', []),
            automaton: None,
            numbers: Box::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.folders.is_empty() && self.automaton.is_none()
    }

    /// Hands on the number of each literal in the haystack, as often as it stands there.
    pub(crate) fn each_in(&self, haystack: &Haystack<'_>, mut found: impl FnMut(u32)) {
        self.folders.each_of(haystack.path(), &mut found);
        match &self.automaton {
            Some(Kind::Table(automaton)) => self.walk(automaton, haystack, found),
            Some(Kind::Compact(automaton)) => self.walk(automaton, haystack, found),
            None => {}
        }
    }

    fn walk(
        &self,
        automaton: &impl Automaton,
        haystack: &Haystack<'_>,
        mut found: impl FnMut(u32),
    ) {
        let Ok(mut state) = automaton.start_state(Anchored::No) else {
            return;
        };
        let mut end = 0;
        haystack.bytes().for_each(|byte| {
            end += 1;
            state = automaton.next_state(Anchored::No, state, byte);
            if !automaton.is_special(state) || !automaton.is_match(state) {
                return;
            }
            for index in 0..automaton.match_len(state) {
                let literal = automaton.match_pattern(state, index);
                let start = end - automaton.pattern_len(literal);
                if let Some((number, neighbours)) = self.numbers.get(literal.as_usize())
                    && neighbours.admit(haystack, start, end)
                {
                    found(*number);
                }
            }
        });
    }
}
