//! Which rule sets of a tree may approve a request, without trying them one by one.
//!
//! Each rule set is filed under what its rules' hints ask for: a profile, a literal that the path of the
//! first item must contain, both, or nothing. A request is looked up under its profile (two hash maps)
//! and under the literals that its first item contains (one automaton for all patterns and regular
//! expressions of the tree). What is found is a superset of the sets that approve: each is judged as
//! if there were no index.

mod build;
mod literals;
mod prefixes;

use std::{borrow::Cow, collections::HashMap};

use foldhash::fast::RandomState;
use ostrakon_types::{ApprovalRequest, ProfileId};

use crate::hint::Haystack;
pub(crate) use literals::Literals;
use prefixes::Prefixes;

/// Stands for "any profile" and for "any item". Other keys count from 1.
const ANY: u32 = 0;

/// Rule sets, ascending, by the key of a profile and that of a literal.
type Pairs = HashMap<(u32, u32), Box<[u32]>, RandomState>;

/// The rule sets of a tree by what they ask for.
#[derive(Debug)]
pub(crate) struct Index {
    ids: HashMap<ProfileId, u32, RandomState>,
    words: Prefixes,
    /// The key of a literal is its number and one more.
    literals: Literals,
    /// Rule sets, ascending, by the key of the one profile that they ask for, or of none.
    by_profile: Box<[Box<[u32]>]>,
    /// Rule sets, ascending, by the key of the one literal that they ask for.
    by_literal: Box<[Box<[u32]>]>,
    /// Rule sets that ask for both.
    by_both: Pairs,
}

/// Rule sets, ascending. As a rule they stand in one list of the index, which need not be copied.
pub(crate) type Candidates<'i> = Cow<'i, [u32]>;

impl Index {
    /// The rule sets that may approve the request, ascending.
    pub(crate) fn candidates(&self, request: &ApprovalRequest) -> Candidates<'_> {
        let mut found = Candidates::default();
        let mut literals = Keys::default();
        self.find_literals(request, &mut literals);
        for literal in literals.iter() {
            add(&mut found, sets(&self.by_literal, literal));
        }
        self.each_profile(request, |profile| {
            add(&mut found, sets(&self.by_profile, profile));
            if self.by_both.is_empty() {
                return;
            }
            for literal in literals.iter() {
                if let Some(sets) = self.by_both.get(&(profile, literal)) {
                    add(&mut found, sets);
                }
            }
        });
        if let Cow::Owned(found) = &mut found {
            found.sort_unstable();
            found.dedup();
        }
        found
    }

    /// Hands on the keys of profiles that the request's is one of, [`ANY`] among them.
    fn each_profile(&self, request: &ApprovalRequest, mut visit: impl FnMut(u32)) {
        visit(ANY);
        let profile = &request.profile;
        if let Some(key) = self.ids.get(&profile.id) {
            visit(*key);
        }
        self.words.each_of(profile.words.as_str(), visit);
    }

    /// Adds the keys of the literals in the path of the first item.
    fn find_literals(&self, request: &ApprovalRequest, keys: &mut Keys) {
        if self.literals.is_empty() {
            return;
        }
        if let Some(item) = request.meta.first() {
            let haystack = Haystack::of(&item.meta);
            self.literals
                .each_in(&haystack, |literal| keys.add(literal + 1));
        }
        keys.tidy();
    }
}

/// The rule sets that are filed under the key.
fn sets(filed: &[Box<[u32]>], key: u32) -> &[u32] {
    filed.get(place(key)).map_or(&[], |sets| sets)
}

/// Adds a list of rule sets to those that were found.
#[inline]
fn add<'i>(found: &mut Candidates<'i>, sets: &'i [u32]) {
    if sets.is_empty() {
        return;
    }
    if found.is_empty() {
        *found = Cow::Borrowed(sets);
    } else {
        found.to_mut().extend_from_slice(sets);
    }
}

/// The place of a key in a table.
fn place(key: u32) -> usize {
    usize::try_from(key).unwrap_or(usize::MAX)
}

/// Keys of literals, of which a path has one as a rule.
#[derive(Default)]
struct Keys {
    first: Option<u32>,
    more: Vec<u32>,
}

impl Keys {
    fn add(&mut self, key: u32) {
        match self.first {
            None => self.first = Some(key),
            Some(first) if first == key || self.more.last() == Some(&key) => {}
            Some(_) => {
                if self.more.len() == self.more.capacity() {
                    self.tidy();
                    // A path may have a key as often as it has letters: room is made for new ones alone.
                    self.more.reserve(self.more.len() + 4);
                }
                self.more.push(key);
            }
        }
    }

    fn tidy(&mut self) {
        self.more.sort_unstable();
        self.more.dedup();
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        self.first.iter().chain(&self.more).copied()
    }
}

#[cfg(test)]
mod tests;
