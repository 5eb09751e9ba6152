//! To whom an archive is encrypted.
//!
//! A wrong recipient is found before anything is dumped: whoever is named must be exactly one key, and one that can be
//! encrypted to now. What is printed and recorded are fingerprints, since a name is whatever a key says of itself.
//!
//! # Threat model
//!
//! Encrypting says nothing of who made an archive: whoever has a recipient's key can make one. That it is this server's
//! own, the manifest's signature says.
//!
//! # What is deliberately absent
//!
//! The web of trust. A key in the operator's keyring, or in a file that the operator names, is trusted as `gpg --trust-model
//! always` does; and nothing is looked for on key servers. Passphrases: whoever knew one could have it kept beside the archive.

mod age;
mod open_pgp;

use std::{
    error, fmt,
    io::{self, Read, Write},
};

use ostrakon_types::UnixMillis;

use crate::gpg::{Gpg, GpgError};

/// At least one recipient, all of one kind.
#[derive(Debug)]
pub struct Recipients(Kind);

#[derive(Debug)]
enum Kind {
    OpenPgp(open_pgp::Keys),
    Age(age::Keys),
}

/// Why an archive cannot be encrypted to somebody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// Nobody was named.
    #[error("no recipient is given")]
    Nobody,
    /// No key answers to the name.
    #[error(
        "gpg knows no key for `{named}`; a file with a key is given by a path with a `/` in it"
    )]
    Unknown {
        /// The recipient, as it was given.
        named: String,
    },
    /// Several usable keys answer to the name.
    #[error("several keys answer to `{named}`, give the fingerprint of one: {}", keys.join(", "))]
    Ambiguous {
        /// The recipient, as it was given.
        named: String,
        /// The fingerprints of the usable keys.
        keys: Vec<String>,
    },
    /// None of the keys that answer to the name can be encrypted to.
    #[error("`{named}` cannot be encrypted to: {}", Faults(keys))]
    Unusable {
        /// The recipient, as it was given.
        named: String,
        /// The keys, and what is the matter with each.
        keys: Vec<UnusableKey>,
    },
    /// What is there is not a key.
    #[error("the key of `{named}` cannot be read")]
    Unreadable {
        /// The recipient, as it was given.
        named: String,
        /// What is the matter with it.
        source: ReadKeyError,
    },
    /// A file with a key cannot be read.
    #[error("the file `{named}` cannot be read")]
    File {
        /// The recipient, as it was given.
        named: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// There is no gpg to ask for the keyring.
    #[error(
        "there is no gpg here to find `{named}`; install GnuPG (Debian: the package `gnupg`), or give the path of a file with the key"
    )]
    NoGpg {
        /// The recipient, as it was given.
        named: String,
    },
    /// gpg could not search its keyring.
    #[error("gpg could not look for `{named}`: {said}")]
    Gpg {
        /// The recipient, as it was given.
        named: String,
        /// What gpg said.
        said: String,
    },
}

/// A key that was found, and cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableKey {
    /// Which key.
    pub fingerprint: String,
    /// Why not.
    pub fault: KeyFault,
}

/// Why a key that was found cannot be encrypted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// Its time, or that of all its parts that could encrypt, is over.
    #[error("is expired")]
    Expired,
    /// Its owner took it back, or all its parts that could encrypt, or the user id that was asked for.
    #[error("is revoked")]
    Revoked,
    /// It is made for signatures, or for an algorithm that is not supported here.
    #[error("has no part that can encrypt")]
    CannotEncrypt,
    /// No signature of its own that holds now says what it is.
    #[error("has no valid signature by itself")]
    Unproven,
}

/// Why something that should be a public key is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadKeyError {
    /// It holds no key of the kind.
    #[error("there is no public key in it")]
    NoKey,
    /// It holds a key that should be kept elsewhere.
    #[error("it holds a secret key; give the public one")]
    SecretKey,
    /// No key is as large.
    #[error("it is too large to be a key")]
    TooLarge,
    /// A line of it is no recipient.
    #[error("line {line} is no age recipient (age1…)")]
    Line {
        /// Which line, from 1.
        line: usize,
    },
    /// It is damaged, or of a kind that is not known.
    #[error("it is damaged, or of a kind that is not supported")]
    Damaged(#[source] Box<dyn error::Error + Send + Sync>),
}

