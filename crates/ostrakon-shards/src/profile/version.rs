use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteArray, encode::Write};
use ostrakon_types::{
    DeviceId, Digest,
    canonical::{self, DecodeError},
};

use crate::{
    base64_text::serde_as_base64,
    card::Card,
    hash::sha256,
    name::Name,
    random::{self, RandomError},
    share::{Threshold, ThresholdError},
    sign::{Signature, SigningKey},
    versioned::Version,
};

pub(super) const PURPOSE: &str = "profile version";

/// One version of a profile, not yet signed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProfileVersion {
    /// 1 for the first version, then one more each.
    pub number: u64,
    /// The hash of the version before; none for the first.
    pub previous: Option<Digest>,
    /// Random bytes, so that no two versions have one hash.
    pub nonce: [u8; 16],
    /// What its owner calls the profile.
    pub name: Name,
    /// M: how many of the devices it takes.
    pub threshold: u8,
    /// The devices, each with keys of its own.
    pub devices: Vec<Card>,
}

/// Why a version is none that a profile can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// No device, or too many.
    #[error("profile of {0} devices: expected 1 to {max}", max = ProfileVersion::MAX_DEVICES)]
    Devices(usize),
    /// A device is there twice, or two have the same key.
    #[error("device {device} shares a key with another")]
    Twice {
        /// The device.
        device: DeviceId,
    },
    /// The threshold does not go with the number of devices.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
}

impl ProfileVersion {
    /// The greatest number of devices.
    pub const MAX_DEVICES: usize = 64;

    /// The first version of a new profile.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn first(name: Name, threshold: u8, devices: Vec<Card>) -> Result<Self, RandomError> {
        Ok(Self {
            number: 1,
            previous: None,
            nonce: random::array()?,
            name,
            threshold,
            devices,
        })
    }

    /// SHA-256 of the canonical encoding.
    #[must_use]
    pub fn hash(&self) -> Digest {
        sha256(&canonical::encode(self))
    }

    /// Signs this version with a device's key.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Signature {
        key.sign(PURPOSE, &canonical::encode(self))
    }

    /// Whether the device with this card signed this version so.
    #[must_use]
    pub fn is_signed_by(&self, card: &Card, signature: &Signature) -> bool {
        let message = canonical::encode(self);
        card.verify
            .verify_strict(PURPOSE, &message, signature)
            .is_ok()
    }

    /// The device with this id.
    #[must_use]
    pub fn member(&self, id: &DeviceId) -> Option<&Card> {
        self.devices.iter().find(|card| card.id() == *id)
    }

    /// Checks what can be checked without the version before.
    ///
    /// # Errors
    /// When the number of devices or the threshold is out of bounds, or devices share a key: one key
    /// must not count as two devices.
    pub fn check(&self) -> Result<Threshold, VersionError> {
        let count = self.devices.len();
        if !(1..=Self::MAX_DEVICES).contains(&count) {
            return Err(VersionError::Devices(count));
        }
        let mut verify_keys = BTreeSet::new();
        let mut kem_keys = BTreeSet::new();
        for card in &self.devices {
            let new = verify_keys.insert(card.verify) & kem_keys.insert(card.kem.digest());
            if !new {
                return Err(VersionError::Twice { device: card.id() });
            }
        }
        let shares = u8::try_from(count).map_err(|_| VersionError::Devices(count))?;
        Ok(Threshold::new(self.threshold, shares)?)
    }
}

/// A version and the signatures under it, at most one by each device. They are not verified yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignedVersion {
    version: ProfileVersion,
    signatures: Vec<(DeviceId, Signature)>,
}

impl SignedVersion {
    /// Puts signatures under a version. Of two by one device, the later counts.
    #[must_use]
    pub fn new(
        version: ProfileVersion,
        signatures: impl IntoIterator<Item = (DeviceId, Signature)>,
    ) -> Self {
        let signatures: BTreeMap<_, _> = signatures.into_iter().collect();
        Self {
            version,
            signatures: signatures.into_iter().collect(),
        }
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> &ProfileVersion {
        &self.version
    }

    /// The signatures, in the order of the devices' ids.
    #[must_use]
    pub fn signatures(&self) -> &[(DeviceId, Signature)] {
        &self.signatures
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Decodes a canonical signed version.
    ///
    /// # Errors
    /// When the bytes are not the canonical encoding of a signed version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        canonical::decode(bytes)
    }

    pub(super) fn into_version(self) -> ProfileVersion {
        self.version
    }
}

impl<C> Encode<C> for ProfileVersion {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        (
            Version::<1>,
            self.number,
            self.previous,
            ByteArray::from(self.nonce),
            &self.name,
            self.threshold,
            &self.devices,
        )
            .encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for ProfileVersion {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let (Version::<1>, number, previous, nonce, name, threshold, devices) =
            Decode::decode(d, ctx)?;
        Ok(Self {
            number,
            previous,
            nonce: ByteArray::into(nonce),
            name,
            threshold,
            devices,
        })
    }
}

impl<C> Encode<C> for SignedVersion {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        (Version::<1>, &self.version, &self.signatures).encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for SignedVersion {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        let (Version::<1>, version, signatures): (_, _, Vec<(DeviceId, Signature)>) =
            Decode::decode(d, ctx)?;
        let ids = || signatures.iter().map(|(id, _)| id);
        if ids().zip(ids().skip(1)).any(|(id, next)| id >= next) {
            let message = "signatures are not in the order of their devices, each once";
            return Err(minicbor::decode::Error::message(message).at(at));
        }
        Ok(Self {
            version,
            signatures,
        })
    }
}

serde_as_base64!(SignedVersion);
