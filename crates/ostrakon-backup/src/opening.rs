//! How an archive is opened, whatever it is encrypted with.
//!
//! The kind is found in the first bytes, not in the name. OpenPGP is left to the operator's gpg, which knows where the secret
//! key is, on a card or behind a passphrase; age is opened here, with identity files.
//!
//! # Threat model
//!
//! Whoever changes or cuts an encrypted archive is found out, but late: by [`Plain::finish`]. gpg hands out plaintext before
//! it has seen the end, and of a file that is cut early its exit code says that all went well. So nothing that was read from a
//! [`Plain`] may have an effect before `finish` said yes.
//!
//! An archive in clear, and who made an archive at all, is not judged here: the manifest's signature is for that.

mod age;
mod decrypting;

use std::{
    fmt,
    fs::File,
    io::{self, BufReader, Read},
    path::PathBuf,
};

use self::decrypting::Decrypting;
use crate::gpg::{Gpg, GpgError};

/// How the first line of an age file begins.
const AGE: &[u8] = b"age-encryption.org/";
/// How an armoured OpenPGP message begins.
const ARMOURED: &[u8] = b"-----BEGIN PGP MESSAGE-----";
/// Where the header of a tar's first member names the format, and how.
const USTAR: (usize, &[u8]) = (257, b"ustar");
/// The packets that an encrypted OpenPGP message begins with: a session key for a key or a passphrase, or a marker.
const OPEN_PGP: [u8; 3] = [1, 3, 10];

/// What archives are opened with.
#[derive(Debug)]
pub struct Opening {
    gpg: Gpg,
    identities: Vec<PathBuf>,
}

/// The plaintext of an archive, as it is decrypted. Not to be trusted before [`Plain::finish`]; nor is its end, and whoever
/// finds that something is wrong with it learns from `finish` whether the archive is.
#[derive(Debug)]
pub struct Plain(Source);

enum Source {
    Clear(File),
    OpenPgp(Decrypting),
    Age(::age::stream::StreamReader<BufReader<File>>),
}

/// Why an archive was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is no archive.
    #[error("it is neither a tar archive nor encrypted with OpenPGP or age")]
    Unknown,
    /// It is encrypted to others.
    #[error("no key here opens it{}", Because(said))]
    NoKey {
        /// What gpg said, if it was asked.
        said: Option<String>,
    },
    /// It is for an age identity, and none was given.
    #[error("it is encrypted with age; give a file with the identity that opens it")]
    NoIdentity,
    /// An identity file cannot be used.
    #[error("the identity file `{}` cannot be used", path.display())]
    Identity {
        /// The file, as it was given.
        path: PathBuf,
        /// Why not. It repeats nothing of the file.
        source: IdentityError,
    },
    /// It is not as it was written.
    #[error("it is damaged or cut{}", Because(said))]
    Damaged {
        /// What gpg said, if it was asked.
        said: Option<String>,
    },
    /// There is no gpg.
    #[error(
        "it is encrypted with OpenPGP, and there is no gpg here; install GnuPG (Debian: the package `gnupg`)"
    )]
    NoGpg,
    /// gpg did not get as far as the archive: no passphrase, for example.
    #[error("gpg could not open it: {said}")]
    Gpg {
        /// What gpg said.
        said: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a file is no file of age identities.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is larger than any such file.
    #[error("it is too large")]
    TooLarge,
    /// There is none in it.
    #[error("there is no identity in it")]
    Empty,
    /// A line of it is something else.
    #[error(
        "line {line} is no identity (AGE-SECRET-KEY-1…); a file with a passphrase is opened by `age --decrypt` first"
    )]
    Line {
        /// Which line, from 1.
        line: usize,
    },
}

impl Opening {
    /// Opens with the keys of the gpg of whoever runs this, and with the `identities` of these files. They are read when an
    /// archive needs one.
    #[must_use]
    pub fn new(identities: Vec<PathBuf>) -> Self {
        let gpg = Gpg::of_this_user();
        Self { gpg, identities }
    }

    /// Begins to decrypt `archive`, from its first byte. It may take a person who enters a passphrase.
    ///
    /// # Errors
    ///
    /// When it is of no known kind or nothing here opens it; of an OpenPGP message, that may be known to [`Plain::finish`]
    /// alone.
    pub fn open(&self, archive: File) -> Result<Plain, OpenError> {
        let mut first = Vec::new();
        (&archive).take(512).read_to_end(&mut first)?;
        io::Seek::rewind(&mut &archive)?;
        let source = match Format::of(&first).ok_or(OpenError::Unknown)? {
            Format::Tar => Source::Clear(archive),
            Format::OpenPgp => Source::OpenPgp(Decrypting::begin(&self.gpg, archive)?),
            Format::Age => Source::Age(age::open(archive, &self.identities)?),
        };
        Ok(Plain(source))
    }
}

impl Plain {
    /// Reads the rest, and says whether the archive is whole and as it was encrypted.
    ///
    /// # Errors
    ///
    /// When it is not, or was not opened at all. Then nothing that was read means anything.
    pub fn finish(mut self) -> Result<(), OpenError> {
        let rest = io::copy(&mut self, &mut io::sink());
        match self.0 {
            Source::Clear(_) => rest.map(drop).map_err(OpenError::Io),
            Source::OpenPgp(decrypting) => decrypting.finish(rest.err()),
            Source::Age(_) => rest.map(drop).map_err(age::failed),
        }
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Clear(archive) => archive.read(buffer),
            Source::OpenPgp(decrypting) => decrypting.read(buffer),
            Source::Age(stream) => stream.read(buffer),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clear(_) => "Clear",
            Self::OpenPgp(_) => "OpenPgp",
            Self::Age(_) => "Age",
        })
    }
}

impl From<GpgError> for OpenError {
    fn from(error: GpgError) -> Self {
        match error {
            GpgError::Missing => Self::NoGpg,
            GpgError::Failed(said) => Self::Gpg { said },
            GpgError::Io(error) => Self::Io(error),
        }
    }
}

/// What the first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Tar,
    OpenPgp,
    Age,
}

impl Format {
    fn of(first: &[u8]) -> Option<Self> {
        let (place, magic) = USTAR;
        if first.starts_with(AGE) {
            Some(Self::Age)
        } else if first.starts_with(ARMOURED) || first.first().copied().is_some_and(encrypted) {
            Some(Self::OpenPgp)
        } else if first
            .get(place..)
            .is_some_and(|rest| rest.starts_with(magic))
        {
            Some(Self::Tar)
        } else {
            None
        }
    }
}

/// Whether an OpenPGP packet with this first byte begins an encrypted message (RFC 9580, 4.2).
fn encrypted(first: u8) -> bool {
    let kind = match first >> 6 {
        0b11 => first & 0x3f,
        0b10 => (first >> 2) & 0x0f,
        _ => return false,
    };
    OPEN_PGP.contains(&kind)
}

/// What gpg said, as the end of a sentence.
struct Because<'a>(&'a Option<String>);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(said) => write!(f, " (gpg: {said})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
