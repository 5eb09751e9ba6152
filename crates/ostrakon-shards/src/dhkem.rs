//! DHKEM(X25519, HKDF-SHA256) of RFC 9180 over the X25519 of AWS-LC.
//!
//! HPKE itself is the `hpke` crate's. Its own X25519 takes twice the time of this one, and computes the
//! receiver's public key anew for every message, which is here kept beside the private one. An open
//! takes less than half the time for it; `benches/decrypt` measures both.
//!
//! The crate's own [`X25519HkdfSha256`](hpke::kem::X25519HkdfSha256) is the oracle in tests, both ways,
//! beside the vectors of RFC 9180 and of Wycheproof.

use std::sync::Arc;

use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use hpke::{
    Deserializable, HpkeError, Kem, Serializable,
    hybrid_array::typenum::U32,
    kdf::{HkdfSha256, Kdf},
    kem::SharedSecret,
    rand_core::CryptoRng,
};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

const LEN: usize = 32;
const KEM_ID: u16 = 0x0020;
const SUITE_ID: &[u8; 5] = b"KEM\x00\x20";

/// The key encapsulation of suite 1.
pub(crate) struct DhKem;

/// A point of the curve: any 32 bytes, as RFC 7748 has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey([u8; LEN]);

/// A private key with its public one. AWS-LC keeps it on its own heap and wipes it there.
#[derive(Clone)]
pub(crate) struct PrivateKey {
    /// Clamped, as RFC 9180 (7.1.2) has it.
    scalar: Zeroizing<Vec<u8>>,
    key: Arc<agreement::PrivateKey>,
    public: PublicKey,
}

impl PrivateKey {
    fn new(bytes: &[u8]) -> Result<Self, HpkeError> {
        let mut scalar = Zeroizing::new(bytes.to_vec());
        let [first, .., last] = &mut **scalar else {
            return Err(HpkeError::IncorrectInputLength(LEN, bytes.len()));
        };
        *first &= 0xf8;
        *last = *last & 0x7f | 0x40;
        let key = agreement::PrivateKey::from_private_key(&X25519, &scalar)
            .map_err(|_| HpkeError::IncorrectInputLength(LEN, bytes.len()))?;
        let public = key
            .compute_public_key()
            .map_err(|_| HpkeError::ValidationError)?;
        Ok(Self {
            public: PublicKey::from_bytes(public.as_ref())?,
            scalar,
            key: Arc::new(key),
        })
    }

    /// What both sides agree on. AWS-LC refuses it when it is zero, whatever the private key is.
    fn agree(&self, peer: &PublicKey, context: [&PublicKey; 2]) -> Option<SharedSecret<DhKem>> {
        let peer = UnparsedPublicKey::new(&X25519, &peer.0);
        agreement::agree(&self.key, peer, (), |agreed| {
            let [first, second] = context;
            let context = [first.0, second.0].concat();
            let mut shared = SharedSecret::default();
            HkdfSha256::extract_and_expand(agreed, SUITE_ID, &context, &mut shared.0)
                .map_err(|_| ())?;
            Ok(shared)
        })
        .ok()
    }
}

impl Kem for DhKem {
    type PublicKey = PublicKey;
    type PrivateKey = PrivateKey;
    type EncappedKey = PublicKey;
    type NSecret = U32;

    const KEM_ID: u16 = KEM_ID;

    fn sk_to_pk(secret: &PrivateKey) -> PublicKey {
        secret.public.clone()
    }

    #[expect(
        clippy::expect_used,
        reason = "the trait has no error here; any 32 bytes are a private key"
    )]
    fn derive_keypair(ikm: &[u8]) -> (PrivateKey, PublicKey) {
        let scalar = Zeroizing::new(HkdfSha256::derive_x25519_sk_eph_bytes(SUITE_ID, ikm));
        let secret = PrivateKey::new(&*scalar).expect("32 bytes");
        let public = secret.public.clone();
        (secret, public)
    }

    fn decap(
        secret: &PrivateKey,
        sender: Option<&PublicKey>,
        encapped: &PublicKey,
    ) -> Result<SharedSecret<Self>, HpkeError> {
        // The authenticated modes are used by nobody.
        if sender.is_some() {
            return Err(HpkeError::DecapError);
        }
        secret
            .agree(encapped, [encapped, &secret.public])
            .ok_or(HpkeError::DecapError)
    }

    fn encap_with_rng(
        recipient: &PublicKey,
        sender: Option<(&PrivateKey, &PublicKey)>,
        source: &mut impl CryptoRng,
    ) -> Result<(SharedSecret<Self>, PublicKey), HpkeError> {
        if sender.is_some() {
            return Err(HpkeError::EncapError);
        }
        let (ephemeral, encapped) = Self::gen_keypair_with_rng(source);
        let shared = ephemeral
            .agree(recipient, [&encapped, recipient])
            .ok_or(HpkeError::EncapError)?;
        Ok((shared, encapped))
    }
}

impl Serializable for PublicKey {
    type OutputSize = U32;

    fn write_exact(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0);
    }
}

impl Deserializable for PublicKey {
    fn from_bytes(bytes: &[u8]) -> Result<Self, HpkeError> {
        let length = bytes.len();
        let bytes = bytes.try_into();
        bytes
            .map(Self)
            .map_err(|_| HpkeError::IncorrectInputLength(LEN, length))
    }
}

impl Serializable for PrivateKey {
    type OutputSize = U32;

    fn write_exact(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.scalar);
    }
}

impl Deserializable for PrivateKey {
    fn from_bytes(bytes: &[u8]) -> Result<Self, HpkeError> {
        Self::new(bytes)
    }
}

impl ConstantTimeEq for PrivateKey {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.scalar.as_slice().ct_eq(&other.scalar)
    }
}

#[cfg(test)]
mod tests;
