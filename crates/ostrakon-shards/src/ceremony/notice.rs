use minicbor::bytes::ByteVec;
use ostrakon_types::{
    CeremonyId, DeviceId, UnixMillis,
    canonical::{self, DecodeError},
};

use super::{
    Answer, Ceremony, CeremonyError, Contribution, Description, Need, Requester,
    answer::{SHARE, share_context},
    opening::answers,
};
use crate::{
    backup::ShareProof,
    device::DeviceKeys,
    profile::{ChainError, Profile, SignedVersion},
    seal::{OpenError, SealError, Sealed, open, seal},
    sign::Signature,
    suite::Suite,
    versioned::versioned,
};

pub(super) const OPENING: &str = "ceremony opening";
const NOTICE: &str = "ceremony notice";

/// Bytes of versions that go along with a notice.
const CHAIN_BYTES: usize = 128 << 10;

/// What one device gets to see of a ceremony. It is sealed to that device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    ceremony: Ceremony,
    /// The requester's, under the ceremony's digest.
    opening: Signature,
    /// Versions of the profile that the device may not have seen, in their order.
    versions: Vec<SignedVersion>,
    /// What the device needs to make its contribution, as the operation defines it.
    enclosed: Option<ByteVec>,
}

/// Why a notice asks a device for nothing that it should answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoticeError {
    /// It is not for this device and ceremony, or was altered.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is of a kind or version that is not known here.
    #[error("notice cannot be read: a newer version made it")]
    Decode(#[from] DecodeError),
    /// Its versions do not continue the profile.
    #[error("profile cannot be followed")]
    Chain(#[from] ChainError),
    /// The profile's devices cannot be asked this.
    #[error(transparent)]
    Ceremony(#[from] CeremonyError),
    /// The requester did not sign it.
    #[error("opening is not signed by the requester")]
    Opening,
    /// This device has no say in it.
    #[error("device {0} is not asked")]
    NotAsked(DeviceId),
    /// It is too late to answer.
    #[error("ceremony has expired")]
    Expired,
    /// It is from the future, further than clocks may differ.
    #[error("ceremony is dated in the future")]
    FutureDated,
}

/// A notice that was checked: what a person is asked to approve or deny on this device.
#[derive(Clone, Debug)]
pub struct Question {
    notice: Notice,
    profile: Profile,
    device: DeviceId,
}

/// Why an answer could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The operation needs another contribution than was given.
    #[error("operation needs a share of this device")]
    Contribution,
    /// It could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl Notice {
    /// How far clocks may differ.
    pub const MAX_SKEW_MS: i64 = 5 * 60 * 1000;

    pub(super) fn new(
        ceremony: Ceremony,
        opening: Signature,
        versions: Vec<SignedVersion>,
        enclosed: Option<Vec<u8>>,
    ) -> Self {
        Self {
            ceremony,
            opening,
            versions,
            enclosed: enclosed.map(ByteVec::from),
        }
    }

    pub(super) fn seal(&self, device: &crate::card::Card) -> Result<Sealed, SealError> {
        let context = context(&self.ceremony.id, &device.id());
        let plaintext = canonical::encode(self);
        seal(Suite::XWing, NOTICE, &device.kem, &context, &plaintext)
    }

    /// Opens a notice that came under the name `id` for `device`, whose keys these are.
    ///
    /// # Errors
    /// When it was sealed for another device or ceremony, was altered, or cannot be read.
    pub fn open(
        sealed: &Sealed,
        id: &CeremonyId,
        device: &DeviceId,
        keys: &DeviceKeys,
    ) -> Result<Self, NoticeError> {
        let plaintext = open(NOTICE, &keys.kem, &context(id, device), sealed)?;
        let notice: Self = canonical::decode(&plaintext)?;
        // The seal says the same; but then what it was bound to would have to be right, too.
        if notice.ceremony.id == *id {
            Ok(notice)
        } else {
            Err(NoticeError::Open(OpenError))
        }
    }

    /// The ceremony. It is not checked yet.
    #[must_use]
    pub fn ceremony(&self) -> &Ceremony {
        &self.ceremony
    }

    /// Follows the profile from what the device knows of it to the newest version that the notice
    /// brings, checking each.
    ///
    /// # Errors
    /// When a version does not continue the profile.
    pub fn catch_up(&self, known: &Profile) -> Result<(Profile, &[SignedVersion]), ChainError> {
        let known_number = known.version().number;
        let is_new = |signed: &&SignedVersion| signed.version().number > known_number;
        let at = self.versions.iter().position(|signed| is_new(&signed));
        let new = at
            .and_then(|at| self.versions.get(at..))
            .unwrap_or_default();
        let profile = new
            .iter()
            .try_fold(known.clone(), |profile, next| profile.advance(next.clone()))?;
        Ok((profile, new))
    }

    /// Checks that this device is asked by whoever the notice says, about its own profile, of which it
    /// knows `known`.
    ///
    /// # Errors
    /// When it is not, or it is too late.
    pub fn examine(
        self,
        known: &Profile,
        device: &DeviceId,
        now: UnixMillis,
    ) -> Result<Question, NoticeError> {
        if self.ceremony.profile != known.id() {
            return Err(CeremonyError::OtherProfile.into());
        }
        let (profile, _) = self.catch_up(known)?;
        self.ceremony.check(&profile)?;
        self.ceremony
            .requester_key(&profile)?
            .verify_strict(OPENING, self.ceremony.digest().as_bytes(), &self.opening)
            .map_err(|_| NoticeError::Opening)?;
        if !profile.member(device).is_some_and(answers) {
            return Err(NoticeError::NotAsked(*device));
        }
        if self.ceremony.has_expired(now) {
            return Err(NoticeError::Expired);
        }
        if self.ceremony.opened_at.since(now) > Self::MAX_SKEW_MS {
            return Err(NoticeError::FutureDated);
        }
        Ok(Question {
            notice: self,
            profile,
            device: *device,
        })
    }
}

impl Question {
    /// The ceremony.
    #[must_use]
    pub fn ceremony(&self) -> &Ceremony {
        &self.notice.ceremony
    }

    /// The profile, as far as the notice brought it.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The versions of the profile that the notice brought.
    #[must_use]
    pub fn versions(&self) -> &[SignedVersion] {
        &self.notice.versions
    }

    /// What the device needs to make its contribution.
    #[must_use]
    pub fn enclosed(&self) -> Option<&[u8]> {
        self.notice.enclosed.as_deref().map(Vec::as_slice)
    }

    /// What is asked, in words.
    #[must_use]
    pub fn description(&self) -> Description {
        self.ceremony().subject.describe(self.profile.version())
    }

    /// Whether people must compare the ceremony's words, because nobody knows the requester. Nobody need
    /// do so for a proof, which gives nothing away and opens nothing.
    #[must_use]
    pub fn must_compare(&self) -> bool {
        let ceremony = self.ceremony();
        let gives = ceremony.subject.need() != Need::ShareProof;
        gives && matches!(ceremony.requester, Requester::Machine(_))
    }

    /// Approves, with the device's `share` where the operation needs it, and seals the answer to the
    /// requester.
    ///
    /// # Errors
    /// When a share is needed and missing, or is not needed and there, or nothing can be sealed.
    pub fn approve(&self, keys: &DeviceKeys, share: Option<&[u8]>) -> Result<Sealed, AnswerError> {
        let ceremony = self.ceremony();
        let digest = ceremony.digest();
        let contribution = match (ceremony.subject.need(), share, ceremony.subject.draft()) {
            (Need::Consent, None, _) => Contribution::Consent,
            (Need::VersionSignature, None, Some(draft)) => {
                Contribution::VersionSignature(draft.sign(&keys.signing))
            }
            (Need::Share, Some(share), _) => {
                let context = share_context(&digest, &self.device);
                let to = &ceremony.reply_to;
                Contribution::Share(seal(Suite::XWing, SHARE, to, &context, share)?)
            }
            _ => return Err(AnswerError::Contribution),
        };
        self.contribute(keys, contribution)
    }

    /// Answers with the proof of the device's share, or that it has no good one.
    ///
    /// # Errors
    /// When something else is asked, or nothing can be sealed.
    pub fn prove(
        &self,
        keys: &DeviceKeys,
        proof: Option<ShareProof>,
    ) -> Result<Sealed, AnswerError> {
        if self.ceremony().subject.need() != Need::ShareProof {
            return Err(AnswerError::Contribution);
        }
        self.contribute(keys, Contribution::ShareProof(proof))
    }

    fn contribute(
        &self,
        keys: &DeviceKeys,
        contribution: Contribution,
    ) -> Result<Sealed, AnswerError> {
        let ceremony = self.ceremony();
        let answer = Answer::approve(ceremony.digest(), self.device, contribution, &keys.signing);
        Ok(answer.seal(&ceremony.reply_to)?)
    }

    /// Denies, and seals the answer to the requester.
    ///
    /// # Errors
    /// When nothing can be sealed.
    pub fn deny(&self, keys: &DeviceKeys) -> Result<Sealed, AnswerError> {
        let answer = Answer::deny(self.ceremony().digest(), self.device, &keys.signing);
        Ok(answer.seal(&self.ceremony().reply_to)?)
    }
}

/// The newest of a profile's versions, as many as go along with a notice: for devices that missed them.
#[must_use]
pub fn recent(versions: &[SignedVersion]) -> Vec<SignedVersion> {
    let mut left = CHAIN_BYTES;
    let fits = |signed: &&SignedVersion| {
        let length = signed.to_bytes().len();
        let fits = length <= left;
        left = left.saturating_sub(length);
        fits
    };
    let mut recent: Vec<_> = versions.iter().rev().take_while(fits).cloned().collect();
    recent.reverse();
    recent
}

fn context(id: &CeremonyId, device: &DeviceId) -> Vec<u8> {
    canonical::encode(&(id, device))
}

versioned!(Notice, 1 { ceremony, opening, versions, enclosed });
