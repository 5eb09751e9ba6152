use ostrakon_types::{DeviceId, Digest, ProfileId, ProfileWords, canonical};

use super::{Head, ProfileVersion, SignedVersion, VersionError, version::PURPOSE};
use crate::{card::Card, hash::first_half, share::Threshold, words::words};

/// A profile as it is now: the head of a chain of which every version was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    version: ProfileVersion,
    threshold: Threshold,
    /// The ids of the version's devices, in its order.
    ids: Vec<DeviceId>,
    /// The hashes of all versions, the first one's first. There is one at least.
    hashes: Vec<Digest>,
    first: Digest,
    /// Those of the first hash, which every request of a member needs.
    words: ProfileWords,
    head: Digest,
}

/// Why a version does not continue a profile, or found one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// There is no version at all.
    #[error("profile has no version")]
    Empty,
    /// It is no version that a profile can have.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// It is not a first version.
    #[error("version {number} is not a first version")]
    NotFirst {
        /// Its number.
        number: u64,
    },
    /// It is the head already.
    #[error("version {number} is the head already")]
    Repeated {
        /// Its number.
        number: u64,
    },
    /// It is older than the head.
    #[error("version {number} is older than the head, version {head}")]
    Rollback {
        /// Its number.
        number: u64,
        /// The head's number.
        head: u64,
    },
    /// It does not follow the head, but comes later.
    #[error("version {number} does not follow the head, version {head}")]
    Gap {
        /// Its number.
        number: u64,
        /// The head's number.
        head: u64,
    },
    /// It continues another version than the head, or is another version of the head's number.
    #[error("version {number} belongs to another branch")]
    Fork {
        /// Its number.
        number: u64,
    },
    /// A device signed it that is neither in it nor in the version before.
    #[error("signed by device {device}, which has no part in it")]
    Foreign {
        /// The device.
        device: DeviceId,
    },
    /// A signature does not match.
    #[error("signature of device {device} does not match")]
    BadSignature {
        /// The device.
        device: DeviceId,
    },
    /// A device that it adds did not sign it.
    #[error("device {device} is added without its consent")]
    NoConsent {
        /// The device.
        device: DeviceId,
    },
    /// Not enough devices of the version before signed it.
    #[error("signed by {signed} devices of the version before, of {needed} needed")]
    TooFew {
        /// How many did.
        signed: usize,
        /// How many must.
        needed: u8,
    },
}

impl Profile {
    /// Founds a profile with its first version.
    ///
    /// # Errors
    /// When it is not a first version, or is not signed by exactly its devices.
    pub fn found(signed: SignedVersion) -> Result<Self, ChainError> {
        let version = signed.version();
        let number = version.number;
        if number != 1 || version.previous.is_some() {
            return Err(ChainError::NotFirst { number });
        }
        let threshold = version.check()?;
        let ids = ids(version);
        check_signatures(&signed, &ids, None)?;
        let hash = version.hash();
        Ok(Self {
            version: signed.into_version(),
            threshold,
            ids,
            hashes: vec![hash],
            first: hash,
            words: words(&hash),
            head: hash,
        })
    }

    /// Checks a whole chain, from its first version on.
    ///
    /// # Errors
    /// At the first version that does not continue those before it.
    pub fn from_chain(
        versions: impl IntoIterator<Item = SignedVersion>,
    ) -> Result<Self, ChainError> {
        let mut versions = versions.into_iter();
        let first = versions.next().ok_or(ChainError::Empty)?;
        versions.try_fold(Self::found(first)?, |profile, next| profile.advance(next))
    }

    /// Continues the profile with its next version.
    ///
    /// # Errors
    /// When the version does not follow the head, or lacks a signature that it needs, or has one that
    /// it must not have.
    pub fn advance(&self, signed: SignedVersion) -> Result<Self, ChainError> {
        let version = signed.version();
        let hash = version.hash();
        self.check_place(version, &hash)?;
        let threshold = version.check()?;
        let ids = ids(version);
        check_signatures(&signed, &ids, Some(self))?;
        let mut hashes = self.hashes.clone();
        hashes.push(hash);
        Ok(Self {
            version: signed.into_version(),
            threshold,
            ids,
            hashes,
            first: self.first,
            words: self.words.clone(),
            head: hash,
        })
    }

