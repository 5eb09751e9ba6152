use zeroize::Zeroizing;

use crate::{
    secret::assert_secret,
    share::{CheckShardError, FileKey, Manifest, Shard, gf},
};

/// What [`combine`] makes of shards.
pub struct Combined {
    /// The key.
    pub key: FileKey,
    /// The indices of shards that were altered, and not used.
    pub bad: Vec<u8>,
}

assert_secret!(Combined);

/// Why shards do not combine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CombineError {
    /// A shard does not belong to the manifest's set at all.
    #[error(transparent)]
    Foreign(CheckShardError),
    /// Two shards have the same index.
    #[error("shard {index} is there twice")]
    Duplicate {
        /// The index.
        index: u8,
    },
    /// Not enough shards that are as they were made.
    #[error("{good} good shards of {needed} needed, and {} altered: {bad:?}", bad.len())]
    TooFew {
        /// How many are needed.
        needed: u8,
        /// How many are good.
        good: usize,
        /// The indices of those that were altered.
        bad: Vec<u8>,
    },
    /// Every shard is as the manifest says, but the key is not: the manifest contradicts itself.
    #[error("combined key is not the one that was split")]
    WrongKey,
}

/// Combines any M or more shards of a set to its key.
///
/// Altered shards are left out, and named in the result, as long as M others are there. What the key
/// and the shards' values are does not change what is computed; which shards are there, and which are
/// bad, does.
///
/// # Errors
/// When a shard is of another set or length, or is there twice; when too few good ones are there; or
/// when the key is not the one that was split.
pub fn combine(manifest: &Manifest, shards: &[Shard]) -> Result<Combined, CombineError> {
    let mut good: Vec<&Shard> = Vec::with_capacity(shards.len());
    let mut bad = Vec::new();
    for (at, shard) in shards.iter().enumerate() {
        let index = shard.index();
        if shards.iter().take(at).any(|other| other.index() == index) {
            return Err(CombineError::Duplicate { index });
        }
        match manifest.check(shard) {
            Ok(()) => good.push(shard),
            Err(CheckShardError::Altered { index }) => bad.push(index),
            Err(foreign) => return Err(CombineError::Foreign(foreign)),
        }
    }
    let needed = manifest.threshold().needed();
    if good.len() < usize::from(needed) {
        return Err(CombineError::TooFew {
            needed,
            good: good.len(),
            bad,
        });
    }
    good.truncate(needed.into());
    let key = FileKey::new(&values_at_zero(&good, manifest.key_len()))
        .map_err(|_| CombineError::WrongKey)?;
    if manifest.is_of(&key) {
        Ok(Combined { key, bad })
    } else {
        Err(CombineError::WrongKey)
    }
}

/// The values at 0 of the polynomials through the shards' values, by Lagrange's formula.
pub(super) fn values_at_zero(shards: &[&Shard], len: usize) -> Zeroizing<Vec<u8>> {
    let mut values = Zeroizing::new(vec![0; len]);
    for shard in shards {
        let indices = shards.iter().map(|shard| shard.index());
        let weight = gf::weight_at_zero(shard.index(), indices);
        for (value, &share) in values.iter_mut().zip(shard.values()) {
            *value ^= gf::mul(share, weight);
        }
    }
    values
}
