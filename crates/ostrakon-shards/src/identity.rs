//! What a key shard server says about itself.
//!
//! The server's id is the digest of its root key record, so it certifies the root key, and nothing
//! else has to: the root key signs numbered [`Statement`]s, which name the server and its keys for
//! shards and envelopes. A [`PublicCard`] is all three, and whoever has the id can check it; what
//! comes out is a [`VerifiedKeyserver`].
//!
//! Which of two valid statements is in force, their numbers say; a client keeps the highest.
//! Deliberately absent: expiry and revocation of the root key. Whoever holds that key is the server,
//! and its successor has another id.

use ostrakon_types::{
    DeviceId, KssId,
    canonical::{self, DecodeError},
};

use crate::{
    base64_text::serde_as_base64,
    card::{Card, DeviceKind},
    hash::sha256,
    kem::KemPublic,
    name::Name,
    sign::{Signature, SignatureError, SigningKey, VerifyKey},
    versioned::versioned,
};

const STATEMENT: &str = "keyserver statement";

/// A key shard server's root key. Its digest is the server's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RootKeyRecord {
    /// The key.
    pub verify: VerifyKey,
}

/// What a key shard server says about itself, until it says something else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Statement {
    /// Higher than that of every earlier statement.
    pub number: u64,
    /// The server as a device: the keys to which shards are sealed, and the root key.
    pub device: Card,
    /// The keys to which request envelopes are sealed.
    pub envelope: KemPublic,
}

/// A root key and what it signed: all that a client needs of a server but its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicCard {
    record: RootKeyRecord,
    statement: Statement,
    signature: Signature,
}

/// A server whose card was checked against its id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VerifiedKeyserver {
    kss_id: KssId,
    device_id: DeviceId,
    statement: Statement,
}

/// Why a card is not that of a key shard server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyPublicCardError {
    /// It belongs to a server with another id.
    #[error("card belongs to key shard server {found}")]
    OtherServer {
        /// The id that it belongs to.
        found: KssId,
    },
    /// The root key did not sign the statement.
    #[error("statement is not signed by the root key")]
    Signature(#[from] SignatureError),
    /// The device is of another kind, or signs with another key than the root key.
    #[error("statement's device is not the key shard server")]
    Device,
}

impl RootKeyRecord {
    /// The id of the server that has this root key.
    #[must_use]
    pub fn kss_id(&self) -> KssId {
        KssId::from_digest(sha256(&canonical::encode(self)))
    }
}

impl PublicCard {
    /// Makes and signs statement `number` of the server with the root key `root`.
    #[must_use]
    pub fn issue(
        root: &SigningKey,
        number: u64,
        name: Name,
        shards: &KemPublic,
        envelope: &KemPublic,
    ) -> Self {
        let verify = root.verify_key();
        let statement = Statement {
            number,
            device: Card {
                kind: DeviceKind::Keyserver,
                name,
                kem: shards.clone(),
                verify,
            },
            envelope: envelope.clone(),
        };
        Self {
            record: RootKeyRecord { verify },
            signature: root.sign(STATEMENT, &canonical::encode(&statement)),
            statement,
        }
    }

    /// Checks that this is the card of the server with this id.
    ///
    /// # Errors
    /// When it is not.
    pub fn verify(&self, kss_id: &KssId) -> Result<VerifiedKeyserver, VerifyPublicCardError> {
        let found = self.claimed_id();
        if found != *kss_id {
            return Err(VerifyPublicCardError::OtherServer { found });
        }
        let root = &self.record.verify;
        let statement = &self.statement;
        root.verify_strict(STATEMENT, &canonical::encode(statement), &self.signature)?;
        if statement.device.kind != DeviceKind::Keyserver || statement.device.verify != *root {
            return Err(VerifyPublicCardError::Device);
        }
        Ok(VerifiedKeyserver {
            kss_id: found,
            device_id: statement.device.id(),
            statement: statement.clone(),
        })
    }

    /// The id that this card would have to be verified against. It proves nothing by itself.
    #[must_use]
    pub fn claimed_id(&self) -> KssId {
        self.record.kss_id()
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Decodes a canonical card. It is not verified yet.
    ///
    /// # Errors
    /// When the bytes are not the canonical encoding of a card of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        canonical::decode(bytes)
    }
}

impl VerifiedKeyserver {
    /// The server's id.
    #[must_use]
    pub fn kss_id(&self) -> KssId {
        self.kss_id
    }

    /// The statement's number; of two, the higher is in force.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.statement.number
    }

    /// The server's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.statement.device.name
    }

    /// The server as a device of profiles, to which shards are sealed.
    #[must_use]
    pub fn device(&self) -> &Card {
        &self.statement.device
    }

    /// The id of that device.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        self.device_id
    }

    /// The keys to which request envelopes are sealed.
    #[must_use]
    pub fn envelope_key(&self) -> &KemPublic {
        &self.statement.envelope
    }

    /// The root key, which signs heads of profiles and checkpoints.
    #[must_use]
    pub fn root_key(&self) -> &VerifyKey {
        &self.statement.device.verify
    }
}

versioned!(RootKeyRecord, 1 { verify });
versioned!(Statement, 1 { number, device, envelope });
versioned!(PublicCard, 1 { record, statement, signature });
serde_as_base64!(PublicCard);

#[cfg(test)]
mod tests;
