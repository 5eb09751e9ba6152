//! Which rule sets of a tree may approve a request, without trying them one by one.
//!
//! Each rule set is filed under what its rules' hints ask for: a profile, a literal that the path of the
//! first item must contain, both, or nothing. A request is looked up under its profile (two hash maps)
//! and under the literals that its first item contains (one automaton for all patterns and regular
//! expressions of the tree). What is found is a superset of the sets that approve: each is judged as
//! if there were no index.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use ostrakon_types::{ApprovalRequest, ProfileId};

use crate::{
    Hint, ItemHint,
    hint::haystack,
    path::CanonicalPath,
    policy::{BoundRule, RuleSet},
};

/// Stands for "any profile" and for "any item". Other keys count from 1.
const ANY: u32 = 0;
/// A rule set whose profiles ask for no more rule sets than that together is filed under them alone: to
/// judge a few is cheaper than to look into paths.
const FEW_SETS: usize = 4;
/// A rule set that asks for more pairs of profile and literal is filed under one of the two alone.
const MAX_PAIRS: usize = 64;
/// Below so many bytes of literals the automaton is a table, which is faster, and larger.
const TABLE_BYTES: usize = 1 << 11;

/// The rule sets of a tree by what they ask for.
#[derive(Debug, Default)]
pub(crate) struct Index {
    ids: HashMap<ProfileId, u32>,
    words: HashMap<Box<str>, u32>,
    /// How many words there are in the keys of `words`, each number once.
    lengths: Vec<usize>,
    /// Finds literals; the key of one is its number and one more.
    literals: Option<AhoCorasick>,
    /// Rule sets, ascending, by profile and literal.
    filed: HashMap<u64, Box<[u32]>, BuildHasherDefault<PairHasher>>,
}

/// What a rule set asks for.
struct Demand<'h> {
    /// The shortest list of profiles, if there is one.
    profiles: Option<Vec<Profile<'h>>>,
    /// Lists of items, of each of which the first item matches one.
    items: Vec<&'h [ItemHint]>,
}

#[derive(Clone, Copy)]
enum Profile<'h> {
    Id(ProfileId),
    Words(&'h str),
}

