//! How the rule sets of a tree are filed.

use std::{
    cmp::Reverse,
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use ostrakon_types::ProfileId;

use super::{ANY, Index, Literals, Pairs, Prefixes, place};
use crate::{
    Hint, ItemHint,
    hint::Literal,
    policy::{BoundRule, RuleSet},
};

/// A rule set whose profiles ask for no more rule sets than that together is filed under them alone: to
/// judge a few is cheaper than to look into paths.
const FEW_SETS: usize = 4;
/// A rule set that asks for more pairs of profile and literal is filed under one of the two alone.
const MAX_PAIRS: usize = 64;
/// More bytes of literals are not looked for: to make an automaton of them takes some 40 times the memory.
const MAX_BYTES: usize = 2 << 20;
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

/// What the rule hints at. One that panics hints at nothing.
fn hint(rule: &BoundRule) -> Hint {
    catch_unwind(AssertUnwindSafe(|| rule.rule.hint())).unwrap_or_default()
}

impl Index {
    pub(crate) fn new(sets: &[RuleSet]) -> Self {
        Self::within(sets, MAX_BYTES)
    }

    /// An index that looks for at most so many bytes of literals.
    pub(super) fn within(sets: &[RuleSet], most: usize) -> Self {
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
        index.finish(most)
    }
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
    counts: HashMap<&'h Literal, usize>,
    /// How many name each profile, by its key.
    sets: HashMap<u32, usize>,
    keys: HashMap<&'h Literal, u32>,
    literals: Vec<&'h Literal>,
    ids: HashMap<ProfileId, u32>,
    words: HashMap<Box<str>, u32>,
    filed: HashMap<(u32, u32), Vec<u32>>,
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
        let literals: Option<Vec<u32>> = literals.map(|list| {
            list.into_iter()
                .map(|literal| self.literal(literal))
                .collect()
        });
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
                let sets = self.filed.entry((*profile, *literal)).or_default();
                if sets.last() != Some(&number) {
                    sets.push(number);
                }
            }
        }
    }

    /// Of each item the group of literals that fewest rule sets name, and how many name them; `None` if
    /// some item asks for none.
    fn rarest(&self, items: &'h [ItemHint]) -> Option<(usize, Vec<&'h Literal>)> {
        let mut total = 0;
        let mut all = Vec::new();
        for item in items {
            let cost = |group: &Vec<Literal>| -> usize {
                let counts = group.iter().map(|literal| self.counts.get(literal));
                counts.map(|count| count.copied().unwrap_or(0)).sum()
            };
            let groups = item.groups().iter().map(|group| (cost(group), group));
            let length = |literal: &Literal| literal.text().len();
            let shortest = |group: &[Literal]| group.iter().map(length).min().unwrap_or(0);
            let are_folders = |group: &[Literal]| group.iter().all(|one| one.folder().is_some());
            // Among equally rare ones, folders are found soonest, and longer ones are found in fewer
            // items that do not match.
            let (cost, group) = groups.min_by_key(|(cost, group)| {
                (*cost, !are_folders(group), Reverse(shortest(group)))
            })?;
            total += cost;
            all.extend(group);
        }
        Some((total, all))
    }

    fn literal(&mut self, literal: &'h Literal) -> u32 {
        if let Some(key) = self.keys.get(literal) {
            return *key;
        }
        self.literals.push(literal);
        let key = number(self.literals.len());
        self.keys.insert(literal, key);
        key
    }

    fn profile(&mut self, profile: Profile<'h>) -> u32 {
        let next = number(self.ids.len() + self.words.len() + 1);
        match profile {
            Profile::Id(id) => *self.ids.entry(id).or_insert(next),
            Profile::Words(words) => *self.words.entry(words.into()).or_insert(next),
        }
    }

    fn finish(mut self, most: usize) -> Index {
        let literals = Literals::new(&self.literals, most).unwrap_or_else(|| {
            self.forget_literals();
            Literals::none()
        });
        let keys = self.ids.len() + self.words.len() + 1;
        let mut by_profile = vec![Box::default(); keys];
        let mut by_literal = vec![Box::default(); self.literals.len() + 1];
        let mut by_both = Pairs::default();
        for (key, sets) in self.filed {
            let place = match key {
                (profile, ANY) => by_profile.get_mut(place(profile)),
                (ANY, literal) => by_literal.get_mut(place(literal)),
                _ => None,
            };
            match place {
                Some(place) => *place = sets.into(),
                None => drop(by_both.insert(key, sets.into())),
            }
        }
        Index {
            ids: self.ids.into_iter().collect(),
            words: Prefixes::new(b' ', self.words),
            literals,
            by_profile: by_profile.into(),
            by_literal: by_literal.into(),
            by_both,
        }
    }

    /// Files every set under its profile alone.
    fn forget_literals(&mut self) {
        let mut filed: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
        for ((profile, _), sets) in std::mem::take(&mut self.filed) {
            filed.entry((profile, ANY)).or_default().extend(sets);
        }
        for sets in filed.values_mut() {
            sets.sort_unstable();
            sets.dedup();
        }
        self.literals.clear();
        self.filed = filed;
    }
}

/// A policy's text is bounded, and so is the number of keys in it.
fn number(key: usize) -> u32 {
    u32::try_from(key).unwrap_or(u32::MAX)
}
