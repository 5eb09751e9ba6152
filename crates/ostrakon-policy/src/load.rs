//! From the text of a policy to the policy, or to everything that is wrong with it.

use std::{
    cell::Cell,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use jiff::tz::TimeZone;
use ostrakon_types::RequestKind;
use serde_yaml::{Mapping, Value};

use crate::{
    Arguments, Diagnostic, LoadPolicyError, Policy, Registry, Rule, Severity,
    arguments::Entry,
    diagnostic,
    document::{self, Node},
    nearest::nearest,
    policy::{BoundRule, RuleSet},
    rule_id::{self, Content},
    source::{Source, Span},
};

/// How many errors are looked for, and how many warnings are kept: more help no one, and a hostile file
/// could ask for very many.
const MAX_DIAGNOSTICS: usize = 100;
/// The longest `rule_id`, in bytes.
const MAX_RULE_ID: usize = 200;

/// A policy, and what is to be said of its file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The policy.
    pub policy: Policy,
    /// Warnings and notes, in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

impl Loaded {
    /// The policy, if there are no warnings. Notes are no obstacle.
    ///
    /// # Errors
    /// When there are warnings.
    pub fn deny_warnings(self) -> Result<Policy, LoadPolicyError> {
        let warns = |warning: &Diagnostic| warning.severity != Severity::Note;
        if self.warnings.iter().any(warns) {
            Err(LoadPolicyError::new(self.warnings))
        } else {
            Ok(self.policy)
        }
    }
}

impl Policy {
    /// Reads the policy in `text`. `name` stands for the file in what is said of it.
    ///
    /// Times that name no zone of their own are in `time_zone`, and so are the hours and days of
    /// quotas.
    ///
    /// # Errors
    /// When anything is wrong with the policy; the error holds all faults, each with its place. Nothing
    /// of a policy with a fault is used, because the default for a section that is not there may be to
    /// approve.
    pub fn load(
        name: &str,
        text: &str,
        time_zone: &TimeZone,
        registry: &Registry,
    ) -> Result<Loaded, LoadPolicyError> {
        let source = Source::new(name, text);
        let document = document::read(&source).map_err(LoadPolicyError::new)?;
        load(
            &source,
            &document.value,
            &document.root,
            time_zone,
            registry,
        )
    }
}

/// Reads the policy that stands at `node` of `source`.
pub(crate) fn load(
    source: &Source<'_>,
    value: &Value,
    node: &Rc<Node>,
    time_zone: &TimeZone,
    registry: &Registry,
) -> Result<Loaded, LoadPolicyError> {
    let mut loader = Loader {
        source,
        time_zone,
        registry,
        diagnostics: Vec::new(),
        errors: 0,
        warnings: 0,
        first_quota: None,
        memory: Rc::default(),
    };
    let trees = loader.policy(value, node);
    loader.warn_of_free_profiles(&trees);
    let more = if loader.has_given_up() {
        Some("there may be more errors: loading stopped here".to_owned())
    } else {
        let hidden = loader.warnings.saturating_sub(MAX_DIAGNOSTICS);
        (hidden > 0).then(|| format!("{hidden} more warnings are not shown"))
    };
    if let Some(message) = more {
        let note = source.diagnostic(Severity::Note, Span::default(), message, None);
        loader.diagnostics.push(note);
    }
    if loader.errors > 0 {
        return Err(LoadPolicyError::new(loader.diagnostics));
    }
    Ok(Loaded {
        policy: Policy::new(trees, time_zone.clone()),
        warnings: diagnostic::in_order(loader.diagnostics),
    })
}

struct Loader<'a> {
    source: &'a Source<'a>,
    time_zone: &'a TimeZone,
    registry: &'a Registry,
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    /// Warnings and notes, kept or not.
    warnings: usize,
    /// Where the first rule stands that counts approvals.
    first_quota: Option<Span>,
    /// Bytes that rules have taken so far.
    memory: Rc<Cell<usize>>,
}

/// A rule as it stands in the file.
struct WrittenRule<'v> {
    name: String,
    span: Span,
    id: Option<String>,
    arguments: Vec<Entry<'v>>,
    content: Content,
}

