mod note;
mod shape;

use std::{cell::Cell, fmt, ops::RangeInclusive, rc::Rc};

use jiff::tz::TimeZone;
use ostrakon_types::RequestKind;
use serde_yaml::Value;

use crate::{
    diagnostic::Severity,
    document::{self, Node},
    source::Span,
};

pub use note::{Located, Note, Place};
pub(crate) use shape::{Asked, Bounds, Shape};

/// The arguments of one rule in a policy file, as its builder sees them.
///
/// The methods that read an argument give its value, and report it when it is of a wrong type, so that
/// one pass finds every fault. What the builder asks for is what the rule knows: an argument that no
/// one asked for is unknown, and makes loading fail. So ask for every argument before giving up on one.
#[derive(Debug)]
pub struct Arguments<'a> {
    entries: Vec<Entry<'a>>,
    /// Whose arguments they are, in words.
    owner: String,
    rule: Span,
    rule_id: &'a str,
    derived: bool,
    kind: RequestKind,
    time_zone: &'a TimeZone,
    asked: Vec<Asked>,
    /// Whether the builder is called to see what it asks for.
    surveyed: bool,
    notes: Vec<Note>,
    counts_approvals: bool,
    /// Bytes that the policy's rules have taken so far.
    memory: Rc<Cell<usize>>,
}