impl Index {
    pub(crate) fn new(sets: &[RuleSet]) -> Self {
        let hints: Vec<Vec<Hint>> = sets
            .iter()
            .map(|set| set.rules.iter().map(hint).collect())
            .collect();
        let demands = hints.iter().map(|hints| Demand::new(hints));
        let demands: Vec<(u32, Demand<'_>)> = (0..)
            .zip(demands)
            .filter_map(|(number, demand)| Some((number, demand?)))
            .collect();
        let mut index = Builder::default();
        demands.iter().for_each(|(_, demand)| index.count(demand));
        for (number, demand) in &demands {
            index.file(*number, demand);
        }
        index.finish()
    }

    /// The rule sets that may approve the request, ascending.
    pub(crate) fn candidates(&self, request: &ApprovalRequest) -> Vec<u32> {
        let profile = &request.profile;
        let by_id = self.ids.get(&profile.id);
        let by_words = |length: &usize| self.words.get(profile.words.first(*length));
        let by_words = self.lengths.iter().filter_map(by_words);
        let profiles = [&ANY].into_iter().chain(by_id).chain(by_words);
        let literals = self.literals_in(request);
        let mut found = Vec::new();
        for profile in profiles {
            for literal in [ANY].iter().chain(&literals) {
                if let Some(sets) = self.filed.get(&pair(*profile, *literal)) {
                    found.extend_from_slice(sets);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The keys of the literals in the path of the first item.
    fn literals_in(&self, request: &ApprovalRequest) -> Vec<u32> {
        let path = request.meta.first().map(CanonicalPath::new);
        // What has no canonical path meets no hint about items.
        let (Some(literals), Some(Ok(path))) = (&self.literals, path) else {
            return Vec::new();
        };
        let text = haystack(path.as_str());
        let found = literals.find_overlapping_iter(&text);
        let mut keys: Vec<u32> = found.map(|found| found.pattern().as_u32() + 1).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// What the rule hints at. One that panics hints at nothing.
fn hint(rule: &BoundRule) -> Hint {
    catch_unwind(AssertUnwindSafe(|| rule.rule.hint())).unwrap_or_default()
}

fn pair(profile: u32, literal: u32) -> u64 {
    u64::from(profile) << 32 | u64::from(literal)
}

impl<'h> Demand<'h> {
    /// What rules with these hints ask for together; `None` if they never hold.
    fn new(hints: &'h [Hint]) -> Option<Self> {
        let mut demand = Self {
            profiles: None,
            items: Vec::new(),
        };
        for hint in hints {
            match hint {
                Hint::Any => {}
                Hint::Never => return None,
                Hint::Items(items) => demand.items.push(items),
                Hint::Profiles { ids, words } => {
                    let ids = ids.iter().copied().map(Profile::Id);
                    let words = words.iter().map(|words| Profile::Words(words.as_str()));
                    let listed: Vec<_> = ids.chain(words).collect();
                    let shorter = |other: &Vec<_>| listed.len() < other.len();
                    if demand.profiles.as_ref().is_none_or(shorter) {
                        demand.profiles = Some(listed);
                    }
                }
            }
        }
        Some(demand)
    }
}

#[derive(Default)]
struct Builder<'h> {
    /// How many rule sets name each literal.
    counts: HashMap<&'h str, usize>,
    /// How many name each profile, by its key.
    sets: HashMap<u32, usize>,
    keys: HashMap<&'h str, u32>,
    literals: Vec<&'h str>,
    ids: HashMap<ProfileId, u32>,
    words: HashMap<Box<str>, u32>,
    filed: HashMap<u64, Vec<u32>, BuildHasherDefault<PairHasher>>,
}

impl<'h> Builder<'h> {
    fn count(&mut self, demand: &Demand<'h>) {
        let items = demand.items.iter().copied().flatten();
        let literals = items.flat_map(ItemHint::groups).flatten();
        for literal in literals {
            *self.counts.entry(literal).or_default() += 1;
        }
        for profile in demand.profiles.iter().flatten() {
            let key = self.profile(*profile);
            *self.sets.entry(key).or_default() += 1;
        }
    }

    /// How many rule sets name the profile.
    fn sets_of(&self, profile: u32) -> usize {
        self.sets.get(&profile).copied().unwrap_or(0)
    }

    fn file(&mut self, number: u32, demand: &Demand<'h>) {
        let profiles: Option<Vec<u32>> = demand.profiles.as_ref().map(|listed| {
            listed
                .iter()
                .map(|profile| self.profile(*profile))
                .collect()
        });
        let lists = demand.items.iter().filter_map(|items| self.rarest(items));
        let literals = lists.min_by_key(|(cost, _)| *cost).map(|(_, list)| list);
        let are_few = |keys: &Vec<u32>| keys.iter().all(|key| self.sets_of(*key) <= FEW_SETS);
        let literals = literals.filter(|_| !profiles.as_ref().is_some_and(are_few));
        let literals: Option<Vec<u32>> =
            literals.map(|list| list.into_iter().map(|text| self.literal(text)).collect());
        let any = || vec![ANY];
        let (profiles, literals) = match (profiles, literals) {
            (Some(profiles), Some(literals)) if profiles.len() * literals.len() > MAX_PAIRS => {
                if profiles.len() <= literals.len() {
                    (profiles, any())
                } else {
                    (any(), literals)
                }
            }
            (profiles, literals) => (profiles.unwrap_or_else(any), literals.unwrap_or_else(any)),
        };
        for profile in &profiles {
            for literal in &literals {
                let sets = self.filed.entry(pair(*profile, *literal)).or_default();
                if sets.last() != Some(&number) {
                    sets.push(number);
                }
            }
        }
    }

    /// Of each item the group of literals that fewest rule sets name, and how many name them; `None` if
    /// some item asks for none.
    fn rarest(&self, items: &'h [ItemHint]) -> Option<(usize, Vec<&'h str>)> {
        let mut total = 0;
        let mut all = Vec::new();
        for item in items {
            let cost = |group: &Vec<String>| -> usize {
                let counts = group
                    .iter()
                    .map(|literal| self.counts.get(literal.as_str()));
                counts.map(|count| count.copied().unwrap_or(0)).sum()
            };
            let groups = item.groups().iter().map(|group| (cost(group), group));
            let shortest = |group: &[String]| group.iter().map(String::len).min().unwrap_or(0);
            // Among equally rare ones, longer ones are found in fewer items that do not match.
            let (cost, group) =
                groups.min_by_key(|(cost, group)| (*cost, std::cmp::Reverse(shortest(group))))?;
            total += cost;
            all.extend(group.iter().map(String::as_str));
        }
        Some((total, all))
    }

    fn literal(&mut self, text: &'h str) -> u32 {
        if let Some(key) = self.keys.get(text) {
            return *key;
        }
        self.literals.push(text);
        let key = number(self.literals.len());
        self.keys.insert(text, key);
        key
    }

    fn profile(&mut self, profile: Profile<'h>) -> u32 {
        let next = number(self.ids.len() + self.words.len() + 1);
        match profile {
            Profile::Id(id) => *self.ids.entry(id).or_insert(next),
            Profile::Words(words) => *self.words.entry(words.into()).or_insert(next),
        }
    }

    fn finish(self) -> Index {
        let mut lengths: Vec<usize> = self
            .words
            .keys()
            .map(|words| words.split(' ').count())
            .collect();
        lengths.sort_unstable();
        lengths.dedup();
        let bytes: usize = self.literals.iter().map(|literal| literal.len()).sum();
        let kind = if bytes <= TABLE_BYTES {
            AhoCorasickKind::DFA
        } else {
            AhoCorasickKind::ContiguousNFA
        };
        let literals = (!self.literals.is_empty()).then(|| {
            AhoCorasick::builder()
                .kind(Some(kind))
                .build(&self.literals)
        });
        match literals.transpose() {
            Ok(literals) => Index {
                ids: self.ids,
                words: self.words,
                lengths,
                literals,
                filed: self
                    .filed
                    .into_iter()
                    .map(|(pair, sets)| (pair, sets.into()))
                    .collect(),
            },
            // More literals than an automaton can hold: file every set under its profile alone.
            Err(_) => self.without_literals(lengths),
        }
    }

    fn without_literals(self, lengths: Vec<usize>) -> Index {
        let mut filed: HashMap<u64, Vec<u32>> = HashMap::new();
        for (key, sets) in self.filed {
            let profile = key & !u64::from(u32::MAX);
            filed.entry(profile).or_default().extend(sets);
        }
        let in_order = |(key, mut sets): (u64, Vec<u32>)| {
            sets.sort_unstable();
            sets.dedup();
            (key, sets.into())
        };
        Index {
            ids: self.ids,
            words: self.words,
            lengths,
            literals: None,
            filed: filed.into_iter().map(in_order).collect(),
        }
    }
}

/// A policy's text is bounded, and so is the number of keys in it.
fn number(key: usize) -> u32 {
    u32::try_from(key).unwrap_or(u32::MAX)
}

/// Mixes one pair of keys. Which pairs there are is up to the policy, so that no requester can choose
/// pairs that collide.
#[derive(Default)]
struct PairHasher(u64);

impl Hasher for PairHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
