use crate::{diagnostic::Severity, document::Node, source::Span};

/// A place in a policy file, to report something there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub(crate) Span);

/// A value and the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

impl<T> Located<T> {
    pub(crate) fn new(value: T, node: &Node) -> Self {
        Self {
            value,
            place: Place(node.span),
        }
    }
}

/// Something reported while a rule was built; a help may be added.
#[derive(Debug)]
pub struct Note {
    pub(crate) severity: Severity,
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Note {
    /// Adds what could be done about it.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }
}
