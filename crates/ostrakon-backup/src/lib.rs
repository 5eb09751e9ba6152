//! Backups of key shard servers and of their clients.
//!
//! An [`archive`] is a plain tar, written and read as a stream; `Recipients` encrypt it and `Opening` opens it
//! again (feature `recipients`). A [`Restorer`] takes what it holds into a folder and a database; that is made in a
//! [`staging`] folder, and takes its place whole or not at all. The [`catalogue`] of a folder of archives knows
//! which of them were made there, and which are proven to restore.
//!
//! Deliberately absent: what a server or a workstation is. Who backs one up hands in its files and the parts
//! of its database, and takes them back when an archive is read.

pub mod archive;
pub mod catalogue;
#[cfg(feature = "recipients")]
mod gpg;
#[cfg(feature = "recipients")]
mod opening;
#[cfg(feature = "recipients")]
mod recipients;
mod restorer;
pub mod staging;

#[cfg(test)]
#[cfg(feature = "recipients")]
mod keyrings;

#[cfg(feature = "recipients")]
pub use opening::{IdentityError, OpenError, Opening, Plain};
#[cfg(feature = "recipients")]
pub use recipients::{
    EncryptError, KeyFault, ReadKeyError, RecipientError, Recipients, UnusableKey,
};
pub use restorer::{INSTANCE_KEY, RestoreError, Restored, Restorer, SERVER_FILES};
