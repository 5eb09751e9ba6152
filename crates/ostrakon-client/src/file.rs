//! Files in the age v1 format whose key is shared out among a profile's devices.
//!
//! Streaming, chunking and the authentication of header and content are the `age` crate's. What is
//! added here is one kind of stanza, one per device, that holds a share of the file's key.

mod head;
mod open;
mod output;
mod recipient;
mod sealed;
mod stanza;
mod stream;

pub(crate) use open::{Locked, Unlock};
pub(crate) use output::Output;
pub(crate) use recipient::ProfileRecipient;
pub use sealed::SealedFile;
pub(crate) use stream::{decrypt, encrypt};

use std::io;

use ostrakon_shards::{seal::ParseSealedError, sealed_shard::OpenShardError, share::CombineError};
use ostrakon_types::{DeviceId, ProfileId};

use crate::folder::PathError;

/// How the names of encrypted files end.
pub const EXTENSION: &str = "age";

/// Why one file could not be encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// What was made of it cannot be written.
    #[error("cannot write the output")]
    Write(#[source] io::Error),
    /// The output exists already.
    #[error("the output exists already")]
    OutputExists,
    /// Another file of the same run is written there.
    #[error("another file of this run has the same output")]
    SameOutput,
    /// It is neither a file nor a folder.
    #[error("it is not a regular file")]
    NotAFile,
    /// It is encrypted already.
    #[error("it is encrypted already")]
    AlreadyEncrypted,
    /// Its name does not say what the output is to be called.
    #[error("its name does not end in `.{EXTENSION}`")]
    NoExtension,
    /// It is not in any secure folder.
    #[error("it is not in a secure folder")]
    NotInFolder,
    /// Its folder is not known to the key shard server yet.
    #[error("its secure folder is not known to the key shard server yet")]
    FolderPending,
    /// No policy could judge its path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It changed while it was read; what was encrypted is kept, and so is the original.
    #[error("it changed while it was encrypted, so it was not removed")]
    Changed,
    /// It was encrypted, but the original could not be removed.
    #[error("it was encrypted, but the original could not be removed")]
    Remove(#[source] io::Error),
    /// It is not in the age format.
    #[error("it is not an encrypted file")]
    NotEncrypted,
    /// It is in the age format, but of a later version of it.
    #[error("it is in a version of the age format that is not known")]
    FormatVersion,
    /// It is an age file, but its key is not shared out among devices.
    #[error("it is an age file that was not encrypted for a profile")]
    Foreign,
    /// It is encrypted for other profiles.
    #[error("it is encrypted for another profile ({profile})")]
    OtherProfile {
        /// One that it is encrypted for.
        profile: ProfileId,
    },
    /// It is encrypted for this profile, but without this device.
    #[error("it has no share for this device")]
    NoShare,
    /// Its header is damaged or was altered.
    #[error("its header is damaged")]
    Header,
    /// Its header is larger than any that is written.
    #[error("its header is larger than {} KiB", head::MAX_LEN >> 10)]
    HeaderTooLarge,
    /// A share in it was sealed by a later version, or is cut off.
    #[error("a share of its key cannot be read")]
    Sealed(#[source] ParseSealedError),
    /// This device's share of its key does not open.
    #[error("this device's share of its key cannot be opened")]
    Share(#[source] OpenShardError),
    /// It takes devices that cannot be asked.
    #[error("it takes {needed} devices to decrypt it, and only {reachable} can be asked")]
    TooFewDevices {
        /// The threshold.
        needed: u8,
        /// How many can be asked.
        reachable: u8,
    },
    /// What the key shard server answered is not its share of this file's key.
    #[error("the key shard server answered with a bad share")]
    BadShare {
        /// The server's device, whose share it should be.
        device: Option<DeviceId>,
        /// What is bad about it.
        #[source]
        cause: CombineError,
    },
    /// The key shard server could not open its share.
    #[error(
        "the key shard server cannot open its share: the file's header was altered, or was made for another server"
    )]
    ShardMismatch,
    /// The key shard server answered something else than was asked.
    #[error("the key shard server's answer makes no sense")]
    BadAnswer,
    /// Its content is damaged, cut off or was altered. Nothing was written.
    #[error("its content is damaged, cut off or altered")]
    Content(#[source] io::Error),
    /// The operating system has no random bytes, or a device's public key is not valid.
    #[error("its key cannot be shared out")]
    Seal(#[source] io::Error),
}
