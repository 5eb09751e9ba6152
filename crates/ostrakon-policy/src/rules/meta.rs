//! `meta-rule`: every item of the request's authenticated metadata matches.

mod regex;

use std::sync::Arc;

use jiff::Zoned;
use ostrakon_types::{ApprovalRequest, RequestKind};

use self::regex::Regex;
use crate::{
    Arguments, Hint, ItemHint, Located, Reason, Rule, RuleError, Verdict,
    path::{CanonicalPath, PathPattern},
};

/// Request types that carry no metadata.
const NEVER_SEEN: [RequestKind; 3] = [
    RequestKind::CreateProfile,
    RequestKind::CreateLocation,
    RequestKind::Search,
];

#[derive(Debug)]
struct MetaRule {
    /// Entries of which none may match.
    inverted: Vec<Entry>,
    /// Entries of which one must match, if there are any.
    positive: Vec<Entry>,
    require_complete: bool,
    case_sensitive: bool,
}

#[derive(Debug)]
struct Entry {
    /// As it stands in the policy.
    text: Arc<str>,
    matcher: Matcher,
}

#[derive(Debug)]
enum Matcher {
    Path(PathPattern),
    Regex(Regex),
}

pub(super) fn build(arguments: &mut Arguments<'_>) -> Option<Box<dyn Rule>> {
    let case_sensitive = arguments.flag("case_sensitive");
    let require_complete = arguments.flag("require_complete");
    let paths = arguments.texts("paths");
    let regexes = arguments.texts("regexes");
    let mut rule = MetaRule {
        inverted: Vec::new(),
        positive: Vec::new(),
        require_complete,
        case_sensitive,
    };
    let no_entry = [&paths, &regexes].into_iter().flatten().all(Vec::is_empty);
    if no_entry && !arguments.has_errors() {
        arguments
            .error(arguments.here(), "`meta-rule` has no entry")
            .help("list some `paths` or `regexes`");
    }
    for entry in paths.into_iter().flatten() {
        rule.add(
            arguments,
            entry,
            |arguments, text, entry| match PathPattern::new(text, case_sensitive) {
                Ok(pattern) => Some(Matcher::Path(pattern)),
                Err(fault) => {
                    let message = format!("the pattern `{}` {fault}", entry.value);
                    arguments.error(entry.place, message);
                    None
                }
            },
        );
    }
    for entry in regexes.into_iter().flatten() {
        rule.add(arguments, entry, |arguments, text, entry| {
            Regex::new(arguments, text, entry, case_sensitive).map(Matcher::Regex)
        });
    }
    super::warn_never_seen(arguments, "meta-rule", &NEVER_SEEN);
    Some(Box::new(rule))
}

impl MetaRule {
    fn add(
        &mut self,
        arguments: &mut Arguments<'_>,
        entry: Located<String>,
        compile: impl Fn(&mut Arguments<'_>, &str, &Located<String>) -> Option<Matcher>,
    ) {
        let (inverted, text) = match entry.value.strip_prefix('!') {
            Some(text) => (true, text),
            None => (false, entry.value.as_str()),
        };
        if text.is_empty() {
            let message = format!("the entry `{}` is empty", entry.value);
            arguments.error(entry.place, message);
            return;
        }
        let Some(matcher) = compile(arguments, text, &entry) else {
            return;
        };
        if let Matcher::Path(pattern) = &matcher
            && inverted
            && pattern.is_rooted()
            && !self.require_complete
        {
            arguments
                .warn(
                    entry.place,
                    format!("a partial path escapes `{}`", entry.value),
                )
                .help("set `require_complete: true`");
        }
        let entry = Entry {
            text: entry.value.into(),
            matcher,
        };
        if inverted {
            self.inverted.push(entry);
        } else {
            self.positive.push(entry);
        }
    }

    /// Why the item does not match, if it does not.
    fn objection(&self, item: usize, path: &CanonicalPath<'_>) -> Option<Reason> {
        if self.require_complete && path.is_partial() {
            return Some(Reason::Incomplete { item });
        }
        if let Some(entry) = self.inverted.iter().find(|entry| entry.matches(path)) {
            let entry = entry.text.clone();
            return Some(Reason::Excluded { item, entry });
        }
        let matches =
            self.positive.is_empty() || self.positive.iter().any(|entry| entry.matches(path));
        (!matches).then_some(Reason::NoEntryMatches { item })
    }
}

impl Entry {
    fn matches(&self, path: &CanonicalPath<'_>) -> bool {
        match &self.matcher {
            Matcher::Path(pattern) => pattern.matches(path),
            Matcher::Regex(regex) => regex.is_match(path.haystack()),
        }
    }
}

impl Rule for MetaRule {
    fn judge(&self, request: &ApprovalRequest, _now: &Zoned) -> Result<Verdict, RuleError> {
        if NEVER_SEEN.contains(&request.kind) {
            return Ok(Verdict::fails(Reason::NeverSeen(request.kind)));
        }
        if request.meta.is_empty() {
            return Ok(Verdict::fails(Reason::NoItems));
        }
        for (item, meta) in request.meta.iter().enumerate() {
            let objection = match CanonicalPath::new(meta) {
                Ok(path) => self.objection(item, &path),
                Err(fault) => Some(Reason::NotCanonical { item, fault }),
            };
            if let Some(reason) = objection {
                return Ok(Verdict::fails(reason));
            }
        }
        Ok(Verdict::holds(Reason::EveryItemMatches))
    }

    fn hint(&self) -> Hint {
        if self.positive.is_empty() {
            return Hint::Any;
        }
        let hints = self.positive.iter().map(|entry| match &entry.matcher {
            Matcher::Path(pattern) => Ok(ItemHint::of(pattern)),
            Matcher::Regex(regex) => ItemHint::regex(regex.as_str(), self.case_sensitive),
        });
        hints
            .collect::<Result<_, _>>()
            .map_or(Hint::Any, Hint::Items)
    }
}

#[cfg(test)]
mod tests;
