//! HPKE contexts (RFC 9180, base mode) whose suite is chosen at run time.
//!
//! A [`Sender`] seals to a public key, any number of messages in order; a [`Receiver`] opens them in
//! that order. Both can export further secrets for what is not a message of that order, such as an
//! answer.
//!
//! Base mode says nothing about who sealed. Whoever needs to know has the sender sign the
//! encapsulated key together with the message, as request envelopes do. The authenticated modes of
//! HPKE are deliberately absent: X-Wing has none, and they leave no proof for third parties.

use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable,
    aead::{AeadCtxR, AeadCtxS, AesGcm256},
    kdf::HkdfSha256,
    kem::XWing,
};
use zeroize::Zeroizing;

use crate::{
    dhkem::DhKem,
    kem::{KemPublic, KemSecret},
    random::{Infallible, RandomError, Source, System},
    secret::assert_secret,
    suite::Suite,
};

/// The greatest length in bytes of the `info` that a context is bound to.
pub const MAX_INFO_LEN: usize = 0xf000;

/// The greatest length in bytes of an exported secret.
pub const MAX_EXPORT_LEN: usize = 255 * 32;

/// Seals messages to the owner of a public key.
pub struct Sender {
    encapsulated: Vec<u8>,
    context: SenderContext,
}

/// Opens the messages of one [`Sender`].
pub struct Receiver(ReceiverContext);

assert_secret!(Sender, Receiver);

enum SenderContext {
    X25519(Box<AeadCtxS<AesGcm256, HkdfSha256, DhKem>>),
    XWing(Box<AeadCtxS<AesGcm256, HkdfSha256, XWing>>),
}

enum ReceiverContext {
    X25519(Box<AeadCtxR<AesGcm256, HkdfSha256, DhKem>>),
    XWing(Box<AeadCtxR<AesGcm256, HkdfSha256, XWing>>),
}

/// Why a context could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The recipient's public key is none, or one that agrees on zero with every secret.
    #[error("recipient's public key is not valid")]
    PublicKey,
    /// The encapsulated key has the wrong length, or agrees on zero with every secret.
    #[error("encapsulated key is not valid")]
    Encapsulated,
    /// More `info` than a context takes.
    #[error("context is longer than {MAX_INFO_LEN} bytes")]
    InfoTooLong,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Why a message could not be sealed or opened, or a secret not exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Altered, out of order, or sealed under another key, `info` or associated data.
    #[error("message does not open")]
    Open,
    /// The context has sealed all the messages that it can.
    #[error("message cannot be sealed")]
    Seal,
    /// More bytes than a context exports at once.
    #[error("exported secret is longer than {MAX_EXPORT_LEN} bytes")]
    ExportTooLong,
}

impl Sender {
    /// Sets up a context with the owner of `recipient`, bound to `info`.
    ///
    /// # Errors
    /// When the public key is not valid, `info` is longer than [`MAX_INFO_LEN`], or there is no
    /// randomness.
    pub fn setup(suite: Suite, recipient: &KemPublic, info: &[u8]) -> Result<Self, SetupError> {
        Self::setup_impl(suite, recipient, info, &mut System)
    }

    pub(crate) fn setup_impl(
        suite: Suite,
        recipient: &KemPublic,
        info: &[u8],
        source: &mut impl Source,
    ) -> Result<Self, SetupError> {
        let key = recipient.key(suite);
        let (encapsulated, context) = match suite {
            Suite::X25519 => {
                let (encapsulated, context) = sender::<DhKem>(key, info, source)?;
                (encapsulated, SenderContext::X25519(context))
            }
            Suite::XWing => {
                let (encapsulated, context) = sender::<XWing>(key, info, source)?;
                (encapsulated, SenderContext::XWing(context))
            }
        };
        Ok(Self {
            encapsulated,
            context,
        })
    }

    /// The encapsulated key, for [`Receiver::setup`].
    #[must_use]
    pub fn encapsulated(&self) -> &[u8] {
        &self.encapsulated
    }

