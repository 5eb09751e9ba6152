use std::num::NonZeroU8;

use minicbor::bytes::ByteSlice;
use ostrakon_types::{Digest, SetId, canonical::DecodeError};
use zeroize::Zeroizing;

use crate::{
    hash::{DOMAIN, sha256},
    secret::{self, assert_secret},
    share::FileKey,
};

const VERSION: u8 = 1;
pub(super) const SALT_LEN: usize = 16;

/// One share of a file key, with what it takes to combine it. Wiped on drop.
pub struct Shard {
    pub(super) set_id: SetId,
    pub(super) threshold: NonZeroU8,
    pub(super) index: NonZeroU8,
    pub(super) values: Zeroizing<Vec<u8>>,
    /// Keeps the shard's commitment from telling anything about it.
    pub(super) salt: Zeroizing<[u8; SALT_LEN]>,
}

assert_secret!(Shard);

/// Bytes that are no shard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardDecodeError {
    /// Not the canonical encoding of a shard, or one with index or threshold 0.
    #[error("malformed shard")]
    Malformed(#[from] DecodeError),
    /// Written by another version.
    #[error("unknown version {0} of a shard")]
    Version(u8),
    /// A shard of a key that is empty or longer than 32 bytes.
    #[error("shard of {0} bytes: expected 1 to {max}", max = FileKey::MAX_LEN)]
    Length(usize),
}

type Wire<'a> = (
    u8,
    SetId,
    NonZeroU8,
    NonZeroU8,
    &'a ByteSlice,
    &'a ByteSlice,
);

impl Shard {
    /// The set that it belongs to: one splitting of one key.
    #[must_use]
    pub fn set_id(&self) -> SetId {
        self.set_id
    }

    /// How many shards of its set combine to the key.
    #[must_use]
    pub fn threshold(&self) -> u8 {
        self.threshold.get()
    }

    /// Its place in the set, from 1: the x at which it holds the polynomials' values.
    #[must_use]
    pub fn index(&self) -> u8 {
        self.index.get()
    }

    /// The secret values, one for each byte of the key: y in the share format `x || y`.
    #[must_use]
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// The canonical encoding, to be sealed.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let values = <&ByteSlice>::from(self.values.as_slice());
        let salt = <&ByteSlice>::from(&self.salt[..]);
        secret::encode(&(
            VERSION,
            self.set_id,
            self.threshold,
            self.index,
            values,
            salt,
        ))
    }

    /// Takes back what [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// When the bytes are not the canonical encoding of a shard of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ShardDecodeError> {
        let (version, set_id, threshold, index, values, salt): Wire<'_> = secret::decode(bytes)?;
        if version != VERSION {
            return Err(ShardDecodeError::Version(version));
        }
        if !(1..=FileKey::MAX_LEN).contains(&values.len()) {
            return Err(ShardDecodeError::Length(values.len()));
        }
        let mut shard = Self {
            set_id,
            threshold,
            index,
            values: Zeroizing::new(values.to_vec()),
            salt: Zeroizing::new([0; SALT_LEN]),
        };
        if salt.len() != SALT_LEN {
            return Err(DecodeError::NotCanonical.into());
        }
        shard.salt.copy_from_slice(salt);
        Ok(shard)
    }

    /// What a manifest holds of this shard.
    pub(super) fn commitment(&self) -> Digest {
        let values = <&ByteSlice>::from(self.values.as_slice());
        let salt = <&ByteSlice>::from(&self.salt[..]);
        sha256(&secret::encode(&(
            DOMAIN,
            VERSION,
            "shard",
            self.set_id,
            self.threshold,
            self.index,
            salt,
            values,
        )))
    }
}
