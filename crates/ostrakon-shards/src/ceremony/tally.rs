use std::collections::BTreeMap;

use ostrakon_types::{DeviceId, Digest, UnixMillis};
use zeroize::Zeroizing;

use super::{
    Answer, Ceremony, CeremonyError, Contribution, Need, Notice, Requester, Subject, Verdict,
    answer::{ANSWER, SHARE, share_context},
    notice::OPENING,
    opening::answers,
};
use crate::{
    card::Card,
    kem::KemSecret,
    profile::{Profile, SignedVersion},
    random::{self, RandomError},
    seal::{OpenError, SealError, Sealed, open},
    sign::{Signature, SigningKey},
};

/// What somebody wants M devices to approve.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it is about.
    pub subject: Subject,
    /// How many approvals it takes.
    pub threshold: u8,
    /// Who asks.
    pub requester: Requester,
    /// How long answers are waited for, in milliseconds.
    pub lifetime_ms: i64,
}

/// The requester's side of a ceremony: it counts the answers.
pub struct Tally {
    ceremony: Ceremony,
    digest: Digest,
    opening: Signature,
    profile: Profile,
    reply: KemSecret,
    approvals: BTreeMap<DeviceId, Approval>,
    denials: Vec<DeviceId>,
}

/// One device's approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The device.
    pub device: DeviceId,
    /// What it added.
    pub contribution: Contribution,
}

/// How a ceremony stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// More approvals are needed.
    Open {
        /// How many there are.
        approved: usize,
        /// How many it takes.
        needed: u8,
    },
    /// There are enough. Where each device is asked for a proof of its own, as many have answered.
    Approved,
    /// A device denied what takes the others' approvals, too.
    Denied {
        /// Which.
        by: DeviceId,
    },
    /// Nobody can answer any more.
    Expired,
}

/// Why a ceremony cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenCeremonyError {
    /// The profile's devices cannot be asked this.
    #[error(transparent)]
    Ceremony(#[from] CeremonyError),
    /// The key is not the requester's.
    #[error("key is not the requester's")]
    Key,
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Why an answer does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// It is not for this ceremony, or was altered.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is none.
    #[error("answer is malformed")]
    Malformed,
    /// It is to another ceremony.
    #[error("answer to another ceremony")]
    OtherCeremony,
    /// It is from a device that is not asked.
    #[error("device {0} is not asked")]
    NotAsked(DeviceId),
    /// Its signature does not match.
    #[error("signature of device {0} does not match")]
    Signature(DeviceId),
    /// It brings another contribution than is needed, or a wrong one.
    #[error("contribution of device {0} is not what the operation needs")]
    Contribution(DeviceId),
    /// The device has answered already.
    #[error("device {0} has answered already")]
    Repeated(DeviceId),
    /// The ceremony is over.
    #[error("ceremony is over")]
    Over,
    /// It came too late.
    #[error("ceremony has expired")]
    Expired,
}

/// What one device contributed: its share, opened. Wiped on drop.
pub struct DeviceShare {
    /// The device.
    pub device: DeviceId,
    /// Its share, as it sealed it to the requester.
    pub share: Zeroizing<Vec<u8>>,
}

/// A ceremony with enough approvals.
pub struct Completed {
    /// What was approved.
    pub ceremony: Ceremony,
    /// By whom: as many as it takes, or more.
    pub approvals: Vec<Approval>,
    reply: KemSecret,
}

impl Tally {
    /// Opens a ceremony among the devices of `profile` as it is now; `key` is the requester's.
    ///
    /// # Errors
    /// When they cannot be asked this, or by this requester.
    pub fn open(
        profile: &Profile,
        plan: Plan,
        key: &SigningKey,
        now: UnixMillis,
    ) -> Result<Self, OpenCeremonyError> {
        let reply = KemSecret::generate()?;
        let head = profile.head();
        let ceremony = Ceremony {
            id: random::id()?,
            subject: plan.subject,
            profile: head.profile,
            version: head.hash,
            threshold: plan.threshold,
            requester: plan.requester,
            reply_to: reply.public().clone(),
            opened_at: now,
            expires_at: now.plus(plan.lifetime_ms),
        };
        ceremony.check(profile)?;
        if ceremony.requester_key(profile)? != key.verify_key() {
            return Err(OpenCeremonyError::Key);
        }
        let digest = ceremony.digest();
        Ok(Self {
            opening: key.sign(OPENING, digest.as_bytes()),
            ceremony,
            digest,
            profile: profile.clone(),
            reply,
            approvals: BTreeMap::new(),
            denials: Vec::new(),
        })
    }

    /// The ceremony.
    #[must_use]
    pub fn ceremony(&self) -> &Ceremony {
        &self.ceremony
    }

    /// The devices that are asked.
    pub fn asked(&self) -> impl Iterator<Item = &Card> {
        let devices = self.profile.version().devices.iter();
        devices.filter(|card| answers(card))
    }

