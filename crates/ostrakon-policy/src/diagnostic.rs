use std::fmt;

use serde::Serialize;

use crate::source::Span;

/// How many characters of a source line a diagnostic shows.
const EXCERPT: usize = 120;

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// The policy cannot be loaded.
    Error,
    /// The policy can be loaded, but hardly means what was meant; an error when warnings are denied.
    Warning,
    /// Something worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// Something that is to be said of a place in a policy file.
///
/// `Display` prints it with the source line and the place underlined:
///
/// ```text
/// error: unknown rule `meta-rul`
///  --> keyserver.yml:3:11
///   |
/// 3 |   - - rule: meta-rul
///   |             ^^^^^^^^
///   = help: did you mean `meta-rule`?
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// What is to be said, in lower case, without a period.
    pub message: String,
    /// What could be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The file's name, as it was given.
    pub file: String,
    /// The line, from 1; 0 where no place can be named.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters are meant, at least 1.
    pub length: usize,
    /// The part of the source line around the place, free of control characters.
    pub excerpt: String,
    /// How many characters of the line stand before the excerpt.
    excerpt_skips: usize,
}

impl Diagnostic {
    pub(crate) fn new(
        severity: Severity,
        message: String,
        help: Option<String>,
        file: &str,
        span: Span,
        line: &str,
    ) -> Self {
        // A policy may be one line of JSON: show what is around the place, and no more.
        let excerpt_skips = span.column.saturating_sub(EXCERPT / 2);
        let excerpt_skips = if span.column < EXCERPT {
            0
        } else {
            excerpt_skips
        };
        let excerpt: String = line
            .chars()
            .skip(excerpt_skips)
            .take(EXCERPT)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        Self {
            severity,
            message,
            help,
            file: file.to_owned(),
            line: span.line,
            column: span.column + 1,
            length: span.length.max(1),
            excerpt: excerpt.trim_end().to_owned(),
            excerpt_skips,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.message)?;
        let gutter = self.line.to_string().len();
        if self.line == 0 {
            write!(f, "\n --> {}", self.file)?;
        } else {
            let before = self.column.saturating_sub(1 + self.excerpt_skips);
            let room = EXCERPT.saturating_sub(before).max(1);
            write!(f, "\n{:gutter$}--> {}", "", self.file)?;
            writeln!(f, ":{}:{}", self.line, self.column)?;
            writeln!(f, "{:gutter$} |", "")?;
            writeln!(f, "{} | {}", self.line, self.excerpt)?;
            write!(f, "{:gutter$} | {:before$}", "", "")?;
            write!(f, "{:^<1$}", "", self.length.min(room))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{:gutter$} = help: {help}", "")?;
        }
        Ok(())
    }
}

/// Brings diagnostics into the order of the file; those without a place come last.
pub(crate) fn in_order(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(|diagnostic| {
        let (line, column) = (diagnostic.line, diagnostic.column);
        (line == 0, line, column)
    });
    diagnostics
}

/// Why a policy cannot be loaded: everything that is wrong with it, in the order of the file.
///
/// `Display` prints all of it, as [`Diagnostic`] does, with a count at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct LoadPolicyError {
    diagnostics: Vec<Diagnostic>,
}

impl LoadPolicyError {
    /// Takes diagnostics of which one at least is an error, in any order.
    pub(crate) fn new(diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            diagnostics: in_order(diagnostics),
        }
    }

    /// What is to be said of the file, errors, warnings and notes, in its order.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// What is to be said of the file, errors, warnings and notes, in its order.
    #[must_use]
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics
    }
}

impl fmt::Display for LoadPolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            writeln!(f, "{diagnostic}\n")?;
        }
        let count = |severity| {
            let of = |diagnostic: &&Diagnostic| diagnostic.severity == severity;
            self.diagnostics.iter().filter(of).count()
        };
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        write!(f, "policy not loaded: ")?;
        match (errors, warnings) {
            (_, 0) => write!(f, "{errors} error{}", plural(errors)),
            (0, _) => write!(f, "{warnings} warning{} denied", plural(warnings)),
            _ => write!(
                f,
                "{errors} error{}, {warnings} warning{}",
                plural(errors),
                plural(warnings)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_underlined() {
        let span = Span {
            line: 3,
            column: 12,
            length: 8,
        };
        let diagnostic = Diagnostic::new(
            Severity::Error,
            "unknown rule `meta-rul`".into(),
            Some("did you mean `meta-rule`?".into()),
            "keyserver.yml",
            span,
            "  - - rule: meta-rul",
        );
        assert_eq!(
            diagnostic.to_string(),
            "error: unknown rule `meta-rul`\n --> keyserver.yml:3:13\n  |\n3 |   - - rule: meta-rul\n  \
             |             ^^^^^^^^\n  = help: did you mean `meta-rule`?"
        );
    }

    #[test]
    fn long_lines_are_cut_around_the_place_and_control_characters_do_not_reach_a_terminal() {
        let line = format!("{}\u{1b}[31mhere{}", "x".repeat(5000), "y".repeat(5000));
        let span = Span {
            line: 1,
            column: 5005,
            length: 4,
        };
        let shown =
            Diagnostic::new(Severity::Error, "m".into(), None, "f", span, &line).to_string();
        assert!(!shown.contains('\u{1b}'));
        assert!(shown.len() < 500);
        let lines: Vec<&str> = shown.lines().collect();
        let at = lines[3].find("here").unwrap();
        assert_eq!(&lines[4][at..], "^^^^");
    }
}
