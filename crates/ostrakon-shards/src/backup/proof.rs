use hkdf::Hkdf;
use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteArray, encode::Write};
use ostrakon_types::{DeviceId, Digest, canonical};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{BackupFile, OpenBackupShareError};
use crate::{
    device::DeviceKeys,
    hash::DOMAIN,
    random::{self, RandomError},
    share::Shard,
    sign::{Signature, SigningKey},
};

const VERSION: u8 = 1;
const PURPOSE: &str = "backup share proof";

/// Fresh random bytes that a proof is made over, so that an old proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge([u8; 32]);

/// A device's word, by the share itself, that it opens a good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareProof(Signature);

/// Why a device has not proved its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// It holds none in this file.
    #[error("device {device} holds no share of this backup file")]
    NoHolder {
        /// The device.
        device: DeviceId,
    },
    /// Its proof is not by this share, for this file, over this challenge.
    #[error("device {device} does not hold a good share")]
    Wrong {
        /// The device.
        device: DeviceId,
    },
}

impl Challenge {
    /// Draws a challenge.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn generate() -> Result<Self, RandomError> {
        random::array().map(Self)
    }

    #[cfg(test)]
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl BackupFile {
    /// Proves over `challenge` that `keys` open the share of their device, and that the share is good.
    ///
    /// # Errors
    /// When the device holds none, or its share does not open or is not the one that was made.
    pub fn prove(
        &self,
        keys: &DeviceKeys,
        device: DeviceId,
        challenge: &Challenge,
    ) -> Result<ShareProof, OpenBackupShareError> {
        let shard = self.open_share(keys, device)?;
        let message = proved(&self.digest(), device, challenge);
        Ok(ShareProof(proof_key(&shard).sign(PURPOSE, &message)))
    }

    /// Checks a device's proof.
    ///
    /// # Errors
    /// When it proves nothing.
    pub fn verify_proof(
        &self,
        device: DeviceId,
        challenge: &Challenge,
        proof: &ShareProof,
    ) -> Result<(), ProveError> {
        let holder = self
            .holder(&device)
            .ok_or(ProveError::NoHolder { device })?;
        let message = proved(&self.digest(), device, challenge);
        holder
            .proof
            .verify_strict(PURPOSE, &message, &proof.0)
            .map_err(|_| ProveError::Wrong { device })
    }
}

fn proved(file: &Digest, device: DeviceId, challenge: &Challenge) -> Vec<u8> {
    canonical::encode(&(file, device, ByteArray::from(challenge.0)))
}

/// The key that proves a share: by HKDF-SHA256 from its values and salt, for its set and index.
#[expect(clippy::expect_used, reason = "HKDF refuses only more than 8160 bytes")]
pub(super) fn proof_key(shard: &Shard) -> SigningKey {
    let info = canonical::encode(&(
        DOMAIN,
        VERSION,
        "backup share proof key",
        shard.set_id(),
        shard.index(),
    ));
    let mut seed = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, &shard.to_bytes())
        .expand(&info, &mut *seed)
        .expect("32 bytes");
    SigningKey::from_bytes(&seed)
}

impl<C> Encode<C> for Challenge {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Challenge {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        ByteArray::<32>::decode(d, ctx).map(|bytes| Self(bytes.into()))
    }
}

impl<C> Encode<C> for ShareProof {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        self.0.encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for ShareProof {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        Decode::decode(d, ctx).map(Self)
    }
}