impl Loader<'_> {
    fn policy(&mut self, value: &Value, node: &Rc<Node>) -> BTreeMap<RequestKind, Vec<RuleSet>> {
        let mut trees = BTreeMap::new();
        let Value::Mapping(sections) = value else {
            self.expected(
                node.span,
                "a policy",
                "a mapping of request types to rule trees",
                value,
            );
            return trees;
        };
        for (index, (key, tree)) in sections.iter().enumerate() {
            if self.has_given_up() {
                break;
            }
            let (key_node, tree_node) = node.entry(index);
            let Some(name) = document::text(key, &key_node) else {
                self.expected(key_node.span, "a request type", "text", key);
                continue;
            };
            match name.parse::<RequestKind>() {
                Ok(kind) => {
                    let sets = self.tree(kind, tree, &tree_node);
                    trees.insert(kind, sets);
                }
                Err(error) => {
                    let known = RequestKind::ALL.map(RequestKind::as_str);
                    let help = did_you_mean(&name, known)
                        .unwrap_or_else(|| format!("there are `{}`", known.join("`, `")));
                    self.error(key_node.span, error.to_string(), Some(help));
                }
            }
        }
        if sections.is_empty() {
            let message = "the policy has no section: only the defaults apply".to_owned();
            self.note(Severity::Warning, node.span, message, None);
        }
        trees
    }

    /// Each profile has quotas of its own: where anyone can make profiles, a quota bounds no one.
    fn warn_of_free_profiles(&mut self, trees: &BTreeMap<RequestKind, Vec<RuleSet>>) {
        let Some(place) = self.first_quota else {
            return;
        };
        let approves_all = |set: &RuleSet| set.rules.iter().all(|rule| rule.name == "approve-rule");
        let is_restricted = trees
            .get(&RequestKind::CreateProfile)
            .is_some_and(|sets| !sets.iter().any(approves_all));
        if !is_restricted {
            let message =
                "each new profile has a quota of its own, and `create_profile` is not restricted";
            let help = "restrict `create_profile`; until then, only `max_new_profiles_per_day` in server.toml does";
            self.note(Severity::Warning, place, message.into(), Some(help.into()));
        }
    }

    fn tree(&mut self, kind: RequestKind, value: &Value, node: &Rc<Node>) -> Vec<RuleSet> {
        let Value::Sequence(sets) = value else {
            let what = format!("the rule tree of `{kind}`");
            self.expected(node.span, &what, "a list of rule sets", value);
            return Vec::new();
        };
        let mut written: Vec<(Span, Vec<WrittenRule<'_>>)> = Vec::with_capacity(sets.len());
        for (index, set) in sets.iter().enumerate() {
            if self.has_given_up() {
                break;
            }
            let set_node = node.element(index);
            written.push((set_node.span, self.set(kind, set, &set_node)));
        }
        let contents: Vec<Vec<Content>> = written
            .iter()
            .map(|(_, rules)| rules.iter().map(|rule| rule.content).collect())
            .collect();
        let ids = rule_id::derive(&contents);
        let mut tree = Vec::with_capacity(written.len());
        for ((span, rules), ids) in written.into_iter().zip(ids) {
            let bound = rules.into_iter().zip(ids);
            let rules = bound
                .filter_map(|(rule, id)| self.build(kind, rule, id))
                .collect();
            tree.push(RuleSet {
                rules,
                line: span.line,
            });
        }
        tree
    }

    fn set<'v>(
        &mut self,
        kind: RequestKind,
        value: &'v Value,
        node: &Rc<Node>,
    ) -> Vec<WrittenRule<'v>> {
        let rules = match value {
            Value::Sequence(rules) => rules,
            Value::Mapping(_) => {
                let help = "a rule set is a list of rules: begin it with `- - rule: ...`";
                let message = "a rule stands where a rule set should".to_owned();
                self.error(node.span, message, Some(help.into()));
                return Vec::new();
            }
            other => {
                self.expected(node.span, "a rule set", "a list of rules", other);
                return Vec::new();
            }
        };
        if rules.is_empty() {
            let message = format!("an empty rule set approves every `{kind}` request");
            let help = "say so with `rule: approve-rule`".to_owned();
            self.note(Severity::Warning, node.span, message, Some(help));
        }
        rules
            .iter()
            .enumerate()
            .filter_map(|(index, rule)| self.rule(kind, rule, &node.element(index)))
            .collect()
    }

    fn rule<'v>(
        &mut self,
        kind: RequestKind,
        value: &'v Value,
        node: &Rc<Node>,
    ) -> Option<WrittenRule<'v>> {
        let Value::Mapping(entries) = value else {
            self.expected(node.span, "a rule", "a mapping with `rule` in it", value);
            return None;
        };
        let (mut name, mut id) = (None, None);
        let mut span = node.span;
        let mut arguments = Vec::with_capacity(entries.len());
        for (index, (key, value)) in entries.iter().enumerate() {
            let (key_node, node) = node.entry(index);
            match key {
                Value::String(key) if key == "rule" => {
                    span = node.span;
                    name = Some(self.name(value, &node)?);
                }
                Value::String(key) if key == "rule_id" => id = self.id(value, &node),
                Value::String(key) => arguments.push(Entry {
                    key,
                    key_span: key_node.span,
                    value,
                    node,
                }),
                other => self.expected(key_node.span, "the name of an argument", "text", other),
            }
        }
        let Some(name) = name else {
            self.no_name(entries, span);
            return None;
        };
        // A rule with an id is never equal to one without: the ids of the latter do not hang on it.
        let written = id.clone().map(Value::String);
        let pairs = arguments.iter().map(|entry| (entry.key, entry.value));
        let pairs = pairs.chain(written.iter().map(|id| ("rule_id", id)));
        let content = rule_id::content(kind, &name, pairs);
        Some(WrittenRule {
            name,
            span,
            id,
            arguments,
            content,
        })
    }

    fn no_name(&mut self, entries: &Mapping, span: Span) {
        let keys = entries.keys().filter_map(Value::as_str);
        let help = keys
            .filter(|key| nearest(key, ["rule"]).is_some())
            .map(|key| format!("`{key}` is no argument of a rule; did you mean `rule`?"))
            .next()
            .unwrap_or_else(|| "name it with `rule: ...`".to_owned());
        self.error(span, "a rule has no name".into(), Some(help));
    }

    /// The name of a rule that there is.
    fn name(&mut self, value: &Value, node: &Node) -> Option<String> {
        let Some(name) = document::text(value, node) else {
            self.expected(node.span, "`rule`", "the name of a rule", value);
            return None;
        };
        if self.registry.builder(&name).is_none() {
            let names: Vec<&str> = self.registry.names().collect();
            let help = did_you_mean(&name, names.iter().copied())
                .unwrap_or_else(|| format!("there are `{}`", names.join("`, `")));
            self.error(node.span, format!("unknown rule `{name}`"), Some(help));
            return None;
        }
        Some(name)
    }

    fn id(&mut self, value: &Value, node: &Node) -> Option<String> {
        let Some(id) = document::text(value, node) else {
            let help = "put it in quotes".to_owned();
            let message = format!("`rule_id` must be text, not {}", document::sort(value));
            self.error(node.span, message, Some(help));
            return None;
        };
        let fault = if id.is_empty() {
            "is empty"
        } else if id.len() > MAX_RULE_ID {
            "is longer than 200 bytes"
        } else if id.chars().any(char::is_control) {
            "has a control character"
        } else {
            return Some(id);
        };
        self.error(node.span, format!("`rule_id` {fault}"), None);
        None
    }

    fn build(
        &mut self,
        kind: RequestKind,
        rule: WrittenRule<'_>,
        derived: String,
    ) -> Option<BoundRule> {
        if self.has_given_up() {
            return None;
        }
        let builder = self.registry.builder(&rule.name)?;
        let content = rule.content;
        let is_derived = rule.id.is_none();
        let id = rule.id.unwrap_or(derived);
        let mut arguments = Arguments::new(
            rule.arguments,
            (format!("`{}`", rule.name), rule.span),
            (&id, is_derived),
            kind,
            self.time_zone,
        )
        .sharing(&self.memory);
        let built: Option<Option<Box<dyn Rule>>> =
            catch_unwind(AssertUnwindSafe(|| builder.build(&mut arguments))).ok();
        if built.is_none() {
            arguments.error(
                arguments.here(),
                format!("`{}` panicked while it was built", rule.name),
            );
        } else if matches!(built, Some(None)) && !arguments.has_errors() {
            arguments.error(arguments.here(), format!("`{}` cannot be built", rule.name));
        }
        let quota = arguments.does_count().then_some(content);
        if quota.is_some() && kind != RequestKind::CreateProfile {
            self.first_quota = self.first_quota.or(Some(rule.span));
        }
        for note in arguments.finish(&rule.name) {
            self.note(note.severity, note.place.0, note.message, note.help);
        }
        Some(BoundRule {
            rule: built??,
            name: rule.name,
            id,
            line: rule.span.line,
            quota,
        })
    }

    fn expected(&mut self, span: Span, what: &str, expected: &str, found: &Value) {
        let found = document::sort(found);
        self.error(
            span,
            format!("{what} must be {expected}, not {found}"),
            None,
        );
    }

    fn error(&mut self, span: Span, message: String, help: Option<String>) {
        self.note(Severity::Error, span, message, help);
    }

    fn note(&mut self, severity: Severity, span: Span, message: String, help: Option<String>) {
        let count = match severity {
            Severity::Error => &mut self.errors,
            _ => &mut self.warnings,
        };
        *count += 1;
        if *count <= MAX_DIAGNOSTICS {
            let diagnostic = self.source.diagnostic(severity, span, message, help);
            self.diagnostics.push(diagnostic);
        }
    }

    /// Whether so much is wrong that the rest is not looked at.
    fn has_given_up(&self) -> bool {
        self.errors >= MAX_DIAGNOSTICS
    }
}

fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, known).map(|near| format!("did you mean `{near}`?"))
}

#[cfg(test)]
mod tests;
