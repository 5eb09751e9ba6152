use ostrakon_types::{Digest, ProfileId, UnixMillis, canonical};

use super::Profile;
use crate::{
    base64_text::serde_as_base64,
    sign::{Signature, SignatureError, SigningKey, VerifyKey},
    versioned::versioned,
};

const PURPOSE: &str = "profile head";

/// Which version of a profile is in force. A client keeps the highest one that it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// The profile.
    pub profile: ProfileId,
    /// The version's number.
    pub number: u64,
    /// The version's hash.
    pub hash: Digest,
}

/// Why a profile does not descend from a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// It is another profile.
    #[error("another profile")]
    OtherProfile,
    /// It is older: somebody shows a past state.
    #[error("profile was at version {kept}, and is shown at version {shown}")]
    Rollback {
        /// The kept head's number.
        kept: u64,
        /// The number that is shown.
        shown: u64,
    },
    /// Its version of that number is another one: somebody shows another branch.
    #[error("profile's version {number} is not the one that was seen")]
    Fork {
        /// The number.
        number: u64,
    },
}

/// A key shard server's word on which version it holds to be in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignedHead {
    head: Head,
    issued_at: UnixMillis,
    signature: Signature,
}

impl Head {
    /// Checks that `profile` is this version or descends from it, and gives the head to keep from now
    /// on.
    ///
    /// # Errors
    /// When it does not. The kept head then stays what it was.
    pub fn follow(&self, profile: &Profile) -> Result<Self, HeadError> {
        let head = profile.head();
        if head.profile != self.profile {
            return Err(HeadError::OtherProfile);
        }
        match profile.hash_of(self.number) {
            Some(hash) if *hash == self.hash => Ok(head),
            Some(_) => Err(HeadError::Fork {
                number: self.number,
            }),
            None => Err(HeadError::Rollback {
                kept: self.number,
                shown: head.number,
            }),
        }
    }
}

impl SignedHead {
    /// Signs `head` with a server's root key, at the time `issued_at`.
    #[must_use]
    pub fn issue(root: &SigningKey, head: Head, issued_at: UnixMillis) -> Self {
        Self {
            head,
            issued_at,
            signature: root.sign(PURPOSE, &signed_bytes(&head, issued_at)),
        }
    }

    /// Checks that the server with this root key signed, and gives the head and when.
    ///
    /// # Errors
    /// When the signature does not match.
    pub fn verify(&self, root: &VerifyKey) -> Result<(Head, UnixMillis), SignatureError> {
        let message = signed_bytes(&self.head, self.issued_at);
        root.verify_strict(PURPOSE, &message, &self.signature)?;
        Ok((self.head, self.issued_at))
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Decodes a canonical signed head. It is not verified yet.
    ///
    /// # Errors
    /// When the bytes are not the canonical encoding of a signed head of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, canonical::DecodeError> {
        canonical::decode(bytes)
    }
}

fn signed_bytes(head: &Head, issued_at: UnixMillis) -> Vec<u8> {
    canonical::encode(&(head, issued_at))
}

versioned!(Head, 1 { profile, number, hash });
versioned!(SignedHead, 1 { head, issued_at, signature });
serde_as_base64!(SignedHead);