    fn check_place(&self, version: &ProfileVersion, hash: &Digest) -> Result<(), ChainError> {
        let (number, head) = (version.number, self.version.number);
        let follows = head.checked_add(1) == Some(number);
        if *hash == self.head {
            Err(ChainError::Repeated { number })
        } else if number < head {
            Err(ChainError::Rollback { number, head })
        } else if number > head && !follows {
            Err(ChainError::Gap { number, head })
        } else if number == head || version.previous != Some(self.head) {
            Err(ChainError::Fork { number })
        } else {
            Ok(())
        }
    }

    /// The next version of this profile, with the same name, threshold and devices, to be changed and
    /// signed.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn draft(&self) -> Result<ProfileVersion, crate::random::RandomError> {
        Ok(ProfileVersion {
            number: self.version.number.saturating_add(1),
            previous: Some(self.head),
            nonce: crate::random::array()?,
            ..self.version.clone()
        })
    }

    /// The profile's id: the first 16 bytes of the first version's hash.
    #[must_use]
    pub fn id(&self) -> ProfileId {
        ProfileId::from_bytes(first_half(&self.first))
    }

    /// The profile's words: all 24 of the first version's hash.
    #[must_use]
    pub fn words(&self) -> ProfileWords {
        self.words.clone()
    }

    /// The version in force.
    #[must_use]
    pub fn version(&self) -> &ProfileVersion {
        &self.version
    }

    /// How many of the devices it takes.
    #[must_use]
    pub fn threshold(&self) -> Threshold {
        self.threshold
    }

    /// Which version is in force.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            profile: self.id(),
            number: self.version.number,
            hash: self.head,
        }
    }

    /// The hash of version `number`, if the chain has come that far.
    #[must_use]
    pub fn hash_of(&self, number: u64) -> Option<&Digest> {
        let at = usize::try_from(number.checked_sub(1)?).ok()?;
        self.hashes.get(at)
    }

    /// The card of a device that belongs to the profile now.
    #[must_use]
    pub fn member(&self, device: &DeviceId) -> Option<&Card> {
        let mut members = self.ids.iter().zip(&self.version.devices);
        members.find_map(|(id, card)| (id == device).then_some(card))
    }
}

fn ids(version: &ProfileVersion) -> Vec<DeviceId> {
    version.devices.iter().map(Card::id).collect()
}

/// Checks the signatures under a version whose devices have these ids, and that follows `before`.
fn check_signatures(
    signed: &SignedVersion,
    ids: &[DeviceId],
    before: Option<&Profile>,
) -> Result<(), ChainError> {
    let version = signed.version();
    let message = canonical::encode(version);
    let was_member = |device: &DeviceId| before.and_then(|before| before.member(device));
    let mut approvals = 0;
    for (device, signature) in signed.signatures() {
        let old = was_member(device);
        let device = *device;
        let card = old
            .or_else(|| {
                let mut members = ids.iter().zip(&version.devices);
                members.find_map(|(id, card)| (*id == device).then_some(card))
            })
            .ok_or(ChainError::Foreign { device })?;
        card.verify
            .verify_strict(PURPOSE, &message, signature)
            .map_err(|_| ChainError::BadSignature { device })?;
        approvals += usize::from(old.is_some());
    }
    let has_signed = |device: &DeviceId| signed.signatures().iter().any(|(id, _)| id == device);
    let without_consent = ids
        .iter()
        .find(|device| was_member(device).is_none() && !has_signed(device));
    if let Some(&device) = without_consent {
        return Err(ChainError::NoConsent { device });
    }
    match before.map(|before| before.threshold.needed()) {
        Some(needed) if approvals < usize::from(needed) => Err(ChainError::TooFew {
            signed: approvals,
            needed,
        }),
        _ => Ok(()),
    }
}
