//! Sharing a file key: Shamir's scheme over GF(2^8), byte by byte.
//!
//! Each byte of the key is the value at 0 of a polynomial whose other coefficients are uniformly
//! random, the leading one too; a shard holds the values at its index. Index and values together are
//! the share format of the `sharks` crate (field polynomial 0x11d), against which this is tested.
//! Around that stands what Shamir's scheme lacks: a set id, so that shards of different splittings are
//! not mixed, a salted commitment to each shard in the [`Manifest`], so that an altered one is found
//! and named while others suffice, and a commitment to the key.
//!
//! # Threat model
//!
//! Fewer shards than the threshold say nothing about the key but its length, whatever the computing
//! power. A manifest is not secret for keys that cannot be guessed: its commitment to the key can be
//! used to check a guess. Whoever can choose the manifest can choose the key, so it comes from where
//! the shards come from, authenticated: as part of an [`OwnerShare`](crate::sealed_shard::OwnerShare),
//! or by its digest.
//!
//! Arithmetic is constant-time: no tables, no branches on secrets, see [`combine`]. Indices, lengths,
//! thresholds, and which shards are bad, are not secret.
//!
//! # What is deliberately absent
//!
//! Verifiable sharing against a cheating dealer: who splits knows the key anyway. Refreshing of shards:
//! a new splitting has a new set id. Keys over 32 bytes: share a key, and encrypt under it.

mod combine;
mod file_key;
mod gf;
mod manifest;
mod shard;
mod split;
mod threshold;

pub use combine::{CombineError, Combined, combine};
pub use file_key::{FileKey, FileKeyError};
pub use manifest::{CheckShardError, Manifest};
pub use shard::{Shard, ShardDecodeError};
pub(crate) use split::split_impl;
pub use split::{Split, split};
pub use threshold::{Threshold, ThresholdError};

#[cfg(test)]
mod tests;
