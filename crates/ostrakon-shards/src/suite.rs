//! The suites: which key encapsulation, key derivation and cipher go together.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Decoder, Encode, Encoder, encode::Write};

/// A fixed choice of algorithms. Both are HPKE (RFC 9180) in base mode with HKDF-SHA256 and
/// AES-256-GCM; they differ in the key encapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Suite {
    /// DHKEM(X25519, HKDF-SHA256).
    X25519 = 1,
    /// X-Wing: X25519 and ML-KEM-768, for what must outlive today's curves.
    XWing = 2,
}

/// A suite that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown suite {0}: a newer version wrote this, or it is not of this kind at all")]
pub struct UnknownSuite(pub u8);

/// Text that names no suite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown suite `{0}`: expected `x25519` or `x-wing`")]
pub struct ParseSuiteError(String);

impl Suite {
    /// Every suite, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::X25519, Self::XWing];

    /// The number on the wire.
    #[must_use]
    pub const fn as_byte(self) -> u8 {
        self as u8
    }

    /// The name in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X25519 => "x25519",
            Self::XWing => "x-wing",
        }
    }

    /// Length in bytes of an encapsulated key.
    #[must_use]
    pub const fn encapsulated_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1120,
        }
    }
}

impl TryFrom<u8> for Suite {
    type Error = UnknownSuite;

    fn try_from(byte: u8) -> Result<Self, UnknownSuite> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.as_byte() == byte)
            .ok_or(UnknownSuite(byte))
    }
}

impl FromStr for Suite {
    type Err = ParseSuiteError;

    fn from_str(text: &str) -> Result<Self, ParseSuiteError> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.as_str() == text)
            .ok_or_else(|| ParseSuiteError(text.to_owned()))
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<C> Encode<C> for Suite {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u8(self.as_byte())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Suite {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        Self::try_from(d.u8()?).map_err(|error| minicbor::decode::Error::custom(error).at(at))
    }
}

impl serde::Serialize for Suite {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Suite {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_suites_are_named() {
        assert_eq!(Suite::try_from(1), Ok(Suite::X25519));
        assert_eq!(Suite::try_from(2), Ok(Suite::XWing));
        assert_eq!(Suite::try_from(3), Err(UnknownSuite(3)));
        assert!(UnknownSuite(3).to_string().starts_with("unknown suite 3"));
        for suite in Suite::ALL {
            assert_eq!(suite.as_str().parse(), Ok(suite));
        }
        assert!("p256".parse::<Suite>().is_err());
    }
}
