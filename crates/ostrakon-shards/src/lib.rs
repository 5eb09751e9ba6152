//! The cryptography of Ostrakon, sans-io.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`share`] | a file key split into shards, any M of which combine to it again |
//! | [`sealed_shard`] | a shard sealed to one device, in its context |
//! | [`kem`], [`sign`], [`device`], [`card`] | a device's keys, and the card that shows their public halves |
//! | [`channel`], [`seal`] | HPKE (RFC 9180): a context between two parties, and the one-shot box |
//! | [`identity`] | what a key shard server signs about itself |
//! | [`profile`] | devices and threshold as a chain of signed versions |
//! | [`generation`] | the numbers by which a server that was put back to an older state is found out |
//! | [`backup`] | the file from which a server's identity is recovered |
//! | [`pairing`] | how two devices that have never met come to know each other's cards |
//! | [`ceremony`] | what M of a profile's devices are asked to approve, and their answers |
//! | [`record`], [`chain_key`] | what a database may hold: sealed values, and authenticated chains |
//! | [`random`], [`words`], [`name`], [`suite`], [`stack`] | the small parts of all that |
//!
//! # Threat model
//!
//! Whoever holds fewer than M shards of a set learns nothing about its key but the length. Whoever
//! stores, relays or reorders what is sealed here can read none of it, and cannot make it open under
//! another path, profile, device, threshold, table or row than it was sealed for. Shards that are
//! altered are found and named. Timing tells nothing about secrets as far as Rust code can promise
//! that: no table is indexed by a secret byte, and nothing branches on one.
//!
//! Out of scope: whoever reads this process's memory, or controls the operating system's random
//! source, has won.
//!
//! # What is deliberately absent
//!
//! Clocks, files, sockets and async: time is an argument, bytes come and go. A choice of random
//! source: the operating system's is fixed inside. A way to choose primitives: there are two
//! [`suite`]s, and each names all of its own. Passphrases: whoever has one derives a
//! [`RecordKey`](record::RecordKey) from it first.
//!
//! # Secrets
//!
//! Every kind of secret has a type of its own, wiped on drop, without `Debug`, `Clone`, `PartialEq`
//! or `Serialize`; that is asserted at compile time. Bytes of a secret leave only in `Zeroizing`.
//!
//! ```compile_fail,E0277
//! let key = ostrakon_shards::share::FileKey::generate(16).unwrap();
//! println!("{key:?}");
//! ```
//!
//! # Example
//!
//! ```
//! use ostrakon_shards::share::{FileKey, Threshold, combine, split};
//!
//! let key = FileKey::generate(16)?;
//! let set = split(&key, Threshold::new(3, 5)?)?;
//! let combined = combine(&set.manifest, &set.shards[1..4])?;
//! assert_eq!(combined.key.as_bytes(), key.as_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod archive;
pub mod backup;
mod base64_text;
pub mod card;
pub mod ceremony;
pub mod chain_key;
pub mod channel;
pub mod device;
mod dhkem;
pub mod generation;
mod hash;
pub mod identity;
pub mod kem;
pub mod name;
pub mod pairing;
pub mod profile;
pub mod random;
pub mod record;
pub mod seal;
pub mod sealed_shard;
mod secret;
pub mod share;
pub mod sign;
pub mod stack;
pub mod suite;
mod versioned;
pub mod words;

#[cfg(test)]
mod vectors;
