//! Finding literals in a path, all at once.

use aho_corasick::{Anchored, automaton::Automaton, dfa::DFA, nfa::contiguous::NFA};

use crate::hint::{Haystack, Literal, Neighbours};

/// Up to so many bytes of literals the automaton is a table, which is faster, and larger.
const TABLE_BYTES: usize = 1 << 11;

/// The literals that the rule sets of a tree ask for.
#[derive(Debug, Default)]
pub(crate) struct Literals {
    automaton: Option<Kind>,
    /// What may stand next to each literal, by its number.
    neighbours: Box<[Neighbours]>,
}

#[derive(Debug)]
enum Kind {
    Table(DFA),
    Compact(NFA),
}

impl Literals {
    /// `None` if there are more than an automaton can hold.
    pub(crate) fn new(literals: &[&Literal]) -> Option<Self> {
        if literals.is_empty() {
            return Some(Self::default());
        }
        let texts = literals.iter().map(|literal| literal.text());
        let bytes: usize = texts.clone().map(str::len).sum();
        let automaton = if bytes <= TABLE_BYTES {
            DFA::new(texts).ok().map(Kind::Table)
        } else {
            NFA::new(texts).ok().map(Kind::Compact)
        };
        Some(Self {
            automaton: Some(automaton?),
            neighbours: literals.iter().map(|literal| literal.neighbours()).collect(),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.neighbours.is_empty()
    }

    /// Hands on the number of each literal in the haystack, as often as it stands there.
    pub(crate) fn each_in(&self, haystack: &Haystack<'_>, found: impl FnMut(u32)) {
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
        for (end, byte) in (1..).zip(haystack.bytes()) {
            state = automaton.next_state(Anchored::No, state, byte);
            if !automaton.is_special(state) || !automaton.is_match(state) {
                continue;
            }
            for index in 0..automaton.match_len(state) {
                let literal = automaton.match_pattern(state, index);
                let start = end - automaton.pattern_len(literal);
                let neighbours = self.neighbours.get(literal.as_usize());
                if neighbours.is_some_and(|neighbours| neighbours.admit(haystack, start, end)) {
                    found(literal.as_u32());
                }
            }
        }
    }
}
