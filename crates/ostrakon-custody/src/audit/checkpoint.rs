use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use minicbor::{Decode, Encode};
use ostrakon_shards::sign::{Signature, SigningKey, VerifyKey};
use ostrakon_storage::{AuditHead, CheckpointRow, InstanceId};
use ostrakon_types::{Digest, KssId, UnixMillis, canonical};
use sha2::{Digest as _, Sha256};

const PURPOSE: &str = "audit checkpoint";
const VERSION: u8 = 1;

/// What a checkpoint begins with where it stands in text.
const MARK: &str = "ostrakon-checkpoint-1:";

/// How far one chain had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ChainHead {
    /// Whose chain.
    #[n(0)]
    pub instance: InstanceId,
    /// The number of its newest record.
    #[n(1)]
    pub sequence: u64,
    /// The authenticator of that record.
    #[n(2)]
    pub mac: Digest,
}

impl ChainHead {
    pub(crate) fn head(&self) -> AuditHead {
        AuditHead {
            sequence: self.sequence,
            mac: *self.mac.as_bytes(),
        }
    }
}

/// The server's word on how far every audit chain that it ever saw had come.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Checkpoint {
    #[n(0)]
    version: u8,
    /// Which server.
    #[n(1)]
    pub kss_id: KssId,
    /// Its number, from 1.
    #[n(2)]
    pub number: u64,
    /// When it was made.
    #[n(3)]
    pub at: UnixMillis,
    /// The hash of the checkpoint before; zeros for the first.
    #[n(4)]
    pub previous: Digest,
    /// The chains, in the order of their instances.
    #[n(5)]
    pub heads: Vec<ChainHead>,
}

/// A [`Checkpoint`] with the server's signature, not verified yet.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedCheckpoint {
    #[n(0)]
    checkpoint: Checkpoint,
    #[n(1)]
    signature: Signature,
}

/// Why something is not a checkpoint of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It is no checkpoint, or was altered.
    #[error("checkpoint was altered")]
    Altered,
    /// It is another server's.
    #[error("checkpoint of another server")]
    Foreign,
}

impl Checkpoint {
    /// What comes after `previous`, where the database shows the chains to be at `found`. A chain that
    /// `previous` knew further along, or that is gone, stays where it was.
    #[must_use]
    pub fn after(
        previous: Option<&SignedCheckpoint>,
        kss_id: KssId,
        found: &[(InstanceId, AuditHead)],
        at: UnixMillis,
    ) -> Self {
        let before = previous.map(|previous| &previous.checkpoint);
        let mut heads = before.map_or_else(Vec::new, |before| before.heads.clone());
        for (instance, head) in found {
            match heads.iter_mut().find(|known| known.instance == *instance) {
                Some(known) if known.sequence <= head.sequence => {
                    *known = ChainHead::from((*instance, *head));
                }
                Some(_) => {}
                None => heads.push(ChainHead::from((*instance, *head))),
            }
        }
        heads.sort_by_key(|head| head.instance);
        Self {
            version: VERSION,
            kss_id,
            number: before.map_or(0, |before| before.number) + 1,
            at,
            previous: previous.map_or(Digest::from_bytes([0; 32]), SignedCheckpoint::hash),
            heads,
        }
    }

    /// Where it saw the instance's chain, if it did.
    #[must_use]
    pub fn head(&self, instance: InstanceId) -> Option<&ChainHead> {
        self.heads.iter().find(|head| head.instance == instance)
    }
}

impl SignedCheckpoint {
    pub(crate) fn issue(root: &SigningKey, checkpoint: Checkpoint) -> Self {
        let signature = root.sign(PURPOSE, &canonical::encode(&checkpoint));
        Self {
            checkpoint,
            signature,
        }
    }

    /// Checks that the server with this id and key signed, and gives the checkpoint.
    ///
    /// # Errors
    /// When it did not.
    pub fn verify(&self, kss_id: &KssId, root: &VerifyKey) -> Result<&Checkpoint, CheckpointError> {
        if self.checkpoint.kss_id != *kss_id {
            return Err(CheckpointError::Foreign);
        }
        let message = canonical::encode(&self.checkpoint);
        let signed = root.verify_strict(PURPOSE, &message, &self.signature);
        if signed.is_err() || self.checkpoint.version != VERSION {
            return Err(CheckpointError::Altered);
        }
        Ok(&self.checkpoint)
    }

    /// Whether `next` would say nothing new: the chains are where this one saw them.
    #[must_use]
    pub fn says_the_same(&self, next: &Checkpoint) -> bool {
        self.checkpoint.heads == next.heads
    }

    /// Its number, as it says itself.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.checkpoint.number
    }

    /// What the next checkpoint names: the SHA-256 of the bytes.
    #[must_use]
    pub fn hash(&self) -> Digest {
        Digest::from_bytes(Sha256::digest(self.to_bytes()).into())
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Decodes the canonical encoding. It is not verified yet.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        canonical::decode(bytes).map_err(|_| CheckpointError::Altered)
    }

    /// The checkpoint that stands in a line of text, whatever stands around it. `None` where there is
    /// none.
    ///
    /// # Errors
    /// When there is something that is none any more.
    #[must_use]
    pub fn in_line(line: &str) -> Option<Result<Self, CheckpointError>> {
        let (_, rest) = line.split_once(MARK)?;
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        let end = rest.find(|c| !is_base64(c)).unwrap_or(rest.len());
        let text = rest.get(..end).unwrap_or_default();
        let bytes = STANDARD.decode(text).map_err(|_| CheckpointError::Altered);
        Some(bytes.and_then(|bytes| Self::from_bytes(&bytes)))
    }

    /// The row in which the database keeps it.
    #[must_use]
    pub fn row(&self) -> CheckpointRow {
        CheckpointRow {
            number: self.checkpoint.number,
            at: self.checkpoint.at,
            signed: self.to_bytes(),
        }
    }
}

/// One line of text, without its end.
impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{}", STANDARD.encode(self.to_bytes()))
    }
}
