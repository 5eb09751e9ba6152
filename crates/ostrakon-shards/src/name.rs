//! Names that people give to devices, profiles and servers.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Decoder, Encode, Encoder, encode::Write};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A name of 1 to 128 bytes that shows as what it is: no control characters, line breaks, or
/// characters that change the direction of text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// Why text is not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// No text at all.
    #[error("name is empty")]
    Empty,
    /// More than 128 bytes.
    #[error("name is longer than {} bytes", Name::MAX_LEN)]
    TooLong,
    /// A character that would not show, or would change how others show.
    #[error("name has a control character (U+{:04X})", *.0 as u32)]
    Control(char),
}

impl Name {
    /// The greatest length in bytes.
    pub const MAX_LEN: usize = 128;

    /// Takes `text` as it is.
    ///
    /// # Errors
    /// When it is empty, too long, or has a control character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(NameError::TooLong);
        }
        match text.chars().find(|&c| is_control(c)) {
            Some(control) => Err(NameError::Control(control)),
            None => Ok(Self(text.into())),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' // marks of direction
            | '\u{2028}' | '\u{2029}' // separators of lines and paragraphs
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // embedding, override, isolation
            | '\u{feff}')
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl<C> Encode<C> for Name {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Name {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        Self::new(d.str()?).map_err(|error| minicbor::decode::Error::custom(error).at(at))
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_show_as_they_are() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert!(Name::new(&"x".repeat(128)).is_ok());
        assert_eq!(Name::new(&"x".repeat(129)), Err(NameError::TooLong));
        assert!(Name::new("Zoë's laptop (Straße 7)").is_ok());
        for control in ['\0', '\n', '\u{7f}', '\u{85}', '\u{202e}', '\u{2028}'] {
            let error = Name::new(&format!("a{control}b")).unwrap_err();
            assert_eq!(error, NameError::Control(control));
        }
        let error = NameError::Control('\u{202e}').to_string();
        assert_eq!(error, "name has a control character (U+202E)");
    }
}