    /// The notice for one device, sealed to it, with the profile's `versions` that it may lack and what
    /// it needs for its contribution.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn notice_for(
        &self,
        device: &Card,
        versions: Vec<SignedVersion>,
        enclosed: Option<Vec<u8>>,
    ) -> Result<Sealed, SealError> {
        self.notice(versions, enclosed).seal(device)
    }

    /// The same, not sealed: for the device on which the requester itself runs.
    #[must_use]
    pub fn notice(&self, versions: Vec<SignedVersion>, enclosed: Option<Vec<u8>>) -> Notice {
        Notice::new(self.ceremony.clone(), self.opening, versions, enclosed)
    }

    /// Takes an answer as it came from a relay, and says whose it was.
    ///
    /// More approvals than are needed are taken, too, in case one has to be
    /// [set aside](Self::set_aside).
    ///
    /// # Errors
    /// When it does not count. The ceremony then stands as before.
    pub fn take(&mut self, sealed: &Sealed, now: UnixMillis) -> Result<DeviceId, TakeError> {
        if self.ended_by().is_some() {
            return Err(TakeError::Over);
        }
        if self.ceremony.has_expired(now) {
            return Err(TakeError::Expired);
        }
        let plaintext = open(ANSWER, &self.reply, self.digest.as_bytes(), sealed)?;
        let answer = Answer::from_bytes(&plaintext).map_err(|_| TakeError::Malformed)?;
        if answer.ceremony != self.digest {
            return Err(TakeError::OtherCeremony);
        }
        let device = answer.device;
        let card = self.profile.member(&device).filter(|card| answers(card));
        let card = card.ok_or(TakeError::NotAsked(device))?;
        answer
            .verify(&card.verify)
            .map_err(|_| TakeError::Signature(device))?;
        if self.approvals.contains_key(&device) || self.denials.contains(&device) {
            return Err(TakeError::Repeated(device));
        }
        match answer.verdict {
            Verdict::Deny { .. } => self.denials.push(device),
            Verdict::Approve { contribution, .. } => {
                if !self.is_needed(card, &contribution) {
                    return Err(TakeError::Contribution(device));
                }
                let approval = Approval {
                    device,
                    contribution,
                };
                self.approvals.insert(device, approval);
            }
        }
        Ok(device)
    }

    fn is_needed(&self, card: &Card, contribution: &Contribution) -> bool {
        let subject = &self.ceremony.subject;
        match (subject.need(), contribution) {
            (Need::Consent, Contribution::Consent)
            | (Need::Share, Contribution::Share(_))
            | (Need::ShareProof, Contribution::ShareProof(_)) => true,
            (Need::VersionSignature, Contribution::VersionSignature(signature)) => subject
                .draft()
                .is_some_and(|draft| draft.is_signed_by(card, signature)),
            _ => false,
        }
    }

    /// Forgets a device's approval, because its share turned out not to be good. It may answer again.
    pub fn set_aside(&mut self, device: &DeviceId) {
        self.approvals.remove(device);
    }

    /// The approvals so far.
    pub fn approvals(&self) -> impl Iterator<Item = &Approval> {
        self.approvals.values()
    }

    /// The devices that denied. Where each is asked for a proof of its own, there may be several: a denial
    /// says nothing of the others' shares.
    #[must_use]
    pub fn denials(&self) -> &[DeviceId] {
        &self.denials
    }

    /// The device whose denial ended the ceremony.
    fn ended_by(&self) -> Option<DeviceId> {
        let ends = self.ceremony.subject.need() != Need::ShareProof;
        self.denials.first().copied().filter(|_| ends)
    }

    /// The share that a device contributed.
    ///
    /// # Errors
    /// When its seal does not open. `None` when the device has contributed none.
    pub fn share_of(&self, device: &DeviceId) -> Result<Option<Zeroizing<Vec<u8>>>, OpenError> {
        match self
            .approvals
            .get(device)
            .map(|approval| &approval.contribution)
        {
            Some(Contribution::Share(sealed)) => {
                let context = share_context(&self.digest, device);
                open(SHARE, &self.reply, &context, sealed).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// How the ceremony stands at the time `now`.
    #[must_use]
    pub fn standing(&self, now: UnixMillis) -> Standing {
        let (approved, needed) = (self.approvals.len(), self.ceremony.threshold);
        // As far as they do not end it.
        let denied = self.denials.len();
        if let Some(by) = self.ended_by() {
            Standing::Denied { by }
        } else if self.ceremony.has_expired(now) {
            Standing::Expired
        } else if approved + denied >= usize::from(needed) {
            Standing::Approved
        } else {
            Standing::Open { approved, needed }
        }
    }

    /// Ends the ceremony with what was approved.
    ///
    /// # Errors
    /// How it stands, unless it is approved.
    pub fn complete(self, now: UnixMillis) -> Result<Completed, Standing> {
        match self.standing(now) {
            Standing::Approved => Ok(Completed {
                ceremony: self.ceremony,
                approvals: self.approvals.into_values().collect(),
                reply: self.reply,
            }),
            standing => Err(standing),
        }
    }
}

#[cfg(test)]
impl Tally {
    /// The one-time key: what a test needs to play somebody who stole it.
    pub(super) fn reply_for_tests(&self) -> KemSecret {
        KemSecret::from_bytes(&self.reply.to_bytes()).unwrap()
    }
}

impl Completed {
    /// The signatures under the profile's next version.
    pub fn version_signatures(&self) -> impl Iterator<Item = (DeviceId, Signature)> {
        self.approvals
            .iter()
            .filter_map(|approval| match approval.contribution {
                Contribution::VersionSignature(signature) => Some((approval.device, signature)),
                _ => None,
            })
    }

    /// The devices' shares, each as its device sealed it to the requester.
    ///
    /// # Errors
    /// When a seal does not open: which device's, the error says.
    pub fn shares(&self) -> Result<Vec<DeviceShare>, TakeError> {
        let digest = self.ceremony.digest();
        let open_share = |approval: &Approval| {
            let Contribution::Share(sealed) = &approval.contribution else {
                return None;
            };
            let device = approval.device;
            let context = share_context(&digest, &device);
            let opened = open(SHARE, &self.reply, &context, sealed);
            Some(match opened {
                Ok(share) => Ok(DeviceShare { device, share }),
                Err(_) => Err(TakeError::Contribution(device)),
            })
        };
        self.approvals.iter().filter_map(open_share).collect()
    }
}
