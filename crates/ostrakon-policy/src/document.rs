//! One YAML document: its value, and where in the text each part of it stands.
//!
//! There is one authority on values, `serde_yaml`. The second parser tells positions, bounds what the
//! first will be given, and finds duplicate keys; it never yields a value. A text that either of them
//! refuses is refused.

use std::{borrow::Cow, collections::HashMap, rc::Rc};

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_yaml::Value;

use crate::{
    diagnostic::{Diagnostic, Severity},
    source::{Source, Span},
};

/// The longest text that is looked at, in bytes.
const MAX_BYTES: usize = 8 << 20;
/// The most nodes that a document may have, aliases counted as what they stand for.
const MAX_NODES: usize = 250_000;
/// How deep lists and mappings may be nested. A policy needs 5 levels, a suite 7.
const MAX_DEPTH: usize = 24;

/// A document that both parsers agree is one.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) value: Value,
    pub(crate) root: Rc<Node>,
}

/// A node of the document: where it stands and what is below it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: NodeKind,
    /// Nodes from here on down, itself included.
    size: usize,
    /// Levels from here on down, itself included.
    height: usize,
}

#[derive(Debug)]
pub(crate) enum NodeKind {
    /// The text of a scalar without quotes, `None` for one with quotes.
    Scalar(Option<Box<str>>),
    Sequence(Vec<Rc<Node>>),
    Mapping(Vec<(Rc<Node>, Rc<Node>)>),
}

impl Node {
    /// The node of element `index` of a sequence, or this node when it has none.
    pub(crate) fn element(self: &Rc<Self>, index: usize) -> Rc<Node> {
        match &self.kind {
            NodeKind::Sequence(elements) => elements.get(index),
            _ => None,
        }
        .unwrap_or(self)
        .clone()
    }

    /// The nodes of key and value number `index` of a mapping, or this node when it has none.
    pub(crate) fn entry(self: &Rc<Self>, index: usize) -> (Rc<Node>, Rc<Node>) {
        match &self.kind {
            NodeKind::Mapping(entries) => entries.get(index).cloned(),
            _ => None,
        }
        .unwrap_or_else(|| (self.clone(), self.clone()))
    }
}

/// Reads `source` as one document.
pub(crate) fn read(source: &Source<'_>) -> Result<Document, Vec<Diagnostic>> {
    if source.text.len() > MAX_BYTES {
        let message = format!(
            "file is too large: {} bytes, at most {MAX_BYTES} are allowed",
            source.text.len()
        );
        return Err(vec![source.error(Span::default(), message)]);
    }
    let mut index = Index::new(source);
    let root = index.build().map_err(|diagnostic| vec![*diagnostic])?;
    if !index.faults.is_empty() {
        return Err(index.faults);
    }
    let Some(root) = root else {
        return Err(vec![source.error(Span::default(), "file is empty")]);
    };
    let value = serde_yaml::from_str(source.text).map_err(|error| vec![misread(source, &error)])?;
    Ok(Document { value, root })
}

/// What `serde_yaml` says is wrong with the text.
fn misread(source: &Source<'_>, error: &serde_yaml::Error) -> Diagnostic {
    let (span, message) = placed(error);
    unreadable(source, span, &message)
}

/// What `serde_yaml` says where the text is YAML, but not what it is read as.
pub(crate) fn unfit(source: &Source<'_>, error: &serde_yaml::Error) -> Diagnostic {
    let (span, message) = placed(error);
    source.error(span, message)
}

/// Where an error lies, and what it says but for that.
fn placed(error: &serde_yaml::Error) -> (Span, String) {
    let mut message = error.to_string();
    let span = error.location().map_or(Span::default(), |place| {
        let (line, column) = (place.line(), place.column());
        if let Some(end) = message.rfind(&format!(" at line {line} column {column}")) {
            message.truncate(end);
        }
        Span::point(line, column.saturating_sub(1))
    });
    (span, message)
}

/// What a parser says of a place at which it gave up.
fn unreadable(source: &Source<'_>, span: Span, fault: &str) -> Diagnostic {
    let help = if source.line(span).is_some_and(looks_unquoted) {
        Some("put text that begins with `*`, `!` or `&` in quotes")
    } else {
        None
    };
    let message = format!("invalid YAML: {fault}");
    source.diagnostic(Severity::Error, span, message, help.map(str::to_owned))
}

/// Whether the line may hold a pattern that was meant as text, but has another meaning in YAML.
fn looks_unquoted(line: &str) -> bool {
    let begins = |lead: &str| {
        ["*", "!", "&"]
            .iter()
            .any(|sign| line.contains(&format!("{lead}{sign}")))
    };
    ["[", ", ", "- ", ": "].into_iter().any(begins)
}

/// Whether it is a number of more bits than a value can have. An id may look like one.
fn is_too_large(text: &str) -> bool {
    // The least of them has 17 characters, and is hexadecimal.
    (17..=200).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+')
        && serde_yaml::from_str::<Value>(text)
            .is_err_and(|error| error.to_string().contains("integer `"))
}

type Fault = Box<Diagnostic>;

/// Builds the tree of nodes from the events of the second parser.
struct Index<'s, 'a> {
    source: &'s Source<'a>,
    /// Lists and mappings that are still open, outermost first.
    open: Vec<Open<'a>>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    nodes: usize,
    faults: Vec<Diagnostic>,
}

