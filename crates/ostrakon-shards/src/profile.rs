//! Profiles: devices and a threshold, as a chain of signed versions.
//!
//! A [`ProfileVersion`] names the hash of the one before it. It is in force once M devices of the
//! version before it have signed it, M being that version's threshold, and every device that it adds;
//! the first one is signed by all its devices, since it adds them all. A [`Profile`] is a chain that
//! was checked so, from the first version on.
//!
//! The id and the words of a profile come from the first version's hash and never change: whoever
//! knows them can check the whole chain, and nobody can make another that has them.
//!
//! # Threat model
//!
//! Fewer than M devices of the head cannot make a successor, and nobody can enrol a device that has not
//! consented. M devices that conspire can fork the chain: both branches are valid. The key shard server
//! accepts one successor per version and signs the [head](SignedHead); a client keeps the highest
//! [`Head`] that it has seen and refuses what does not descend from it. A chain says nothing about
//! *when*: a server that hides the newest version shows a valid older one, and only the kept head tells.

mod chain;
mod head;
mod version;

pub use chain::{ChainError, Profile};
pub use head::{Head, HeadError, SignedHead};
pub use version::{ProfileVersion, SignedVersion, VersionError};

#[cfg(test)]
mod tests;
