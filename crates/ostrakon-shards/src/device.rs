//! All private keys of one device.

use zeroize::Zeroizing;

use crate::{
    card::{Card, DeviceKind},
    kem::{KemSecret, SecretBytesError},
    name::Name,
    random::{RandomError, Source, System},
    secret::assert_secret,
    sign::SigningKey,
};

const VERSION: u8 = 1;
const SIGNING_LEN: usize = 32;

/// A device's signing key and key encapsulation keys. Wiped on drop.
pub struct DeviceKeys {
    /// Signs requests, approvals and versions of profiles.
    pub signing: SigningKey,
    /// Opens what is sealed to the device.
    pub kem: KemSecret,
}

assert_secret!(DeviceKeys);

impl DeviceKeys {
    pub(crate) const SEEDS_LEN: usize = 3 * 32;

    /// Draws new keys.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn generate() -> Result<Self, RandomError> {
        Self::generate_impl(&mut System)
    }

    pub(crate) fn generate_impl(source: &mut impl Source) -> Result<Self, RandomError> {
        Ok(Self {
            signing: SigningKey::generate_impl(source)?,
            kem: KemSecret::generate_impl(source)?,
        })
    }

    /// The keys that these bytes are: for signing, X25519 and X-Wing, 32 bytes each.
    pub(crate) fn from_seeds(seeds: &[u8; Self::SEEDS_LEN]) -> Self {
        let (signing, kem) = seeds.split_at(SIGNING_LEN);
        let mut key = Zeroizing::new([0; SIGNING_LEN]);
        key.copy_from_slice(signing);
        Self {
            signing: SigningKey::from_bytes(&key),
            kem: KemSecret::from_seeds(kem),
        }
    }

    /// Takes back what [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// When the bytes are of another version or length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretBytesError> {
        let (&version, keys) = bytes.split_first().ok_or(SecretBytesError::Length)?;
        if version != VERSION {
            return Err(SecretBytesError::Version(version));
        }
        let (signing, kem) = keys
            .split_first_chunk::<SIGNING_LEN>()
            .ok_or(SecretBytesError::Length)?;
        Ok(Self {
            signing: SigningKey::from_bytes(signing),
            kem: KemSecret::from_bytes(kem)?,
        })
    }

    /// The private keys, to be sealed at rest.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let kem = self.kem.to_bytes();
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + SIGNING_LEN + kem.len()));
        bytes.push(VERSION);
        bytes.extend_from_slice(&*self.signing.to_bytes());
        bytes.extend_from_slice(&kem);
        bytes
    }

    /// The card that shows the public halves.
    #[must_use]
    pub fn card(&self, kind: DeviceKind, name: Name) -> Card {
        Card {
            kind,
            name,
            kem: self.kem.public().clone(),
            verify: self.signing.verify_key(),
        }
    }
}