struct Open<'a> {
    span: Span,
    anchor: usize,
    mapping: bool,
    children: Vec<Rc<Node>>,
    /// The keys of a mapping so far, and where they stand.
    keys: HashMap<Cow<'a, str>, usize>,
}

impl<'s, 'a> Index<'s, 'a> {
    fn new(source: &'s Source<'a>) -> Self {
        Self {
            source,
            open: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            nodes: 0,
            faults: Vec::new(),
        }
    }

    fn build(&mut self) -> Result<Option<Rc<Node>>, Fault> {
        let mut documents = 0;
        for event in Parser::new_from_str(self.source.text) {
            let (event, span) = event.map_err(|error| {
                let place = Span::point(error.marker().line(), error.marker().col());
                Box::new(unreadable(self.source, place, error.info()))
            })?;
            let span = Span::from(span);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(Box::new(
                            self.source.error(span, "more than one YAML document"),
                        ));
                    }
                }
                Event::Scalar(text, style, anchor, _) => {
                    self.key(text.clone(), span);
                    let plain = style == ScalarStyle::Plain;
                    if plain && is_too_large(&text) {
                        self.faults.push(self.source.diagnostic(
                            Severity::Error,
                            span,
                            format!("the number `{text}` is too large"),
                            Some("where text is meant, an id for example, put it in quotes".into()),
                        ));
                    }
                    let kind = NodeKind::Scalar(plain.then(|| (*text).into()));
                    self.add(span, kind, 1, 1, anchor)?;
                }
                Event::Alias(anchor) => {
                    let node = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                        Box::new(
                            self.source
                                .error(span, "alias of something that is not complete"),
                        )
                    })?;
                    self.count(span, node.size)?;
                    self.attach(span, node)?;
                }
                Event::SequenceStart(anchor, _) => self.open(span, anchor, false)?,
                Event::MappingStart(anchor, _) => self.open(span, anchor, true)?,
                Event::SequenceEnd | Event::MappingEnd => self.close()?,
                _ => {}
            }
        }
        Ok(self.root.take())
    }

    /// Counts `more` nodes against the limit.
    fn count(&mut self, span: Span, more: usize) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > MAX_NODES {
            let message = format!(
                "document is too large: more than {MAX_NODES} values, aliases counted in full"
            );
            return Err(Box::new(self.source.error(span, message)));
        }
        Ok(())
    }

    /// Notes a scalar that is a key of the innermost mapping, and reports it when it is there already.
    fn key(&mut self, text: Cow<'a, str>, span: Span) {
        let Some(open) = self.open.last_mut() else {
            return;
        };
        if open.mapping && open.children.len().is_multiple_of(2) {
            match open.keys.get(&text) {
                Some(&line) => {
                    let message = format!("duplicate key `{text}`");
                    let help = Some(format!("it stands in line {line} already"));
                    let fault = self.source.diagnostic(Severity::Error, span, message, help);
                    self.faults.push(fault);
                }
                None => {
                    open.keys.insert(text, span.line);
                }
            }
        }
    }

    fn open(&mut self, span: Span, anchor: usize, mapping: bool) -> Result<(), Fault> {
        self.open.push(Open {
            span,
            anchor,
            mapping,
            children: Vec::new(),
            keys: HashMap::new(),
        });
        self.deep(span, 0)
    }

    fn deep(&self, span: Span, below: usize) -> Result<(), Fault> {
        if self.open.len() + below > MAX_DEPTH {
            let message = format!("nested too deeply: more than {MAX_DEPTH} levels");
            return Err(Box::new(self.source.error(span, message)));
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let size = open.children.iter().map(|node| node.size).sum::<usize>() + 1;
        let height = open.children.iter().map(|node| node.height).max();
        let kind = if open.mapping {
            let mut nodes = open.children.into_iter();
            let mut entries = Vec::with_capacity(nodes.len() / 2);
            while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
                entries.push((key, value));
            }
            NodeKind::Mapping(entries)
        } else {
            NodeKind::Sequence(open.children)
        };
        self.add(open.span, kind, size, height.unwrap_or(0) + 1, open.anchor)
    }

    fn add(
        &mut self,
        span: Span,
        kind: NodeKind,
        size: usize,
        height: usize,
        anchor: usize,
    ) -> Result<(), Fault> {
        self.count(span, 1)?;
        let node = Rc::new(Node {
            span,
            kind,
            size,
            height,
        });
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.attach(span, node)
    }

    fn attach(&mut self, span: Span, node: Rc<Node>) -> Result<(), Fault> {
        // A scalar lies on the level of the list that it stands in.
        self.deep(span, node.height - 1)?;
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}

/// The text that stands at `node`, where the value is text or could be nothing else.
///
/// A scalar without quotes that YAML takes for a number or a boolean is taken as written, if
/// `serde_yaml` agrees that this writing has this value.
pub(crate) fn text(value: &Value, node: &Node) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => match &node.kind {
            NodeKind::Scalar(Some(text)) => {
                let again: Value = serde_yaml::from_str(text).ok()?;
                (again == *value).then(|| text.to_string())
            }
            _ => None,
        },
        _ => None,
    }
}

/// What sort of value it is, in a person's words.
pub(crate) fn sort(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a YAML tag",
    }
}

#[cfg(test)]
mod tests;
