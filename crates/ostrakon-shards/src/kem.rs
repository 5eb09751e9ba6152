//! Key encapsulation keys: what things are sealed to.
//!
//! A device has a key pair for every suite, drawn independently, so that whoever seals to it chooses
//! the suite. Public keys are plain values: their length is checked when they are decoded, whether
//! they are keys at all when something is sealed to them. A point of low order, for which X25519
//! agrees on zero whatever the secret, is refused there (RFC 9180, 7.1.4). As half of an X-Wing key
//! such a point is let pass, as the draft has it: the secret then rests on ML-KEM alone, for whoever
//! chose the point.

use std::fmt;

use hpke::{Deserializable, Kem, Serializable, kem::XWing};
use minicbor::{
    Decode, Decoder, Encode, Encoder,
    bytes::{ByteArray, ByteSlice},
    encode::Write,
};
use ostrakon_types::{Digest, canonical};
use zeroize::Zeroizing;

use crate::{
    dhkem::DhKem,
    hash::sha256,
    random::{RandomError, Source, System},
    secret::assert_secret,
    suite::Suite,
};

const VERSION: u8 = 1;
const X25519_LEN: usize = 32;
const X_WING_LEN: usize = 1216;
const SECRET_LEN: usize = 32;

/// Private keys of all suites. Wiped on drop.
pub struct KemSecret {
    x25519: Box<<DhKem as Kem>::PrivateKey>,
    x_wing: Box<<XWing as Kem>::PrivateKey>,
    public: KemPublic,
    digest: Digest,
}

assert_secret!(KemSecret);

/// Public keys of all suites.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KemPublic {
    x25519: [u8; X25519_LEN],
    x_wing: Box<[u8; X_WING_LEN]>,
}

/// Bytes that are not the private keys of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretBytesError {
    /// Written by another version.
    #[error("unknown version {0} of secret keys")]
    Version(u8),
    /// Not as long as they must be.
    #[error("secret keys have the wrong length")]
    Length,
}

impl KemSecret {
    /// Draws new keys.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn generate() -> Result<Self, RandomError> {
        Self::generate_impl(&mut System)
    }

    pub(crate) fn generate_impl(source: &mut impl Source) -> Result<Self, RandomError> {
        let mut bytes = Zeroizing::new([0; 2 * SECRET_LEN]);
        source.fill(&mut *bytes)?;
        Ok(Self::from_seeds(&*bytes))
    }

    /// Takes back what [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// When the bytes are of another version or length. Any bytes of the right length are keys.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretBytesError> {
        match bytes.split_first() {
            Some((&VERSION, keys)) if keys.len() == 2 * SECRET_LEN => Ok(Self::from_seeds(keys)),
            Some((&VERSION, _)) | None => Err(SecretBytesError::Length),
            Some((&version, _)) => Err(SecretBytesError::Version(version)),
        }
    }

    /// The private keys, to be sealed at rest: a version byte, then 32 bytes for each suite.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(vec![0; 1 + 2 * SECRET_LEN]);
        if let Some((version, keys)) = bytes.split_first_mut() {
            *version = VERSION;
            let (x25519, x_wing) = keys.split_at_mut(SECRET_LEN);
            self.x25519.write_exact(x25519);
            self.x_wing.write_exact(x_wing);
        }
        bytes
    }

    /// The public keys.
    #[must_use]
    pub fn public(&self) -> &KemPublic {
        &self.public
    }

    /// That of the public keys, computed once: every opening needs it.
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(crate) fn x25519(&self) -> &<DhKem as Kem>::PrivateKey {
        &self.x25519
    }

    pub(crate) fn x_wing(&self) -> &<XWing as Kem>::PrivateKey {
        &self.x_wing
    }

    /// Takes `2 * SECRET_LEN` bytes.
    #[expect(
        clippy::expect_used,
        reason = "a private key of these suites is refused for its length alone"
    )]
    pub(crate) fn from_seeds(seeds: &[u8]) -> Self {
        let (x25519, x_wing) = seeds.split_at(SECRET_LEN);
        let x25519 = Box::new(Deserializable::from_bytes(x25519).expect("32 bytes"));
        let x_wing = Box::new(Deserializable::from_bytes(x_wing).expect("32 bytes"));
        let mut public = KemPublic {
            x25519: DhKem::sk_to_pk(&x25519).to_bytes().into(),
            x_wing: Box::new([0; X_WING_LEN]),
        };
        XWing::sk_to_pk(&x_wing).write_exact(&mut *public.x_wing);
        Self {
            x25519,
            x_wing,
            digest: public.digest(),
            public,
        }
    }
}

impl KemPublic {
    /// The public key of one suite.
    #[must_use]
    pub fn key(&self, suite: Suite) -> &[u8] {
        match suite {
            Suite::X25519 => &self.x25519,
            Suite::XWing => &*self.x_wing,
        }
    }

    /// SHA-256 of the canonical encoding: how a seal names its recipient.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(&canonical::encode(self))
    }
}

impl fmt::Debug for KemPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KemPublic({})", self.digest())
    }
}

impl<C> Encode<C> for KemPublic {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let x_wing = <&ByteSlice>::from(&self.x_wing[..]);
        (ByteArray::from(self.x25519), x_wing).encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for KemPublic {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        let (x25519, x_wing): (ByteArray<X25519_LEN>, &ByteSlice) = Decode::decode(d, ctx)?;
        let x_wing: Box<[u8]> = (**x_wing).into();
        Ok(Self {
            x25519: x25519.into(),
            x_wing: x_wing.try_into().map_err(|_| {
                minicbor::decode::Error::message("X-Wing key of the wrong length").at(at)
            })?,
        })
    }
}