#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a str,
    pub(crate) key_span: Span,
    pub(crate) value: &'a Value,
    pub(crate) node: Rc<Node>,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(
        entries: Vec<Entry<'a>>,
        (owner, rule): (String, Span),
        (rule_id, derived): (&'a str, bool),
        kind: RequestKind,
        time_zone: &'a TimeZone,
    ) -> Self {
        Self {
            entries,
            owner,
            rule,
            rule_id,
            derived,
            kind,
            time_zone,
            asked: Vec::new(),
            surveyed: false,
            notes: Vec::new(),
            counts_approvals: false,
            memory: Rc::default(),
        }
    }

    /// Those of a rule that shares a bound on memory with others.
    pub(crate) fn sharing(self, memory: &Rc<Cell<usize>>) -> Self {
        let memory = Rc::clone(memory);
        Self { memory, ..self }
    }

    /// How many bytes the policy's rules have taken so far.
    pub(crate) fn memory(&self) -> &Cell<usize> {
        &self.memory
    }

    /// No arguments, to see what a builder asks for.
    pub(crate) fn survey(kind: RequestKind, time_zone: &'a TimeZone) -> Self {
        Self {
            surveyed: true,
            ..Self::new(
                Vec::new(),
                (String::new(), Span::default()),
                ("", false),
                kind,
                time_zone,
            )
        }
    }

    /// What was asked for.
    pub(crate) fn into_asked(self) -> Vec<Asked> {
        self.asked
    }

    /// Says that the rule charges, so that loading can tell whether the policy's quotas can be dodged.
    pub fn counts_approvals(&mut self) {
        self.counts_approvals = true;
    }

    /// Whether the rule says that it charges.
    pub(crate) fn does_count(&self) -> bool {
        self.counts_approvals
    }

    /// The rule's id: the one that the file gives it, or one derived from its content.
    #[must_use]
    pub fn rule_id(&self) -> &str {
        self.rule_id
    }

    /// Whether the rule's id is derived, so that editing the rule changes it.
    #[must_use]
    pub fn is_rule_id_derived(&self) -> bool {
        self.derived
    }

    /// The request type in whose tree the rule stands.
    #[must_use]
    pub fn request_kind(&self) -> RequestKind {
        self.kind
    }

    /// The policy's time zone.
    #[must_use]
    pub fn time_zone(&self) -> &TimeZone {
        self.time_zone
    }

    /// Whether the file gives the argument, be it well or ill.
    pub fn is_given(&mut self, name: &str) -> bool {
        self.find(name, Shape::Any).is_some()
    }

    /// Says that the rule cannot be without the argument, and reports it where it is not given.
    pub fn require(&mut self, name: &str) {
        if !self.is_given(name) {
            let message = format!("{} needs `{name}`", self.owner);
            self.error(self.here(), message);
        }
        let mut asked = self.asked.iter_mut();
        if let Some(asked) = asked.find(|asked| asked.name == name) {
            asked.required = true;
        }
    }

    /// Where the argument stands, or the rule when it is not given.
    #[must_use]
    pub fn place(&self, name: &str) -> Place {
        let entry = self.entries.iter().find(|entry| entry.key == name);
        Place(entry.map_or(self.rule, |entry| entry.node.span))
    }

    /// Where the rule stands.
    #[must_use]
    pub fn here(&self) -> Place {
        Place(self.rule)
    }

    /// Reports a fault: the policy will not load.
    pub fn error(&mut self, place: Place, message: impl Into<String>) -> &mut Note {
        self.note(Severity::Error, place, message.into())
    }

    /// Reports what hardly means what was meant. The policy loads, unless warnings are denied.
    pub fn warn(&mut self, place: Place, message: impl Into<String>) -> &mut Note {
        self.note(Severity::Warning, place, message.into())
    }

    /// Reports something worth knowing.
    pub fn inform(&mut self, place: Place, message: impl Into<String>) -> &mut Note {
        self.note(Severity::Note, place, message.into())
    }

    /// A boolean, `false` when not given.
    pub fn flag(&mut self, name: &str) -> bool {
        match self.find(name, Shape::Flag) {
            None => false,
            Some((value, node)) => match value {
                Value::Bool(flag) => *flag,
                other => {
                    self.expected(name, "`true` or `false`", other, &node);
                    false
                }
            },
        }
    }

    /// A whole number that is not negative.
    pub fn count(&mut self, name: &str) -> Option<u64> {
        let (value, node) = self.find(name, Shape::Count(Bounds::none()))?;
        self.whole(name, value, &node)
    }

    /// A whole number in the range. What it means is told where it is another.
    pub fn count_within(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
        meaning: &str,
    ) -> Option<u64> {
        let (value, node) = self.find(name, Shape::Count(Bounds::of(range.clone(), meaning)))?;
        self.within(name, value, &node, &range, meaning)
    }

    /// A list of whole numbers that are not negative; `None` when not given.
    pub fn counts(&mut self, name: &str) -> Option<Vec<Located<u64>>> {
        let list = self.list(name, Shape::Counts(Bounds::none()))?;
        let counts = list.into_iter().filter_map(|(value, node)| {
            let value = self.whole(name, value, &node)?;
            Some(Located::new(value, &node))
        });
        Some(counts.collect())
    }

    /// A list of whole numbers in the range; `None` when not given. What they mean is told where one is
    /// another.
    pub fn counts_within(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
        meaning: &str,
    ) -> Option<Vec<Located<u64>>> {
        let list = self.list(name, Shape::Counts(Bounds::of(range.clone(), meaning)))?;
        let counts = list.into_iter().filter_map(|(value, node)| {
            let value = self.within(name, value, &node, &range, meaning)?;
            Some(Located::new(value, &node))
        });
        Some(counts.collect())
    }

    /// A text.
    pub fn text(&mut self, name: &str) -> Option<Located<String>> {
        let (value, node) = self.find(name, Shape::Text)?;
        self.as_text(name, value, &node)
    }

    /// One of the texts in `choices`, by its place there.
    pub fn choice(&mut self, name: &str, choices: &[&str]) -> Option<Located<usize>> {
        let shape = Shape::Choice(choices.iter().map(|choice| (*choice).to_owned()).collect());
        let (value, node) = self.find(name, shape)?;
        let text = self.as_text(name, value, &node)?;
        let place = text.place;
        if let Some(value) = choices.iter().position(|choice| *choice == text.value) {
            return Some(Located { value, place });
        }
        let help = match crate::nearest::nearest(&text.value, choices.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are `{}`", choices.join("`, `")),
        };
        let message = format!("`{name}` cannot be `{}`", text.value);
        self.error(place, message).help(help);
        None
    }

    /// A list of groups of arguments, each read by `read`, which asks for all that may stand in it;
    /// `None` when not given.
    pub fn groups<T>(
        &mut self,
        name: &str,
        mut read: impl FnMut(&mut Arguments<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        if self.surveyed {
            let mut inner = Arguments::survey(self.kind, self.time_zone);
            read(&mut inner);
            self.ask(name, Shape::Groups(inner.into_asked()));
            return None;
        }
        let list = self.list(name, Shape::Groups(Vec::new()))?;
        let mut groups = Vec::with_capacity(list.len());
        for (value, node) in list {
            let Value::Mapping(arguments) = value else {
                self.expected(name, "a list of mappings", value, &node);
                continue;
            };
            let mut entries = Vec::with_capacity(arguments.len());
            for (index, (key, value)) in arguments.iter().enumerate() {
                let (key_node, node) = node.entry(index);
                let key_span = key_node.span;
                match key {
                    Value::String(key) => entries.push(Entry {
                        key,
                        key_span,
                        value,
                        node,
                    }),
                    other => {
                        self.expected(name, "a list of mappings with names", other, &key_node);
                    }
                }
            }
            let ids = (self.rule_id, self.derived);
            let owner = (format!("an entry of `{name}`"), node.span);
            let mut inner = Arguments::new(entries, owner, ids, self.kind, self.time_zone)
                .sharing(&self.memory);
            groups.extend(read(&mut inner));
            self.notes.extend(inner.finish(name));
        }
        Some(groups)
    }

    /// A list of texts; `None` when not given.
    pub fn texts(&mut self, name: &str) -> Option<Vec<Located<String>>> {
        let list = self.list(name, Shape::Texts)?;
        Some(self.as_texts(name, list))
    }

    /// A list of texts, for which a single text may stand; `None` when not given.
    pub fn text_or_texts(&mut self, name: &str) -> Option<Vec<Located<String>>> {
        match self.find(name, Shape::TextOrTexts)? {
            (Value::Sequence(_), _) => {
                let list = self.list(name, Shape::TextOrTexts)?;
                Some(self.as_texts(name, list))
            }
            (value, node) => Some(self.as_texts(name, vec![(value, node)])),
        }
    }

    /// Whether a fault was reported so far.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.notes
            .iter()
            .any(|note| note.severity == Severity::Error)
    }

    /// Ends the building: reports what no one asked for, and yields all that was reported.
    pub(crate) fn finish(mut self, rule: &str) -> Vec<Note> {
        let entries = std::mem::take(&mut self.entries);
        for entry in entries {
            if self.asked.iter().any(|asked| asked.name == entry.key) {
                continue;
            }
            let known = self
                .asked
                .iter()
                .map(|asked| asked.name.as_str())
                .chain(["rule", "rule_id"]);
            let help = match crate::nearest::nearest(entry.key, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None if entry.key == "<<" => "merge keys are not supported".to_owned(),
                None if self.asked.is_empty() => format!("`{rule}` takes no arguments"),
                None => {
                    let names: Vec<&str> =
                        self.asked.iter().map(|asked| asked.name.as_str()).collect();
                    format!("it takes `{}`", names.join("`, `"))
                }
            };
            let message = format!("unknown argument `{}` of `{rule}`", entry.key);
            self.error(Place(entry.key_span), message).help(help);
        }
        self.notes
    }

    fn note(&mut self, severity: Severity, place: Place, message: String) -> &mut Note {
        self.notes.push(Note {
            severity,
            place,
            message,
            help: None,
        });
        let last = self.notes.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "the note was pushed just now")]
        &mut self.notes[last]
    }

    /// Remembers that the argument was asked for, and what it must be as soon as that is known.
    fn ask(&mut self, name: &str, shape: Shape) {
        match self.asked.iter_mut().find(|asked| asked.name == name) {
            Some(asked) if matches!(asked.shape, Shape::Any) => asked.shape = shape,
            Some(_) => {}
            None => self.asked.push(Asked {
                name: name.to_owned(),
                shape,
                required: false,
            }),
        }
    }

    fn find(&mut self, name: &str, shape: Shape) -> Option<(&'a Value, Rc<Node>)> {
        self.ask(name, shape);
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        Some((entry.value, entry.node.clone()))
    }

    fn list(&mut self, name: &str, shape: Shape) -> Option<Vec<(&'a Value, Rc<Node>)>> {
        let (value, node) = self.find(name, shape)?;
        match value {
            Value::Sequence(values) => Some(
                values
                    .iter()
                    .enumerate()
                    .map(|(index, value)| (value, node.element(index)))
                    .collect(),
            ),
            other => {
                self.expected(name, "a list", other, &node)
                    .help(format!("write `{name}: [...]`"));
                None
            }
        }
    }

    fn whole(&mut self, name: &str, value: &Value, node: &Node) -> Option<u64> {
        let count = value.as_u64();
        if count.is_none() {
            self.expected(name, "a whole number that is not negative", value, node);
        }
        count
    }

    fn within(
        &mut self,
        name: &str,
        value: &Value,
        node: &Node,
        range: &RangeInclusive<u64>,
        meaning: &str,
    ) -> Option<u64> {
        let count = self.whole(name, value, node)?;
        if range.contains(&count) {
            return Some(count);
        }
        let (least, most) = (range.start(), range.end());
        let message = format!("`{name}` must be from {least} to {most}, not {count}");
        self.error(Place(node.span), message).help(meaning);
        None
    }

    fn as_texts(&mut self, name: &str, list: Vec<(&Value, Rc<Node>)>) -> Vec<Located<String>> {
        list.into_iter()
            .filter_map(|(value, node)| self.as_text(name, value, &node))
            .collect()
    }

    fn as_text(&mut self, name: &str, value: &Value, node: &Node) -> Option<Located<String>> {
        if let Some(text) = document::text(value, node) {
            return Some(Located::new(text, node));
        }
        let note = self.expected(name, "text", value, node);
        match value {
            Value::Tagged(_) => note.help("put it in quotes: without them, `!` begins a YAML tag"),
            Value::Null | Value::Bool(_) | Value::Number(_) => note.help("put it in quotes"),
            _ => note,
        };
        None
    }

    fn expected(
        &mut self,
        name: &str,
        expected: impl fmt::Display,
        value: &Value,
        node: &Node,
    ) -> &mut Note {
        let found = match value {
            Value::String(text) if text.len() <= 40 => format!("the text `{text}`"),
            other => document::sort(other).to_owned(),
        };
        let message = format!("`{name}` must be {expected}, not {found}");
        self.error(Place(node.span), message)
    }
}
