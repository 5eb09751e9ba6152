use minicbor::{Decode, Encode};
use ostrakon_types::{
    DeviceId, Digest,
    canonical::{self, DecodeError},
};

use crate::{
    kem::KemPublic,
    seal::{SealError, Sealed, seal},
    sign::{Signature, SignatureError, SigningKey, VerifyKey},
    suite::Suite,
    versioned::versioned,
};

const APPROVAL: &str = "ceremony approval";
const DENIAL: &str = "ceremony denial";
pub(super) const ANSWER: &str = "ceremony answer";
pub(super) const SHARE: &str = "ceremony share";

/// What one device says to one ceremony.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The ceremony's digest.
    pub ceremony: Digest,
    /// Who answers.
    pub device: DeviceId,
    /// Yes or no.
    pub verdict: Verdict,
}

/// Yes or no, signed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Verdict {
    /// Yes.
    #[n(0)]
    Approve {
        /// What the operation needs of the device.
        #[n(0)]
        contribution: Contribution,
        /// Over ceremony, device and contribution.
        #[n(1)]
        signature: Signature,
    },
    /// No.
    #[n(1)]
    Deny {
        /// Over ceremony and device.
        #[n(0)]
        signature: Signature,
    },
}

/// What a device adds to its approval.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Contribution {
    /// Nothing.
    #[n(0)]
    Consent,
    /// Its signature under the profile's next version.
    #[n(1)]
    VersionSignature(#[n(0)] Signature),
    /// Its share, sealed to the ceremony's one-time key.
    #[n(2)]
    Share(#[n(0)] Sealed),
}

impl Answer {
    pub(super) fn approve(
        ceremony: Digest,
        device: DeviceId,
        contribution: Contribution,
        key: &SigningKey,
    ) -> Self {
        let message = canonical::encode(&(ceremony, device, &contribution));
        let signature = key.sign(APPROVAL, &message);
        let verdict = Verdict::Approve {
            contribution,
            signature,
        };
        Self {
            ceremony,
            device,
            verdict,
        }
    }

    pub(super) fn deny(ceremony: Digest, device: DeviceId, key: &SigningKey) -> Self {
        let signature = key.sign(DENIAL, &canonical::encode(&(ceremony, device)));
        Self {
            ceremony,
            device,
            verdict: Verdict::Deny { signature },
        }
    }

    /// Checks that the owner of `key` said this.
    ///
    /// # Errors
    /// When the signature does not match.
    pub fn verify(&self, key: &VerifyKey) -> Result<(), SignatureError> {
        match &self.verdict {
            Verdict::Approve {
                contribution,
                signature,
            } => {
                let message = canonical::encode(&(self.ceremony, self.device, contribution));
                key.verify_strict(APPROVAL, &message, signature)
            }
            Verdict::Deny { signature } => {
                let message = canonical::encode(&(self.ceremony, self.device));
                key.verify_strict(DENIAL, &message, signature)
            }
        }
    }

    /// Seals the answer to the ceremony's one-time key: what travels through a relay.
    pub(super) fn seal(&self, reply_to: &KemPublic) -> Result<Sealed, SealError> {
        let context = self.ceremony.as_bytes();
        seal(
            Suite::XWing,
            ANSWER,
            reply_to,
            context,
            &canonical::encode(self),
        )
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        canonical::decode(bytes)
    }
}

/// What the seal of a device's share is bound to.
pub(super) fn share_context(ceremony: &Digest, device: &DeviceId) -> Vec<u8> {
    canonical::encode(&(ceremony, device))
}

versioned!(Answer, 1 { ceremony, device, verdict });
