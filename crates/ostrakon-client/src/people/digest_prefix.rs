use std::str::FromStr;

use ostrakon_types::Digest;

/// Digits that it takes: a file that somebody wrote to be taken for another one would be found by chance with
/// fewer.
const MIN_DIGITS: usize = 8;
const MAX_DIGITS: usize = 64;

/// The first digits of a SHA-256, as a person gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestPrefix(String);

/// Why a text is not the beginning of a SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is given by its first {MIN_DIGITS} to {MAX_DIGITS} digits, 0-9 and a-f")]
pub struct ParseDigestPrefixError;

impl DigestPrefix {
    /// Whether the digest begins so.
    #[must_use]
    pub fn fits(&self, digest: &Digest) -> bool {
        digest.to_string().starts_with(&self.0)
    }
}

impl FromStr for DigestPrefix {
    type Err = ParseDigestPrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|sign| sign.is_ascii_hexdigit());
        if digits && (MIN_DIGITS..=MAX_DIGITS).contains(&text.len()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(ParseDigestPrefixError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_digits_of_the_digest_fit_and_fewer_are_none() {
        let digest = Digest::from_bytes([0xAB; 32]);
        let fits = |text: &str| {
            text.parse()
                .map(|prefix: DigestPrefix| prefix.fits(&digest))
        };
        assert_eq!(fits("abABabab"), Ok(true));
        assert_eq!(fits(&"ab".repeat(32)), Ok(true));
        assert_eq!(fits("abababac"), Ok(false));
        assert_eq!(fits("bababababa"), Ok(false));
        for text in ["", "abababa", "abababag", &"ab".repeat(33)] {
            assert_eq!(fits(text), Err(ParseDigestPrefixError), "{text}");
        }
    }
}
