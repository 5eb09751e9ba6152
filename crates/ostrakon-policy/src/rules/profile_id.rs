//! `profile-id-rule`: the request is made for a listed profile.

use std::collections::BTreeSet;

use jiff::Zoned;
use ostrakon_types::{ApprovalRequest, ProfileId, ProfileWords, RequestKind};

use crate::{Arguments, Hint, Reason, Rule, RuleError, Verdict};

/// Request types that are made before there is a profile to name.
const NEVER_SEEN: [RequestKind; 1] = [RequestKind::CreateProfile];
/// How many words name a profile at least.
const MIN_WORDS: usize = 4;

#[derive(Debug, Default)]
struct ProfileIdRule {
    /// In order.
    ids: Vec<ProfileId>,
    /// The first words of profiles, in order, and how many there are in each of them.
    words: Vec<Box<str>>,
    lengths: BTreeSet<usize>,
}

pub(super) fn build(arguments: &mut Arguments<'_>) -> Option<Box<dyn Rule>> {
    let mut rule = ProfileIdRule::default();
    let entries = arguments.texts("profile_ids");
    arguments.require("profile_ids");
    if entries.as_ref().is_some_and(Vec::is_empty) && !arguments.has_errors() {
        let place = arguments.place("profile_ids");
        arguments.warn(place, "`profile_ids` is empty: the rule never holds");
    }
    for entry in entries.into_iter().flatten() {
        if let Ok(id) = entry.value.parse() {
            rule.ids.push(id);
            continue;
        }
        let words = ProfileWords::new(&entry.value);
        let count = words.iter().count();
        if count >= MIN_WORDS {
            rule.lengths.insert(count);
            rule.words.push(words.as_str().into());
        } else {
            let message = format!("`{}` names no profile", entry.value);
            arguments.error(entry.place, message).help(format!(
                "write the {} hexadecimal digits of its id, or at least {MIN_WORDS} of its words",
                ProfileId::LEN * 2
            ));
        }
    }
    rule.ids.sort_unstable();
    rule.words.sort_unstable();
    super::warn_never_seen(arguments, "profile-id-rule", &NEVER_SEEN);
    Some(Box::new(rule))
}

impl ProfileIdRule {
    fn lists(&self, words: &ProfileWords) -> bool {
        self.lengths.iter().any(|count| {
            let first = words.first(*count);
            self.words
                .binary_search_by(|listed| (**listed).cmp(first))
                .is_ok()
        })
    }
}

impl Rule for ProfileIdRule {
    fn judge(&self, request: &ApprovalRequest, _now: &Zoned) -> Result<Verdict, RuleError> {
        if NEVER_SEEN.contains(&request.kind) {
            return Ok(Verdict::fails(Reason::NeverSeen(request.kind)));
        }
        let profile = &request.profile;
        Ok(
            if self.ids.binary_search(&profile.id).is_ok() || self.lists(&profile.words) {
                Verdict::holds(Reason::ProfileListed)
            } else {
                Verdict::fails(Reason::ProfileNotListed)
            },
        )
    }
    fn hint(&self) -> Hint {
        Hint::Profiles {
            ids: self.ids.clone(),
            words: self
                .words
                .iter()
                .map(|words| ProfileWords::new(words))
                .collect(),
        }
    }
}
