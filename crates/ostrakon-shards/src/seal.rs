//! Sealed boxes: one message to one recipient, in a context.
//!
//! A box opens only for the recipient, purpose and context that it was sealed for; all three are in
//! HPKE's `info`, with version and suite, and none of them is in the box. On the wire a box is a
//! version byte, a suite byte, the encapsulated key, and the ciphertext with its tag.
//!
//! Deliberately absent: who sealed it (anybody can, who has the public key), and padding (the length
//! of what is sealed can be seen).

use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteSlice, encode::Write};
use ostrakon_types::{Digest, canonical};
use zeroize::Zeroizing;

use crate::{
    base64_text::serde_as_base64,
    channel::{Receiver, Sender, SetupError},
    hash::DOMAIN,
    kem::{KemPublic, KemSecret},
    random::{Source, System},
    suite::{Suite, UnknownSuite},
};

const VERSION: u8 = 1;
const TAG_LEN: usize = 16;

/// What [`seal`] makes. It is not secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sealed {
    suite: Suite,
    encapsulated: Box<[u8]>,
    ciphertext: Box<[u8]>,
}

/// Why something could not be sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No context could be set up with the recipient.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Longer than AES-GCM takes.
    #[error("message is too long")]
    TooLong,
}

/// The box does not open: it was altered, or sealed to another recipient, for another purpose or in
/// another context. Which of these, nobody can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed box does not open here")]
pub struct OpenError;

/// Bytes that are no sealed box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseSealedError {
    /// Written by another version.
    #[error("unknown version {0} of a sealed box")]
    Version(u8),
    /// Sealed with a suite that is not known.
    #[error(transparent)]
    Suite(#[from] UnknownSuite),
    /// Too short to hold an encapsulated key and a tag.
    #[error("sealed box is cut off")]
    CutOff,
}

/// Seals `plaintext` to `recipient`, for one purpose and in one context.
///
/// # Errors
/// When the recipient's key is not valid, `context` is longer than about 60 KiB, or there is no
/// randomness.
pub fn seal(
    suite: Suite,
    purpose: &'static str,
    recipient: &KemPublic,
    context: &[u8],
    plaintext: &[u8],
) -> Result<Sealed, SealError> {
    seal_impl(suite, purpose, recipient, context, plaintext, &mut System)
}

pub(crate) fn seal_impl(
    suite: Suite,
    purpose: &'static str,
    recipient: &KemPublic,
    context: &[u8],
    plaintext: &[u8],
    source: &mut impl Source,
) -> Result<Sealed, SealError> {
    let info = info(suite, purpose, &recipient.digest(), context);
    let mut sender = Sender::setup_impl(suite, recipient, &info, source)?;
    let ciphertext = sender
        .seal(&[], plaintext)
        .map_err(|_| SealError::TooLong)?;
    Ok(Sealed {
        suite,
        encapsulated: sender.encapsulated().into(),
        ciphertext: ciphertext.into(),
    })
}

/// Opens a box that was sealed to `secret`'s public key, for this purpose and in this context.
///
/// # Errors
/// When the box does not open.
pub fn open(
    purpose: &'static str,
    secret: &KemSecret,
    context: &[u8],
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let info = info(sealed.suite, purpose, secret.digest(), context);
    let mut receiver = Receiver::setup(sealed.suite, secret, &sealed.encapsulated, &info)
        .map_err(|_| OpenError)?;
    receiver
        .open(&[], &sealed.ciphertext)
        .map_err(|_| OpenError)
}

fn info(suite: Suite, purpose: &'static str, recipient: &Digest, context: &[u8]) -> Vec<u8> {
    let context = <&ByteSlice>::from(context);
    canonical::encode(&(DOMAIN, VERSION, suite, purpose, recipient, context))
}

impl Sealed {
    /// The suite that it was sealed with.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The form on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = [VERSION, self.suite.as_byte()];
        [&head, &*self.encapsulated, &*self.ciphertext].concat()
    }

    /// Takes the form on the wire apart.
    ///
    /// # Errors
    /// When the version or suite is unknown, or bytes are missing.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseSealedError> {
        let (&version, rest) = bytes.split_first().ok_or(ParseSealedError::CutOff)?;
        if version != VERSION {
            return Err(ParseSealedError::Version(version));
        }
        let (&suite, rest) = rest.split_first().ok_or(ParseSealedError::CutOff)?;
        let suite = Suite::try_from(suite)?;
        match rest.split_at_checked(suite.encapsulated_len()) {
            Some((encapsulated, ciphertext)) if ciphertext.len() >= TAG_LEN => Ok(Self {
                suite,
                encapsulated: encapsulated.into(),
                ciphertext: ciphertext.into(),
            }),
            _ => Err(ParseSealedError::CutOff),
        }
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({}, {} bytes)", self.suite, self.ciphertext.len())
    }
}

impl<C> Encode<C> for Sealed {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.to_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Sealed {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        Self::from_bytes(d.bytes()?).map_err(|error| minicbor::decode::Error::custom(error).at(at))
    }
}

serde_as_base64!(Sealed);

#[cfg(test)]
mod tests;
