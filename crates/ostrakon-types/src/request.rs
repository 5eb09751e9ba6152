use std::{fmt, str::FromStr};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ProfileId;

/// What a request asks for; a policy has one rule tree for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum RequestKind {
    /// Releases the server's shard of one file's key.
    #[n(0)]
    Decrypt,
    /// Searches encrypted names.
    #[n(1)]
    Search,
    /// Registers a new profile with the server.
    #[n(2)]
    CreateProfile,
    /// Registers a new secure folder.
    #[n(3)]
    CreateLocation,
    /// Releases a shard so that a file can be sealed under another name.
    #[n(4)]
    Rename,
    /// Releases a shard so that a file can leave its folder.
    #[n(5)]
    SecureExport,
    /// Opens a session that spares the user repeated questions.
    #[n(6)]
    StartSession,
    /// Replaces a profile by a changed version of it.
    #[n(7)]
    ChangeProfile,
    /// Uses a key through the Vault-compatible interface.
    #[n(8)]
    KeyUse,
}

/// Text that names no request kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown request type `{0}`")]
pub struct ParseRequestKindError(String);

impl RequestKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Decrypt,
        Self::Search,
        Self::CreateProfile,
        Self::CreateLocation,
        Self::Rename,
        Self::SecureExport,
        Self::StartSession,
        Self::ChangeProfile,
        Self::KeyUse,
    ];

    /// The name in a policy file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decrypt => "decrypt",
            Self::Search => "search",
            Self::CreateProfile => "create_profile",
            Self::CreateLocation => "create_location",
            Self::Rename => "rename",
            Self::SecureExport => "secure_export",
            Self::StartSession => "start_session",
            Self::ChangeProfile => "change_profile",
            Self::KeyUse => "key_use",
        }
    }
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RequestKind {
    type Err = ParseRequestKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| ParseRequestKindError(text.to_owned()))
    }
}

impl Serialize for RequestKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RequestKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// One item of a request's authenticated metadata: a path, whole or in part.
///
/// It is user data: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetaItem {
    /// The path, with `/` between components and none in front.
    #[n(0)]
    pub meta: String,
    /// Whether `meta` is the whole path; a partial one may lack leading components.
    #[n(1)]
    pub complete: bool,
}

impl fmt::Debug for MetaItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaItem")
            .field("complete", &self.complete)
            .finish_non_exhaustive()
    }
}

/// An identifier that a policy sees but does not interpret, of any length.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OpaqueId(Box<[u8]>);

impl OpaqueId {
    /// Takes the bytes as they are.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for OpaqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for OpaqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpaqueId({self})")
    }
}

impl Serialize for OpaqueId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OpaqueId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text)
            .map(|bytes| Self(bytes.into()))
            .map_err(de::Error::custom)
    }
}

/// The words by which people know a profile, in order, separated by single spaces.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ProfileWords(Box<str>);

impl ProfileWords {
    /// Joins the words of `text`, however they are spaced, in lower case.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        Self(words.join(" ").into())
    }

    /// The words, separated by single spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The words one by one.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }

    /// The first `count` words, or all when there are fewer.
    #[must_use]
    pub fn first(&self, count: usize) -> &str {
        // Words are short: looking at one byte after the other is several times as fast as a search.
        let spaces = (0..).zip(self.0.bytes()).filter(|(_, byte)| *byte == b' ');
        let mut ends = spaces.map(|(at, _)| at);
        let end = ends.nth(count.saturating_sub(1));
        if count == 0 {
            ""
        } else {
            end.and_then(|end| self.0.get(..end)).unwrap_or(&self.0)
        }
    }

    /// Whether the words begin with all words of `prefix`. No words begin nothing.
    #[must_use]
    pub fn starts_with(&self, prefix: &Self) -> bool {
        match self.0.strip_prefix(&*prefix.0) {
            Some(rest) => !prefix.0.is_empty() && (rest.is_empty() || rest.starts_with(' ')),
            None => false,
        }
    }
}

impl fmt::Display for ProfileWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProfileWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProfileWords({})", self.0)
    }
}

impl Serialize for ProfileWords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for ProfileWords {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        Ok(Self::new(&words.join(" ")))
    }
}

/// The profile that a request is made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileRef {
    /// Its id.
    pub id: ProfileId,
    /// Its words.
    #[serde(default)]
    pub words: ProfileWords,
}

/// A request as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRequest {
    /// What is asked for.
    #[serde(rename = "type")]
    pub kind: RequestKind,
    /// The device that asks.
    pub device_id: OpaqueId,
    /// The profile that it asks for.
    pub profile: ProfileRef,
    /// The authenticated metadata: which files are meant.
    #[serde(default)]
    pub meta: Vec<MetaItem>,
    /// The file key's own id.
    pub cryptographic_id: OpaqueId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_their_names_are_one_to_one() {
        for kind in RequestKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        let error = "create_profil".parse::<RequestKind>().unwrap_err();
        assert_eq!(error.to_string(), "unknown request type `create_profil`");
    }

    #[test]
    fn word_prefixes_end_at_word_boundaries() {
        let words = ProfileWords::new("River amber  staple cactus maple");
        assert_eq!(words.as_str(), "river amber staple cactus maple");
        assert!(words.starts_with(&ProfileWords::new("river amber staple cactus")));
        assert!(words.starts_with(&words));
        assert!(!words.starts_with(&ProfileWords::new("river amber staple cact")));
        assert!(!words.starts_with(&ProfileWords::new("")));
        assert_eq!(words.first(4), "river amber staple cactus");
        assert_eq!(words.first(9), words.as_str());
        assert_eq!(words.first(0), "");
    }

    #[test]
    fn paths_do_not_show_in_debug_output() {
        let item = MetaItem {
            meta: "payroll/2026.xlsx".into(),
            complete: true,
        };
        assert!(!format!("{item:?}").contains("payroll"));
    }
}