/// Why an archive was not encrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptError {
    /// The plaintext could not be read, or the ciphertext not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The message could not be made.
    #[error("the message could not be made")]
    Message(#[source] Box<dyn error::Error + Send + Sync>),
}

impl Recipients {
    /// OpenPGP keys, each `named` by a name, e-mail address, part of a user id or fingerprint, which `gpg` looks up in the
    /// keyring of whoever runs this, or by the path of a file with the key. A path has a `/` in it (`./key.asc`), so that no
    /// file that lies in the working directory takes the place of a key.
    ///
    /// # Errors
    ///
    /// When a name has not exactly one key that can be encrypted to at `now`.
    pub fn open_pgp(named: &[String], now: UnixMillis) -> Result<Self, RecipientError> {
        Self::open_pgp_by(&Gpg::of_this_user(), named, now)
    }

    pub(crate) fn open_pgp_by(
        gpg: &Gpg,
        named: &[String],
        now: UnixMillis,
    ) -> Result<Self, RecipientError> {
        open_pgp::Keys::find(gpg, named, now).map(|keys| Self(Kind::OpenPgp(keys)))
    }

    /// age recipients (`age1…`, X25519), and paths of files with one a line.
    ///
    /// # Errors
    ///
    /// When one is no recipient of this kind, or a file cannot be read.
    pub fn age(named: &[String]) -> Result<Self, RecipientError> {
        age::Keys::parse(named).map(|keys| Self(Kind::Age(keys)))
    }

    /// What to print and to record of each: an OpenPGP key's fingerprint and user ids, or an age recipient.
    #[must_use]
    pub fn described(&self) -> Vec<String> {
        match &self.0 {
            Kind::OpenPgp(keys) => keys.described(),
            Kind::Age(keys) => keys.described(),
        }
    }

    /// What a file's name ends with when it is encrypted so.
    #[must_use]
    pub fn extension(&self) -> &'static str {
        match &self.0 {
            Kind::OpenPgp(_) => "gpg",
            Kind::Age(_) => "age",
        }
    }

    /// Encrypts all that `plain` gives, as a stream: each recipient alone can open it. `out` is flushed.
    ///
    /// # Errors
    ///
    /// When either side fails. What was written until then is of no use.
    pub fn encrypt(&self, plain: impl Read, out: impl Write) -> Result<(), EncryptError> {
        match &self.0 {
            Kind::OpenPgp(keys) => keys.encrypt(plain, out),
            Kind::Age(keys) => keys.encrypt(plain, out),
        }
    }
}

impl RecipientError {
    fn of_gpg(named: &str, error: GpgError) -> Self {
        let named = named.to_owned();
        match error {
            GpgError::Missing => Self::NoGpg { named },
            GpgError::Failed(said) => Self::Gpg { named, said },
            GpgError::Io(error) => Self::Gpg {
                named,
                said: error.to_string(),
            },
        }
    }

    fn unreadable(named: &str, source: ReadKeyError) -> Self {
        Self::Unreadable {
            named: named.to_owned(),
            source,
        }
    }
}

/// More than any key or list of recipients takes, by far.
const MAX_FILE: u64 = 16 << 20;

/// The content of the file at `named`, which is the path that the operator gave.
fn read_file(named: &str) -> Result<Vec<u8>, RecipientError> {
    let mut content = Vec::new();
    std::fs::File::open(named)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content))
        .map_err(|source| RecipientError::File {
            named: named.to_owned(),
            source,
        })?;
    if content.len() as u64 > MAX_FILE {
        return Err(RecipientError::unreadable(named, ReadKeyError::TooLarge));
    }
    Ok(content)
}

/// One fault after the other, for a sentence.
struct Faults<'a>(&'a [UnusableKey]);

impl fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, key) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", key.fingerprint, key.fault)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
