//! Cards: what others need to know of a device.
//!
//! A card certifies nothing but itself: its id is a digest of it, and whoever knows the id knows the
//! keys. That a device holds the private halves shows when it signs or opens something.

use minicbor::{Decode, Encode};
use ostrakon_types::{
    DeviceId, Digest,
    canonical::{self, DecodeError},
};
use serde::{Deserialize, Serialize};

use crate::{
    base64_text::serde_as_base64,
    hash::{first_half, sha256},
    kem::KemPublic,
    name::Name,
    sign::VerifyKey,
    versioned::versioned,
};

/// What a device is used as.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeviceKind {
    /// A person's computer, or a machine that works for one.
    #[n(0)]
    Workstation,
    /// A device that a person carries.
    #[n(1)]
    Mobile,
    /// A key shard server.
    #[n(2)]
    Keyserver,
    /// Keys that are derived from recovery words and kept nowhere.
    #[n(3)]
    Recovery,
}

/// The public side of a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Card {
    /// What it is used as.
    pub kind: DeviceKind,
    /// What its owner calls it.
    pub name: Name,
    /// What things are sealed to.
    pub kem: KemPublic,
    /// What its signatures are verified with.
    pub verify: VerifyKey,
}

impl Card {
    /// SHA-256 of the canonical card.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(&self.to_bytes())
    }

    /// The device's id: the first 16 bytes of the digest.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        DeviceId::from_bytes(first_half(&self.digest()))
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Decodes a canonical card.
    ///
    /// # Errors
    /// When the bytes are not the canonical encoding of a card of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        canonical::decode(bytes)
    }
}

versioned!(Card, 1 { kind, name, kem, verify });
serde_as_base64!(Card);
