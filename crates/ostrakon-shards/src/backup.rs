//! The backup key: how a server's identity outlives the server.
//!
//! A fresh [`BackupKey`] seals the identity; the key is split M of N among the devices of an
//! administrator's profile, each share is sealed to its device, and all of that is one text file, the
//! [`BackupFile`], signed by the identity that it can recover. The file is no secret: without M of the
//! devices it opens to nobody, and it may be copied anywhere.
//!
//! For each share the file has a public key whose private half is derived from the share. So a device
//! can prove over a fresh [`Challenge`] that it opens its share and that the share is the right one,
//! and nothing is put together for that.
//!
//! # Threat model
//!
//! Whoever has the file and fewer than M devices learns who the devices are, and nothing of the
//! identity: the shares say nothing, but the proof keys and commitments beside them would let somebody
//! who could try 2^256 keys recognise the right one. Whoever changes the file, were it one byte, makes
//! another one that is refused. Whoever replaces it as a whole needs an identity, and shows its id.
//! Replacing it by an older file of the same identity is not seen by the file alone: its [`Generation`]
//! is to be compared with what else is known.
//!
//! An old file and M devices that could open it then open the identity for ever. A new file makes an
//! old one out of date, not harmless.
//!
//! # What is deliberately absent
//!
//! Passphrases, and any way to open the file with one device of several.
//!
//! [`Generation`]: crate::generation::Generation

mod armor;
mod file;
mod key;
mod make;
mod newest;
mod proof;
mod recover;

pub use armor::ArmorError;
pub use file::{BackupFile, Holder, ParseBackupError};
pub use key::BackupKey;
pub use make::{Backup, MakeBackupError};
pub use newest::SignedNewest;
pub use proof::{Challenge, ProveError, ShareProof};
pub use recover::{OpenBackupShareError, RecoverError, Recovered};

#[cfg(test)]
mod tests;
