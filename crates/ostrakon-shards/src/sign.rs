//! Signatures: Ed25519 (RFC 8032) over a message and its purpose.
//!
//! What is signed is canonical and begins with the product's name, a version and the purpose, so a
//! signature for one purpose is none for another. Verification is strict: keys and nonce points of
//! small order, and encodings that are not canonical, are refused, so that one message has one
//! signature that everybody judges alike.

use std::fmt;

use ed25519_dalek::Signer as _;
use hkdf::Hkdf;
use minicbor::{
    Decode, Decoder, Encode, Encoder,
    bytes::{ByteArray, ByteSlice},
    encode::Write,
};
use ostrakon_types::canonical;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    chain_key::ChainKey,
    hash::DOMAIN,
    random::{RandomError, Source, System},
    secret::assert_secret,
};

const VERSION: u8 = 1;

/// A private signing key. Wiped on drop.
pub struct SigningKey(Box<ed25519_dalek::SigningKey>);

assert_secret!(SigningKey);

/// The public half of a [`SigningKey`]. Whether it is a key at all shows when it verifies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyKey([u8; 32]);

/// A signature. It is not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature([u8; 64]);

/// A signature that is not this key's, on this message, for this purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signature does not match")]
pub struct SignatureError;

impl SigningKey {
    /// Draws a new key.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn generate() -> Result<Self, RandomError> {
        Self::generate_impl(&mut System)
    }

    pub(crate) fn generate_impl(source: &mut impl Source) -> Result<Self, RandomError> {
        let mut bytes = Zeroizing::new([0; 32]);
        source.fill(&mut *bytes)?;
        Ok(Self::from_bytes(&bytes))
    }

    /// Takes back what [`to_bytes`](Self::to_bytes) gave. Any 32 bytes are a key.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Box::new(ed25519_dalek::SigningKey::from_bytes(bytes)))
    }

    /// The private key, to be sealed at rest.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    #[must_use]
    pub fn verify_key(&self) -> VerifyKey {
        VerifyKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` for `purpose`.
    #[must_use]
    pub fn sign(&self, purpose: &'static str, message: &[u8]) -> Signature {
        Signature(self.0.sign(&signed_bytes(purpose, message)).to_bytes())
    }

    /// Derives the key of a chain of records, one for each `purpose`, by HKDF-SHA256.
    #[must_use]
    #[expect(clippy::expect_used, reason = "HKDF refuses only more than 8160 bytes")]
    pub fn derive_chain_key(&self, purpose: &'static str) -> ChainKey {
        let info = canonical::encode(&(DOMAIN, VERSION, "chain key", purpose));
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, self.0.as_bytes())
            .expand(&info, &mut *key)
            .expect("32 bytes");
        ChainKey::from_bytes(&key)
    }
}

impl VerifyKey {
    /// Takes the bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks that the owner of this key signed `message` for `purpose`.
    ///
    /// # Errors
    /// When the signature does not match, or the key is none or weak.
    pub fn verify_strict(
        &self,
        purpose: &'static str,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        self.verify_raw(&signed_bytes(purpose, message), signature)
    }

    fn verify_raw(&self, bytes: &[u8], signature: &Signature) -> Result<(), SignatureError> {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        ed25519_dalek::VerifyingKey::from_bytes(&self.0)
            .and_then(|key| key.verify_strict(bytes, &signature))
            .map_err(|_| SignatureError)
    }
}

impl Signature {
    /// Takes the bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

fn signed_bytes(purpose: &'static str, message: &[u8]) -> Vec<u8> {
    canonical::encode(&(DOMAIN, VERSION, purpose, <&ByteSlice>::from(message)))
}

macro_rules! plain_bytes {
    ($($type:ident: $len:literal),+) => { $(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($type), "("))?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str(")")
            }
        }

        impl<C> Encode<C> for $type {
            fn encode<W: Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $type {
            fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
                ByteArray::<$len>::decode(d, ctx).map(|bytes| Self(bytes.into()))
            }
        }
    )+ };
}
plain_bytes!(VerifyKey: 32, Signature: 64);

#[cfg(test)]
mod tests;