    /// Seals the next message, with associated data that must be the same when it is opened.
    ///
    /// # Errors
    /// When the context has sealed 2^64 messages, or the message is longer than AES-GCM takes
    /// (64 GiB).
    pub fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, MessageError> {
        match &mut self.context {
            SenderContext::X25519(context) => context.seal(plaintext, aad),
            SenderContext::XWing(context) => context.seal(plaintext, aad),
        }
        .map_err(|_| MessageError::Seal)
    }

    /// Fills `secret` with what only the two parties of this context know, a different secret for each
    /// `exporter_context`.
    ///
    /// # Errors
    /// When `secret` is longer than [`MAX_EXPORT_LEN`].
    pub fn export(&self, exporter_context: &[u8], secret: &mut [u8]) -> Result<(), MessageError> {
        match &self.context {
            SenderContext::X25519(context) => context.export(exporter_context, secret),
            SenderContext::XWing(context) => context.export(exporter_context, secret),
        }
        .map_err(|_| MessageError::ExportTooLong)
    }
}

impl Receiver {
    /// Sets up the context that the sender of `encapsulated` has, if it was for this key and `info`.
    /// If it was not, no message will open.
    ///
    /// # Errors
    /// When the encapsulated key is not valid, or `info` is longer than [`MAX_INFO_LEN`].
    pub fn setup(
        suite: Suite,
        secret: &KemSecret,
        encapsulated: &[u8],
        info: &[u8],
    ) -> Result<Self, SetupError> {
        Ok(Self(match suite {
            Suite::X25519 => {
                ReceiverContext::X25519(receiver::<DhKem>(secret.x25519(), encapsulated, info)?)
            }
            Suite::XWing => {
                ReceiverContext::XWing(receiver::<XWing>(secret.x_wing(), encapsulated, info)?)
            }
        }))
    }

    /// Opens the next message.
    ///
    /// # Errors
    /// When it does not open. The context is then as it was, and waits for the same message.
    pub fn open(
        &mut self,
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, MessageError> {
        match &mut self.0 {
            ReceiverContext::X25519(context) => context.open(ciphertext, aad),
            ReceiverContext::XWing(context) => context.open(ciphertext, aad),
        }
        .map(Zeroizing::new)
        .map_err(|_| MessageError::Open)
    }

    /// Fills `secret` with what only the two parties of this context know, a different secret for each
    /// `exporter_context`.
    ///
    /// # Errors
    /// When `secret` is longer than [`MAX_EXPORT_LEN`].
    pub fn export(&self, exporter_context: &[u8], secret: &mut [u8]) -> Result<(), MessageError> {
        match &self.0 {
            ReceiverContext::X25519(context) => context.export(exporter_context, secret),
            ReceiverContext::XWing(context) => context.export(exporter_context, secret),
        }
        .map_err(|_| MessageError::ExportTooLong)
    }
}

type Encapsulation<K> = (Vec<u8>, Box<AeadCtxS<AesGcm256, HkdfSha256, K>>);

fn sender<K: Kem>(
    key: &[u8],
    info: &[u8],
    source: &mut impl Source,
) -> Result<Encapsulation<K>, SetupError> {
    check_info(info)?;
    let key = K::PublicKey::from_bytes(key).map_err(|_| SetupError::PublicKey)?;
    let mut source = Infallible::new(source);
    let setup = hpke::setup_sender_with_rng::<_, _, K>(&OpModeS::Base, &key, info, &mut source);
    source.check()?;
    let (encapsulated, context) = setup.map_err(|_| SetupError::PublicKey)?;
    Ok((encapsulated.to_bytes().to_vec(), Box::new(context)))
}

fn receiver<K: Kem>(
    secret: &K::PrivateKey,
    encapsulated: &[u8],
    info: &[u8],
) -> Result<Box<AeadCtxR<AesGcm256, HkdfSha256, K>>, SetupError> {
    check_info(info)?;
    K::EncappedKey::from_bytes(encapsulated)
        .and_then(|key| hpke::setup_receiver(&OpModeR::Base, secret, &key, info))
        .map(Box::new)
        .map_err(|_| SetupError::Encapsulated)
}

fn check_info(info: &[u8]) -> Result<(), SetupError> {
    if info.len() > MAX_INFO_LEN {
        return Err(SetupError::InfoTooLong);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
