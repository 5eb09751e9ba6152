use std::{error::Error, fmt};

/// Shows an error with all that caused it, in one line: `a: b: c`.
///
/// A cause whose words the error before it has said already is left out: some libraries repeat their
/// sources.
#[derive(Debug)]
pub struct ErrorChain<'a>(pub &'a dyn Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let text = error.to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            next = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Repeating);

    #[derive(Debug, thiserror::Error)]
    #[error("middle: {0}")]
    struct Repeating(#[source] std::fmt::Error);

    #[test]
    fn every_cause_is_said_once() {
        let inner = std::fmt::Error.to_string();
        let shown = ErrorChain(&Outer(Repeating(std::fmt::Error))).to_string();
        assert_eq!(shown, format!("outer: middle: {inner}"));
    }
}
