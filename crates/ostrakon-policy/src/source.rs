//! Where things stand in a text.

use crate::diagnostic::{Diagnostic, Severity};

/// A stretch of text. Lines count from 1, columns from 0, both in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// How many characters of the first line it covers; 0 when it is a point or goes on below.
    pub(crate) length: usize,
}

impl From<saphyr_parser::Span> for Span {
    fn from(span: saphyr_parser::Span) -> Self {
        let one_line = span.start.line() == span.end.line();
        Self {
            line: span.start.line(),
            column: span.start.col(),
            length: if one_line {
                span.end.col().saturating_sub(span.start.col())
            } else {
                0
            },
        }
    }
}

impl Span {
    /// The place at which a parser stopped.
    pub(crate) fn point(line: usize, column: usize) -> Self {
        Self {
            line,
            column,
            length: 0,
        }
    }
}

/// A named text, by lines.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Source<'a> {
    /// A byte order mark, as editors of some systems put in front, is no part of the text.
    pub(crate) fn new(name: &'a str, text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            name,
            text,
            lines: text.lines().collect(),
        }
    }

    /// The line in which `span` begins.
    pub(crate) fn line(&self, span: Span) -> Option<&'a str> {
        self.lines.get(span.line.checked_sub(1)?).copied()
    }

    /// A diagnostic that points at `span`.
    pub(crate) fn diagnostic(
        &self,
        severity: Severity,
        span: Span,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Diagnostic {
        let line = self.line(span).unwrap_or_default();
        Diagnostic::new(severity, message.into(), help, self.name, span, line)
    }

    /// An error that points at `span`.
    pub(crate) fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(Severity::Error, span, message, None)
    }
}
