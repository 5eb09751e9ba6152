use minicbor::{
    Decode, Decoder, Encode, Encoder,
    bytes::{ByteArray, ByteSlice},
    encode::Write,
};
use ostrakon_types::{
    Digest, SetId,
    canonical::{self, DecodeError},
};
use subtle::ConstantTimeEq;

use crate::{
    hash::{DOMAIN, sha256},
    secret,
    share::{FileKey, Shard, Threshold, shard::SALT_LEN},
};

const VERSION: u8 = 1;

/// What all shards of a set are checked against. It is a plain value, see the
/// [threat model](crate::share#threat-model).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Manifest {
    set_id: SetId,
    threshold: Threshold,
    /// Length of the key, and so of each shard's values.
    key_len: u8,
    key_salt: [u8; SALT_LEN],
    key_commitment: Digest,
    /// The shards' commitments, by index.
    commitments: Vec<Digest>,
}

/// Why a shard is not one of a manifest's set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckShardError {
    /// It belongs to another set, or to one with another threshold.
    #[error("shard {index} belongs to another set")]
    OtherSet {
        /// Its index.
        index: u8,
    },
    /// The set has no shard of this index.
    #[error("set has no shard {index}")]
    NoSuchIndex {
        /// Its index.
        index: u8,
    },
    /// It is longer or shorter than the key.
    #[error("shard {index} has the wrong length")]
    WrongLength {
        /// Its index.
        index: u8,
    },
    /// It was altered.
    #[error("shard {index} was altered")]
    Altered {
        /// Its index.
        index: u8,
    },
}

impl Manifest {
    /// The manifest of `shards`, which are all of one set, in order.
    pub(super) fn new(
        set_id: SetId,
        threshold: Threshold,
        key: &FileKey,
        key_salt: [u8; SALT_LEN],
        shards: &[Shard],
    ) -> Self {
        Self {
            set_id,
            threshold,
            #[expect(clippy::cast_possible_truncation, reason = "at most 32")]
            key_len: key.as_bytes().len() as u8,
            key_salt,
            key_commitment: commitment(set_id, &key_salt, key),
            commitments: shards.iter().map(Shard::commitment).collect(),
        }
    }

    /// The set.
    #[must_use]
    pub fn set_id(&self) -> SetId {
        self.set_id
    }

    /// How many shards of how many combine to the key.
    #[must_use]
    pub fn threshold(&self) -> Threshold {
        self.threshold
    }

    /// Length in bytes of the key.
    #[must_use]
    pub fn key_len(&self) -> usize {
        self.key_len.into()
    }

    /// SHA-256 of the canonical encoding.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(&self.to_bytes())
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Decodes a canonical manifest.
    ///
    /// # Errors
    /// When the bytes are not the canonical encoding of a manifest of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        canonical::decode(bytes)
    }

    /// Checks that `shard` is the one that was made with this manifest.
    ///
    /// # Errors
    /// When it belongs elsewhere or was altered.
    pub fn check(&self, shard: &Shard) -> Result<(), CheckShardError> {
        let index = shard.index();
        if shard.set_id != self.set_id || shard.threshold() != self.threshold.needed() {
            return Err(CheckShardError::OtherSet { index });
        }
        if shard.values.len() != self.key_len() {
            return Err(CheckShardError::WrongLength { index });
        }
        let commitment = usize::from(index)
            .checked_sub(1)
            .and_then(|at| self.commitments.get(at))
            .ok_or(CheckShardError::NoSuchIndex { index })?;
        if equal(commitment, &shard.commitment()) {
            Ok(())
        } else {
            Err(CheckShardError::Altered { index })
        }
    }

    /// Whether `key` is the one that was split, in constant time.
    pub(super) fn is_of(&self, key: &FileKey) -> bool {
        let commitment = commitment(self.set_id, &self.key_salt, key);
        equal(&self.key_commitment, &commitment)
    }
}

pub(super) fn equal(a: &Digest, b: &Digest) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

fn commitment(set_id: SetId, salt: &[u8; SALT_LEN], key: &FileKey) -> Digest {
    let salt = <&ByteSlice>::from(&salt[..]);
    let key = <&ByteSlice>::from(key.as_bytes());
    sha256(&secret::encode(&(
        DOMAIN, VERSION, "file key", set_id, salt, key,
    )))
}

impl<C> Encode<C> for Manifest {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        (
            VERSION,
            self.set_id,
            self.threshold.needed(),
            self.key_len,
            ByteArray::from(self.key_salt),
            self.key_commitment,
            &self.commitments,
        )
            .encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Manifest {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        let error = |message| minicbor::decode::Error::message(message).at(at);
        let (version, set_id, needed, key_len, key_salt, key_commitment, commitments): (
            u8,
            _,
            _,
            u8,
            ByteArray<SALT_LEN>,
            _,
            Vec<Digest>,
        ) = Decode::decode(d, ctx)?;
        if version != VERSION {
            return Err(error("unknown version of a manifest"));
        }
        if !(1..=FileKey::MAX_LEN).contains(&key_len.into()) {
            return Err(error("key of a length that is not shared"));
        }
        let shares = u8::try_from(commitments.len()).map_err(|_| error("more than 255 shards"))?;
        let threshold = Threshold::new(needed, shares)
            .map_err(|cause| minicbor::decode::Error::custom(cause).at(at))?;
        Ok(Self {
            set_id,
            threshold,
            key_len,
            key_salt: key_salt.into(),
            key_commitment,
            commitments,
        })
    }
}
