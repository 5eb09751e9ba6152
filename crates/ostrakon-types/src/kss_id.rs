use std::{fmt, str::FromStr};

use bech32::{Bech32m, Hrp, primitives::decode::CheckedHrpstring};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Digest;

const HRP: Hrp = Hrp::parse_unchecked("kss");

/// Names a key shard server, and certifies it: the SHA-256 of its root key record.
///
/// People see it as bech32m with the prefix `kss1`, whose checksum finds any error in up to four
/// characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct KssId(#[n(0)] Digest);

/// Text that is not a key shard server's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a key shard server id: expected `kss1` and 58 more characters with a valid checksum")]
pub struct ParseKssIdError;

impl KssId {
    /// The id of the server whose root key record has this digest.
    #[must_use]
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// The digest of the root key record.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.0
    }
}

impl FromStr for KssId {
    type Err = ParseKssIdError;

    fn from_str(text: &str) -> Result<Self, ParseKssIdError> {
        let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| ParseKssIdError)?;
        if checked.hrp() != HRP {
            return Err(ParseKssIdError);
        }
        let bytes: Vec<u8> = checked.byte_iter().collect();
        Digest::try_from(bytes.as_slice())
            .map(Self)
            .map_err(|_| ParseKssIdError)
    }
}

impl fmt::Display for KssId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32m, _>(f, HRP, self.0.as_bytes()).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for KssId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KssId({self})")
    }
}

impl Serialize for KssId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KssId {
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
    fn text_form_round_trips_and_finds_errors() {
        let id = KssId::from_digest(Digest::from_bytes([7; 32]));
        let text = id.to_string();
        assert!(text.starts_with("kss1"));
        assert_eq!(text.len(), 62);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_uppercase().parse(), Ok(id));
        for at in 4..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'q' { b'p' } else { b'q' };
            assert!(String::from_utf8(wrong).unwrap().parse::<KssId>().is_err());
        }
        assert!("kss1".parse::<KssId>().is_err());
    }
}
